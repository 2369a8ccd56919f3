#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""Help, parser and manual pages say the same.

Help is printed from the parser's tables. Here it is held against the manual pages, both ways:
options, commands with their arguments, types of ports with their keys, settings; drop and copy
reasons against the headers; and every key of the answers of a switch that runs.
"""
import os
import re
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "../lib"))
import cli
import e2e
from switch import Switch

ROOT = os.path.join(HERE, "../..")
# Their keys are names of other things: reasons, settings, requests.
OPEN_TABLES = {"drops", "copied", "settings", "requests"}


def read(*path):
    with open(os.path.join(ROOT, *path), encoding="utf-8") as f:
        return f.read()


def section(page, title):
    """Source of the .Sh or .Ss of this title."""
    found = re.search(rf"^\.S[hs] {re.escape(title)}\n(.*?)(?=^\.S[hs] |\Z)", page, re.M | re.S)
    return found.group(1) if found else ""


def items(text):
    """The .It lines, as what is read on a page."""
    found = []
    for line in re.findall(r"^\.It (.*)$", text, re.M):
        line = re.sub(r"\b(?:Ic|Cm|Ar|Va|Ns)\b ?", "", line)
        line = line.replace("Fl -", "--").replace("Fl ", "-").replace("Oo ", "[")
        line = re.sub(r"Op (.*)$", r"[\1]", line)
        line = line.replace(" Oc", "]").replace("Ns", "").replace("] ...", "]...")
        found.append(re.sub(r"\s+", " ", line).strip())
    return found


def compare(test, label, said_by_help, said_by_page):
    missing = sorted(set(said_by_help) - set(said_by_page))
    surplus = sorted(set(said_by_page) - set(said_by_help))
    test.check(label, said_by_help and not missing and not surplus,
               f"not on the page: {missing}; only on the page: {surplus}"
               if missing or surplus else f"{len(said_by_help)}")


def help_block(text, title):
    """Left column of one block of the help; indented rows keep two of their blanks."""
    block = re.search(rf"^{re.escape(title)}:\n(.*?)(?=^\S|\Z)", text, re.M | re.S).group(1)
    rows = []
    for line in block.splitlines():
        left = re.split(r"\s{2,}", line[2:].strip())[0] if not line.startswith("    ") else \
            "  " + re.split(r"\s{2,}", line.strip())[0]
        if line.startswith(" " * 20):
            continue  # goes on from the line before
        if left.strip():
            rows.append(left)
    return rows


def check_options(test, text):
    page = read("doc/man/lastref.8")
    for title, where in (("Options of lastref switch", "Options of lastref switch"),
                         ("Options of lastref demo", "Options of lastref demo"),
                         ("Options in front of a command", "Options in front of a command")):
        rows = [row.strip().replace("-h, --help", "-h , -help").replace("-j, --json", "-j , -json")
                for row in help_block(text, title)]
        compare(test, title, rows, items(section(page, where)))


def check_commands(test, text, page):
    rows = [re.split(r"\s{2,}", line.strip())[0]
            for line in re.search(r"^Commands:\n(.*?)\n\n", text, re.M | re.S).group(1).splitlines()]
    compare(test, "commands and their arguments", rows, items(section(page, "COMMANDS")))
    for row in rows:
        words = re.match(r"[a-z ]+", row).group(0).split()
        while words and words != ["switch"]:  # which starts one
            done = cli.run(*words, "--help")
            test.check(f"{' '.join(words)} --help", done.code == cli.DONE and row in done.out)
            words.pop()


def check_types(test, text, page):
    rows = help_block(text, "Types of ports and their keys")
    types, name = {}, None
    for row in rows:
        if row.startswith("  "):
            types[name].append(row.strip())
        else:
            name = row
            types[name] = []
    pages = re.findall(r"^\.Ss Ports of type (\S+)", page, re.M)
    compare(test, "types of ports", list(types), pages)
    for name, keys in types.items():
        documented = [item.replace(" | ", "|")
                      for item in items(section(page, f"Ports of type {name}"))]
        if keys or documented:
            compare(test, f"keys of type {name} with their values", keys, documented)


def check_reasons(test, page):
    names = re.findall(r'X\([A-Z_0-9]+, "([a-z0-9-]+)", "', read("include/lastref/packet.h"))
    compare(test, "drop reasons", names, items(section(page, "Drop reasons")))
    header = read("src/port/port.h")
    block = re.search(r"#define PORT_COPY_REASONS\(X\)(.*?)\n\n", header, re.S).group(1)
    names = re.findall(r'X\([A-Z_0-9]+, "([a-z0-9-]+)"', block)
    compare(test, "copy reasons", names, items(section(page, "Copy reasons")))


def keys_of(tree):
    if isinstance(tree, dict):
        for key, value in tree.items():
            yield key
            if key not in OPEN_TABLES:
                yield from keys_of(value)
    elif isinstance(tree, list):
        for value in tree:
            yield from keys_of(value)


def check_answers(test, page, types):
    switch = Switch(test)
    switch.commands = ["port add n null", "fdb add 52:54:00:00:00:01 port n"]
    if "vm" in types:
        switch.vm("v", test.path("v.sock"))
    switch.start()
    documented = set(re.findall(r"[a-z0-9_]+", " ".join(
        line for line in page.splitlines() if re.match(r"\.(It )?Va |\.Va ", line))))
    for words in (("port", "show"), ("stats", "show"), ("fdb", "show"), ("worker", "show"),
                  ("switch", "show")):
        keys = set(keys_of(switch.ask(*words)))
        test.check(f"{' '.join(words)}: every key is on the page", keys and keys <= documented,
                   str(sorted(keys - documented) or f"{len(keys)}"))
    switch.stop()


def body(test):
    done = cli.run("--help")
    test.check("--help: exit 0", done.code == cli.DONE)
    page = read("doc/man/lastref-control.7")
    check_options(test, done.out)
    check_commands(test, done.out, page)
    check_types(test, done.out, page)
    settings = help_block(done.out, "Keys of switch set")
    compare(test, "settings", settings, [i.split()[0] for i in items(section(page, "Settings"))])
    check_reasons(test, page)
    check_answers(test, page, help_block(done.out, "Types of ports and their keys"))
    done = cli.run("switch", "--help")
    test.check("switch --help: exit 0", done.code == cli.DONE and "--workers N" in done.out)
    done = cli.run("--version")
    test.check("--version", done.code == cli.DONE and re.fullmatch(r"lastref \d+\.\d+\.\d+\n",
                                                                   done.out))


e2e.run(body)
