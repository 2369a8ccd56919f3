# SPDX-License-Identifier: BSD-2-Clause
"""Linux guests in QEMU (emulated CPU: no KVM needed) for the end-to-end tests.

A guest boots the image of tests/e2e/guest/mkimage.py in about three seconds. Its console goes to
a log; a second serial port takes shell commands, so that one boot serves many checks. `netcheck`
(tests/e2e/guest/netcheck.c) runs in it as a server on port 7777.
"""
import os
import re
import socket
import sys
import time

from e2e import Failed, Skip, built, need_tools, wait_until

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../e2e/guest"))
import mkimage  # noqa: E402 pylint: disable=wrong-import-position

PORT = 7777
BOOT_SECONDS = 90


def image(folder=None):
    """(kernel, initrd, netcheck) of the guest image."""
    need_tools("qemu-system-x86_64", "gcc", "dpkg-deb", "apt-get")
    try:
        return mkimage.build(folder or built("LASTREF_E2E_IMAGE", "tests/e2e/image"))
    except mkimage.Unavailable as why:
        raise Skip(f"cannot make the guest image: {why}") from why


def host_khz():
    with open("/proc/cpuinfo", encoding="ascii", errors="replace") as f:
        found = re.search(r"^cpu MHz\s*:\s*([0-9.]+)", f.read(), re.M)
    return int(float(found.group(1)) * 1000) if found else 2000000


