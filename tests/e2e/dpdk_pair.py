#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""Two DPDK virtio-user ports through the switch: every frame arrives once, in order, unchanged.

All combinations of queue size, merged receive buffers and IN_ORDER, over one running switch whose
ports see one client after the other.
"""
import itertools
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))
import e2e
from dpdk_client import Pktgen
from switch import Switch

EVERY_SIZE = "run 12000 64 64-1600-1"
TO_JUMBO = "run 3000 16 64-9000-29 9000"
ONE_BY_ONE = "run 500 1 64-9000-257"
SMALL_BURSTS = "run 40000 192 64"


def drive(test, switch, label, socks, keys):
    client = Pktgen(test, socks, **keys)
    client.connect(label)
    for line in (EVERY_SIZE, TO_JUMBO, ONE_BY_ONE, SMALL_BURSTS):
        client.check(f"{label}: {line}", line)
    for name in ("a", "b"):
        drops = switch.drops(name)
        test.check(f"{label}: port {name} dropped nothing", not drops, str(drops or ""))
    client.quit()


def start(test, label, workers):
    """A switch with the ports a and b. Returns it and their sockets."""
    switch = Switch(test, options=["--workers", str(workers)])
    socks = [test.path(f"{label}-{name}.sock") for name in ("a", "b")]
    for name, sock in zip(("a", "b"), socks):
        switch.vm(name, sock)
    switch.start()
    return switch, socks


def end(test, switch):
    status, seconds = switch.stop()
    test.check("SIGTERM: the switch ends in 2 s", status == 0 and seconds < 2,
               f"status {status}, {seconds:.2f} s")


def body(test):
    switch, socks = start(test, "one", 1)
    for size, merged, in_order in itertools.product((256, 1024), (1, 0), (1, 0)):
        label = f"queue {size} mrg_rxbuf {merged} in_order {in_order}"
        drive(test, switch, label, socks,
              {"queue_size": size, "mrg_rxbuf": merged, "in_order": in_order})
    drive(test, switch, "vectorized", socks,
          {"queue_size": 256, "mrg_rxbuf": 0, "in_order": 1, "vectorized": 1})
    for name in ("a", "b"):
        sent = switch.counter(name, "in_frames")
        test.check(f"port {name} counted the frames", sent >= 9 * 55500, f"{sent} in")
    end(test, switch)

    switch, socks = start(test, "two", 2)
    for in_order in (1, 0):
        drive(test, switch, f"two workers, in_order {in_order}", socks,
              {"queue_size": 256, "mrg_rxbuf": 1, "in_order": in_order})
    end(test, switch)


if __name__ == "__main__":
    e2e.run(body)
