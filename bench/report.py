# SPDX-License-Identifier: BSD-2-Clause
"""Tables, targets, JSON."""
import collections

from rounds import CLASSES, Scenario, median, value_of

# What is to be reached: subject / peer, by (what, size, client); at least, or for latency and
# cycles at most. The peers are named by their kind. None: not stated.
TARGETS = {
    ("rate", 64, "virtio-user"): {"near": {"testpmd": 1.2, "ovs": 1.9},
                                  "far": {"testpmd": 0.95, "ovs": 1.0}},
    ("rate", 64, "light"): {"near": {"testpmd": 1.8, "ovs": 2.3},
                            "far": {"testpmd": 1.2, "ovs": 1.2}},
    ("rate", 256, "virtio-user"): {"near": {"testpmd": 1.25, "ovs": 1.8},
                                   "far": {"testpmd": 0.95, "ovs": 1.05}},
    ("rate", 1500, "virtio-user"): {"near": {"testpmd": 2.1, "ovs": 2.6},
                                    "far": {"testpmd": 1.5, "ovs": 1.6}},
    ("rate", 9000, "virtio-user"): {"near": {"testpmd": 2.5, "ovs": 2.2},
                                    "far": {"testpmd": 1.7, "ovs": 1.7}},
    ("p50", 64, "virtio-user"): {"near": {"testpmd": 0.8, "ovs": 0.55},
                                 "far": {"testpmd": 0.8, "ovs": 0.75}},
    ("cycles", 64, "virtio-user"): {"near": {"testpmd": 0.5, "ovs": 0.4},
                                    "far": {"testpmd": 0.9}},
}
AT_MOST = ("p50", "cycles")


def targets_of(scenario, what):
    if scenario.closed or scenario.pairs > 1:
        return {}
    return TARGETS.get((what, scenario.size, scenario.client), {})


def measures_of(scenario):
    """(what, value of a window) pairs that a scenario yields ratios for."""
    if scenario.ping:
        return [("p50", lambda w: w.p50_ns)]
    both = [("rate", lambda w: w.mpps)]
    if scenario.size == 64:
        both.append(("cycles", lambda w: w.cycles))
    return both


def rows_of(session, scenarios):
    """One dictionary per scenario and class: medians per switch, ratios and verdicts."""
    rows = []
    for near_far in CLASSES:
        for scenario in scenarios:
            row = {"class": near_far, "scenario": scenario.name, "client": scenario.client,
                   "size": scenario.size, "pairs": scenario.pairs, "switches": {}, "ratios": []}
            for name in session.pairs[scenario.group]:
                kept = session.kept(scenario, near_far, name)
                if kept:
                    row["switches"][name] = {
                        "windows": len(kept),
                        "mpps": median([w.mpps for w in kept]),
                        "loss": median([w.loss for w in kept]),
                        "txfull": median([w.full for w in kept]),
                        "cycles": median([w.cycles for w in kept]),
                        "p50_ns": median([w.p50_ns for w in kept]),
                        "p99_ns": median([w.p99_ns for w in kept])}
            for what, value in measures_of(scenario):
                row["ratios"] += ratios_of(session, scenario, near_far, what, value)
            rows.append(row)
    return rows


def ratios_of(session, scenario, near_far, what, value):
    out = []
    for peer in session.others(scenario):
        values = sorted(session.ratios(scenario, near_far, peer, value))
        kind = session.pairs[scenario.group][peer].backend.kind
        target = targets_of(scenario, what).get(near_far, {}).get(kind)
        ratio = median(values)
        met = None
        if target is not None and ratio is not None:
            met = ratio <= target if what in AT_MOST else ratio >= target
        out.append({"what": what, "peer": peer, "ratio": ratio, "count": len(values),
                    "low": values[len(values) // 4] if values else None,
                    "high": values[len(values) * 3 // 4] if values else None,
                    "target": target, "met": met})
    return out


def table(rows, subject, peers):
    """The rows as text."""
    out = []
    for near_far in CLASSES:
        of_class = [r for r in rows if r["class"] == near_far and r["switches"]]
        if not of_class:
            out.append(f"\nprocessors {near_far}: never seen in this run")
            continue
        out.append(f"\nprocessors {near_far}; Mpps received (loss), medians; one in flight: p50")
        out.append(f"{'':34}" + "".join(f"{n:>20}" for n in [subject, *peers]))
        for row in of_class:
            out.append(f"{row['scenario']:34}" + "".join(
                f"{cell(row, name):>20}" for name in [subject, *peers]))
        out.append(f"\nprocessors {near_far}; {subject} / peer, median [quartiles] of pairs")
        for row in of_class:
            for r in row["ratios"]:
                if r["ratio"] is not None:
                    out.append(f"{row['scenario']:34}" + ratio_text(r))
    return "\n".join(out)


def cell(row, name):
    s = row["switches"].get(name)
    if not s:
        return "-"
    if s["p50_ns"]:
        return f"{s['p50_ns'] / 1000:.2f} us"
    return f"{s['mpps']:.2f} ({s['loss'] * 100:.1f} %)"


def ratio_text(r):
    text = (f"{r['what']:>7} / {r['peer']:16} {r['ratio']:5.2f} "
            f"[{r['low']:.2f}-{r['high']:.2f}] of {r['count']:3d}")
    if r["target"] is not None:
        sign = "<=" if r["what"] in AT_MOST else ">="
        text += f"   {sign} {r['target']:.2f} {'met' if r['met'] else 'MISSED'}"
    return text


def cycles_table(rows, names):
    out = ["\nbusy cycles of the switch per frame (its own counter), medians"]
    out.append(f"{'':41}" + "".join(f"{n:>16}" for n in names))
    for row in rows:
        if not row["switches"] or "in flight" in row["scenario"]:
            continue
        values = [row["switches"].get(n, {}).get("cycles") for n in names]
        out.append(f"{row['class']:5}  {row['scenario']:34}" + "".join(
            f"{v:16.0f}" if v else f"{'-':>16}" for v in values))
    return "\n".join(out)


def dropped(session):
    """Windows that do not count, by reason."""
    return dict(collections.Counter(w.dropped for w in session.windows if w.dropped))


def targets(rows, peers):
    """[(title, {(class, peer label): ratio record})] of everything that has a target."""
    out = {}
    for row in rows:
        for r in row["ratios"]:
            if r["target"] is not None and r["peer"] in peers:
                title = row["scenario"] if r["what"] != "cycles" else "busy cycles per 64 B frame"
                out.setdefault(title, {})[row["class"], r["peer"]] = r
    return out


def targets_table(rows, peers, subject):
    """What is to be reached, and was or was not: one line a load."""
    columns = [(c, p) for c in CLASSES for p in peers]
    counts = collections.Counter()
    out = [f"\nto reach, {subject} / peer" + " " * 14
           + "".join(f"{c + ': ' + p:>24}" for c, p in columns)]
    for title, cells in targets(rows, peers).items():
        line = f"{title:34}"
        for column in columns:
            r = cells.get(column)
            text = "-"
            if r and r["ratio"] is None:
                counts["not measured"] += 1
                text = f"? of {r['target']}"
            elif r:
                verdict = "met" if r["met"] else "MISSED"
                counts[verdict] += 1
                sign = "<=" if r["what"] in AT_MOST else ">="
                text = f"{r['ratio']:.2f} {sign} {r['target']:.2f} {verdict}"
            line += f"{text:>24}"
        out.append(line)
    return "\n".join(out + [", ".join(f"{n} {what}" for what, n in counts.items())])


__all__ = ["rows_of", "table", "cycles_table", "targets_table", "dropped", "Scenario", "value_of"]
