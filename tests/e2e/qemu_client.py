#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""QEMU listens (chardev server=on), the switch connects: mode client.

The switch is started first and finds no sockets; guests come, the switch is killed and started
again, and a guest is ended and started again while its neighbour keeps running. Two workers.
"""
import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))
import e2e
import guest_checks as gc
from qemu_guest import Guest, image
from switch import Switch

RECONNECT_MS = 8000  # the switch's back-off


def body(test):
    built = image()
    switch = Switch(test, options=["--workers", "2"])
    a = Guest(test, "a", 1, test.path("a.sock"), listen=True, device=",mrg_rxbuf=off")
    b = Guest(test, "b", 2, test.path("b.sock"), listen=True, device=",event_idx=off")
    for guest in (a, b):
        switch.vm(guest.name, guest.sock, client=True)
    switch.start()
    gc.boot(test, switch, built, a, b)
    gc.reach(test, "reaches b", a, b.ip)
    gc.traffic(a, b)
    gc.clean(test, switch, a, b)

    gc.start_tcp(a, b, 4)
    time.sleep(0.5)
    switch.kill()
    time.sleep(1)
    switch.start()
    gc.reach(test, "traffic resumes after SIGKILL", a, b.ip, RECONNECT_MS)
    gc.require_tcp_done(test, a, "the transfer survives SIGKILL", 60)

    b.end()
    b.start(built)
    b.wait_booted()
    gc.reach(test, "reaches b, which was started again", a, b.ip, RECONNECT_MS)
    gc.tcp(b, a, 2 * gc.MEGABYTE, 2 * gc.MEGABYTE)
    for guest in (a, b):
        why = switch.wait_running(guest.name)
        test.check(f"port {guest.name} runs", not why, why)


if __name__ == "__main__":
    e2e.run(body)
