#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""How a switch starts and ends: whole or not at all, without rights, within two seconds."""
import os
import shutil
import signal
import socket
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))
import cli
import e2e
from cli import USAGE
from switch import Switch, binary

NOBODY = 65534


def children(pid):
    with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as f:
        return [int(word) for word in f.read().split()]


def status_of(pid):
    """/proc/PID/status of every thread, as dicts."""
    found = []
    for task in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{task}/status", encoding="utf-8") as f:
            found.append(dict(line.rstrip("\n").split(":\t", 1) for line in f if ":\t" in line))
    return found


def is_gone(pid):
    return not os.path.exists(f"/proc/{pid}")


def check_whole_or_nothing(test):
    control = test.path("whole.sock")
    config = test.path("bad.conf")

    def refused(label, error, *argv):
        done = cli.run("switch", "--control", control, *argv)
        test.check(f"{label}: exit 2, says why", done.code == USAGE and error in done.error(),
                   str(done))
        test.check(f"{label}: no socket is left", not os.path.exists(control))

    with open(config, "w", encoding="ascii") as f:
        f.write("# two ports\n\nport add b null\nport add a null\n\nport add a null\n")
    refused("a name twice in a file", f"{config}:6: port 'a' exists since line 4",
            "--config", config)
    refused("a name twice in arguments", "argument 2: port 'a' exists since argument 1",
            "port add a null", "port add a null")
    refused("unknown key", "argument 2: port b: unknown key 'que'",
            "port add a null", "port add b null que 2")
    refused("a port that is not there", "argument 1: there is no port 'z' up to here",
            "fdb add 52:54:00:00:00:01 port z", "port add z null")
    refused("a command for a running switch", "argument 1: 'port show' is for a switch that runs",
            "port show")
    refused("fails only when it is done", "argument 2: switch: ageing",
            "port add a null", "switch set ageing never")
    refused("no such file", "none.conf: No such file", "--config", test.path("none.conf"))
    refused("a folder for a file", "cannot read it", "--config", test.folder)
    refused("workers", "--workers: '17' is no number from 1 to 16", "--workers", "17")
    refused("cpus", "--cpus '1-': a list such as", "--cpus", "1-")
    refused("cpus that are not there", "processor 1000 is not ours to use", "--cpus", "1000")
    refused("cpus and workers differ", "1 processor(s) for 2 workers",
            "--workers", "2", "--cpus", "0")
    refused("user", "there is no such user", "--user", "no-such-user-here")
    refused("state", "a folder is expected", "--state", config)
    done = cli.run("switch", "--control", test.path("none/c.sock"))
    test.check("control socket in no folder", done.code == USAGE
               and f"the folder {test.path('none')} does not exist" in done.error(), str(done))
    done = cli.run("switch", "--control", "/" + "y" * 120)
    test.check("control path too long", done.code == USAGE
               and "has 121 bytes, a socket's 1 to 107" in done.error(), str(done))


def check_vm_sockets(test):
    control, mine, other = (test.path(name) for name in ("vm.sock", "mine.sock", "other.sock"))

    def refused(label, error, *argv):
        done = cli.run("switch", "--control", control, f"port add a vm socket {mine}", *argv)
        test.check(f"{label}: exit 2, says why", done.code == USAGE and error == done.error(),
                   str(done))
        test.check(f"{label}: the port before it left no socket",
                   not os.path.exists(mine) and not os.path.exists(control))

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(other)
        listener.listen()
        refused("somebody listens there", f"argument 2: port b: socket {other}: another process "
                f"listens there (pid {os.getpid()})", f"port add b vm socket {other}")
        test.check("somebody listens there: and still does", os.path.exists(other))
    with open(other + ".txt", "w", encoding="ascii"):
        pass
    refused("a file is there", f"argument 2: port b: socket {other}.txt: something that is no "
            "socket is there", f"port add b vm socket {other}.txt")
    refused("the same socket twice", f"argument 2: port b: socket {mine}: this switch listens "
            "there already", f"port add b vm socket {mine}")
    refused("a folder that is not there", f"argument 2: port b: socket {other}.d/x: the folder "
            f"{other}.d does not exist", f"port add b vm socket {other}.d/x")
    long = "/" + "z" * 107
    done = cli.run("switch", "--control", control, f"port add a vm socket {long}")
    test.check("a path that is too long: told with the limit", done.code == USAGE
               and "108 bytes" in done.error() and "107" in done.error(), str(done))

    switch = Switch(test, control=control)
    switch.vm("a", mine, extra="perm 0606")
    switch.vm("s", other)  # stale
    switch.start()
    mode = os.stat(mine).st_mode & 0o777
    test.check("perm", mode == 0o606, oct(mode))
    test.check("the default perm", os.stat(other).st_mode & 0o777 == 0o660)
    test.check("nobody is there yet", switch.port("a")["state"] == "waiting")
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(mine)
        answer = switch.ask("wait", "a", "connected", "5")
        test.check("a front-end connects", answer is None)
        switch.ask("port", "del", "a")
        test.check("port del removes the socket", not os.path.exists(mine))
        client.settimeout(5)
        test.check("port del closes the connection", client.recv(1) == b"")
    switch.ask("port", "add", "a", "vm", "socket", mine)
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(mine)
        switch.ask("wait", "a", "connected", "5")
        status, seconds = switch.stop()
        test.check("SIGTERM with a front-end connected", status == 0 and seconds < 2,
                   f"{seconds:.2f} s")
    test.check("SIGTERM removes the sockets", not os.path.exists(mine)
               and not os.path.exists(other))


