# SPDX-License-Identifier: BSD-2-Clause
"""Network namespaces that vanish with the process that holds them: nothing to clean up by name.

Each has a mount namespace too, with an empty /run of its own. Without root they are made in a
user namespace.
"""
import os
import subprocess

from e2e import Failed, Skip, need_tools, wait_until

UNSHARE = ["unshare", "--net", "--mount"]


class Namespace:
    """inside: make it within this other one (a veth pair needs a common user namespace)."""

    def __init__(self, test, name, inside=None):
        need_tools("unshare", "nsenter", "ip")
        self.name = name
        self.user = os.geteuid() != 0
        argv = UNSHARE + (["--user", "--map-root-user"] if self.user and not inside else [])
        # cat ends when the test does: its input is the test's pipe
        argv += ["sh", "-c", "mount -t tmpfs run /run && ip link set lo up && echo ready && cat"]
        prefix = inside.prefix(network=False) if inside else []
        self.holder = test.spawn(f"namespace-{name}", prefix + argv, stdin=subprocess.PIPE)
        wait_until(lambda: "ready" in self.holder.log() or not self.holder.alive(), 5, 0.01)
        if not self.holder.alive():
            raise Skip(f"cannot make a network namespace: {self.holder.log().strip()}")

    def prefix(self, network=True):
        """Words to put before a command that is to run in here."""
        words = ["nsenter", "--target", str(self.holder.pid)]
        if self.user:
            words += ["--user", "--preserve-credentials"]
        return words + (["--net", "--mount"] if network else [])

    def try_run(self, command, seconds=60):
        """A shell command; returns (status, output)."""
        done = subprocess.run(self.prefix() + ["sh", "-ec", command], check=False, text=True,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, timeout=seconds)
        return done.returncode, done.stdout.strip()

    def run(self, command, seconds=60):
        status, output = self.try_run(command, seconds)
        if status:
            raise Failed(f"namespace {self.name}: {command}: exit {status}: {output}")
        return output

    def spawn(self, test, name, argv):
        return test.spawn(name, self.prefix() + argv)

    def veth(self, mine, other, theirs):
        """A cable to another namespace."""
        self.run(f"ip link add {mine} type veth peer name {theirs} netns {other.holder.pid}")
        self.run(f"ip link set {mine} up")
        other.run(f"ip link set {theirs} up")
