"""A daemon as its own process before a camera of patterns, and a client that triggers it and hears the verdicts."""

import json
import os
import select
import socket
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import zmq
from prometheus_client.parser import text_string_to_metric_families

from senbetsu.config import Config
from senbetsu.errors import UserError
from senbetsu.realtime import giving_way
from senbetsu.sockets import has_message

DAEMON = (sys.executable, "-P", "-m", "daemon")
GATE, CAMERA = "gate1", "cam1"
LEAST_BUFFER_FRAMES = 64
READY_WITHIN_S = 90
CLOSED_LOOP_DEADLINE_MS = 10_000
LONGEST_TURN_S = 0.05
"""Between two looks at what has come, where the daemon is kept as busy as it can be."""
SETTLE_S = 10.0
"""After so long under a load the daemon has what it needs; or after half of the time, where that is less."""
MEMORY_EVERY_S = 0.25
JUDGED = ("OK", "ANOMALY")
"""Reasons of parts that the engine looked at."""


@dataclass(frozen=True, slots=True)
class Load:
    """What came of triggers at an even rate."""

    rate_hz: float
    """As asked for."""
    sent_hz: float
    """As the client kept it up, from the first trigger to the last."""
    parts: int
    reasons: dict[str, int]
    p50_ms: float | None
    p95_ms: float | None
    p99_ms: float | None
    max_ms: float | None
    """From trigger to the verdict's receipt, of the parts that were looked at; None where none was."""
    daemon_p50_ms: float | None
    daemon_p99_ms: float | None
    """Of the same parts, from the trigger's receipt by the daemon, where the deadline counts from, to its decision."""
    resident_growth_mib: float | None
    """What the daemon's resident memory grew by after the first `settled_s`; None where the system does not tell."""
    settled_s: float

    @property
    def judged_share(self) -> float:
        """Of all triggers, those whose part was looked at in time."""
        return sum(self.reasons.get(reason, 0) for reason in JUDGED) / self.parts


class ResidentMemory:
    """How much a process grows, from `settled_s` on; Linux only."""

    def __init__(self, pid: int, settled_s: float) -> None:
        self.settled_s = settled_s
        self._file = Path(f"/proc/{pid}/statm")
        self._page_bytes = os.sysconf("SC_PAGE_SIZE")
        self._next_s = settled_s
        self._first: int | None = None
        self._largest = 0

    def look(self, now_s: float) -> None:
        """`now_s` since the load began; a look that is not due is free."""
        if now_s < self._next_s or not self._file.exists():
            return
        self._next_s = now_s + MEMORY_EVERY_S
        resident = int(self._file.read_text().split()[1]) * self._page_bytes
        self._first = resident if self._first is None else self._first
        self._largest = max(self._largest, resident)

    @property
    def growth_mib(self) -> float | None:
        """The largest that was seen less the first."""
        return None if self._first is None else round((self._largest - self._first) / 2**20, 2)


