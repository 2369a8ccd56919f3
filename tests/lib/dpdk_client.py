# SPDX-License-Identifier: BSD-2-Clause
"""Drives tests/e2e/dpdk_pktgen.c: two DPDK virtio-user ports in one process."""
import os
import re
import select
import subprocess
import time

from e2e import Failed, Skip, built

RX_ROOM_WHOLE_BYTES = 9728  # without merged buffers the driver insists on its longest frame
RX_ROOM_MERGED_BYTES = 2048


class Pktgen:
    """socks: of port 0 and 1. keys: virtio-user's devargs (queue_size, mrg_rxbuf, ...).

    With server=1 the driver does not finish its start until the back-end has connected.
    """

    def __init__(self, test, socks, **keys):
        path = built("LASTREF_PKTGEN", "tests/e2e/dpdk_pktgen")
        if not os.access(path, os.X_OK):
            raise Skip(f"{path} is not built: needs libdpdk-dev (see dist/packages)")
        words = [f"{key}={value}" for key, value in keys.items()]
        cpus = ",".join(str(cpu) for cpu in sorted(os.sched_getaffinity(0)))
        # env: else DPDK leaves a folder behind in /run
        argv = ["env", f"RUNTIME_DIRECTORY={test.folder}", path, "--lcores", f"0@({cpus})",
                "--no-huge", "-m", "256", "--no-pci", "--no-telemetry", "--log-level", "lib.eal:4"]
        for i, sock in enumerate(socks):
            devargs = [f"net_virtio_user{i}", f"path={sock}", f"mac=02:00:00:00:00:0{i}", *words]
            argv += ["--vdev", ",".join(devargs)]
        merged = str(keys.get("mrg_rxbuf", 1)) == "1"
        argv += ["--", str(RX_ROOM_MERGED_BYTES if merged else RX_ROOM_WHOLE_BYTES)]
        self.test = test
        self.ready = False
        self.process = test.spawn("pktgen", argv, stdin=subprocess.PIPE)
        self.seen = len(self.process.log())

    def expect(self, word, seconds):
        """Waits for an answer line that begins with word. Returns (good, line)."""
        end = time.monotonic() + seconds
        pattern = re.compile(rf"^{word} (ok|bad).*\n", re.M)
        while True:
            alive = self.process.alive()  # asked first: its last words count
            found = pattern.search(self.process.log(), self.seen)
            if found:
                self.seen = found.end()
                return found.group(1) == "ok", found.group(0).strip()
            if time.monotonic() > end or not alive:
                raise Failed(f"pktgen: no answer to '{word}' in {seconds} s"
                             + ("" if alive else f", exit {self.process.child.returncode}"))
            select.select([], [], [], 0.005)

    def say(self, line, seconds=60):
        self.process.child.stdin.write(line.encode() + b"\n")
        self.process.child.stdin.flush()
        return self.expect(line.split()[0], seconds)

    def check(self, label, line, seconds=60):
        good, answer = self.say(line, seconds)
        self.test.check(label, good, answer)
        return good

    def connect(self, label, seconds=10):
        """Both links up and both directions pass a broadcast: the rest depends on it."""
        if not self.ready:
            self.expect("ready", 30)
            self.ready = True
        for line in (f"link {seconds}", f"announce {seconds}"):
            good, answer = self.say(line, seconds + 5)
            self.test.require(f"{label}: {line.split()[0]}", good, answer)

    def quit(self):
        good, _ = self.say("quit")
        self.process.child.wait(10)
        return good