def check_two_switches(test, switch):
    control = switch.control[1]
    other = cli.run("switch", "--control", control, "port add x null")
    test.check("a second switch on one control socket is refused, with the first one's pid",
               other.code == USAGE and f"control socket {control}: another process listens there "
               f"(pid {switch.process.pid})" == other.error(), str(other))
    test.check("the first one still answers", switch.ask("port", "show")[0]["name"] == "a")


def check_signals(test, switch):
    for _ in range(20):
        os.kill(switch.process.pid, signal.SIGHUP)
    test.check("SIGHUP is harmless", switch.ask("port", "show")[0]["name"] == "a")
    helpers = children(switch.process.pid)
    test.check("one helper process", len(helpers) == 1, str(helpers))
    status, seconds = switch.stop()
    test.check("SIGTERM: exit 0 within 2 s", status == 0 and seconds < 2, f"{seconds:.2f} s")
    test.check("the helper is gone", e2e.wait_until(lambda: is_gone(helpers[0]), 2))
    test.check("the control socket is gone", not os.path.exists(switch.control[1]))

    switch.start()
    status = switch.process.stop(signal.SIGINT)
    test.check("SIGINT: exit 0", status == 0, str(status))
    switch.start()
    helpers = children(switch.process.pid)
    switch.kill()
    test.check("SIGKILL: the helper ends too", e2e.wait_until(lambda: is_gone(helpers[0]), 2))
    test.check("SIGKILL: and takes the socket with it",
               e2e.wait_until(lambda: not os.path.exists(switch.control[1]), 2))
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(switch.control[1])
    switch.start()
    test.check("a stale control socket is replaced", switch.ask("port", "show")[0]["name"] == "a")
    switch.stop()


def check_ready_without_reader(test):
    """Nobody reads stdout: it must not matter."""
    control = test.path("mute.sock")
    read, write = os.pipe()
    os.close(read)
    child = subprocess.Popen([binary(), "switch", "--control", control, "port add a null"],
                             stdout=write, stderr=subprocess.DEVNULL, preexec_fn=e2e.die_with_parent)
    os.close(write)
    answered = e2e.wait_until(lambda: cli.run("--control", control, "port", "show").code == 0, 5)
    test.check("a closed stdout does not end it", answered and child.poll() is None)
    child.send_signal(signal.SIGTERM)
    test.check("and it ends as ever", child.wait(5) == 0)