class Client:
    """Triggers, and hears results. Used by one thread."""

    def __init__(self, publish: str, request: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
        self._context: zmq.Context[Any] = zmq.Context()
        self._heard, self._dealer = self._context.socket(zmq.SUB), self._context.socket(zmq.DEALER)
        self._heard.setsockopt(zmq.RCVHWM, 0)
        self._heard.subscribe(b"result.")
        self._heard.subscribe(b"heartbeat.")
        self._heard.connect(publish)
        self._dealer.connect(request)
        until_s = time.monotonic() + READY_WITHIN_S
        while not self._heard.poll(100):
            if process.poll() is not None or time.monotonic() > until_s:
                raise UserError(f"the daemon did not start:\n{log.read_text()[-3000:]}")
        self.pid = process.pid
        """The daemon's."""
        self._number = 0
        self._sent_ns: dict[int, int] = {}

    def close(self) -> None:
        """Disconnect."""
        self._context.destroy(linger=0)

    def _trigger(self, deadline_ms: float) -> None:
        self._number = (self._number + 1) % 65536
        request = {"op": "trigger", "gate": GATE, "trigger": self._number, "deadline_ms": deadline_ms}
        self._sent_ns[self._number] = time.monotonic_ns()
        self._dealer.send(orjson.dumps(request))

    def _results(self) -> Iterator[tuple[dict[str, Any], float]]:
        """Every result that is there, and its latency in ms."""
        while has_message(self._heard):
            topic, payload = self._heard.recv_multipart()
            now_ns = time.monotonic_ns()
            if topic.startswith(b"result."):
                result = orjson.loads(payload)
                sent_ns = self._sent_ns.pop(result["trigger"], None)
                if sent_ns is not None:
                    yield result, (now_ns - sent_ns) / 1e6
        while has_message(self._dealer):
            self._dealer.recv_multipart()

    def closed_loop(self, outstanding: int, seconds: float) -> float:
        """Parts a second, from the first decision to the last, where so many are under way, less those of a turn.

        A turn is the time that a quarter of them takes, going by what was done so far: on a PC whose cores the daemon has to
        share with its client, one that woke for each part would take for itself what is to be measured. For the same reason
        the client waits for a core instead of taking one from the daemon.
        """
        decided_ns = list[int]()
        began_s = time.perf_counter()
        with giving_way():
            while (now_s := time.perf_counter()) - began_s < seconds:
                while len(self._sent_ns) < outstanding:
                    self._trigger(CLOSED_LOOP_DEADLINE_MS)
                done = len(decided_ns)
                time.sleep(min(LONGEST_TURN_S, outstanding / 4 * (now_s - began_s) / done) if done else 0)
                self._heard.poll(5)
                decided_ns += [result["decided_at_ns"] for result, _ in self._results() if result["reason"] in JUDGED]
        self._drain()
        took_ns = max(decided_ns) - min(decided_ns) if decided_ns else 0
        return (len(decided_ns) - 1) / took_ns * 1e9 if took_ns else 0.0

    def open_loop(self, rate_hz: float, seconds: float, deadline_ms: float) -> Load:
        """Triggers at an even rate, whatever comes of them."""
        parts = max(1, round(rate_hz * seconds))
        reasons: Counter[str] = Counter()
        latencies_ms: list[float] = []
        at_daemon_ms: list[float] = []
        memory = ResidentMemory(self.pid, min(SETTLE_S, seconds / 2))
        began_s, sent, first_s, last_s = time.perf_counter() + 0.05, 0, 0.0, 0.0
        while sent < parts or self._sent_ns:
            while sent < parts and (last_s := time.perf_counter()) >= began_s + sent / rate_hz:
                self._trigger(deadline_ms)
                first_s = first_s or last_s
                sent += 1
            next_s = began_s + sent / rate_hz if sent < parts else time.perf_counter() + 0.05
            self._wait(min(0.005, next_s - time.perf_counter()))
            for result, latency_ms in self._results():
                reasons[result["reason"]] += 1
                if result["reason"] in JUDGED:
                    latencies_ms.append(latency_ms)
                    at_daemon_ms.append((result["decided_at_ns"] - result["triggered_at_ns"]) / 1e6)
            memory.look(time.perf_counter() - began_s)
            if sent == parts and time.perf_counter() > began_s + seconds + 10 + deadline_ms / 1e3:
                reasons["no result"] = len(self._sent_ns)
                self._sent_ns.clear()
        p50_ms, p95_ms, p99_ms, max_ms = _quantiles(latencies_ms, 0.5, 0.95, 0.99, 1)
        daemon_p50_ms, daemon_p99_ms = _quantiles(at_daemon_ms, 0.5, 0.99)
        sent_hz = (parts - 1) / (last_s - first_s) if parts > 1 else rate_hz
        return Load(
            round(rate_hz, 1), round(sent_hz, 1), parts, dict(reasons), p50_ms, p95_ms, p99_ms, max_ms, daemon_p50_ms,
            daemon_p99_ms, memory.growth_mib, memory.settled_s,
        )  # fmt: skip

    def _wait(self, seconds: float) -> None:
        """Until there may be a result, at most so long. (`poll` knows whole milliseconds; the rest would be spent spinning.)"""
        if seconds > 0 and not has_message(self._heard):
            select.select([self._heard.fileno()], [], [], seconds)

    def _drain(self) -> None:
        until_s = time.perf_counter() + 10
        while self._sent_ns and time.perf_counter() < until_s:
            self._heard.poll(20)
            for _ in self._results():
                pass
        self._sent_ns.clear()


@dataclass(frozen=True, slots=True)
class Line:
    """A running daemon."""

    client: Client
    metrics_port: int
    ready_s: float
    """From the start of the process to its first heartbeat."""

    def stages(self) -> dict[str, float]:
        """Mean milliseconds that a batch has spent in each stage so far, by name."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.metrics_port}/metrics", timeout=10) as answer:
            text = answer.read().decode()
        sums, counts = dict[str, float](), dict[str, float]()
        for family in text_string_to_metric_families(text):
            if family.name == "senbetsu_stage_duration_seconds":
                for sample in family.samples:
                    if sample.name.endswith("_sum"):
                        sums[sample.labels["stage"]] = sample.value
                    elif sample.name.endswith("_count"):
                        counts[sample.labels["stage"]] = sample.value
        return {stage: round(1e3 * sums[stage] / counts[stage], 3) for stage in sums if counts[stage]}


@contextmanager
def running_line(
    folder: Path,
    settings: Config,
    size: tuple[int, int],
    daemon: str = "",
    program: Sequence[str] = DAEMON,
    buffer_frames: int = LEAST_BUFFER_FRAMES,
) -> Iterator[Line]:
    """Start a daemon with these artefacts, engine and priority, and more lines for [daemon] or behind it; end it afterwards.

    `buffer_frames`: as many parts as are going to be under way at the same time.
    """
    publish_port, request_port, metrics_port = _free_ports(3)
    publish, request = f"tcp://127.0.0.1:{publish_port}", f"tcp://127.0.0.1:{request_port}"
    engine = "\n".join(
        f"{name} = {json.dumps(value)}" for name, value in settings.engine.model_dump(mode="json").items()
    )
    model = "\n".join(
        f"{name} = {json.dumps(value)}"
        for name, value in settings.model.model_dump(mode="json", exclude_defaults=True).items()
    )
    priority = settings.realtime.fifo_priority
    realtime = f"[realtime]\nfifo_priority = {priority}\n" if priority else ""
    config, log = folder / "bench.toml", folder / "daemon.log"
    config.write_text(
        f'artifacts = {json.dumps(str(settings.artifacts.resolve()))}\nrecipe = {settings.recipe}\n[engine]\n{engine}\n'
        f'[model]\n{model}\n[[gates]]\nname = "{GATE}"\n'
        f'[[cameras]]\nname = "{CAMERA}"\nkind = "pattern"\nsource = "{size[0]}x{size[1]}"\ngate = "{GATE}"\n'
        f"buffer_frames = {max(LEAST_BUFFER_FRAMES, buffer_frames)}\n"
        f'[daemon]\npublish = "{publish}"\nrequest = "{request}"\nmetrics_port = {metrics_port}\n{daemon}\n{realtime}',
        encoding="utf-8",
    )  # fmt: skip
    began_s = time.perf_counter()
    with log.open("wb") as output:
        process = subprocess.Popen([*program, "--config", str(config)], cwd=folder, stdout=output, stderr=output)
    client = None
    try:
        client = Client(publish, request, process, log)
        yield Line(client, metrics_port, round(time.perf_counter() - began_s, 2))
    finally:
        if client is not None:
            client.close()
        process.terminate()
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _quantiles(values: list[float], *quantiles: float) -> list[float | None]:
    if not values:
        return [None] * len(quantiles)
    return [round(float(q), 2) for q in np.quantile(values, quantiles)]


def _free_ports(count: int) -> list[int]:
    probes = [socket.socket() for _ in range(count)]
    for probe in probes:
        probe.bind(("127.0.0.1", 0))
    ports = [int(probe.getsockname()[1]) for probe in probes]
    for probe in probes:
        probe.close()
    return ports
