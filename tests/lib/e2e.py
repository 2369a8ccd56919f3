# SPDX-License-Identifier: BSD-2-Clause
"""The frame of an end-to-end test: checks, processes, clean-up.

A test is a function of one Test object, run by run(). It prints one PASS or FAIL line per check,
ends everything it started by its pid, takes back what it changed, shows the logs when something
failed, and exits 0 (all passed), 1 (a check failed) or 77 (skipped). With CI=true a skip fails.
"""
import ctypes
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback

LOG_TAIL_LINES = 60
PR_SET_PDEATHSIG = 1
LIBC = ctypes.CDLL(None)
BUILD = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../build")


class Skip(Exception):
    """This machine cannot run the test; the text says what is missing."""


class Failed(Exception):
    """A check that the rest of the test depends on has failed."""


def die_with_parent():
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def wait_until(condition, seconds, step=0.05):
    """Polls until condition() is true; returns its value, or the last false one."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value or time.monotonic() >= end:
            return value
        time.sleep(step)


def built(variable, path):
    """A file that the build made: named by the environment, else at path in the folder build."""
    return os.path.abspath(os.environ.get(variable) or os.path.join(BUILD, path))


def need_tools(*names):
    for name in names:
        if not shutil.which(name):
            raise Skip(f"'{name}' is not installed (see dist/packages)")


def cpu_ticks(stat_fields):
    """user + system time of this process and of those it waited for, from /proc/PID/stat."""
    return sum(int(field) for field in stat_fields[11:15])


class Process:
    """A child whose output goes to a log; ended by pid."""

    def __init__(self, name, argv, log_path, stdin=None):
        self.name = name
        self.log_path = log_path
        with open(log_path, "ab") as log:
            self.child = subprocess.Popen(argv, stdin=stdin, stdout=log,
                                          stderr=subprocess.STDOUT, preexec_fn=die_with_parent)
        self.pid = self.child.pid

    def alive(self):
        return self.child.poll() is None

    def log(self):
        with open(self.log_path, "r", encoding="utf-8", errors="replace") as f:
            return f.read()

    def stop(self, sig=signal.SIGTERM, seconds=10):
        """Sends sig and waits; SIGKILL when that does not end it. Returns the exit status."""
        if self.alive():
            self.child.send_signal(signal.SIGCONT)
            self.child.send_signal(sig)
        try:
            return self.child.wait(seconds)
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.wait()
            return None

    def kill(self):
        return self.stop(signal.SIGKILL)

    def ticks(self):
        try:
            with open(f"/proc/{self.pid}/stat", encoding="ascii") as f:
                return cpu_ticks(f.read().rsplit(")", 1)[1].split())
        except OSError:
            return 0


class Test:
    def __init__(self, name):
        self.name = name
        self.folder = tempfile.mkdtemp(prefix="lastref-e2e-")
        self.processes = []
        self.logs = []
        self.undo = []
        self.passed = 0
        self.failures = []
        self.start = time.monotonic()
        self.busy_start = self.host_ticks()

    # checks

    def check(self, label, good, detail=""):
        word = "PASS" if good else "FAIL"
        line = f"{word} {label}" + (f": {detail}" if detail else "")
        self.passed += bool(good)
        if not good:
            self.failures.append(line)
        print(f"{line}  [{time.monotonic() - self.start:.1f} s]", flush=True)
        return bool(good)

    def require(self, label, good, detail=""):
        if not self.check(label, good, detail):
            raise Failed(label)

    @staticmethod
    def note(text):
        print(f"     {text}", flush=True)

    # resources

    def path(self, name):
        return os.path.join(self.folder, name)

    def later(self, function, *args):
        """function(*args) runs when the test ends, last one first."""
        self.undo.append((function, args))

    def watch_log(self, name, path):
        """Shows the end of this file when the test fails."""
        if (name, path) not in self.logs:
            self.logs.append((name, path))

    def spawn(self, name, argv, stdin=None):
        """Starts a process with a log of its own, whatever ran under that name before."""
        before = sum(p.name == name or p.name.startswith(name + "#") for p in self.processes)
        if before:
            name = f"{name}#{before + 1}"
        process = Process(name, argv, self.path(name + ".log"), stdin)
        self.processes.append(process)
        self.watch_log(name, process.log_path)
        return process

    # the machine

    @staticmethod
    def host_ticks():
        with open("/proc/stat", encoding="ascii") as f:
            fields = [int(word) for word in f.readline().split()[1:9]]
        # all but idle and iowait; time stolen by the hypervisor counts as busy
        return sum(fields) - fields[3] - fields[4]

    def others_busy_share(self):
        """Share of one core that the rest of the machine has used since the test began."""
        own = os.times()
        hertz = os.sysconf("SC_CLK_TCK")
        ours = int((own.user + own.system + own.children_user + own.children_system) * hertz)
        ours += sum(p.ticks() for p in self.processes if p.alive())
        ticks = self.host_ticks() - self.busy_start
        return max(0.0, (ticks - ours) / hertz / (time.monotonic() - self.start))

    # the end

    def finish(self):
        for process in reversed(self.processes):
            if process.alive():
                process.stop(seconds=5)
        for function, args in reversed(self.undo):
            try:
                function(*args)
            except Exception as error:  # one failing step must not leave the others undone
                print(f"     clean-up: {error}", flush=True)

    def show_logs(self):
        for name, path in self.logs:
            try:
                with open(path, encoding="utf-8", errors="replace") as f:
                    lines = f.read().splitlines()[-LOG_TAIL_LINES:]
            except OSError as error:
                lines = [str(error)]
            print(f"---- {name} (last {len(lines)} lines)")
            print("\n".join(lines))
        sys.stdout.flush()


def on_signal(number, _frame):
    raise Failed(f"stopped by signal {number}")


def run(body):
    """Runs body(test) and exits."""
    test = Test(os.path.basename(sys.argv[0]))
    signal.signal(signal.SIGTERM, on_signal)
    signal.signal(signal.SIGINT, on_signal)
    skipped = None
    try:
        body(test)
        if test.passed + len(test.failures) == 0:
            test.check("the test checks something", False)
    except Skip as why:
        skipped = why
    except Failed as why:
        if not test.failures:
            test.check("the test runs to its end", False, str(why))
    except Exception:
        traceback.print_exc(file=sys.stdout)
        test.check("the test runs to its end", False)
    if test.failures:
        test.show_logs()
    test.finish()
    shutil.rmtree(test.folder, ignore_errors=True)
    seconds = time.monotonic() - test.start
    if skipped and not test.failures:
        print(f"SKIP {test.name}: {skipped}")
        sys.exit(1 if os.environ.get("CI") == "true" else 77)
    # Again at the end: a runner may show nothing but the last lines.
    print("".join(line + "\n" for line in test.failures), end="")
    print(f"{test.name}: {test.passed} passed, {len(test.failures)} failed, {seconds:.0f} s")
    sys.exit(1 if test.failures else 0)
