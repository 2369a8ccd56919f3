# SPDX-License-Identifier: BSD-2-Clause
"""What a switch costs beside frames: idle processor time, memory, start-up, instructions."""
import collections
import re
import statistics
import subprocess
import time

from proc import BenchError, Hugepages, Process, wait_for
from rounds import say

IDLE_GUESTS = 4
GUEST_MEMORY = "/memfd:bench-light"
FIELD = re.compile(r"(Rss|Shared_Hugetlb|Private_Hugetlb): +(\d+) kB")
MAPPING = re.compile(r"[0-9a-f]+-[0-9a-f]+ ")
COUNTS = (20000, 200000)
COST = re.compile(r"^ *([\d,]+) \([ \d.]+%\) +\S*?:(\w[^ ]*)", re.M)


def memory_kib(pid):
    """Resident memory of a process without its guests': (KiB in 4 KiB pages, KiB in hugepages)."""
    rss = huge = 0
    guest = False
    with open(f"/proc/{pid}/smaps", encoding="utf-8", errors="replace") as smaps:
        for line in smaps:
            if MAPPING.match(line):
                guest = GUEST_MEMORY in line
                continue
            field = FIELD.match(line)
            if field and not guest:
                if field[1] == "Rss":
                    rss += int(field[2])
                else:
                    huge += int(field[2])
    return rss, huge


def cpu_ns(pids):
    return sum(time.clock_gettime_ns((~pid << 3) | 2) for pid in pids)


def share_of_processor(pids, seconds):
    before, begin = cpu_ns(pids), time.monotonic_ns()
    time.sleep(seconds)
    return (cpu_ns(pids) - before) / (time.monotonic_ns() - begin)


def idle(backend, light, seconds):
    """Four guests with running rings, of which two have just exchanged frames, then nothing."""
    backend.start()
    backend.ready()
    client = Process("idle-client", [light, "--idle", *backend.sockets], backend.scratch,
                     backend.nice, talk=True)
    client.hear("ready", timeout=30)
    client.ask("window ms=300")
    time.sleep(0.5)
    pids = backend.process.family()
    share = share_of_processor(pids, seconds)
    memory = [memory_kib(pid) for pid in pids]
    client.end()
    backend.end()
    return {"idle_share": share, "rss_mib": sum(m[0] for m in memory) / 1024,
            "hugepages_mib": sum(m[1] for m in memory) / 1024}


def first_frame_ms(backend, light, number):
    """From exec of the switch to the first frame at the other guest."""
    for s in backend.sockets:
        s.unlink(missing_ok=True)
    client = Process(f"first-client-{number}", [light, "--first", *backend.sockets],
                     backend.scratch, backend.nice, talk=True)
    time.sleep(0.15)  # it has its memory, and waits for the sockets
    backend.launch()
    answer = client.answer("ready", timeout=60)
    started = backend.process.started_ns
    client.end()
    backend.end_switch()
    if answer["first_frame_ns"] == 0:
        raise BenchError(f"{backend.label}: no frame came through")
    return (answer["first_frame_ns"] - started) / 1e6


def instructions(backend, light, count, size):
    """A whole run under callgrind that forwards @count frames: (frames, {function: instructions})."""
    out = backend.scratch / "callgrind.out"
    backend.wrap = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={out}"]
    backend.start()
    backend.ready()
    client = Process("callgrind-client", [light, "--cpu", 0, *backend.sockets], backend.scratch,
                     backend.nice, talk=True)
    client.hear("ready", timeout=30)
    answer = client.ask(f"window size={size} count={count} ms=60000 warm=0", timeout=120)
    client.end()
    backend.end()
    wait_for("callgrind", out.exists, seconds=5)
    text = subprocess.run(["callgrind_annotate", "--threshold=100", out], check=True,
                          capture_output=True, text=True).stdout
    functions = collections.Counter()
    for number, function in COST.findall(text):
        functions[function] += int(number.replace(",", ""))
    if not functions:
        raise BenchError(f"callgrind: no functions in {out}")
    return answer["total_received"], functions


def least(runs):
    """Of runs that did the same, the one that polled in vain least."""
    return min(runs, key=lambda run: sum(run[1].values()))


def instructions_per_frame(make, light, size):
    """Two runs of different length: start-up and what else does not grow with frames cancels.

    Returns (instructions per frame, {function: its share of them}).
    """
    ends = [least([instructions(make(f"callgrind-{size}-{count}-{n}"), light, count, size)
                   for n in range(3)]) for count in COUNTS]
    frames = ends[1][0] - ends[0][0]
    per_frame = {function: (total - ends[0][1][function]) / frames
                 for function, total in ends[1][1].items()}
    largest = sorted(per_frame.items(), key=lambda item: -item[1])[:10]
    return sum(per_frame.values()), {f: round(n, 1) for f, n in largest if n >= 1}


def measure_one(make, light, quick):
    """All that is measured of one kind of switch. @make: name -> a new backend"""
    backends = [make("idle", ports=IDLE_GUESTS), make("first")]
    pages = Hugepages(backends[0].huge_pages)
    try:
        result = idle(backends[0], light, 3 if quick else 10)
        backends[1].prepare()
        result["first_frame_ms"] = statistics.median(
            first_frame_ms(backends[1], light, n) for n in range(3 if quick else 5))
    finally:
        for backend in backends:
            backend.end()
        pages.release()
    if backends[0].kind == "lastref":
        for size in (64, 1500):
            total, functions = instructions_per_frame(make, light, size)
            result[f"instructions_{size}"] = total
            result[f"functions_{size}"] = functions
    return result


def measure(kinds, light, quick=False):
    """{label: figures} for every kind of switch; instructions only of ours."""
    results = {}
    for label, make in kinds.items():
        say(f"bench: {label}: idle processor time, memory, start-up")
        results[label] = measure_one(make, light, quick)
    return results


ROWS = [  # key, title, format, ours at most
    ("idle_share", "idle, share of a processor", "{:.2%}", 0.01),
    ("rss_mib", f"memory, {IDLE_GUESTS} guests, MiB", "{:.1f}", 32),
    ("hugepages_mib", "  and in hugepages, MiB", "{:.0f}", 0),
    ("first_frame_ms", "exec to first frame, ms", "{:.0f}", 100),
    ("instructions_64", "instructions per 64 B frame", "{:.0f}", None),
    ("instructions_1500", "instructions per 1500 B frame", "{:.0f}", None),
]


def verdicts(results, subject):
    """{key: met} for the figures of @subject that have a target."""
    figures = results.get(subject, {})
    return {key: figures[key] <= most for key, _, _, most in ROWS
            if most is not None and key in figures}


def table(results, subject):
    """The figures as text, with what is to be reached."""
    out = [f"\n{'beside frames':34}" + "".join(f"{label:>16}" for label in results)]
    met = verdicts(results, subject)
    for key, title, form, most in ROWS:
        line = f"{title:34}" + "".join(
            f"{form.format(f[key]) if key in f else '-':>16}" for f in results.values())
        if key in met:
            line += f"   <= {form.format(most)} {'met' if met[key] else 'MISSED'}"
        out.append(line)
        for label, figures in results.items():
            functions = figures.get(key.replace("instructions", "functions"))
            if "instructions" in key and functions:
                out.append(f"  {label}: " + ", ".join(f"{f} {n:.0f}" for f, n in functions.items()))
    return "\n".join(out)