class Guest:
    """One virtual machine with one virtio-net device behind a vhost-user socket.

    device and netdev add properties (",mrg_rxbuf=off"); listen: QEMU makes the socket and the
    back-end connects; memory: shared, private (a memfd that is mapped privately) or anonymous;
    split_mb: two memory backends, the first of that size; prefix goes before the command.
    """

    def __init__(self, test, name, number, sock, device="", netdev="", mem_mb=256, listen=False,
                 mtu=None, split_mb=None, memory="shared", network="10.9.0", prefix=()):
        self.test = test
        self.name = name
        self.ip = f"{network}.{number}"
        self.ip6 = f"fd09::{number}"
        self.mac = f"52:54:00:00:09:{number:02x}"
        self.sock = sock
        self.device = device
        self.netdev = netdev
        self.mem_mb = mem_mb
        self.listen = listen
        self.mtu = mtu
        self.split_mb = split_mb
        self.memory = memory
        self.prefix = list(prefix)
        self.console = test.path(f"{name}.console")
        self.process = None
        self.serial = None
        self.pending = b""
        self.last_id = 0

    # life

    def memory_argv(self):
        if self.memory == "anonymous":
            return []
        share = "on" if self.memory == "shared" else "off"
        parts = [self.mem_mb]
        if self.split_mb:
            parts = [self.split_mb, self.mem_mb - self.split_mb]
        argv = []
        for i, megabytes in enumerate(parts):
            argv += ["-object", f"memory-backend-memfd,id=m{i},size={megabytes}M,"
                     f"share={share}"]
        if len(parts) == 1:
            return argv + ["-machine", "memory-backend=m0"]
        for i in range(len(parts)):
            cpus = ",cpus=0" if i == 0 else ""
            argv += ["-numa", f"node,nodeid={i},memdev=m{i}{cpus}"]
        return argv

    def argv(self, kernel, initrd):
        # no_timer_check: a guest that is not run for a moment at the wrong time would give up
        words = ["console=ttyS0", "quiet", "nokaslr", "mitigations=off", "panic=-1",
                 "no_timer_check",
                 f"tsc_early_khz={host_khz()}", f"lr.name={self.name}", f"lr.ip={self.ip}/24",
                 f"lr.ip6={self.ip6}/64"]
        if self.mtu:
            words.append(f"lr.mtu={self.mtu}")
        how = "server=on,wait=off" if self.listen else "reconnect=1"
        return [*self.prefix, "qemu-system-x86_64",
                "-accel", "tcg,thread=multi,tb-size=128", "-cpu", "qemu64",
                "-M", "q35,hpet=off", "-smp", "1", "-m", str(self.mem_mb), *self.memory_argv(),
                "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
                "-kernel", kernel, "-initrd", initrd, "-append", " ".join(words),
                "-chardev", f"socket,id=c0,path={self.sock},{how}",
                "-netdev", f"vhost-user,id=n0,chardev=c0{self.netdev}",
                # QEMU 7.2 crashes with an emulated CPU, vhost-user and MSI-X: no vectors.
                "-device", f"virtio-net-pci,netdev=n0,mac={self.mac},romfile=,vectors=0"
                           f"{self.device}",
                "-serial", f"file:{self.console}",
                "-serial", f"unix:{self.path('serial')},server=on,wait=off",
                "-monitor", f"unix:{self.path('monitor')},server=on,wait=off"]

    def path(self, what):
        return self.test.path(f"{self.name}.{what}")

    def start(self, built):
        kernel, initrd, _ = built
        with open(self.console, "wb"):
            pass
        self.process = self.test.spawn(f"{self.name}.qemu", self.argv(kernel, initrd))
        self.test.watch_log(f"{self.name} console", self.console)

    def booted(self):
        if not self.process.alive():
            raise Failed(f"{self.name}: QEMU ended: {self.process.log()[-400:]}")
        with open(self.console, encoding="utf-8", errors="replace") as f:
            return f"LASTREF-GUEST {self.name} ready" in f.read()

    def wait_booted(self, seconds=BOOT_SECONDS):
        if not wait_until(self.booted, seconds, 0.1):
            raise Failed(f"{self.name} did not boot in {seconds} s")
        self.serial = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.serial.connect(self.path("serial"))
        self.test.later(self.serial.close)

    def end(self):
        """Switches the machine off, as a host that loses power would."""
        self.serial.close()
        self.pending = b""
        self.process.kill()

    # commands

    def shell(self, command, seconds=60):
        """Runs command in the guest; returns (exit status, output)."""
        self.last_id += 1
        self.serial.sendall(f"{self.last_id} {command}\n".encode())
        marker = f"@@END {self.last_id} ".encode()
        end = time.monotonic() + seconds
        while marker not in self.pending or b"\n" not in self.pending.split(marker, 1)[1]:
            left = end - time.monotonic()
            if left <= 0 or not self.process.alive():
                raise Failed(f"{self.name}: no answer in {seconds} s to: {command}")
            self.serial.settimeout(left)
            try:
                got = self.serial.recv(4096)
            except TimeoutError:
                continue
            if not got:
                raise Failed(f"{self.name}: the serial port closed during: {command}")
            self.pending += got
        output, rest = self.pending.split(marker, 1)
        status, self.pending = rest.split(b"\n", 1)
        return int(status), output.decode(errors="replace").replace("\r", "").strip()

    def netcheck(self, label, command, seconds=60):
        """A netcheck command as a check of the test; returns its key=value pairs."""
        status, output = self.shell("netcheck " + command, seconds)
        self.test.check(f"{self.name}: {label}", status == 0, output)
        return dict(re.findall(r"(\w+)=(\S+)", output))

    def monitor(self, command):
        """A command of QEMU's monitor; returns its text."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as s:
            s.settimeout(10)
            s.connect(self.path("monitor"))
            text = b""
            while not text.endswith(b"(qemu) "):
                text += s.recv(4096)
            s.sendall(command.encode() + b"\n")
            text = b""
            while not text.endswith(b"(qemu) "):
                text += s.recv(4096)
        return text.decode(errors="replace")

    # counters

    def snmp(self):
        """/proc/net/snmp and netstat as one flat dictionary: TcpRetransSegs, ..."""
        lines = self.shell("cat /proc/net/snmp /proc/net/netstat")[1].splitlines()
        values = {}
        for names, numbers in zip(lines[::2], lines[1::2]):
            group = names.split(":")[0]
            for name, value in zip(names.split()[1:], numbers.split()[1:]):
                values[group + name] = int(value)
        return values

    def lost_segments(self):
        """(retransmitted, of those not shown to be needless by the receiver)."""
        values = self.snmp()
        resent = values["TcpRetransSegs"]
        return resent, max(0, resent - values.get("TcpExtTCPDSACKRecv", 0))

    def errors(self):
        """Counters that must stay 0 whatever happens: bad checksums, bad lengths."""
        values = self.snmp()
        names = ["IpInHdrErrors", "IpReasmFails", "IcmpInCsumErrors", "TcpInErrs",
                 "TcpInCsumErrors", "UdpInErrors", "UdpInCsumErrors"]
        device = self.shell("cd /sys/class/net/eth0/statistics && grep . rx_errors rx_dropped "
                            "rx_length_errors rx_frame_errors tx_errors tx_dropped")[1]
        found = {name: values[name] for name in names if values.get(name)}
        for line in device.splitlines():
            name, value = line.split(":")
            if int(value):
                found[name] = int(value)
        return found
