"""What the daemon itself costs a part: a real process with an engine that takes no time, and one subscriber.

Pictures of the network's own size, uncompressed, are replayed by a `folder` camera, so that decoding and resizing hardly
count. Latency is from the daemon's receipt of
the trigger to the receipt of the verdict by the subscriber, client and daemon on the same machine. Throughput is the
highest of the rates tried at which fewer than one part in a thousand was overload. What a part costs is the CPU time of all
of the daemon's threads, to read the picture's file too.
"""

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import zmq

from benchmarks.conditions import save
from daemon.__main__ import serve
from senbetsu.config import load_config
from senbetsu.engine import Lane, Scores
from senbetsu.judge import Judge
from senbetsu.program import run as run_program

RATES_HZ = (500, 1000, 1500, 2000, 2500, 3000)
DEADLINE_MS = 100


class FreeEngine:
    """Takes no time and finds every part the same."""

    kind, precision, device = "none", "fp32", "none"
    in_turn = False
    batch_sizes: tuple[int, ...] = (1, 2, 4, 8)

    def __init__(self) -> None:
        self.inputs = np.zeros((8, 224, 224, 3), np.uint8)
        self._scores = np.full(8, 0.5, np.float32)

    @property
    def lanes(self) -> tuple[Lane, ...]:
        """Itself."""
        return (self,)

    def run(self, count: int) -> Scores:
        """Half the threshold."""
        return Scores(self._scores[:count], self._scores[:count], self._scores[:count])


def free_ports(count: int) -> list[int]:
    """Ports that nothing listens on."""
    probes = [socket.socket() for _ in range(count)]
    for probe in probes:
        probe.bind(("127.0.0.1", 0))
    ports = [probe.getsockname()[1] for probe in probes]
    for probe in probes:
        probe.close()
    return ports


class Client:
    """Triggers at a rate, and hears the verdicts."""

    def __init__(self, daemon_pid: int, publish: str, request: str) -> None:
        self._threads = Path(f"/proc/{daemon_pid}/task")
        context: zmq.Context[Any] = zmq.Context()
        self._heard, self._dealer = context.socket(zmq.SUB), context.socket(zmq.DEALER)
        self._heard.setsockopt(zmq.RCVHWM, 0)
        self._heard.subscribe(b"")
        self._heard.connect(publish)
        self._dealer.connect(request)
        while not self._heard.recv_multipart()[0].startswith(b"heartbeat"):
            pass
        self._number = 0

    def measure(self, rate_hz: float, parts: int) -> dict[str, Any]:
        """What came of so many parts at this rate."""
        latencies_ms, reasons = [], dict[str, int]()
        poller = zmq.Poller()
        poller.register(self._heard, zmq.POLLIN)
        began_s, cpu_before_ns = time.perf_counter(), self._cpu_ns()
        sent = 0
        while sum(reasons.values()) < parts:
            while sent < parts and time.perf_counter() >= began_s + sent / rate_hz:
                self._number = (self._number + 1) % 65536
                request = {"op": "trigger", "gate": "gate1", "trigger": self._number, "deadline_ms": DEADLINE_MS}
                self._dealer.send(json.dumps(request).encode())
                sent += 1
            poller.poll(1)
            while self._heard.poll(0):
                topic, payload = self._heard.recv_multipart()
                now_ns = time.monotonic_ns()
                if topic.startswith(b"result"):
                    result = json.loads(payload)
                    reasons[result["reason"]] = reasons.get(result["reason"], 0) + 1
                    latencies_ms.append((now_ns - result["triggered_at_ns"]) / 1e6)
        while self._dealer.poll(50):
            self._dealer.recv()
        taken_s = time.perf_counter() - began_s
        cpu_us_a_part = (self._cpu_ns() - cpu_before_ns) / 1e3 / parts
        p50, p99 = np.percentile(latencies_ms, [50, 99])
        return {
            "rate_hz": rate_hz, "parts": parts, "reasons": reasons, "results_per_s": round(parts / taken_s),
            "p50_ms": round(float(p50), 3), "p99_ms": round(float(p99), 3),
            "cpu_us_a_part": round(cpu_us_a_part),
        }  # fmt: skip

    def _cpu_ns(self) -> int:
        """What the daemon's threads have used."""
        return sum(int((thread / "schedstat").read_text().split()[0]) for thread in self._threads.iterdir())


def main() -> None:
    """Measure and keep."""
    with tempfile.TemporaryDirectory() as folder:
        parts = Path(folder) / "parts"
        parts.mkdir()
        random = np.random.default_rng(0)
        for number in range(32):
            picture = random.integers(0, 255, (224, 224, 3), np.uint8)
            cv2.imwrite(str(parts / f"{number:02d}.bmp"), picture)
        publish, request, metrics = free_ports(3)
        config = Path(folder) / "line.toml"
        config.write_text(
            f'[[cameras]]\nname = "cam1"\nkind = "folder"\nsource = "{parts}"\ngate = "gate1"\nloop = true\n'
            f'[[gates]]\nname = "gate1"\n[daemon]\nmetrics_port = {metrics}\n'
            f'publish = "tcp://127.0.0.1:{publish}"\nrequest = "tcp://127.0.0.1:{request}"\n'
        )
        daemon = subprocess.Popen([sys.executable, "-m", "benchmarks.daemon_overhead", "--serve", str(config)])
        try:
            client = Client(daemon.pid, f"tcp://127.0.0.1:{publish}", f"tcp://127.0.0.1:{request}")
            client.measure(100, 200)
            at_100 = client.measure(100, 2000)
            tried = [client.measure(rate, rate * 4) for rate in RATES_HZ]
        finally:
            daemon.terminate()
            daemon.wait()
    sustained = [t["rate_hz"] for t in tried if t["reasons"].get("OK", 0) > 0.999 * t["parts"]]
    save("daemon_overhead", {"at_100_hz": at_100, "sustained_hz": max(sustained, default=None), "tried": tried})


if __name__ == "__main__":
    if "--serve" in sys.argv:
        judge = Judge(FreeEngine(), 1.0, "none", "none", 0, 0.0)
        os._exit(run_program(lambda: serve(load_config(Path(sys.argv[2])), judge), "daemon"))
    main()
