#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""Two kernels' network stacks behind two taps, each in a namespace of its own: no guest at all.

What passes between them is large segments with open checksums, so that offloads, batches and
queues of the tap port are all in use; then the link and the device go away and come back.
"""
import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))
import e2e
from e2e import wait_until
from netns import Namespace
from switch import Switch

LEFT = "10.8.0.1"
RIGHT = "10.8.0.2"
BEYOND = "10.8.0.3"  # behind a bridge of the left kernel
PORT = 5201
MEGABYTE = 1 << 20
STREAM = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib/stream.py")
BAD_COUNTERS = ("IpInHdrErrors", "IpReasmFails", "IcmpInCsumErrors", "TcpInErrs",
                "TcpInCsumErrors", "UdpInErrors", "UdpInCsumErrors")


class Side:
    """A kernel and its end of the switch."""

    def __init__(self, test, name, tap, address, inside=None):
        self.test = test
        self.name = name
        self.tap = tap
        self.address = address
        self.space = Namespace(test, name, inside)

    def configure(self):
        self.space.run(f"ip addr add {self.address}/24 dev {self.tap}; "
                       f"ip link set {self.tap} up")

    def serve(self):
        server = self.space.spawn(self.test, f"{self.name}-server", [STREAM, "serve", str(PORT)])
        wait_until(lambda: "serving" in server.log(), 10)

    def ping(self, label, to, sizes=(0, 56, 1472, 1473, 60000), good=True):
        for size in sizes:
            status, output = self.space.try_run(
                f"ping -q -c 3 -i 0.05 -W 2 -s {size} {to} | grep received")
            arrived = status == 0 and " 3 received" in output
            self.test.check(f"{label}: ping {to} from the {self.name}, {size} bytes",
                            arrived == good, output)

    def stream(self, label, to, kind, count):
        status, output = self.space.try_run(f"{STREAM} {kind} {to} {PORT} {count}", 120)
        self.test.check(f"{label}: {kind} {count} to {to} from the {self.name}",
                        status == 0, output)

    def errors(self):
        lines = self.space.run("cat /proc/net/snmp").splitlines()
        values = {}
        for names, numbers in zip(lines[::2], lines[1::2]):
            for name, value in zip(names.split()[1:], numbers.split()[1:]):
                values[names.split(":")[0] + name] = int(value)
        return {name: values[name] for name in BAD_COUNTERS if values.get(name)}


def everything(label, left, right):
    left.ping(label, RIGHT)
    right.ping(label, LEFT, (56, 60000))
    left.stream(label, RIGHT, "tcp", 32 * MEGABYTE)
    right.stream(label, LEFT, "tcp", 32 * MEGABYTE)
    left.stream(label, RIGHT, "udp", 110)
    right.stream(label, LEFT, "udp", 110)


def offloads_and_batches(test, switch):
    for name in ("left", "right"):
        port = switch.port(name)
        counters = port["counters"]
        mean = counters["out_bytes"] / max(1, counters["out_frames"])
        test.check(f"{name}: large segments stayed whole", mean > 3000, f"{mean:.0f} bytes a frame")
        test.check(f"{name}: nothing was finished in software",
                   counters["copied_frames"] == 0, str(counters["copied_frames"]))
        drops = switch.drops(name)
        for early in ("no-port", "rx-down"):  # said before the other link was there, or up
            drops.pop(early, None)
        test.check(f"{name}: nothing dropped", not drops, str(drops))
        if port["io_uring"]:
            test.check(f"{name}: written in batches by io_uring",
                       port["write_batches"] > 0
                       and port["write_batched"] >= 2 * port["write_batches"],
                       f"{port['write_batched']} in {port['write_batches']}, "
                       f"{port['write_singles']} singly")
        else:
            test.note(f"{name}: no io_uring on this host")


def link_goes_and_comes(test, switch, left, right):
    before = switch.drops("left").get("rx-down", 0)
    left.space.run(f"ip link set {left.tap} down")
    right.ping("left link down", LEFT, (56,), good=False)
    test.check("link down: shown", switch.port("left")["link"] == "down")
    test.check("link down: what came meanwhile is counted",
               switch.drops("left").get("rx-down", 0) > before, str(switch.drops("left")))
    left.space.run(f"ip link set {left.tap} up")
    test.check("link up: shown", switch.port("left")["link"] == "up")
    right.ping("left link up again", LEFT, (56, 60000))


def device_goes_and_comes(test, switch, left, right):
    left.space.run(f"ip link del {left.tap}")
    gone = wait_until(lambda: switch.port("left")["state"] == "waiting", 3)
    why = switch.port("left")["why"]
    test.check("deleted: the port waits and says why", gone and "was deleted" in why, why)
    before, begin = switch.cpu_seconds(), time.monotonic()
    time.sleep(1)
    share = (switch.cpu_seconds() - before) / (time.monotonic() - begin)
    test.check("deleted: nothing spins", share < 0.05, f"{100 * share:.1f} % of a core")
    left.space.run(f"ip tuntap add {left.tap} mode tap multi_queue")
    wrong = switch.wait_running("left", 5)
    test.check("made again: running", not wrong, wrong)
    left.configure()
    everything("made again", left, right)


def behind_a_bridge(test, switch, left, right):
    """The tap as a port of the host's own bridge: another machine behind it is reached."""
    beyond = Namespace(test, "beyond", left.space)
    left.space.run("ip link add br0 type bridge && ip link set br0 up")
    left.space.veth("cable", beyond, "eth0")
    left.space.run("ip link set cable master br0")
    beyond.run(f"ip addr add {BEYOND}/24 dev eth0")
    switch.ask("port", "add", "lan", "tap", "dev", "lrlan", "bridge", "br0")
    right.ping("behind a bridge", BEYOND)
    status, output = beyond.try_run(f"{STREAM} tcp {RIGHT} {PORT} {8 * MEGABYTE}")
    test.check("behind a bridge: tcp", status == 0, output)
    switch.ask("port", "del", "lan")
    away = wait_until(lambda: left.space.try_run("ip link show lrlan")[0], 5)
    test.check("port del: the interface is gone", away)


