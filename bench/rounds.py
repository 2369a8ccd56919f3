# SPDX-License-Identifier: BSD-2-Clause
"""Windows, rounds and classes: what is measured in which order, and which of it counts.

A round of a scenario is: placement, then for each peer one window of the peer and one of the
subject (in odd rounds the other way round), placement again. Only one pair of switch and client
runs at a time, all others are stopped. A ratio is taken between the two windows of a pair; it
counts when both ends of both windows had 90 % of their processor and the placement was of the
same class before and after the round.
"""
import statistics
import sys
import time
from dataclasses import dataclass, field

from proc import BenchError, Process, wait_for

SHARE_MIN = 0.9
NEAR_NS_MAX = 150
CLASSES = ("near", "far")


@dataclass(frozen=True)
class Scenario:
    """One kind of load."""
    client: str  # "virtio-user" or "light"
    size: int = 64
    pairs: int = 1
    ping: bool = False
    closed: int = 0

    @property
    def jumbo(self):
        return self.size > 1500

    @property
    def group(self):
        """Which pairs of switch and client it runs on."""
        return self.client, self.jumbo

    @property
    def name(self):
        if self.ping:
            return f"one in flight, {self.client}"
        text = f"{self.size} B"
        if self.client == "light":
            text += ", light client"
        if self.pairs > 1:
            text += f", {self.pairs} MAC pairs"
        if self.closed:
            text += f", closed loop of {self.closed}"
        return text

    def words(self):
        return (f"size={self.size} pairs={self.pairs} ping={int(self.ping)} "
                f"closed={self.closed}")


@dataclass
class Window:
    """One measured window. @dropped says why it does not count, if so."""
    scenario: Scenario
    backend: str
    round: int
    position: int  # of its pair within the round
    mpps: float = 0.0
    loss: float = 0.0
    full: float = 0.0
    cycles: float = 0.0
    p50_ns: int = 0
    p99_ns: int = 0
    client_share: float = 0.0
    backend_share: float = 0.0
    damage: int = 0  # bad, short or reordered frames
    placement: tuple = (0, 0)
    near_far: str = ""
    dropped: str = ""


class Client:
    """A load generator, connected to one switch."""

    def __init__(self, kind, program, scratch, name, sockets, nice, jumbo, huge, cpu=0):
        command = [program, "--cpu", cpu] + (["--huge"] if huge else [])
        if kind == "light":
            command += ["--max-size", 9000 if jumbo else 1500]
        self.process = Process(name, command + list(sockets), scratch, nice, talk=True)

    def ready(self):
        self.process.hear("ready", timeout=30)


class Pair:
    """A switch and its client: the unit that is stopped and continued."""

    def __init__(self, backend, client):
        self.backend = backend
        self.client = client

    def stop(self):
        self.client.process.stop()
        self.backend.stop()

    def cont(self):
        self.backend.cont()
        self.client.process.cont()

    def window(self, scenario, number, position, ms, verify=False):
        """Run one window; the pair is stopped before and after."""
        window = Window(scenario, self.backend.label, number, position)
        self.cont()
        try:
            before = self.backend.counters()
            answer = self.client.process.ask(
                f"window {scenario.words()} ms={ms} verify={int(verify)} "
                f"pid={self.backend.process.pid}")
            after = self.backend.counters()
        except BenchError as error:
            self.backend.process.check()
            self.client.process.check()
            window.dropped = f"failed: {error}"
            return window
        finally:
            self.stop()
        wall = answer["wall_ns"]
        window.mpps = answer["received"] * 1e3 / wall
        window.loss = 1 - answer["total_received"] / max(1, answer["total_sent"])
        window.full = answer["full_loops"] / max(1, answer["loops"])
        window.p50_ns, window.p99_ns = answer["p50_ns"], answer["p99_ns"]
        window.client_share = answer["self_ns"] / wall
        window.backend_share = answer["peer_ns"] / wall
        window.damage = answer["bad"] + answer["short"] + answer["reordered"]
        if before and after and after[1] > before[1]:
            window.cycles = (after[0] - before[0]) / (after[1] - before[1])
        return window


class Placement:
    """The distance of the two processors, as often as asked."""

    def __init__(self, program, scratch, cpus, nice):
        self.process = Process("placement", [program, *cpus], scratch, nice, talk=True)

    def measure(self):
        self.process.say("")
        return int(self.process.hear("", timeout=20)[-1])


