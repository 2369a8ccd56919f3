# SPDX-License-Identifier: BSD-2-Clause
"""The program as an operator types it: commands, exit codes, the one line of an error; and the
control socket spoken to by hand.
"""
import json
import socket
import subprocess

from switch import binary

DONE, REFUSED, USAGE, NO_SWITCH = 0, 1, 2, 3


class Result:
    def __init__(self, done):
        self.code = done.returncode
        self.out = done.stdout
        self.err = done.stderr

    def error(self):
        """The one line without the program's name, or all of stderr when there are more lines."""
        lines = [line for line in self.err.splitlines() if not line.startswith("lastref: info:")]
        if len(lines) == 1 and lines[0].startswith("lastref: "):
            return lines[0].removeprefix("lastref: ")
        return self.err

    def __str__(self):
        return f"exit {self.code}: {self.error().strip() or self.out.strip()}"


def run(*argv, prefix=(), env=None, seconds=30, stdin=subprocess.DEVNULL):
    """lastref with these arguments, to its end."""
    return Result(subprocess.run([*prefix, binary(), *argv], check=False, text=True, env=env,
                                 stdin=stdin, timeout=seconds, stdout=subprocess.PIPE,
                                 stderr=subprocess.PIPE))


class Wire:
    """A connection to a control socket."""

    def __init__(self, path, seconds=10):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.connect(path)  # waits for room in the backlog
        self.socket.settimeout(seconds)
        self.rest = b""

    def send(self, text):
        self.socket.sendall(text if isinstance(text, bytes) else text.encode())

    def receive(self):
        """One answer; None when the switch has closed the connection."""
        while b"\n" not in self.rest:
            try:
                data = self.socket.recv(65536)
            except ConnectionResetError:
                data = b""
            if not data:
                return None
            self.rest += data
        line, self.rest = self.rest.split(b"\n", 1)
        return json.loads(line)

    def ask(self, *words):
        self.send(json.dumps({"cmd": words}) + "\n")
        return self.receive()

    def close(self):
        self.socket.close()
