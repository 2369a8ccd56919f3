#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""Two Linux guests in QEMU with default devices; the switch listens.

Traffic of every kind, the driver taken away and brought back, the link down and up, VLANs; then
the switch is killed, and ended, and started again under the running guests.
"""
import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))
import e2e
import guest_checks as gc
from qemu_guest import Guest, image
from switch import Switch

IDLE_SECONDS = 4
RESUME_MS = 5000  # QEMU tries once a second


def driver_comes_and_goes(test, a, b):
    for label, command in (
            ("driver unloaded and loaded",
             "rmmod virtio_net && insmod /modules/virtio_net.ko && net_up"),
            ("device unbound and bound",
             "cd /sys/bus/virtio/drivers/virtio_net && d=$(ls -d virtio*) && echo $d >unbind && "
             "echo $d >bind && net_up"),
            ("PCI driver unbound and bound",
             "cd /sys/bus/pci/drivers/virtio-pci && d=$(ls -d 0*) && echo $d >unbind && "
             "echo $d >bind && net_up")):
        status, output = a.shell(command)
        test.check(f"{a.name}: {label}", status == 0, output)
        gc.reach(test, f"reaches {b.name}: {label}", a, b.ip)
        gc.tcp(a, b, 2 * gc.MEGABYTE, 2 * gc.MEGABYTE)


def link_goes_down_and_up(test, a, b):
    status, output = a.shell(f"ip link set eth0 down && sleep 0.2 && ip link set eth0 up && "
                             f"ip -6 addr add {a.ip6}/64 dev eth0; true")
    test.check(f"{a.name}: interface down and up", status == 0, output)
    gc.reach(test, "reaches the other: interface down and up", a, b.ip)
    a.monitor("set_link n0 off")
    status, output = a.shell("usleep 300000; cat /sys/class/net/eth0/carrier")
    test.check(f"{a.name}: link off seen", output == "0", output)
    status, output = a.shell(f"netcheck reach {b.ip} 600")
    test.check(f"{a.name}: nothing passes with the link off", status == 1, output)
    a.monitor("set_link n0 on")
    gc.reach(test, "reaches the other: link on", a, b.ip)
    gc.tcp(b, a, 2 * gc.MEGABYTE, 2 * gc.MEGABYTE)


def vlans(test, a, b):
    for guest, number in ((a, 1), (b, 2)):
        status, output = guest.shell(
            "vconfig add eth0 7 >/dev/null && ip link set eth0.7 up && "
            f"ip addr add 10.7.0.{number}/24 dev eth0.7")
        test.check(f"{guest.name}: VLAN interface", status == 0, output)
    gc.reach(test, "tagged frames", a, "10.7.0.2")
    a.netcheck("tagged: ping, 0 to 20000", "ping 10.7.0.2 0 20000 500")
    gc.tcp(a, b, 4 * gc.MEGABYTE, 4 * gc.MEGABYTE, "10.7.0.2")


def idle(test, switch):
    """Two connected guests with running rings that say little."""
    begin = switch.cpu_seconds()
    time.sleep(IDLE_SECONDS)
    share = (switch.cpu_seconds() - begin) / IDLE_SECONDS
    test.check("idle guests cost less than 1 % of a core", share < 0.01, f"{share * 100:.2f} %")


def restart(test, switch, a, b, label, end):
    """end() ends the switch while a transfer runs; the transfer must survive it."""
    gc.start_tcp(a, b, 6)
    time.sleep(0.5)
    end()
    time.sleep(0.5)
    test.note(f"ready after {switch.start():.2f} s")
    begin = time.monotonic()
    gc.reach(test, f"traffic resumes: {label}", a, b.ip, RESUME_MS)
    gc.reach(test, f"traffic resumes: {label}", b, a.ip, RESUME_MS)
    test.note(f"both ways {time.monotonic() - begin:.2f} s after ready")
    gc.require_tcp_done(test, a, f"the transfer survives: {label}", 60)
    for guest in (a, b):
        why = switch.wait_running(guest.name)
        test.check(f"port {guest.name} runs: {label}", not why, why)


def terminate(test, switch):
    status, seconds = switch.stop()
    test.check("SIGTERM: the switch ends in 2 s", status == 0 and seconds < 2,
               f"status {status}, {seconds:.2f} s")


def body(test):
    built = image()
    switch = Switch(test)
    a = Guest(test, "a", 1, test.path("a.sock"))
    b = Guest(test, "b", 2, test.path("b.sock"))
    for guest in (a, b):
        switch.vm(guest.name, guest.sock)
    switch.start()
    gc.boot(test, switch, built, a, b)
    gc.reach(test, "reaches b", a, b.ip)
    gc.stock_pings(test, a, b)
    gc.traffic(a, b, 16)
    gc.canary(test, a, b)
    gc.clean(test, switch, a, b)
    vlans(test, a, b)
    driver_comes_and_goes(test, a, b)
    link_goes_down_and_up(test, a, b)
    gc.clean(test, switch, b)
    idle(test, switch)
    restart(test, switch, a, b, "after SIGKILL", switch.kill)
    restart(test, switch, a, b, "after SIGTERM", lambda: terminate(test, switch))
    broken = gc.broken_by_guest(switch, a, b)
    test.check("no port is broken", not broken, "; ".join(broken))
    terminate(test, switch)


if __name__ == "__main__":
    e2e.run(body)
