# SPDX-License-Identifier: BSD-2-Clause
"""The back-end under test: a running `lastref switch`, started, stopped, killed, asked.

LASTREF names the binary, else it is build/lastref. Ports are collected first and given as commands when the switch starts,
so that a restart brings the same ones back.
"""
import json
import os
import signal
import subprocess
import time

from e2e import Failed, built, wait_until

READY_SECONDS = 10
DEFAULT_CONTROL = None  # where the switch puts its socket by itself


def binary():
    path = built("LASTREF", "lastref")
    if not os.access(path, os.X_OK):
        raise Failed(f"{path} is not built")
    return path


class Switch:
    """prefix is put before every command: nsenter into a namespace, for instance."""

    def __init__(self, test, prefix=(), options=(), control=""):
        self.test = test
        self.prefix = list(prefix)
        self.options = list(options)
        self.commands = []
        if control is not DEFAULT_CONTROL:
            control = ["--control", control or test.path("control.sock")]
        self.control = control or []
        self.process = None

    # ports

    def vm(self, name, sock, client=False, extra=""):
        mode = " mode client" if client else ""
        self.commands.append(f"port add {name} vm socket {sock}{mode} {extra}".rstrip())

    def tap(self, name, ifname, extra=""):
        self.commands.append(f"port add {name} tap dev {ifname} {extra}".rstrip())

    # life

    def start(self):
        """Starts it and waits for the line `ready`. Returns the seconds that took."""
        begin = time.monotonic()
        self.process = self.test.spawn(
            "switch",
            [*self.prefix, binary(), "switch", *self.control, *self.options, *self.commands])
        process = self.process
        if not wait_until(lambda: self.is_ready() or not process.alive(), READY_SECONDS, 0.01):
            raise Failed(f"the switch was not ready in {READY_SECONDS} s")
        if not process.alive():
            raise Failed(f"the switch ended with status {process.child.returncode}")
        return time.monotonic() - begin

    def is_ready(self):
        return any(line.split()[-1:] == ["ready"] for line in self.process.log().splitlines())

    def stop(self):
        """SIGTERM. Returns (exit status, seconds)."""
        begin = time.monotonic()
        status = self.process.stop(signal.SIGTERM)
        return status, time.monotonic() - begin

    def kill(self):
        self.process.kill()

    def cpu_seconds(self):
        """What all threads of the switch have used so far."""
        total_ns = 0
        folder = f"/proc/{self.process.pid}/task"
        for task in os.listdir(folder):
            with open(f"{folder}/{task}/schedstat", encoding="ascii") as f:
                total_ns += int(f.read().split()[0])
        return total_ns / 1e9

    # questions

    def ask(self, *words):
        """Runs one command with -j; returns the decoded answer."""
        done = subprocess.run([*self.prefix, binary(), "-j", *self.control, *words],
                              check=False, text=True, timeout=30,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        if done.returncode:
            raise Failed(f"lastref {' '.join(words)}: exit {done.returncode}: "
                         f"{(done.stderr or done.stdout).strip()}")
        return json.loads(done.stdout) if done.stdout.strip() else None

    def wait_running(self, name, seconds=20):
        try:
            self.ask("wait", name, "running", str(seconds))
        except Failed as why:
            return str(why)
        return ""

    def port(self, name):
        """What `port show NAME` says of it."""
        return self.ask("port", "show", name)[0]

    def counter(self, name, key):
        return self.port(name)["counters"][key]

    def drops(self, name):
        """Drop reasons of a port with their counts, but for those that are 0."""
        return {reason: count for reason, count in self.port(name)["drops"].items() if count}
