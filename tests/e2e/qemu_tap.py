#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""Two Linux guests and their host behind a tap port, in a network namespace.

Guest b takes nothing unfinished: what the host's kernel hands over as one large segment has to be
cut and summed for it. The host's side is its own kernel, ping and netcheck.
"""
import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))
import e2e
import guest_checks as gc
from netns import Namespace
from qemu_guest import PORT, Guest, image
from qemu_variants import NO_OFFLOADS
from switch import Switch

HOST = "10.9.0.254"
HOST6 = "fd09::254"
TAP = "lr0"


class Host:
    """The namespace that the tap is in, with the same verbs as a guest."""

    def __init__(self, test, netcheck):
        self.test = test
        self.name = "host"
        self.ip = HOST
        self.ip6 = HOST6
        self.netcheck_path = netcheck
        self.space = Namespace(test, "host")

    def configure(self):
        self.space.run(f"ip addr add {HOST}/24 dev {TAP}; ip link set {TAP} up; "
                       f"ip -6 addr add {HOST6}/64 dev {TAP} nodad")

    def serve(self):
        self.space.spawn(self.test, "host-netcheck", [self.netcheck_path, "serve", str(PORT)])

    def netcheck(self, label, command, seconds=60):
        status, output = self.space.try_run(f"{self.netcheck_path} {command}", seconds)
        self.test.check(f"{self.name}: {label}", status == 0, output)

    def stock_ping(self, guest):
        for size in (0, 56, 1472, 1473, 60000):
            status, output = self.space.try_run(
                f"ping -q -c 3 -i 0.05 -W 3 -s {size} {guest.ip} | grep received")
            self.test.check(f"host: ping {guest.name}, {size} bytes",
                            status == 0 and " 3 received" in output, output)

    def errors(self):
        """Counters of the host's stack and of the tap that must stay 0."""
        output = self.space.run("cat /proc/net/snmp")
        values = {}
        lines = output.splitlines()
        for names, numbers in zip(lines[::2], lines[1::2]):
            for name, value in zip(names.split()[1:], numbers.split()[1:]):
                values[names.split(":")[0] + name] = int(value)
        wanted = ("IpInHdrErrors", "IpReasmFails", "IcmpInCsumErrors", "TcpInErrs",
                  "TcpInCsumErrors", "UdpInErrors", "UdpInCsumErrors")
        return {name: values[name] for name in wanted if values.get(name)}


def tap_goes_and_comes(test, host, a):
    host.space.run(f"ip link set {TAP} down")
    status, output = a.shell(f"netcheck reach {HOST} 500")
    test.check("a: nothing passes with the tap down", status == 1, output)
    host.space.run(f"ip link set {TAP} up; ip -6 addr replace {HOST6}/64 dev {TAP} nodad")
    gc.reach(test, "reaches the host, the tap is up again", a, HOST)
    gc.tcp(a, host, 2 * gc.MEGABYTE, 2 * gc.MEGABYTE)


def restart(test, switch, host, a):
    """A tap of the switch goes with it; its addresses have to be set again."""
    switch.kill()
    time.sleep(0.5)
    switch.start()
    host.configure()
    gc.reach(test, "reaches the host after the switch was killed", a, HOST)
    gc.tcp(a, host, 2 * gc.MEGABYTE, 2 * gc.MEGABYTE)


def body(test):
    built = image()
    host = Host(test, built[2])
    switch = Switch(test, prefix=host.space.prefix())
    a = Guest(test, "a", 1, test.path("a.sock"))
    b = Guest(test, "b", 2, test.path("b.sock"), device=NO_OFFLOADS)
    for guest in (a, b):
        switch.vm(guest.name, guest.sock)
    switch.tap("host", TAP)
    switch.start()
    host.configure()
    host.serve()
    gc.boot(test, switch, built, a, b)
    for guest in (a, b):
        gc.reach(test, "reaches the host", guest, HOST)
        host.stock_ping(guest)
        gc.pings(guest, host)
        gc.tcp(guest, host, 8 * gc.MEGABYTE, 0)
        gc.tcp(host, guest, 8 * gc.MEGABYTE, 0)
        gc.tcp(guest, host, 4 * gc.MEGABYTE, 4 * gc.MEGABYTE, HOST6)
        gc.udp(guest, host)
        gc.udp(host, guest)
    gc.reach(test, "reaches b", a, b.ip)
    gc.clean(test, switch, a, b)
    errors = host.errors()
    test.check("host: no errors counted", not errors, str(errors or ""))
    tap_goes_and_comes(test, host, a)
    restart(test, switch, host, a)


if __name__ == "__main__":
    e2e.run(body)
