#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""virtio-user makes the sockets (server=1), the switch connects to them (mode client).

The switch is ended and killed under traffic, and started again; the driver keeps its rings and
features, and once its links are back every frame arrives again.
"""
import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))
import e2e
from dpdk_client import Pktgen
from switch import Switch

TRAFFIC = "run 5000 64 64-9000-97"


def come_back(test, switch, client, label):
    begin = time.monotonic()
    switch.start()
    client.connect(label)
    test.check(f"{label}: frames again", True, f"{time.monotonic() - begin:.2f} s after exec")
    client.check(f"{label}: {TRAFFIC}", TRAFFIC)


def feed_and(client, act, milliseconds=1500):
    """Traffic while act() happens. Returns (good, answer) of the traffic."""
    client.process.child.stdin.write(f"feed {milliseconds}\n".encode())
    client.process.child.stdin.flush()
    time.sleep(milliseconds / 3000)
    act()
    return client.expect("feed", 30)


def rounds(test, label, keys):
    socks = [test.path(f"{label}-{name}.sock".replace(" ", "-")) for name in ("a", "b")]
    switch = Switch(test)
    for name, sock in zip(("a", "b"), socks):
        switch.vm(name, sock, client=True)
    client = Pktgen(test, socks, server=1, **keys)
    switch.start()
    client.connect(label)
    client.check(f"{label}: {TRAFFIC}", TRAFFIC)
    good, answer = feed_and(client, switch.kill)
    test.check(f"{label}: killed under traffic, nothing bad arrived", good, answer)
    come_back(test, switch, client, f"{label}: after SIGKILL")
    status = []
    good, answer = feed_and(client, lambda: status.append(switch.stop()))
    test.check(f"{label}: ended under traffic, nothing bad arrived", good, answer)
    test.check(f"{label}: SIGTERM: ended in 2 s", status[0][0] == 0 and status[0][1] < 2,
               f"status {status[0][0]}, {status[0][1]:.2f} s")
    come_back(test, switch, client, f"{label}: after SIGTERM")
    # Not by `quit`: DPDK 22.11 sometimes crashes when it closes a port that was reconnected.
    client.process.kill()
    switch.stop()


def body(test):
    rounds(test, "in order", {"queue_size": 256, "mrg_rxbuf": 1, "in_order": 1})
    rounds(test, "out of order", {"queue_size": 1024, "mrg_rxbuf": 1, "in_order": 0})
    rounds(test, "whole buffers", {"queue_size": 256, "mrg_rxbuf": 0, "in_order": 1})


if __name__ == "__main__":
    e2e.run(body)
