#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""The recipes of README.md, run as they stand there, with a Linux guest behind them.

A recipe is the first `sh` block behind its heading. Its commands run in a namespace of their own
with an empty /run, the switch already runs there, and `lastref` is in the search path.
"""
import os
import re
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))
import e2e
import guest_checks as gc
from e2e import Failed
from netns import Namespace
from qemu_guest import PORT, Guest, image
from switch import DEFAULT_CONTROL, Switch, binary

README = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../README.md")
WORLD = "A guest that reaches the world"
BRIDGE = "A guest on an existing bridge"
SOCK = "/run/lastref/guest.sock"
GUEST_NET = "192.168.77"
LAN = "10.44.0"


def recipe(heading):
    with open(README, encoding="utf-8") as f:
        text = f.read()
    found = re.search(rf"^#+ {re.escape(heading)}$.*?^```sh\n(.*?)^```$", text, re.M | re.S)
    if not found:
        raise Failed(f"README.md has no recipe '{heading}'")
    return found.group(1)


def follow(test, switch, space, heading):
    switch.start()
    folder = os.path.dirname(binary())
    status, output = space.try_run(f"PATH={folder}:$PATH\n{recipe(heading)}")
    test.require(f"'{heading}': the commands run", status == 0, output)


def host_and_far(test, name, host_ip, far_ip):
    """The machine with the switch, and another one at the end of its cable `wan`."""
    host = Namespace(test, name)
    far = Namespace(test, name + "-far", inside=host)
    host.veth("wan", far, "far0")
    if host_ip:
        host.run(f"ip addr add {host_ip}/24 dev wan")
    far.run(f"ip addr add {far_ip}/24 dev far0")
    host.run("mkdir /run/lastref")
    return host, far


def serve(test, space, name, netcheck):
    space.spawn(test, name, [netcheck, "serve", str(PORT)])


def guest_in(test, built, host, name, network, number, gateway=None):
    """A guest whose socket is the one that the recipe names."""
    guest = Guest(test, name, number, SOCK, network=network, prefix=host.prefix())
    guest.start(built)
    guest.wait_booted()
    if gateway:
        status, output = guest.shell(f"ip route add default via {gateway}")
        test.require(f"{name}: default route", status == 0, output)
    return guest


def world(test, built):
    """The far machine knows nothing of the guest's network: only translated frames come back."""
    far_ip = "198.51.100.2"
    host, far = host_and_far(test, "world", "198.51.100.1", far_ip)
    serve(test, far, "world-server", built[2])
    switch = Switch(test, prefix=host.prefix(), control=DEFAULT_CONTROL)
    follow(test, switch, host, WORLD)
    guest = guest_in(test, built, host, "guest", GUEST_NET, 2, f"{GUEST_NET}.1")
    gc.reach(test, "reaches the host", guest, f"{GUEST_NET}.1")
    gc.reach(test, "reaches the world", guest, far_ip)
    guest.netcheck("TCP with the world, 4 MB each way", f"tcp {far_ip} {PORT} 4000000 4000000")
    guest.netcheck("UDP with the world", f"udp {far_ip} {PORT} 1 1472 7 4")
    status, output = far.try_run(f"ping -c 1 -W 1 {guest.ip}")
    test.check("the world has no route to the guest", status != 0, output[-80:])
    guest.end()
    switch.stop()


def bridge(test, built):
    """br0 exists with its cable in it; the guest is one more machine of that network."""
    far_ip = f"{LAN}.200"
    host, far = host_and_far(test, "bridge", None, far_ip)
    host.run("ip link add br0 type bridge && ip link set wan master br0 && ip link set br0 up && "
             f"ip addr add {LAN}.1/24 dev br0")
    serve(test, far, "bridge-server", built[2])
    switch = Switch(test, prefix=host.prefix(), control=DEFAULT_CONTROL)
    follow(test, switch, host, BRIDGE)
    guest = guest_in(test, built, host, "lan-guest", LAN, 3)
    gc.reach(test, "reaches the host's own address", guest, f"{LAN}.1")
    gc.reach(test, "reaches the machine behind the bridge", guest, far_ip)
    guest.netcheck("TCP over the bridge, 4 MB each way", f"tcp {far_ip} {PORT} 4000000 4000000")
    status, output = far.try_run(f"ping -c 3 -i 0.1 -W 3 {guest.ip}")
    test.check("that machine reaches the guest", status == 0, output[-160:])
    guest.end()
    switch.stop()


def body(test):
    built = image()
    world(test, built)
    bridge(test, built)


if __name__ == "__main__":
    e2e.run(body)
