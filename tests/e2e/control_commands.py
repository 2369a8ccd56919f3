#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""Commands of a switch that runs: what they do, what they answer, how they fail."""
import json
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))
import cli
import e2e
from cli import DONE, NO_SWITCH, REFUSED, USAGE
from switch import Switch

MAC = "52:54:00:00:00:01"


def body(test):
    switch = Switch(test)
    switch.commands = ["port add a null", f"fdb add {MAC} port a"]
    switch.start()

    def lastref(*words):
        return cli.run(*switch.control, *words)

    def expect(code, error, *words):
        """The command ends with this code; its one error line is this, or begins so with ..."""
        done = lastref(*words)
        text = done.error().strip()
        good = text.startswith(error[:-3]) if error.endswith("...") else text == error
        test.check(f"{' '.join(words)}: exit {code} {error}".strip(), done.code == code and good,
                   "" if done.code == code and good else str(done))
        return done

    # What the operator's mistakes look like.
    expect(USAGE, "unknown command 'prot show'; did you mean 'port show'?", "prot", "show")
    expect(USAGE, "unknown command 'port shos'; did you mean 'port show'?", "port", "shos")
    expect(USAGE, "'port' goes on with one of: add, set, del, show", "port")
    expect(USAGE, "unknown command 'frobnicate'", "frobnicate")
    expect(USAGE, "missing 'NAME'; usage: port del NAME", "port", "del")
    expect(USAGE, "too much: 'b'; usage: port del NAME", "port", "del", "a", "b")
    expect(USAGE, "port b: unknown type 'nul'; did you mean 'null'?", "port", "add", "b", "nul")
    expect(USAGE, "'a/b' is no name: 1 to 31 of A-Z a-z 0-9 . _ - are", "port", "show", "a/b")
    expect(USAGE, f"'{'n' * 32}' is no name: 1 to 31 of A-Z a-z 0-9 . _ - are",
           "port", "add", "n" * 32, "null")
    expect(USAGE, "port b: unknown key 'queues'", "port", "add", "b", "null", "queues", "2")
    expect(USAGE, "'52:54' is no MAC address such as 52:54:00:12:34:56", "fdb", "del", "52:54")
    expect(USAGE, "'01:00:5e:00:00:01' is a multicast address, a unicast one is needed",
           "fdb", "del", "01:00:5e:00:00:01")
    expect(USAGE, "'port' belongs where 'prot' stands", "fdb", "add", MAC, "prot", "a")
    expect(USAGE, "unknown state 'running_'; did you mean 'running'?", "wait", "a", "running_")
    expect(USAGE, "'soon' is no time such as 10, 10s or 500ms, at most 86400 s",
           "wait", "a", "running", "soon")
    expect(USAGE, "switch: unknown key 'aging'; did you mean 'ageing'?",
           "switch", "set", "aging", "30")
    expect(USAGE, "the quote ' is not closed", "port show 'a")
    expect(USAGE, "unknown option '--contrl'; did you mean 'control'?", "--contrl", "x")
    expect(USAGE, "unknown option '-x'", "-x")
    expect(USAGE, "option '--control' needs PATH", "--control")
    expect(USAGE, "a command is missing; see lastref --help")
    expect(USAGE, "a command is missing", " # nothing")

    # What the switch refuses.
    expect(REFUSED, "port 'a' exists", "port", "add", "a", "null")
    expect(REFUSED, "there is no port 'b'", "port", "show", "b")
    expect(REFUSED, "there is no port 'b'", "port", "del", "b")
    expect(REFUSED, "there is no port 'b'", "port", "set", "b", "queues", "2")
    expect(REFUSED, "there is no port 'b'", "stats", "show", "b")
    expect(REFUSED, "there is no port 'b'", "fdb", "add", MAC, "port", "b")
    expect(REFUSED, "there is no port 'b'", "fdb", "flush", "port", "b")
    expect(REFUSED, "there is no port 'b'", "wait", "b", "running", "1")
    expect(REFUSED, "port a is running, not broken; waited 100 ms", "wait", "a", "broken", "100ms")
    expect(REFUSED, "...", "fdb", "del", "52:54:00:00:00:99")
    expect(REFUSED, "switch: ageing ...", "switch", "set", "ageing", "never")
    done = cli.run("--control", test.path("none.sock"), "port", "show")
    test.check("no switch there: exit 3", done.code == NO_SWITCH and done.error().startswith(
        f"no switch at control socket {test.path('none.sock')}"), str(done))
    done = cli.run("--control", "/" + "x" * 108, "port", "show")
    test.check("a path that is too long is told with the limit", done.code == NO_SWITCH
               and "has 109 bytes, a socket's at most 107" in done.error(), str(done))

    # What works, and changes what is shown.
    expect(DONE, "", "wait", "a", "running")
    expect(DONE, "", "port", "add", "b.B_-9", "null")
    names = [port["name"] for port in switch.ask("port", "show")]
    test.check("port show lists the ports", names == ["a", "b.B_-9"], str(names))
    port = switch.ask("port", "show", "a")[0]
    keys = {"name", "type", "state", "why", "mtu", "fdb_learnt", "counters", "rates", "drops",
            "copied", "hold_ns"}
    test.check("a port has its stable keys", keys <= set(port),
               str(sorted(keys - set(port))))
    counters = {"in_frames", "in_bytes", "out_frames", "out_bytes", "in_place_bytes", "lent_frames",
                "lent_bytes", "completed", "completed_old", "calls", "kicks", "copied_frames",
                "copied_bytes", "dropped"}
    test.check("its counters too", counters == set(port["counters"]),
               str(sorted(counters ^ set(port["counters"]))))
    test.check("its rates too", set(port["rates"]) == {
        "in_frames_per_s", "in_bytes_per_s", "out_frames_per_s", "out_bytes_per_s"})
    worker = switch.ask("worker", "show")[0]
    test.check("a worker has its stable keys", set(worker) == {
        "index", "cpu", "busy_share", "turns", "frames", "frames_per_turn", "sleeps",
        "busy_cycles", "busy_ns", "payload_copied_bytes"}, str(worker))
    fdb = switch.ask("fdb", "show")
    test.check("fdb show has the fixed address",
               [(e["mac"], e["port"], e["type"]) for e in fdb] == [(MAC, "a", "static")], str(fdb))
    expect(DONE, "", "fdb", "flush")
    test.check("fdb flush leaves fixed addresses", len(switch.ask("fdb", "show")) == 1)
    expect(DONE, "", "fdb", "del", MAC)
    test.check("fdb del removes it", switch.ask("fdb", "show") == [])
    expect(DONE, "", "switch", "set", "ageing", "17")
    test.check("switch set is seen by switch show",
               switch.ask("switch", "show")["settings"]["ageing"] == "17")
    expect(DONE, "", "stats", "reset")
    expect(DONE, "", "port", "del", "b.B_-9")
    test.check("port del removes it", len(switch.ask("port", "show")) == 1)
    expect(DONE, "", "port", "add", "b.B_-9", "null")
    test.check("one argument is split as a line", lastref("port show 'a' # this").code == DONE)
    test.check("options may stand behind the command", lastref("port", "show", "--help").out
               .strip().startswith("port show [NAME]"))

    # The two forms of an answer.
    done = lastref("port", "show")
    test.check("text: a table with a row for each port",
               [line.split()[0] for line in done.out.splitlines()] == ["NAME", "a", "b.B_-9"])
    done = lastref("worker", "show")
    test.check("text: workers", done.out.startswith("WORKER"))
    done = lastref("port", "show", "a")
    test.check("text: one port in lines", ["state", "running"]
               in [line.split() for line in done.out.splitlines()])
    done = cli.run("-j", *switch.control, "stats", "reset")
    test.check("JSON where there is nothing to tell: null", json.loads(done.out) is None)

    wire = cli.Wire(switch.control[1])
    added = [wire.ask("port", "add", f"n{number}", "null") for number in range(254)]
    test.check("254 more ports", added == [{"ok": None}] * 254)
    expect(REFUSED, "...", "port", "add", "one-too-many", "null")
    test.check("256 ports", len(switch.ask("port", "show")) == 256)
    status, seconds = switch.stop()
    test.check("SIGTERM with 256 ports", status == 0 and seconds < 2, f"{status}, {seconds:.2f} s")


e2e.run(body)
