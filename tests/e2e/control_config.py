#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""Configurations: pairs config/NAME.in and NAME.ok.

NAME.ok is what `config show` answers when the switch was started with NAME.in, or "error: " and the
line with which it refuses to start. What `config show` answers is a configuration that makes the
same again.
"""
import os
import shutil
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "../lib"))
import cli
import e2e
from switch import Switch, binary

PAIRS = os.path.join(HERE, "config")
LATE = {"value", "socket"}  # found when it is done, not when it is read


def read(path):
    with open(path, encoding="utf-8") as f:
        return f.read()


def config_show(test, config):
    switch = Switch(test, prefix=["env", "-C", test.folder], options=["--config", config],
                    control="control.sock")
    switch.start()
    done = cli.run("--control", test.path("control.sock"), "config", "show")
    switch.stop()
    return done.out


def check_good(test, name, expected):
    shown = config_show(test, name + ".in")
    test.check(f"{name}: config show", shown == expected, "" if shown == expected else shown)
    done = cli.run("config", "check", test.path(name + ".in"))
    test.check(f"{name}: config check", done.code == cli.DONE, "" if done.code == 0 else str(done))
    with open(test.path("again.conf"), "w", encoding="utf-8") as f:
        f.write(shown)
    again = config_show(test, "again.conf")
    test.check(f"{name}: and it makes the same again", again == shown,
               "" if again == shown else again)


def check_bad(test, name, expected):
    done = subprocess.run([binary(), "switch", "--control", "control.sock", "--config",
                           name + ".in"], cwd=test.folder, check=False, text=True, timeout=20,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    said = done.stderr.splitlines()[-1] if done.stderr else ""
    test.check(f"{name}: refused", done.returncode == 2 and said == f"lastref: {expected}", said)
    left = [entry for entry in os.listdir(test.folder) if entry.endswith(".sock")]
    test.check(f"{name}: nothing is left", not left, str(left or ""))
    done = subprocess.run([binary(), "config", "check", name + ".in"], cwd=test.folder,
                          check=False, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    refused = done.returncode == 1 and done.stderr == f"lastref: {expected}\n"
    test.check(f"{name}: config check", refused or (name in LATE and done.returncode == 0),
               done.stderr.strip())


def check_tap(test):
    """In a network namespace of its own."""
    e2e.need_tools("unshare")
    with open(test.path("tap.conf"), "w", encoding="ascii") as f:
        f.write("port add t tap dev lr0\nport add u tap queues 2 dev lr1\n")
    switch = Switch(test, prefix=["unshare", "-rn", "env", "-C", test.folder],
                    options=["--config", "tap.conf"], control="control.sock")
    switch.start()
    done = cli.run("--control", test.path("control.sock"), "config", "show")
    switch.stop()
    shown = done.out.splitlines()[3:]
    test.check("tap ports: config show", shown == [
        "port add t tap dev lr0 queues 1", "port add u tap dev lr1 queues 2"], str(shown))


def body(test):
    names = sorted(name[:-3] for name in os.listdir(PAIRS) if name.endswith(".in"))
    test.check("there are pairs", len(names) > 8)
    for name in names:
        shutil.copy(os.path.join(PAIRS, name + ".in"), test.folder)
        expected = read(os.path.join(PAIRS, name + ".ok"))
        if name == "crlf":  # and without a line feed at the end
            with open(test.path("crlf.in"), "r+b") as f:
                f.truncate(os.path.getsize(f.name) - 2)
        if expected.startswith("error: "):
            check_bad(test, name, expected.removeprefix("error: ").rstrip("\n"))
        else:
            check_good(test, name, expected)
    check_tap(test)


e2e.run(body)
