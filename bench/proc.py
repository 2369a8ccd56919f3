# SPDX-License-Identifier: BSD-2-Clause
"""Processes that can be stopped and continued, hugepages that are given back: all cleaned up.

Whatever happens to the benchmark, nothing stays behind: children die with their parent
(PR_SET_PDEATHSIG), Open vSwitch lives in a network namespace of its own, and hugepages are given
back by a guard process that only waits for the end of the pipe it shares with us.
"""
import ctypes
import fcntl
import json
import os
import select
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

PR_SET_PDEATHSIG = 1
HUGEPAGES = Path("/proc/sys/vm/nr_hugepages")
PROCESSORS = os.sched_getaffinity(0)
LIBC = ctypes.CDLL(None, use_errno=True)


class BenchError(Exception):
    """Something could not be brought up or did not answer; told in one line."""


class Interrupted(BaseException):
    """A signal asks us to end; nothing on the way up may swallow it."""


def autogroup_nice(pid, value):
    """Weight of a login session against others; plain nice does not reach across sessions."""
    try:
        Path(f"/proc/{pid}/autogroup").write_text(str(value))
    except OSError:
        pass  # not root, or a kernel without it


class Process:
    """A child in a session of its own, its stderr (and if wanted stdout) in a log file.

    RUNTIME_DIRECTORY is where DPDK keeps its own files: in our scratch folder, not in /var/run.
    """
    running = []

    def __init__(self, name, command, scratch, nice=0, talk=False, environment=None):
        self.name = name
        self.log = Path(scratch) / f"{name}.log"
        self.stopped = False
        self.buffer = b""

        def child():
            LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
            os.sched_setaffinity(0, PROCESSORS)  # ours is only one of them

        with open(self.log, "ab") as log:
            log.write(("$ " + shlex.join(map(str, command)) + "\n").encode())
            log.flush()
            self.started_ns = time.monotonic_ns()
            self.child = subprocess.Popen(
                [str(word) for word in command], cwd=scratch, start_new_session=True,
                stdin=subprocess.PIPE if talk else subprocess.DEVNULL,
                stdout=subprocess.PIPE if talk else log, stderr=log, preexec_fn=child,
                env={**os.environ, "RUNTIME_DIRECTORY": str(scratch), **(environment or {})})
        self.pid = self.child.pid
        if nice:
            autogroup_nice(self.pid, nice)
        Process.running.append(self)

    def tail(self, lines=3):
        text = self.log.read_text(errors="replace").strip().splitlines()
        return " | ".join(text[-lines:])

    def check(self):
        if self.child.poll() is not None:
            raise BenchError(f"{self.name}: exited {self.child.returncode}: {self.tail()}")

    def stop(self):
        """Stop all its threads, and see it happen."""
        if not self.stopped and self.child.poll() is None:
            os.kill(self.pid, signal.SIGSTOP)
            os.waitid(os.P_PID, self.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
            self.stopped = True

    def cont(self):
        if self.stopped:
            os.kill(self.pid, signal.SIGCONT)
            self.stopped = False

    def say(self, text):
        self.child.stdin.write(text.encode() + b"\n")
        self.child.stdin.flush()

    def hear(self, until, timeout=10.0):
        """What it printed up to and with the line that contains @until."""
        deadline = time.monotonic() + timeout
        heard = []
        while True:
            while b"\n" in self.buffer:
                line, self.buffer = self.buffer.split(b"\n", 1)
                heard.append(line.decode(errors="replace"))
                if until in heard[-1]:
                    return heard
            wait = deadline - time.monotonic()
            if wait <= 0 or not select.select([self.child.stdout], [], [], wait)[0]:
                raise BenchError(f"{self.name}: no answer within {timeout:.0f} s: {self.tail()}")
            more = os.read(self.child.stdout.fileno(), 65536)
            if not more:
                self.child.wait()
                self.check()
            self.buffer += more

    def ask(self, text, timeout=10.0):
        """One line there, one line of JSON back."""
        self.say(text)
        return self.answer("}", timeout)

    def answer(self, until, timeout=10.0):
        """The line of JSON that contains @until."""
        answer = json.loads(self.hear(until, timeout)[-1])
        if "error" in answer:
            raise BenchError(f"{self.name}: {answer['error']}")
        return answer

    def cpu_ns(self):
        """Processor time of all its threads: the kernel's per-process clock."""
        return time.clock_gettime_ns((~self.pid << 3) | 2)

    def family(self):
        """Its pid and those of its helpers."""
        found = [self.pid]
        for pid in found:
            for children in Path(f"/proc/{pid}/task").glob("*/children"):
                found += [int(child) for child in children.read_text().split()]
        return found

    def end(self, gently=None, seconds=5.0):
        """SIGTERM (or @gently, a function), then SIGKILL; always reaps."""
        if self in Process.running:
            Process.running.remove(self)
        if self.child.poll() is not None:
            return
        self.cont()
        try:
            if gently:
                gently()
            else:
                self.child.terminate()
            self.child.wait(seconds)
        except (subprocess.TimeoutExpired, OSError, BenchError):
            self.child.kill()
            self.child.wait()

    @staticmethod
    def end_all():
        for process in reversed(list(Process.running)):
            process.end(seconds=2.0)


class Hugepages:
    """2 MiB pages for the peers (and with --guest-huge for the guests), given back at the end.

    What is reserved is added and taken away again, never set: others may reserve theirs meanwhile.
    """

    def __init__(self, count):
        self.guard = None
        if count == 0:
            return
        before = int(HUGEPAGES.read_text())
        try:
            HUGEPAGES.write_text(str(before + count))
        except OSError as error:
            raise BenchError(f"hugepages: {error.strerror}; run as root") from error
        got = int(HUGEPAGES.read_text()) - before
        # The guard outlives whatever kills us: it reads to the end of its pipe, then gives back.
        # (Pages that a dying process still holds go when it is gone: they count as surplus.)
        self.guard = subprocess.Popen(
            ["sh", "-c", "trap '' INT TERM HUP; read -r line; "
                         f"left=$(($(cat {HUGEPAGES}) - {got})); [ $left -ge 0 ] || left=0; "
                         f"echo $left > {HUGEPAGES}"],
            stdin=subprocess.PIPE, start_new_session=True)
        if got < count:
            self.release()
            raise BenchError(f"hugepages: wanted {count}, the kernel has only {got}")

    def release(self):
        if self.guard:
            self.guard.stdin.close()
            self.guard.wait()
            self.guard = None


def only_one(path="/run/lock/lastref-bench"):
    """Wait until no other run measures on this machine; hold the result as long as needed."""
    lock = open(path, "w", encoding="ascii")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        print("bench: waiting for another run to end", file=sys.stderr, flush=True)
        fcntl.flock(lock, fcntl.LOCK_EX)
    return lock


def wait_for(what, condition, seconds=20.0, process=None, step=0.005):
    deadline = time.monotonic() + seconds
    while not condition():
        if process:
            process.check()
        if time.monotonic() > deadline:
            raise BenchError(f"{what}: not within {seconds:.0f} s"
                             + (f": {process.tail()}" if process else ""))
        time.sleep(step)
