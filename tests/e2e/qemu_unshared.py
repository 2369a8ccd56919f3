#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""Guest memory that is not shared looks like a dead network: the switch has to say what it is.

Guest a has anonymous memory (QEMU gives up before it sends a memory table), guest b a private
memfd (a table comes, and the rings read as zeros for ever). A third guest that shares its memory
must not be suspected.
"""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))
import e2e
from e2e import wait_until
from qemu_guest import Guest, image
from switch import Switch

CURE = "share=on"


def told(switch, name):
    """The port's own account of itself names the cure."""
    return CURE in str(switch.port(name).get("why", ""))


def lines_about(switch, name):
    return [line for line in switch.process.log().splitlines()
            if CURE in line and f"port {name}" in line and "-object" not in line]


def body(test):
    built = image()
    switch = Switch(test)
    guests = [Guest(test, name, number, test.path(name + ".sock"), memory=memory)
              for number, (name, memory) in enumerate(
                  (("a", "anonymous"), ("b", "private"), ("c", "shared")), 1)]
    for guest in guests:
        switch.vm(guest.name, guest.sock)
    switch.start()
    for guest in guests:
        guest.start(built)
    for guest in guests:
        guest.wait_booted()
    for guest in guests[:2]:
        guest.shell("netcheck reach 10.9.0.3 1500")
        seen = wait_until(lambda name=guest.name: told(switch, name), 5, 0.2)
        test.check(f"port {guest.name}: `port show` says {CURE}", seen,
                   str(switch.port(guest.name).get("why")))
        lines = lines_about(switch, guest.name)
        test.check(f"port {guest.name}: the log says so in one line", len(lines) == 1,
                   " | ".join(lines))
    why = switch.wait_running("c")
    test.check("port c runs", not why, why)
    test.check("port c is not suspected", not told(switch, "c") and not lines_about(switch, "c"))


if __name__ == "__main__":
    e2e.run(body)
