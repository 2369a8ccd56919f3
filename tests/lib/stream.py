#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""TCP and UDP between two kernels, every byte hashed: no tool of the host's is needed.

usage: stream.py serve PORT             answers until it is ended
       stream.py tcp HOST PORT BYTES    sends BYTES, gets as many back; says "ok" or what was wrong
       stream.py udp HOST PORT COUNT    sends datagrams of many sizes, wants each of them back
"""
import hashlib
import os
import socket
import sys
import threading

CHUNK = 1 << 20
DATAGRAM_SIZES = (1, 2, 18, 100, 1000, 1471, 1472, 1473, 4000, 20000, 60000)


def send_bytes(sock, count):
    """Random bytes; returns their digest."""
    digest = hashlib.sha256()
    while count:
        chunk = os.urandom(min(count, CHUNK))
        sock.sendall(chunk)
        digest.update(chunk)
        count -= len(chunk)
    return digest.hexdigest()


def receive_bytes(stream, count):
    digest = hashlib.sha256()
    while count:
        chunk = stream.read(min(count, CHUNK))
        if not chunk:
            return f"{count} bytes are missing"
        digest.update(chunk)
        count -= len(chunk)
    return digest.hexdigest()


def answer_stream(sock):
    """As many bytes back as are announced; then both sides tell what they saw."""
    with sock, sock.makefile("rb") as stream:
        count = int(stream.readline())
        got = receive_bytes(stream, count)
        sent = send_bytes(sock, count)
        sock.sendall(f"{got} {sent}\n".encode())


def answer_datagrams(port):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("", port))
        while True:
            data, peer = sock.recvfrom(65536)
            sock.sendto(data, peer)


def serve(port):
    threading.Thread(target=answer_datagrams, args=(port,), daemon=True).start()
    with socket.create_server(("", port), backlog=64) as server:
        print("serving", flush=True)
        while True:
            threading.Thread(target=answer_stream, args=(server.accept()[0],),
                             daemon=True).start()


def tcp(host, port, count):
    with socket.create_connection((host, port), timeout=20) as sock, \
            sock.makefile("rb") as stream:
        sock.sendall(f"{count}\n".encode())
        sent = send_bytes(sock, count)
        got = receive_bytes(stream, count)
        theirs = stream.readline().decode().split()
    if theirs != [sent, got]:
        return f"digests differ: {sent} {got}, the other side's: {' '.join(theirs)}"
    return "ok"


def udp(host, port, count):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(2)
        for i in range(count):
            data = os.urandom(DATAGRAM_SIZES[i % len(DATAGRAM_SIZES)])
            sock.sendto(data, (host, port))
            try:
                answer = sock.recv(65536)
            except TimeoutError:
                return f"datagram {i} of {len(data)} bytes: no answer"
            if answer != data:
                return f"datagram {i} of {len(data)} bytes: another one came back"
    return "ok"


def main(argv):
    if argv[1] == "serve":
        serve(int(argv[2]))
    result = {"tcp": tcp, "udp": udp}[argv[1]](argv[2], int(argv[3]), int(argv[4]))
    print(result)
    return 0 if result == "ok" else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv))
