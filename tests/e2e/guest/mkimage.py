#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""Builds the guest image for the QEMU tests: mkimage.py FOLDER -> FOLDER/{vmlinuz,initrd}.

The kernel and busybox are Debian's, fetched with `apt-get download` and unpacked, never
installed. The initramfs is packed uncompressed (gunzip takes seconds in an emulated guest). What
was fetched and built stays in FOLDER, and is used again until a source or the kernel's version
changes. Exits 77 when the packages cannot be fetched.
"""
import fcntl
import hashlib
import os
import re
import shutil
import stat
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
META = "linux-image-cloud-amd64"
# Loaded in this order, each after what it depends on.
MODULES = ["virtio_pci", "virtio_net", "8021q"]
SOURCES = ["init", "netcheck.c", "mkimage.py"]


class Unavailable(Exception):
    """The packages cannot be had: the tests that need the image are skipped."""


def run(*argv, cwd=None):
    done = subprocess.run(argv, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True, check=False)
    if done.returncode:
        raise Unavailable(f"{' '.join(argv)}: exit {done.returncode}\n{done.stdout.strip()}")
    return done.stdout


def private_lists(folder):
    """Options for a package list of our own, for machines whose list is old or empty."""
    for name in ("lists/partial", "archives/partial"):
        os.makedirs(os.path.join(folder, "apt", name), exist_ok=True)
    return ["-o", f"Dir::State::Lists={folder}/apt/lists", "-o", f"Dir::Cache={folder}/apt"]


def kernel_package(options):
    for line in run("apt-cache", *options, "depends", META).splitlines():
        word = line.split()
        if len(word) == 2 and word[0] == "Depends:" and word[1].startswith("linux-image-"):
            return word[1]
    raise Unavailable(f"no package {META} in the package lists")


def fetch(folder, options):
    packages = [kernel_package(options), "busybox-static"]
    run("apt-get", *options, "-o", "APT::Sandbox::User=root", "download", *packages, cwd=folder)
    return [os.path.join(folder, f) for f in sorted(os.listdir(folder)) if f.endswith(".deb")]


def fetch_any(folder):
    """Downloads with the machine's package lists, else with fresh private ones."""
    try:
        return fetch(folder, [])
    except Unavailable as first:
        print(f"mkimage: {first}\nmkimage: trying again with fresh package lists", flush=True)
    options = private_lists(folder)
    run("apt-get", *options, "-o", "APT::Sandbox::User=root", "update")
    return fetch(folder, options)


def unpacked(folder):
    """FOLDER/root with both packages' files, fetched if they are not there."""
    root = os.path.join(folder, "root")
    if os.path.isdir(root):
        return root
    download = os.path.join(folder, "download")
    shutil.rmtree(download, ignore_errors=True)
    os.makedirs(download)
    fresh = root + ".new"
    shutil.rmtree(fresh, ignore_errors=True)
    for package in fetch_any(download):
        run("dpkg-deb", "-x", package, fresh)
    shutil.rmtree(download)
    os.rename(fresh, root)
    return root


def find_files(root, suffix):
    found = {}
    for folder, _, names in os.walk(root):
        for name in names:
            if name.endswith(suffix):
                found[name] = os.path.join(folder, name)
    return found


def with_dependencies(name, modules, done):
    """Appends to done what module name needs (its .modinfo says it), then itself."""
    for word in re.findall(rb"\0depends=([^\0]*)\0", read(modules[name + ".ko"])):
        for other in word.decode().split(","):
            if other:
                with_dependencies(other.replace("-", "_"), modules, done)
    if name not in done:
        done.append(name)


class Cpio:
    """Writer of the "newc" format, so that device nodes need no privileges."""

    def __init__(self, path):
        self.out = open(path, "wb")
        self.inode = 0

    def add(self, name, mode, data=b"", device=(0, 0)):
        self.inode += 1
        name = name.encode() + b"\0"
        fields = [self.inode, mode, 0, 0, 1, 0, len(data), 0, 0, *device, len(name), 0]
        self.out.write(b"070701" + b"".join(b"%08X" % f for f in fields) + name)
        self.pad()
        self.out.write(data)
        self.pad()

    def pad(self):
        self.out.write(b"\0" * (-self.out.tell() % 4))

    def close(self):
        self.add("TRAILER!!!", 0)
        self.out.close()


def read(path):
    with open(path, "rb") as f:
        return f.read()


def pack(path, root, netcheck):
    found = find_files(os.path.join(root, "lib/modules"), ".ko")
    modules = {name.replace("-", "_"): path for name, path in found.items()}
    cpio = Cpio(path)
    for folder in ("bin", "dev", "proc", "sys", "tmp", "modules"):
        cpio.add(folder, stat.S_IFDIR | 0o755)
    cpio.add("dev/console", stat.S_IFCHR | 0o600, device=(5, 1))
    cpio.add("bin/busybox", stat.S_IFREG | 0o755, read(os.path.join(root, "bin/busybox")))
    cpio.add("bin/sh", stat.S_IFLNK | 0o777, b"busybox")
    cpio.add("bin/netcheck", stat.S_IFREG | 0o755, read(netcheck))
    cpio.add("init", stat.S_IFREG | 0o755, read(os.path.join(HERE, "init")))
    wanted = []
    for name in MODULES:
        with_dependencies(name, modules, wanted)
    for name in wanted:
        cpio.add(f"modules/{name}.ko", stat.S_IFREG | 0o644, read(modules[name + ".ko"]))
    order = "".join(f"{name}.ko\n" for name in wanted)
    cpio.add("modules/order", stat.S_IFREG | 0o644, order.encode())
    cpio.close()


def stamp():
    digest = hashlib.sha256()
    for name in SOURCES:
        digest.update(read(os.path.join(HERE, name)))
    return digest.hexdigest()


def check_netcheck(netcheck):
    """Its SHA-256 against an independent one, before anybody relies on it."""
    data = os.urandom(100_003)
    done = subprocess.run([netcheck, "hash"], input=data, stdout=subprocess.PIPE, check=True)
    if done.stdout.decode().strip() != hashlib.sha256(data).hexdigest():
        raise SystemExit("mkimage: netcheck computes a wrong SHA-256")


def build(folder):
    """Returns (kernel, initrd, netcheck), built if they are missing or old."""
    folder = os.path.abspath(folder)
    os.makedirs(folder, exist_ok=True)
    paths = [os.path.join(folder, name) for name in ("vmlinuz", "initrd", "netcheck")]
    with open(os.path.join(folder, "lock"), "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        stamp_path = os.path.join(folder, "stamp")
        if os.path.exists(stamp_path) and read(stamp_path).decode() == stamp():
            return paths
        root = unpacked(folder)
        subprocess.run(["gcc", "-O2", "-static", "-Wall", "-Wextra", "-Werror", "-o", paths[2],
                        os.path.join(HERE, "netcheck.c")], check=True)
        check_netcheck(paths[2])
        boot = os.path.join(root, "boot")
        kernel = [f for f in os.listdir(boot) if f.startswith("vmlinuz-")][0]
        shutil.copyfile(os.path.join(boot, kernel), paths[0])
        pack(paths[1], root, paths[2])
        with open(stamp_path, "w", encoding="ascii") as f:
            f.write(stamp())
    return paths


def main():
    if len(sys.argv) != 2:
        print("usage: mkimage.py FOLDER", file=sys.stderr)
        return 2
    try:
        print(" ".join(build(sys.argv[1])))
    except Unavailable as why:
        print(f"mkimage: cannot make the guest image: {why}")
        return 77
    return 0


if __name__ == "__main__":
    sys.exit(main())
