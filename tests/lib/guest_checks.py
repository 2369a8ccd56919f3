# SPDX-License-Identifier: BSD-2-Clause
"""What the QEMU tests have in common: a pair of guests, traffic between two, their counters."""
from e2e import Failed
from qemu_guest import PORT

MEGABYTE = 1000 * 1000
IDLE_SHARE = 0.05
BUSYBOX_PING_BYTES = (0, 56, 1472, 1473, 60000)


def boot(test, switch, built, *guests):
    """Boots guests side by side and waits until the switch sees their rings run."""
    for guest in guests:
        guest.start(built)
    for guest in guests:
        guest.wait_booted()
        why = switch.wait_running(guest.name)
        test.require(f"{guest.name}: booted, port running", not why, why)


def reach(test, label, a, address, limit_ms=10000):
    """Replies must come within limit_ms; the rest of the test depends on it."""
    status, output = a.shell(f"netcheck reach {address} {limit_ms}", limit_ms / 1000 + 30)
    test.require(f"{a.name}: {label}", status == 0, output)


def pings(a, b):
    a.netcheck(f"ping {b.name}, every size to 1472", f"ping {b.ip} 0 1472 1")
    a.netcheck(f"ping {b.name}, fragments to 60000", f"ping {b.ip} 1473 60000 1829")
    b.netcheck(f"ping {a.name}, 0 to 60000", f"ping {a.ip} 0 60000 2000")


def stock_pings(test, a, b):
    """The same with a tool that is not ours."""
    for size in BUSYBOX_PING_BYTES:
        status, output = a.shell(f"ping -c 3 -i 0.05 -W 3 -s {size} {b.ip} | grep received")
        test.check(f"{a.name}: busybox ping {b.name}, {size} bytes",
                   status == 0 and "3 packets received" in output, output)


def tcp(a, b, up, down, address=None):
    a.netcheck(f"TCP with {b.name}, {up / MEGABYTE:g} MB up, {down / MEGABYTE:g} MB down",
               f"tcp {address or b.ip} {PORT} {up} {down}", 120)


def udp(a, b):
    a.netcheck(f"UDP with {b.name}, every size to 1472", f"udp {b.ip} {PORT} 1 1472 1 8")
    a.netcheck(f"UDP with {b.name}, fragments to 65000", f"udp {b.ip} {PORT} 1473 65000 3529 2")


def canary(test, a, b):
    """One bit flipped in the sender, after it was hashed, must be noticed at the far side."""
    status, output = a.shell(f"netcheck tcp {b.ip} {PORT} 500000 500000 250000")
    test.check(f"{a.name}: one flipped bit is noticed", status == 1 and "peer-sha256" in output,
               output)


def traffic(a, b, megabytes=8):
    """The short battery: all kinds of traffic, both ways."""
    bulk = megabytes * MEGABYTE
    pings(a, b)
    tcp(a, b, bulk, 0)
    tcp(b, a, bulk, 0)
    tcp(a, b, bulk // 2, bulk // 2, b.ip6)
    udp(a, b)
    udp(b, a)


def clean(test, switch, *guests):
    """Nothing was lost: by the switch's counters and by the guests'.

    A segment that was sent again although the first one had arrived (the receiver says so by
    DSACK) is a guest that did not run for a while. On an idle host there are none of these either.
    """
    others = test.others_busy_share()
    idle = others < IDLE_SHARE
    test.note(f"others used {others:.2f} of a core: {'idle' if idle else 'busy'} host")
    for guest in guests:
        drops = switch.drops(guest.name)
        test.check(f"port {guest.name}: rx-full is 0", not drops.get("rx-full"), str(drops or ""))
        resent, lost = guest.lost_segments()
        test.check(f"{guest.name}: no segment was lost", lost == 0, f"{resent} sent again")
        if idle:
            test.check(f"{guest.name}: no segment was sent again", resent == 0, f"{resent}")
        errors = guest.errors()
        test.check(f"{guest.name}: no errors counted", not errors, str(errors or ""))


def broken_by_guest(switch, *guests):
    """Ports that the switch calls broken, with the reason it gives."""
    found = []
    for guest in guests:
        port = switch.port(guest.name)
        if port["state"] == "broken":
            found.append(f"{guest.name}: {port['why']}")
    return found


def require_tcp_done(test, guest, label, seconds):
    """Waits for the transfer that start_tcp() began."""
    status, output = guest.shell(
        f"i=0; while [ $i -lt {seconds * 10} ] && ! grep -q tcp /tmp/tcp; do "
        "usleep 100000; i=$((i+1)); done; cat /tmp/tcp", seconds + 60)
    test.check(f"{guest.name}: {label}", status == 0 and output.startswith("tcp ok"), output)


def start_tcp(a, b, megabytes):
    """A transfer in the background, both ways."""
    bulk = megabytes * MEGABYTE
    status, output = a.shell(f"rm -f /tmp/tcp; netcheck tcp {b.ip} {PORT} {bulk} {bulk} "
                             ">/tmp/tcp 2>&1 &")
    if status:
        raise Failed(output)
