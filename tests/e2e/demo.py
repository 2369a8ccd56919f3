#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""lastref demo: everything arrives, both modes are what they say, nothing is left behind."""
import glob
import json
import os
import shutil
import signal
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))
import e2e
from switch import binary

NOBODY = 65534
TRAFFIC_SECONDS = 4
LIMIT_SECONDS = 60


class Demo:
    """Runs the program as a user without rights, in a folder of its own."""

    def __init__(self, test):
        self.folder = test.path("demo")
        os.mkdir(self.folder)
        self.program = shutil.copy(binary(), self.folder)
        os.chmod(self.program, 0o755)
        os.chmod(test.folder, 0o755)
        os.chmod(self.folder, 0o777)
        self.identity = {}
        if os.geteuid() == 0:
            self.identity = {"user": NOBODY, "group": NOBODY, "extra_groups": []}

    def start(self, *words):
        return subprocess.Popen([self.program, "demo", *words], text=True,
                                env={**os.environ, "TMPDIR": self.folder},
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, **self.identity)

    def run(self, *words):
        process = self.start(*words)
        try:
            out, err = process.communicate(timeout=LIMIT_SECONDS)
        finally:
            process.kill()
        return process.returncode, out, err

    def left(self):
        return glob.glob(self.folder + "/lastref-demo-*")


def check_mode(test, mode, unicast_copies, flood_copies, in_place):
    name = mode["mode"]
    for part, copies in (("unicast", unicast_copies), ("flood", flood_copies)):
        got = mode[part]
        receivers = 2 if part == "flood" else 1
        test.check(f"{name}, {part}: frames flow", got["frames"] > 100, got["frames"])
        test.check(f"{name}, {part}: all are delivered, to each receiver once",
                   got["delivered_frames"] == receivers * got["frames"]
                   and got["delivered_bytes"] == receivers * got["bytes"] and not got["drops"],
                   f"{got['frames']} sent, {got['delivered_frames']} delivered")
        test.check(f"{name}, {part}: {copies[0]} to {copies[1]} copies per byte",
                   copies[0] <= got["copies_per_byte"] <= copies[1], got["copies_per_byte"])
        test.check(f"{name}, {part}: bytes used where they lay",
                   got["in_place_bytes"] == (got["delivered_bytes"] if in_place else 0),
                   got["in_place_bytes"])
    test.check(f"{name}: every buffer came back once",
               mode["returned_once"] and mode["returned"] == mode["sent"])
    wrong = {key: mode[key] for key in ("lost", "duplicated", "reordered", "corrupted")}
    test.check(f"{name}: nothing lost, doubled, reordered or corrupted",
               mode["clean"] and not any(wrong.values()), wrong)


def body(test):
    demo = Demo(test)
    code, out, err = demo.run("-j", "--seconds", str(TRAFFIC_SECONDS))
    test.require("exit 0 without rights, nothing on stderr", code == 0 and not err, f"{code} {err}")
    modes = json.loads(out)["modes"]
    test.check("two modes", [m["mode"] for m in modes] == ["in place", "copying"])
    check_mode(test, modes[0], (1.0, 1.0), (1.0, 1.0), True)
    # the first 128 bytes of a frame come from its snapshot in both modes
    check_mode(test, modes[1], (1.8, 2.0), (1.4, 1.5), False)

    code, out, err = demo.run("--seconds", "1")
    test.check("the table is printed", code == 0 and "copies per byte, unicast" in out, err)
    code, out, err = demo.run("--help")
    test.check("--help", code == 0 and "usage: lastref demo" in out and not err)
    code, out, err = demo.run("--seconds", "ten")
    test.check("a wrong time: exit 2, one line", code == 2 and err.count("\n") == 1, err)
    code, out, err = demo.run("more")
    test.check("a wrong word: exit 2, one line", code == 2 and "'more'" in err, err)
    test.check("no folder is left", not demo.left(), demo.left())

    process = demo.start("--seconds", "30")
    test.check("its folder is where TMPDIR says", e2e.wait_until(demo.left, 10))
    time.sleep(1)
    process.send_signal(signal.SIGINT)
    try:
        out, err = process.communicate(timeout=15)
    finally:
        process.kill()
    test.check("interrupted: exit 1, says so", process.returncode == 1 and "interrupted" in err,
               f"{process.returncode} {err}")
    test.check("interrupted: no folder is left", not demo.left(), demo.left())


if __name__ == "__main__":
    e2e.run(body)
