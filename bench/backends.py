# SPDX-License-Identifier: BSD-2-Clause
"""The switches under comparison. One class per kind; a new one is one class and one row."""
import json
import os
import re
import socket
import time
from pathlib import Path

from proc import BenchError, Process, wait_for

OVS_VSWITCHD = "/usr/lib/openvswitch-switch-dpdk/ovs-vswitchd-dpdk"
OVS_SCHEMA = "/usr/share/openvswitch/vswitch.ovsschema"


def rpc(path, request, timeout=5.0):
    """One JSON request on a Unix socket, one JSON value back."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as s:
        s.settimeout(timeout)
        s.connect(str(path))
        s.sendall(json.dumps(request).encode() + b"\n")
        text = b""
        while True:
            more = s.recv(65536)
            if not more:
                raise BenchError(f"{path}: closed without an answer")
            text += more
            try:
                return json.loads(text)
            except json.JSONDecodeError:
                continue


class Backend:
    """A switch process with vhost-user sockets, on one processor of its own.

    label: its name in tables; group: (client, jumbo) it is for, jumbo: frames of 9000 bytes;
    huge_pages: 2 MiB pages it wants.
    """
    kind = ""
    huge_pages = 0
    wrap = ()  # a command to run it under

    def __init__(self, scratch, label, group=("", False), cpu=1, nice=0, ports=2):
        self.label = label
        self.group = group
        self.jumbo = group[1]
        self.name = "-".join([label] + [group[0]] * bool(group[0]) + ["jumbo"] * self.jumbo)
        self.cpu = cpu
        self.nice = nice
        self.scratch = Path(scratch) / self.name
        self.scratch.mkdir()
        self.sockets = [self.scratch / f"s{i}" for i in range(ports)]
        self.process = None

    def prepare(self):
        """What has to be there before the switch itself starts."""

    def launch(self):
        """Start the switch itself; does not wait."""
        raise NotImplementedError

    def start(self):
        self.prepare()
        self.launch()

    def ready(self):
        """Wait until all sockets listen."""
        wait_for(self.name, lambda: all(s.exists() for s in self.sockets), process=self.process)

    def stop(self):
        self.process.stop()

    def cont(self):
        """Continue, and see that it runs: else it would count the pause as time spent on the
        first frame. A switch that sleeps while it is idle is awake by definition."""
        self.process.cont()
        before = self.process.cpu_ns()
        for _ in range(20):
            if self.process.cpu_ns() - before > 200000:
                break
            time.sleep(0.0005)

    def counters(self):
        """(busy cycles, frames) since start: called while it runs."""
        return None

    def leave(self):
        """Ask the switch to end."""
        self.process.child.terminate()

    def end_switch(self):
        if self.process:
            self.process.end(gently=self.leave, seconds=30 if self.wrap else 5)
            self.process = None

    def end(self):
        self.end_switch()


class Testpmd(Backend):
    """dpdk-testpmd in io mode: moves every frame from one port to the other, looks at nothing."""
    kind = "testpmd"
    huge_pages = 160

    def launch(self):
        command = ["stdbuf", "-oL", "dpdk-testpmd", "--lcores", f"0@0,1@{self.cpu}", "--in-memory", "-m", "256",
                   "--no-pci", "--no-telemetry", f"--file-prefix={self.name}-{os.getpid()}"]
        command += [f"--vdev=net_vhost{i},iface={s}" for i, s in enumerate(self.sockets)]
        command += ["--", "--interactive", "--forward-mode=io", "--nb-cores=1", "--rxd=1024",
                    "--txd=1024", "--record-core-cycles", "--total-num-mbufs=16384"]
        if self.jumbo:
            command += ["--mbuf-size=9728", "--max-pkt-len=9216", "--tx-offloads=0x8000"]
        self.process = Process(self.name, command, self.scratch, self.nice, talk=True)
        self.process.say("start")

    def ready(self):
        self.process.hear("io packet forwarding - ", timeout=30)
        super().ready()

    def counters(self):
        self.process.say("show fwd stats all\nend-of-statistics")
        text = "\n".join(self.process.hear("end-of-statistics"))
        cycles = re.search(r"total cycles=(\d+) / total \S+ packets=(\d+)", text)
        return (int(cycles[1]), int(cycles[2])) if cycles else (0, 0)

    def leave(self):
        self.process.say("quit")


class Ovs(Backend):
    """Open vSwitch with its DPDK datapath and the NORMAL action: a learning switch, as ours."""
    kind = "ovs"
    huge_pages = 512
    server = None  # the database's

    def prepare(self):
        self.control = self.scratch / "vswitchd.ctl"
        self.database = f"unix:{self.scratch}/db.sock"
        self.environment = {"OVS_RUNDIR": str(self.scratch), "OVS_LOGDIR": str(self.scratch),
                            "OVS_DBDIR": str(self.scratch), "OVS_SYSCONFDIR": str(self.scratch)}
        self.run("create", "ovsdb-tool", "create", self.scratch / "conf.db", OVS_SCHEMA)
        self.server = Process(
            f"{self.name}-db",
            ["ovsdb-server", self.scratch / "conf.db", f"--remote=p{self.database}",
             f"--unixctl={self.scratch}/db.ctl", "--no-chdir"],
            self.scratch, environment=self.environment)
        wait_for(self.name, (self.scratch / "db.sock").exists, process=self.server)
        self.configure()

    def run(self, what, *command):
        """A short command, to its end."""
        process = Process(f"{self.name}-{what}", command, self.scratch,
                          environment=self.environment)
        code = process.child.wait(20)
        Process.running.remove(process)
        if code != 0:
            raise BenchError(f"{self.name}: {command[0]} exited {code}: {process.tail()}")

    def configure(self):
        command = ["ovs-vsctl", f"--db={self.database}", "--no-wait", "init", "--",
                   "set", "Open_vSwitch", ".", "other_config:dpdk-init=true",
                   f"other_config:pmd-cpu-mask={1 << self.cpu:x}",
                   "other_config:dpdk-lcore-mask=1", "other_config:dpdk-socket-mem=512",
                   "other_config:dpdk-socket-limit=1024", "other_config:dpdk-extra=--no-pci",
                   "--", "add-br", "br0", "--",
                   "set", "bridge", "br0", "datapath_type=netdev"]
        for s in self.sockets:
            command += ["--", "add-port", "br0", s.name, "--", "set", "Interface", s.name,
                        "type=dpdkvhostuser"]
            if self.jumbo:
                command += ["mtu_request=9000"]
        self.run("configure", *command)

    def launch(self):
        """ovs-vswitchd alone: its network devices in a namespace that ends with it."""
        self.process = Process(
            self.name, ["unshare", "--net", "--", OVS_VSWITCHD, self.database,
                        f"--unixctl={self.control}", "--no-chdir"],
            self.scratch, self.nice, environment=self.environment)

    def appctl(self, method, *params):
        answer = rpc(self.control, {"id": 0, "method": method, "params": params})
        if answer.get("error"):
            raise BenchError(f"{self.name}: {method}: {answer['error']}")
        return answer["result"]

    def counters(self):
        text = self.appctl("dpif-netdev/pmd-stats-show")
        part = next((p for p in re.split(r"(?=pmd thread)", text)
                     if f"core_id {self.cpu}:" in p), "")
        cycles = re.search(r"processing cycles: (\d+)", part)
        frames = re.search(r"packets received: (\d+)", part)
        return (int(cycles[1]) if cycles else 0, int(frames[1]) if frames else 0)

    def leave(self):
        self.appctl("exit", "--cleanup")

    def end(self):
        self.end_switch()
        if self.server:
            self.server.end()
            self.server = None


class Lastref(Backend):
    """Ours: no hugepages, no processor of its own, one worker bound to the same processor."""
    kind = "lastref"

    def __init__(self, *args, binary="build/lastref", workers=1, **keys):
        super().__init__(*args, **keys)
        self.binary = Path(binary).resolve()
        self.workers = workers

    def launch(self):
        self.control = self.scratch / "control"
        command = [*self.wrap, self.binary, "switch", "--control", self.control, "--workers", self.workers,
                   "--cpus", self.cpu]
        command += [f"port add p{i} vm socket {s}" for i, s in enumerate(self.sockets)]
        self.process = Process(self.name, command, self.scratch, self.nice)

    def counters(self):
        answer = rpc(self.control, {"cmd": ["worker", "show"]})
        if "ok" not in answer:
            raise BenchError(f"{self.name}: worker show: {answer.get('error')}")
        cycles = frames = 0
        for worker in workers_of(answer["ok"]):
            cycles += worker["busy_cycles"]
            frames += worker["frames"]
        return cycles, frames


def workers_of(answer):
    """The rows of `worker show -j`: a list, or an object that holds one."""
    if isinstance(answer, dict):
        answer = next((v for v in answer.values() if isinstance(v, list)), [answer])
    return answer
