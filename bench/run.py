#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""Measure lastref side by side with other switches; ratios of paired windows only.

usage: bench/run.py [--quick] [-j] [options]

Needs root (hugepages for the peers, weight against other sessions) and two processors: the load
generators share the first, each switch has the second while its window lasts. Results go to
stdout (a table, with -j JSON), progress to stderr. What is measured, and how: bench/NOTES.md.
"""
import argparse
import functools
import json
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

import extras  # noqa: E402
import report  # noqa: E402
from backends import Lastref, Ovs, Testpmd  # noqa: E402
from proc import BenchError, Hugepages, Interrupted, Process, only_one  # noqa: E402
from rounds import (Client, Placement, Scenario, Session, run_rounds,  # noqa: E402
                    run_verify, say, start_pairs)

ROOT = Path(__file__).resolve().parent.parent
PROGRAMS = {"virtio-user": "bench-client", "light": "bench-light", "placement": "bench-placement"}
CLIENT_HUGE_PAGES = {"virtio-user": 84, "light": 20}

SCENARIOS = [Scenario("virtio-user", size, pairs) for size in (64, 256, 1500, 9000)
             for pairs in (1, 64)]
SCENARIOS += [Scenario("light", 64), Scenario("light", 64, 64), Scenario("light", 1500)]
SCENARIOS += [Scenario("virtio-user", 9000, closed=96), Scenario("virtio-user", ping=True)]
QUICK = [Scenario("virtio-user", 64), Scenario("virtio-user", 1500), Scenario("light", 64),
         Scenario("virtio-user", ping=True)]
VERIFY = [Scenario(client, size, pairs) for client in ("virtio-user", "light")
          for size in (64, 256, 1500, 9000) for pairs in (1, 64)]


def arguments():
    parser = argparse.ArgumentParser(
        description="measure lastref side by side with other switches")
    parser.add_argument("--quick", action="store_true",
                        help="testpmd and ours only, few scenarios, about half a minute")
    parser.add_argument("-j", "--json", action="store_true", help="JSON on stdout, not a table")
    parser.add_argument("--save", metavar="FILE", help="also write every window as JSON")
    parser.add_argument("--build", default=str(ROOT / "build"), help="build folder")
    parser.add_argument("--peers", default=None, help="testpmd,ovs (--quick: testpmd)")
    parser.add_argument("--also", action="append", default=[], metavar="NAME=BINARY",
                        help="another lastref binary as a peer, e.g. one of the last commit")
    parser.add_argument("--subject", default="lastref", help="whose ratios are taken")
    parser.add_argument("--skip", choices=("rates", "extras"), default=None,
                        help="leave out the rates, or idle time, memory, start-up, instructions")
    parser.add_argument("--scenarios", metavar="REGEX", help="only those whose name matches")
    parser.add_argument("--rounds", type=int, default=None, help="at least (15)")
    parser.add_argument("--seconds", type=float, default=None,
                        help="stop collecting rounds after this long (600, --quick: 30)")
    parser.add_argument("--window", type=int, default=80, help="ms of a window")
    parser.add_argument("--keep-all", action="store_true",
                        help="on a busy machine: keep windows that had less than 90 %%")
    parser.add_argument("--guest-huge", action="store_true",
                        help="guest memory of 2 MiB pages instead of 4 KiB")
    parser.add_argument("--nice", type=int, default=-20, help="of the sessions under test")
    parser.add_argument("--cpus", default="0,1", help="of the load, of the switch")
    options = parser.parse_args()
    if options.quick and options.skip is None:
        options.skip = "extras"
    options.cpus = [int(c) for c in options.cpus.split(",")]
    options.rounds = options.rounds or (5 if options.quick else 15)
    options.seconds = options.seconds or (30 if options.quick else 600)
    options.peers = (options.peers or ("testpmd" if options.quick else "testpmd,ovs")).split(",")
    return options


def programs(options):
    """Build the load generators beside the switch."""
    build = Path(options.build)
    if not (build / "build.ninja").exists():
        raise BenchError(f"no build in {build}; run: make build")
    for command in ([ROOT / "dist/configure", build, "-Dbench=true"], ["ninja", "-C", build]):
        done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              text=True)
        if done.returncode != 0:
            raise BenchError(f"{command[0]}: exited {done.returncode}:\n{done.stdout}")
    return {kind: build / "bench" / name for kind, name in PROGRAMS.items()}


def makers(options, scratch):
    """{label: function that makes a switch of this kind}, for all that are compared."""
    common = {"cpu": options.cpus[1], "nice": options.nice}
    kinds = {"testpmd": Testpmd, "ovs": Ovs}
    made = {}
    for label in options.peers:
        if label not in kinds:
            raise BenchError(f"unknown peer '{label}'; there are: {', '.join(kinds)}")
        made[label] = functools.partial(kinds[label], scratch, label, **common)
    ours = {"lastref": Path(options.build) / "lastref"} if options.subject == "lastref" else {}
    ours.update(dict(word.split("=", 1) for word in options.also))
    for label, binary in ours.items():
        if not os.access(binary, os.X_OK):
            raise BenchError(f"{binary}: not an executable")
        made[label] = functools.partial(Lastref, scratch, label, binary=binary, **common)
    if options.subject not in made or len(made) < 2:
        raise BenchError(f"need '{options.subject}' and one more switch, got: {', '.join(made)}")
    return made


def bring_up(options, scratch, groups, tools):
    """Every switch and every client of every group, all stopped: {group: {label: Pair}}."""
    made = makers(options, scratch)
    flat = [make(group) for group in groups for make in made.values()]

    def make_client(backend):
        kind, jumbo = backend.group
        return Client(kind, tools[kind], scratch, f"client-{backend.name}", backend.sockets,
                      options.nice, jumbo, options.guest_huge, options.cpus[0])

    pages = sum(b.huge_pages for b in flat)
    if options.guest_huge:
        pages += sum(CLIENT_HUGE_PAGES[b.group[0]] for b in flat)
    reserved = Hugepages(pages)
    say(f"bench: {len(flat)} switches and as many clients come up, {pages} hugepages")
    try:
        pairs = start_pairs(flat, make_client)
    except BaseException:
        end_backends(flat)
        reserved.release()
        raise
    by_group = {group: {p.backend.label: p for p in pairs if p.backend.group == group}
                for group in groups}
    return by_group, flat, reserved


def end_backends(backends):
    """Clients first: a switch must not log the loss of its guests while it leaves."""
    for process in list(Process.running):
        if process.name.startswith("client-"):
            process.end(seconds=1.0)
    for backend in backends:
        backend.end()
    Process.end_all()


def measure(options, scratch, tools):
    scenarios = QUICK if options.quick else SCENARIOS
    if options.scenarios:
        scenarios = [s for s in scenarios if re.search(options.scenarios, s.name)]
    if not scenarios:
        raise BenchError(f"no scenario matches {options.scenarios}")
    groups = sorted({s.group for s in scenarios})
    pairs, flat, reserved = bring_up(options, scratch, groups, tools)
    try:
        placement = Placement(tools["placement"], scratch, options.cpus, options.nice)
        session = Session(pairs, placement, options.subject, options.window, options.keep_all)
        verify = [s for s in VERIFY if s.group in groups
                  and any(s.size == t.size and s.client == t.client for t in scenarios)]
        total, wrong = run_verify(session, verify, 40)
        say(f"bench: verify: {total} windows, {len(wrong)} with bad, short or reordered frames")
        rounds = run_rounds(session, scenarios, options.rounds, options.seconds)
    finally:
        end_backends(flat)
        reserved.release()
    return session, scenarios, rounds, (total, wrong)


def machine():
    model = next((line.split(":", 1)[1].strip() for line in open("/proc/cpuinfo", encoding="ascii")
                  if line.startswith("model name")), "?")
    return {"kernel": platform.release(), "cpu": model, "processors": os.cpu_count()}


def show_rates(options, session, scenarios, rounds, verify, result):
    rows = report.rows_of(session, scenarios)
    total, wrong = verify
    result.update({
        "rounds": rounds, "window_ms": options.window, "windows": len(session.windows),
        "dropped": report.dropped(session), "verify": {"windows": total, "wrong": len(wrong)},
        "guest_pages": "2 MiB" if options.guest_huge else "4 KiB", "rows": rows})
    if options.save:
        Path(options.save).write_text(json.dumps(
            [dict(vars(w), scenario=w.scenario.name) for w in session.windows], indent=1))
    if options.json:
        return
    peers = [n for n in next(iter(session.pairs.values())) if n != options.subject]
    print(report.table(rows, options.subject, peers))
    print(report.cycles_table(rows, [options.subject, *peers]))
    print(report.targets_table(rows, peers, options.subject))
    print(f"\n{len(session.windows)} windows of {options.window} ms in {rounds} rounds; dropped: "
          + (", ".join(f"{n} ({why})" for why, n in result["dropped"].items()) or "none"))
    print(f"verify: {total} windows, every byte compared: "
          + ("0 bad, short or reordered frames" if not wrong else f"{len(wrong)} WRONG"))
    print(f"guest memory in {result['guest_pages']} pages; load on processor {options.cpus[0]}, "
          f"switch on {options.cpus[1]}", flush=True)


def measure_all(options, scratch, tools):
    result = {"machine": machine()}
    if options.skip != "rates":
        show_rates(options, *measure(options, scratch, tools), result)
    if options.skip != "extras":
        result["extras"] = extras.measure(
            {label: (lambda name, ports=2, make=make: make((name, False), ports=ports))
             for label, make in makers(options, scratch).items()}, tools["light"], options.quick)
        if not options.json:
            print(extras.table(result["extras"], options.subject))
    if options.json:
        print(json.dumps(result, indent=1))
    else:
        print(f"\n{result['machine']['cpu']}, {result['machine']['processors']} processors, Linux "
              f"{result['machine']['kernel']}")
    return result.get("verify", {}).get("wrong", 0) == 0


def interrupted(number, _frame):
    raise Interrupted(f"ended by {signal.Signals(number).name}")


def main():
    options = arguments()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, interrupted)
    if os.geteuid() != 0:
        print("bench: needs root: hugepages for the peers, weight against other sessions",
              file=sys.stderr)
        return 1
    lock = only_one()
    os.sched_setaffinity(0, {options.cpus[0]})
    scratch = tempfile.mkdtemp(prefix="lastref-bench.")
    begin = time.monotonic()
    try:
        tools = programs(options)
        good = measure_all(options, scratch, tools)
        say(f"bench: {time.monotonic() - begin:.0f} s")
    except (BenchError, Interrupted, OSError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    finally:
        Process.end_all()
        shutil.rmtree(scratch, ignore_errors=True)
        lock.close()
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