@dataclass
class Session:
    """All pairs that are up, and all windows so far."""
    pairs: dict  # scenario group -> {backend name: Pair}
    placement: Placement
    subject: str
    window_ms: int = 80
    keep_all: bool = False
    windows: list = field(default_factory=list)

    def others(self, scenario):
        return [name for name in self.pairs[scenario.group] if name != self.subject]

    def round(self, scenario, number):
        """One round of one scenario; returns its class, or "" when it changed."""
        pairs = self.pairs[scenario.group]
        before = self.placement.measure()
        done = []
        for position, peer in enumerate(self.others(scenario)):
            order = [peer, self.subject] if number % 2 == 0 else [self.subject, peer]
            for name in order:
                done.append(pairs[name].window(scenario, number, position, self.window_ms))
        after = self.placement.measure()
        near = [ns < NEAR_NS_MAX for ns in (before, after)]
        near_far = CLASSES[not near[0]] if near[0] == near[1] else ""
        for window in done:
            window.placement = (before, after)
            window.near_far = near_far
            window.dropped = window.dropped or self.why_dropped(window)
        self.windows += done
        return near_far

    def why_dropped(self, window):
        if window.near_far == "":
            return "placement changed"
        if self.keep_all:
            return ""
        if window.client_share < SHARE_MIN:
            return "client had less than 90 % of its processor"
        if window.backend_share < SHARE_MIN:
            return "switch had less than 90 % of its processor"
        return ""

    def kept(self, scenario, near_far, backend):
        return [w for w in self.windows if w.scenario == scenario and w.backend == backend
                and w.near_far == near_far and not w.dropped]

    def ratios(self, scenario, near_far, peer, value):
        """Subject / peer of every pair of windows that counts."""
        of_pair = {}
        for w in self.windows:
            if w.scenario == scenario and w.near_far == near_far and not w.dropped:
                of_pair.setdefault((w.round, w.position), {})[w.backend] = value(w)
        return [p[self.subject] / p[peer] for p in of_pair.values()
                if p.get(self.subject) and p.get(peer)]


def median(values):
    return statistics.median(values) if values else None


def value_of(scenario):
    """What a scenario's ratio is about."""
    return (lambda w: w.p50_ns) if scenario.ping else (lambda w: w.mpps)


def say(text):
    print(text, file=sys.stderr, flush=True)


def summary(session, scenarios, number):
    """A round in a line: class and ratios."""
    parts = []
    for scenario in scenarios:
        ratios = []
        for position, peer in enumerate(session.others(scenario)):
            of = {w.backend: w for w in session.windows if w.scenario == scenario
                  and w.round == number and w.position == position}
            ours, theirs = of[session.subject], of[peer]
            value = value_of(scenario)
            text = f"{value(ours) / value(theirs):.2f}" if value(theirs) else "-"
            ratios.append(text + ("!" if ours.dropped or theirs.dropped else ""))
        near_far = of[session.subject].near_far or "moved"
        parts.append(f"{scenario.size}{'p' if scenario.ping else ''}"
                     f"{'L' if scenario.client == 'light' else ''}"
                     f"{'c' if scenario.closed else ''}"
                     f"{'x64' if scenario.pairs > 1 else ''}:{near_far[0]} {'/'.join(ratios)}")
    return "  ".join(parts)


def enough(session, scenarios, rounds):
    """Every class that was seen has @rounds ratios everywhere."""
    counts = [(len(session.ratios(s, c, p, value_of(s))), c)
              for s in scenarios for c in CLASSES for p in session.others(s)]
    seen = {c for n, c in counts if n > 0}
    return bool(seen) and all(n >= rounds for n, c in counts if c in seen)


def run_rounds(session, scenarios, rounds, seconds):
    """At least @rounds rounds; then on, at most until @seconds, for classes that lack some."""
    begin = time.monotonic()
    number = 0
    while True:
        for scenario in scenarios:
            session.round(scenario, number)
        number += 1
        say(f"round {number:2d} {time.monotonic() - begin:5.0f} s  "
            + summary(session, scenarios, number - 1))
        if number >= rounds and enough(session, scenarios, rounds):
            break
        if time.monotonic() - begin > seconds:
            say(f"bench: {seconds:.0f} s are over; some class has fewer than {rounds} ratios")
            break
    return number


def run_verify(session, scenarios, ms):
    """Every size through every switch once, each byte compared: the windows that were wrong."""
    wrong = []
    total = 0
    for scenario in scenarios:
        for name, pair in session.pairs[scenario.group].items():
            window = pair.window(scenario, 0, 0, ms, verify=True)
            total += 1
            if window.damage or window.dropped or window.mpps == 0:
                wrong.append(window)
                say(f"bench: verify: {name}, {scenario.name}: {window.damage} bad, short or "
                    f"reordered frames {window.dropped}")
    return total, wrong


def start_pairs(backends, make_client):
    """Bring all up and stop them. Who is up stops at once: pollers would starve the rest."""
    for backend in backends:
        backend.start()
    for backend in backends:
        backend.ready()
        backend.stop()
    pairs = []
    for backend in backends:
        backend.cont()
        client = make_client(backend)
        client.ready()
        pairs.append(Pair(backend, client))
        pairs[-1].stop()
    return pairs


__all__ = ["Scenario", "Session", "Client", "Pair", "Placement", "run_rounds", "run_verify",
           "start_pairs", "median", "value_of", "say", "wait_for", "CLASSES"]
