#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""Linux guests whose devices differ: usage: qemu_variants.py [NAME...]

Each pair of guests runs the short battery both ways, so that each variant sends and receives; all
pairs use the same two ports of one running switch.
"""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))
import e2e
import guest_checks as gc
from qemu_guest import Guest, image
from switch import Switch

NO_OFFLOADS = ",csum=off,gso=off," + ",".join(
    f"{side}_{what}=off" for side in ("guest", "host") for what in ("tso4", "tso6", "ecn", "ufo")
) + ",guest_csum=off"
HIGH_MEMORY_MB = 3072  # QEMU splits it at the hole below 4 GiB

# name: (keywords of guest a, keywords of guest b)
PAIRS = {
    # Rings without indirect tables; the legacy interface.
    "rings": ({"device": ",indirect_desc=off"}, {"device": ",disable-modern=on"}),
    # The 10-byte header against the modern interface, with jumbo frames.
    "jumbo": ({"device": ",disable-modern=on,mrg_rxbuf=off,host_mtu=9000", "mtu": 9000},
              {"device": ",disable-legacy=on,host_mtu=9000", "mtu": 9000}),
    # b takes nothing unfinished: checksums and segmentation are done for it.
    "offload": ({}, {"device": NO_OFFLOADS}),
    # Several memory regions.
    "memory": ({"mem_mb": HIGH_MEMORY_MB, "device": ",event_idx=off"},
               {"split_mb": 128, "device": ",mrg_rxbuf=off,indirect_desc=off"}),
}


def enough_memory():
    return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") > 2 << 30


def run_pair(test, switch, built, name):
    keys_a, keys_b = PAIRS[name]
    a = Guest(test, "a", 1, test.path("a.sock"), **keys_a)
    b = Guest(test, "b", 2, test.path("b.sock"), **keys_b)
    test.note(f"{name}: a{keys_a.get('device', '')} b{keys_b.get('device', '')}")
    gc.boot(test, switch, built, a, b)
    gc.reach(test, f"{name}: reaches b", a, b.ip)
    gc.traffic(a, b)
    if keys_a.get("mtu"):
        a.netcheck("UDP, jumbo sizes", f"udp {b.ip} 7777 1473 8972 13 8")
        b.netcheck("UDP, jumbo sizes", f"udp {a.ip} 7777 1473 8972 13 8")
    gc.clean(test, switch, a, b)
    a.end()
    b.end()


def body(test):
    built = image()
    switch = Switch(test)
    for name in ("a", "b"):
        switch.vm(name, test.path(name + ".sock"))
    switch.start()
    for name in sys.argv[1:] or PAIRS:
        if name == "memory" and not enough_memory():
            test.note("memory: left out, less than 2 GiB are free")
            continue
        run_pair(test, switch, built, name)


if __name__ == "__main__":
    e2e.run(body)