def check_notify(test):
    path = test.path("notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(path)
        listener.settimeout(10)
        switch = Switch(test, prefix=["env", f"NOTIFY_SOCKET={path}"], control=test.path("n.sock"))
        switch.commands = ["port add a null"]
        switch.start()
        text = listener.recv(4096).decode()
        test.check("sd_notify: ready", "READY=1" in text.splitlines())
        switch.process.child.send_signal(signal.SIGTERM)
        text = listener.recv(4096).decode()
        test.check("sd_notify: stopping", "STOPPING=1" in text.splitlines())
        switch.stop()


def check_rights(test, switch):
    """Every thread of the switch itself has given up what could be given up."""
    threads = status_of(switch.process.pid)
    test.check("every thread: no capabilities", all(
        int(t[key], 16) == 0 for t in threads for key in ("CapEff", "CapPrm", "CapInh", "CapAmb")))
    test.check("every thread: no new privileges", all(t["NoNewPrivs"] == "1" for t in threads))
    test.check("every thread: there is more than one", len(threads) > 1, str(len(threads)))
    helper = status_of(children(switch.process.pid)[0])[0]
    allowed = 1 << 0 | 1 << 1 | 1 << 3 | 1 << 12  # chown, dac_override, fowner, net_admin
    test.check("the helper keeps at most four capabilities",
               int(helper["CapEff"], 16) & ~allowed == 0, helper["CapEff"])
    return threads


def check_user(test):
    if os.geteuid() != 0:
        test.note("not root: --user is not tried")
        return
    switch = Switch(test, options=["--user", "nobody", "--workers", "2"],
                    control=test.path("user.sock"))
    folder = test.path("vm")
    os.mkdir(folder, 0o700)  # closed to that user: the helper opens what is in it
    switch.commands = ["port add a null"]
    switch.vm("v", f"{folder}/v.sock", extra="user nobody")
    switch.start()
    test.check("--user: sockets are made with the rights before", os.stat(f"{folder}/v.sock").st_uid
               == NOBODY)
    threads = check_rights(test, switch)
    test.check("--user: every thread is that user", all(
        t["Uid"].split() == [str(NOBODY)] * 4 and t["Gid"].split()[0] != "0" for t in threads))
    test.check("--user: and in none of root's groups",
               all("0" not in t["Groups"].split() for t in threads), threads[0]["Groups"])
    mode = os.stat(switch.control[1]).st_mode & 0o777
    test.check("the control socket is its owner's alone", mode == 0o600, oct(mode))
    test.check("root's client is served", switch.ask("port", "show")[0]["name"] == "a")
    status, _ = switch.stop()
    test.check("--user: ends, and its socket goes", status == 0
               and not os.path.exists(switch.control[1])
               and not os.path.exists(f"{folder}/v.sock"))


def check_no_rights(test):
    """As a user with no rights at all, in its runtime folder."""
    if os.geteuid() == 0:
        e2e.need_tools("setpriv")
        prefix = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups",
                  "--inh-caps=-all", "--bounding-set=-all"]
    else:
        prefix = []
    runtime = test.path("runtime")
    os.mkdir(runtime, 0o700)
    os.chmod(test.folder, 0o755)
    if os.geteuid() == 0:
        os.chown(runtime, NOBODY, NOBODY)
    program = os.path.join(runtime, "program")  # the build folder may be closed to that user
    shutil.copy(binary(), program)
    os.environ["LASTREF"], before = program, os.environ.get("LASTREF")
    prefix += ["env", f"XDG_RUNTIME_DIR={runtime}"]
    switch = Switch(test, prefix=prefix, control=None)
    switch.commands = ["port add a null"]
    switch.vm("v", f"{runtime}/v.sock")
    switch.start()
    test.check("vm ports need no rights", switch.port("v")["state"] == "waiting")
    test.check("default control socket", os.path.exists(f"{runtime}/lastref/control.sock"))
    test.check("its client finds it", switch.ask("port", "show")[0]["name"] == "a")
    check_rights(test, switch)
    status, seconds = switch.stop()
    test.check("ends", status == 0 and seconds < 2)
    done = cli.run("port", "show", prefix=[*prefix, "env", "-u", "XDG_RUNTIME_DIR"])
    test.check("no XDG_RUNTIME_DIR: says what to do", done.code == USAGE
               and done.error() == "XDG_RUNTIME_DIR is not set: say where the control socket is "
               "with --control PATH" or os.geteuid() != 0, str(done))
    if before is None:
        del os.environ["LASTREF"]
    else:
        os.environ["LASTREF"] = before


def check_memory(test):
    """What lastref(8) says: 3 MiB, 5 MiB for each worker, 32 KiB for each port."""
    workers, ports = 3, 60
    switch = Switch(test, options=["--workers", str(workers)], control=test.path("memory.sock"))
    for number in range(ports):
        switch.vm(f"p{number}", test.path(f"p{number}.sock"))
    switch.start()
    with open(f"/proc/{switch.process.pid}/status", encoding="ascii") as f:
        used = int(next(line for line in f if line.startswith("RssAnon")).split()[1])
    bound = 3 * 1024 + workers * 5 * 1024 + ports * 32
    test.check("memory is within its formula", used < bound, f"{used} of {bound} KiB")
    switch.stop()


def check_fds(test, switch):
    """Commands that come and go leave nothing behind."""
    folder = f"/proc/{switch.process.pid}/fd"

    def rounds(count):
        for number in range(count):
            switch.ask("port", "add", f"p{number}", "null")
            cli.run(*switch.control, "port", "add", "a", "null")
            switch.ask("port", "del", f"p{number}")

    rounds(2)
    before = len(os.listdir(folder))
    rounds(10)
    test.check("fds: as many as before", e2e.wait_until(
        lambda: len(os.listdir(folder)) == before, 2), f"{before}, {len(os.listdir(folder))}")


def body(test):
    check_whole_or_nothing(test)
    check_vm_sockets(test)
    switch = Switch(test, options=["--workers", "2"])
    switch.commands = ["port add a null"]
    test.check("ready within a second", switch.start() < 1)
    check_two_switches(test, switch)
    check_fds(test, switch)
    check_signals(test, switch)
    check_ready_without_reader(test)
    check_notify(test)
    check_user(test)
    check_no_rights(test)
    check_memory(test)


e2e.run(body)
