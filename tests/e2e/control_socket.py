#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""The control socket by hand: what is no request, too much, too slow, too many."""
import json
import os
import socket
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))
import e2e
from cli import Wire
from switch import Switch

SHOW = '{"cmd":["port","show"]}\n'


def check_requests(test, path):
    wire = Wire(path)

    def refused(label, text):
        wire.send(text)
        answer = wire.receive()
        test.check(label, isinstance(answer, dict) and answer.get("kind") == "usage"
                   and "error" in answer, str(answer))

    test.check("a list of words", "ok" in wire.ask("port", "show"))
    wire.send('{"cmd":"port show a"}\n')
    test.check("one string", "ok" in wire.receive())
    refused("no JSON", "port show\n")
    refused("an array", '["port","show"]\n')
    refused("no command", '{"command":["port","show"]}\n')
    refused("an empty command", '{"cmd":[]}\n')
    refused("a number in it", '{"cmd":["port",7]}\n')
    refused("a NUL in it", '{"cmd":["port\\u0000show"]}\n')
    refused("a line feed in it", '{"cmd":["port","show","a\\nb"]}\n')
    refused("too many words", json.dumps({"cmd": ["w"] * 65}) + "\n")
    refused("too long words", json.dumps({"cmd": ["w" * 5000]}) + "\n")
    refused("not UTF-8", b'{"cmd":["port\xff\xfe"]}\n')
    refused("deep", "[" * 30000 + "\n")
    refused("two objects in a line", '{"cmd":["port","show"]} {}\n')
    refused("the same key twice", '{"cmd":["port","show"],"cmd":["port","show"]}\n')
    answer = wire.ask("config", "check", "/etc/passwd")
    test.check("files are read by the client, not here", "error" in answer, str(answer))
    wire.send("\n \r\n" + SHOW.rstrip("\n") + "\r\n")
    test.check("blank lines and CR LF", "ok" in wire.receive())
    wire.close()


def check_streams(test, path):
    wire = Wire(path)
    wire.send(SHOW * 300)
    answers = [wire.receive() for _ in range(300)]
    test.check("300 requests at once, 300 answers", all(a and "ok" in a for a in answers))
    for byte in SHOW:
        wire.send(byte)
    test.check("byte by byte", "ok" in wire.receive())
    wire.send(SHOW + SHOW.rstrip("\n"))
    wire.socket.shutdown(socket.SHUT_WR)
    answers = [wire.receive(), wire.receive(), wire.receive()]
    test.check("answers come after the end of what was sent",
               [a and list(a) for a in answers] == [["ok"], ["ok"], None], str(answers))
    wire.close()

    wire = Wire(path)
    wire.send('{"cmd":["' + "x" * 65000)
    wire.send("x" * 2000)
    answer = wire.receive()
    test.check("a request that does not end: told, then closed",
               answer and "at most 65536 bytes" in answer["error"] and wire.receive() is None,
               str(answer))
    wire.close()


def check_waiting(test, path):
    waiting = Wire(path)
    waiting.send('{"cmd":["wait","a","broken","1500ms"]}\n' + SHOW)
    begin = time.monotonic()
    other = Wire(path)
    test.check("others are served while one waits", "ok" in other.ask("port", "show"))
    test.check("at once", time.monotonic() - begin < 1)
    answer = waiting.receive()
    took = time.monotonic() - begin
    test.check("a wait ends with its time", "error" in answer and 1.4 < took < 5, f"{took:.1f} s")
    test.check("and what was sent behind it is served", "ok" in waiting.receive())

    waiting.send('{"cmd":["wait","short","running","20"]}\n')
    test.check("waiting for a port that is not there is refused", "error" in waiting.receive())
    other.ask("port", "add", "short", "null")
    waiting.send('{"cmd":["wait","short","broken","20"]}\n')
    time.sleep(0.1)
    other.ask("port", "del", "short")
    answer = waiting.receive()
    test.check("the port goes while one waits", answer.get("error") == "there is no port 'short'",
               str(answer))
    waiting.send('{"cmd":["wait","a","broken","1000"]}\n')
    time.sleep(0.05)
    waiting.close()
    test.check("one who waits may go", "ok" in other.ask("port", "show"))
    other.close()