def many_queues(test, left, right, switch):
    """Two workers, four queues: what passes keeps its order and its bytes."""
    workers = switch.port("left")["queue_workers"]
    test.check("queues: spread over the workers", sorted(workers) == [0, 0, 1, 1], str(workers))
    for side, to in ((left, RIGHT), (right, LEFT)):
        streams = [test.spawn(f"{side.name}-stream{i}",
                              side.space.prefix() + [STREAM, "tcp", to, str(PORT),
                                                     str(8 * MEGABYTE)]) for i in range(8)]
        for stream in streams:
            ended = wait_until(lambda s=stream: not s.alive(), 120)
            test.check(f"queues: {stream.name}", ended and stream.child.returncode == 0,
                       stream.log().strip())


def one_run(test, left, right, extra, options=()):
    switch = Switch(test, prefix=left.space.prefix(), options=options)
    switch.tap("left", left.tap, extra)
    switch.tap("right", right.tap, extra)
    switch.start()
    left.space.run(f"ip link set {right.tap} netns {right.space.holder.pid}")
    left.configure()
    right.configure()
    return switch


def end(test, switch, left):
    status, seconds = switch.stop()
    test.check("the switch ends", status == 0 and seconds < 3, f"{status}, {seconds:.1f} s")
    test.check("its taps are gone",
               wait_until(lambda: left.space.try_run(f"ip link show {left.tap}")[0], 5))


def body(test):
    left = Side(test, "left", "lr-left", LEFT)
    right = Side(test, "right", "lr-right", RIGHT, left.space)
    switch = one_run(test, left, right, "")
    for side in (left, right):
        side.serve()
    everything("one queue", left, right)
    offloads_and_batches(test, switch)
    link_goes_and_comes(test, switch, left, right)
    behind_a_bridge(test, switch, left, right)
    device_goes_and_comes(test, switch, left, right)
    left.space.run(f"ip tuntap del {left.tap} mode tap multi_queue")  # ours again, not persistent
    end(test, switch, left)
    switch = one_run(test, left, right, "queues 4", ["--workers", "2"])
    everything("four queues", left, right)
    many_queues(test, left, right, switch)
    end(test, switch, left)
    for side in (left, right):
        test.check(f"the {side.name} kernel counted no errors", not side.errors(),
                   str(side.errors() or ""))


if __name__ == "__main__":
    e2e.run(body)
