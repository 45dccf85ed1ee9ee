"""Nonsense for sockets: bytes that are nothing, and messages that are almost right. The same seed gives the same.

As a program, for benchmarks/fuzz.py: `noise.py PUBLISH REQUEST MODBUS RATE_HZ` sends it to these ports, each at that rate,
until its input ends; it says when it begins, and how much it was.
"""

import json
import random
import socket
import struct
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import zmq

GREETING = b"\xff" + b"\0" * 8 + b"\x7f\x03\x00" + b"NULL".ljust(20, b"\0") + b"\0" * 32
"""A peer of ZMTP 3.0 without security."""


def zmtp_streams(chance: random.Random) -> Iterator[bytes]:
    """What a TCP client may send to a ZeroMQ socket."""
    ready = b"\x04\x19\x05READY\x0bSocket-Type\0\0\0\x03"
    while True:
        noise = chance.randbytes(chance.randrange(1, 200))
        yield chance.choice(
            [
                noise,
                GREETING[: chance.randrange(64)],
                GREETING[:12] + b"CURVE".ljust(20, b"\0") + b"\0" * 32 + noise,
                GREETING[:12] + b"NONSENSE".ljust(20, b"\0") + b"\0" * 32 + noise,
                GREETING + noise,
                GREETING + b"\x02" + struct.pack(">Q", 1 << 62) + noise,  # a frame of 4 EiB
                GREETING + ready + b"SUB" + b"\x02" + struct.pack(">Q", 1 << 40) + noise,
                GREETING + ready + b"SUB" + b"\x01\x03" + noise,
                b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
            ]
        )


WORDS = ["op", "trigger", "replay", "ack", "state", "gate", "gate1", "epoch", "after", "seq", "part_id", "deadline_ms"]


def value(chance: random.Random, depth: int = 0) -> Any:
    """Any JSON value."""
    scalars = [None, True, -1, 0, 65536, 2**53, 10**300, 1e308, 0.5, "", "\ud800", "gate1", "x" * 1000]
    kind = chance.randrange(6 if depth < 4 else 4)
    if kind == 4:
        return [value(chance, depth + 1) for _ in range(chance.randrange(4))]
    if kind == 5:
        return {chance.choice(WORDS): value(chance, depth + 1) for _ in range(chance.randrange(4))}
    return chance.choice(scalars)


def requests(chance: random.Random) -> Iterator[list[bytes]]:
    """Frames of what is almost a request; none of them announces a part of a gate that is there."""
    while True:
        document = {"op": chance.choice([*WORDS, value(chance)])}
        document |= {chance.choice(WORDS[5:]): value(chance) for _ in range(chance.randrange(6))}
        if document.get("op") == "trigger" and document.get("gate") == "gate1":
            document["gate"] = "nowhere"
        text = json.dumps(document).encode()
        cut = chance.randrange(len(text))
        payload = chance.choice(
            [
                text,
                text[:cut],
                text[:cut] + chance.randbytes(3) + text[cut:],
                b"[" * 5000,
                b'{"op":"replay","epoch":1,"after":' + b"9" * 4000 + b"}",
                b'{"op":"state","x":NaN}',
                chance.randbytes(chance.randrange(100)),
                b"",
            ]
        )
        yield chance.choice([[payload], [b"", payload], [payload] * chance.randrange(1, 20), [b"x" * 300, payload]])


def modbus_streams(chance: random.Random) -> Iterator[bytes]:
    """What a TCP client may send to the Modbus server. No whole write of holding 0-11 is among it."""
    while True:
        function = chance.choice([1, 2, 3, 4, 5, 6, 15, 16, 22, 23, 43, 100, 0, 128, 255])
        address, count = (
            chance.choice([0, 20, 143, 175, 1000, 65535]),
            chance.choice([0, 1, 124, 125, 126, 2000, 65535]),
        )
        body = bytes([chance.choice([0, 1, 2, 255, 9]), function]) + struct.pack(">HH", address, count)
        if function in (15, 16):
            data = chance.randbytes(chance.choice([0, 1, 10, 200]))
            body += bytes([len(data)]) + data
        header = struct.pack(">HHH", chance.randrange(65536), chance.choice([0, 0, 0, 1, 65535]), len(body))
        whole = header + body
        yield chance.choice(
            [
                whole,
                whole * 3,
                whole[: chance.randrange(len(whole))],
                header[:4] + struct.pack(">H", chance.choice([0, 1, 2, 254, 255, 65535])) + body,
                chance.randbytes(chance.randrange(1, 300)),
                b"\0" * 260,
            ]
        )


def send(port: int, payload: bytes, wait_s: float = 0.0) -> None:
    """One TCP connection that says this, reads what comes for a moment, and goes."""
    with socket.create_connection(("127.0.0.1", port), timeout=5) as stream:
        try:
            stream.sendall(payload)
            if wait_s:
                stream.settimeout(wait_s)
                stream.recv(4096)
        except OSError:
            return


def main(publish: int, request: int, modbus: int, rate_hz: int) -> None:
    """The program."""
    chance = random.Random(8)
    zmtp, json_, bytes_ = zmtp_streams(chance), requests(chance), modbus_streams(chance)
    stopped = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), stopped.set()), daemon=True).start()
    sent = 0
    with zmq.Context() as context, context.socket(zmq.DEALER) as dealer:
        dealer.setsockopt(zmq.LINGER, 0)
        dealer.connect(f"tcp://127.0.0.1:{request}")
        print("begins", flush=True)
        while not stopped.is_set():
            next_s = time.monotonic() + 1 / rate_hz
            for port, streams in ((publish, zmtp), (request, zmtp), (modbus, bytes_)):
                send(port, next(streams))
            dealer.send_multipart(next(json_))
            sent += 4
            while dealer.poll(0):
                dealer.recv_multipart()
            stopped.wait(max(0.0, next_s - time.monotonic()))
    print(sent)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