def is_served(path):
    wire = Wire(path)
    try:
        return "ok" in wire.ask("port", "show")
    except (BrokenPipeError, TypeError):  # closed before or after the question
        return False
    finally:
        wire.close()


def check_crowd(test, path):
    crowd = [Wire(path) for _ in range(64)]
    for wire in crowd:
        wire.send(SHOW)
    test.check("64 clients are served", all("ok" in wire.receive() for wire in crowd))
    extra = Wire(path)
    answer = extra.receive()
    test.check("one more is told and closed", answer and "64 clients" in answer["error"]
               and extra.receive() is None, str(answer))
    crowd.pop().close()
    test.check("when one goes there is room", e2e.wait_until(lambda: is_served(path), 2))
    for wire in crowd:
        wire.close()
    for _ in range(1000):
        Wire(path).close()
    test.check("1000 come and go", "ok" in Wire(path).ask("port", "show"))


def check_slow(test, path):
    """One who asks and does not read: held at one answer, then dropped; nobody else notices."""
    slow = Wire(path)
    slow.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    slow.socket.setblocking(False)
    sent = 0
    begin = time.monotonic()
    other = Wire(path)
    worst = 0.0
    closed = False
    while time.monotonic() - begin < 20 and not closed:
        try:
            sent += slow.socket.send(SHOW.encode() * 100)
        except BlockingIOError:
            pass
        except (BrokenPipeError, ConnectionResetError):
            closed = True
        asked = time.monotonic()
        if "ok" not in other.ask("port", "show", "a"):
            break
        worst = max(worst, time.monotonic() - asked)
        time.sleep(0.02)
    test.check("one who does not read is dropped", closed,
               f"after {time.monotonic() - begin:.1f} s, {sent} bytes sent")
    test.check("others are served meanwhile", worst < 1, f"at worst {worst * 1000:.0f} ms")
    slow.close()
    other.close()


def check_few_fds(test):
    """No fd left for a connection: it is closed, nothing spins, and later all is well."""
    e2e.need_tools("prlimit")
    switch = Switch(test, prefix=["prlimit", "--nofile=40:40"], control=test.path("few.sock"))
    switch.commands = ["port add a null"]
    switch.start()
    crowd = [Wire(switch.control[1]) for _ in range(50)]
    before = switch.cpu_seconds()
    time.sleep(1)
    used = switch.cpu_seconds() - before
    test.check("fds are used up: nothing spins", used < 0.1, f"{used * 1000:.0f} ms in 1 s")
    answers = []
    for wire in crowd:
        try:
            answers.append(wire.ask("port", "show", "a"))
        except (BrokenPipeError, ConnectionResetError):
            answers.append(None)
        wire.close()
    served = sum(bool(answer and "ok" in answer) for answer in answers)
    test.check("fds are used up: some are served, the others closed", 10 < served < 50,
               f"{served} of 50")
    test.check("later there is room again",
               e2e.wait_until(lambda: is_served(switch.control[1]), 2))
    status, _ = switch.stop()
    test.check("and it ends as ever", status == 0, str(status))


def resident_kib(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as f:
        return int(next(line for line in f if line.startswith("VmRSS")).split()[1])


def body(test):
    switch = Switch(test)
    switch.commands = [f"port add {name} null" for name in ["a", *(f"n{i}" for i in range(60))]]
    switch.start()
    path = switch.control[1]
    check_requests(test, path)
    before = resident_kib(switch.process.pid)
    check_streams(test, path)
    check_waiting(test, path)
    check_crowd(test, path)
    check_slow(test, path)
    check_few_fds(test)
    grown = resident_kib(switch.process.pid) - before
    test.check("memory stays bounded", grown < 8192, f"{grown} KiB more")
    status, seconds = switch.stop()
    test.check("SIGTERM with all of that behind it", status == 0 and seconds < 2,
               f"{seconds:.2f} s")


e2e.run(body)
