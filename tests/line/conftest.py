"""Daemon, bridge and simulated PLC as real processes on free ports."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import zmq

from senbetsu.messages import Result, decode_result
from senbetsu.verdict import Verdict

LIMIT_S = 120


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


STAND_IN = Path(__file__).parents[1] / "daemon/stand_in_engine.py"


@dataclass
class Service:
    """One process and its log."""

    name: str
    log: Path
    process: subprocess.Popen[bytes]

    def wait_until_ready(self) -> int:
        """Returns CLOCK_MONOTONIC ns."""
        until = time.monotonic() + 90
        while ": ready" not in self.log.read_text():
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < until, self.log.read_text()
            time.sleep(0.05)
        return time.monotonic_ns()

    def kill(self) -> int:
        """kill -9; returns CLOCK_MONOTONIC ns before it."""
        at_ns = time.monotonic_ns()
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.wait()
        return at_ns

    def stop(self) -> int:
        if self.process.poll() is None:
            self.process.terminate()
        return self.process.wait(timeout=20)


class Results:
    """Hears what the daemon publishes."""

    def __init__(self, publish_port: int) -> None:
        self.context: zmq.Context[Any] = zmq.Context()
        self.socket = self.context.socket(zmq.SUB)
        self.socket.subscribe(b"result.")
        self.socket.connect(f"tcp://127.0.0.1:{publish_port}")
        self.heard: list[Result] = []

    def until_judged_by(self, recipe: int, count: int) -> None:
        """Waits for so many more."""
        self._until(count, lambda result: result.recipe == recipe)

    def until_passed(self, count: int) -> None:
        """Waits for so many more."""
        self._until(count, lambda result: result.verdict is Verdict.PASS)

    def _until(self, count: int, counts: Callable[[Result], bool]) -> None:
        until = time.monotonic() + LIMIT_S
        while count:
            assert self.socket.poll(max(0, round((until - time.monotonic()) * 1000))), "no result came"
            self.heard.append(decode_result(self.socket.recv_multipart()[1]))
            count -= counts(self.heard[-1])


@dataclass
class LineRig:
    """A whole line in a folder."""

    folder: Path
    artifacts: Path
    source: Path
    stand_in: bool = False
    """The daemon's engine is the tests' own: the score is the mean grey / 100."""
    services: list[Service] = field(default_factory=list)
    modbus_port: int = field(default_factory=free_port)
    publish_port: int = field(default_factory=free_port)
    request_port: int = field(default_factory=free_port)

    def __post_init__(self) -> None:
        (self.folder / "config.toml").write_text(
            f"""
            artifacts = "{self.artifacts}"
            [engine]
            max_batch = 4
            [[gates]]
            name = "gate1"
            allow_simulated = true
            [[cameras]]
            name = "cam1"
            kind = "folder"
            source = "{self.source}"
            gate = "gate1"
            loop = true
            [daemon]
            publish = "tcp://127.0.0.1:{self.publish_port}"
            request = "tcp://127.0.0.1:{self.request_port}"
            metrics_port = 0
            [bridge]
            subscribe = "tcp://127.0.0.1:{self.publish_port}"
            request = "tcp://127.0.0.1:{self.request_port}"
            modbus_port = {self.modbus_port}
            metrics_port = 0
            state_dir = "{self.folder}/var"
            """
        )

    def start(self, name: str, *flags: str) -> Service:
        """`name` is the program's."""
        log = self.folder / f"{name}-{len(self.services)}.log"
        with log.open("w") as file:
            program = ["-m", name, *flags]
            if name == "daemon" and self.stand_in:
                program = [str(STAND_IN), "config.toml", "{}"]
            command = [sys.executable, *program]
            process = subprocess.Popen(command, cwd=self.folder, stdout=subprocess.DEVNULL, stderr=file)
        service = Service(name, log, process)
        self.services.append(service)
        return service

    def start_plc(self, *flags: str) -> Service:
        """A simulated PLC that writes plc.json."""
        common = ("--port", str(self.modbus_port), "--allow-simulated", "--report", str(self.folder / "plc.json"))
        return self.start("simulated_plc", *common, *flags)

    def subscribe(self) -> Results:
        """To what is published from now on."""
        return Results(self.publish_port)

    def report(self) -> dict[str, Any]:
        return json.loads((self.folder / "plc.json").read_text())


@pytest.fixture
def rig(line, tmp_path: Path) -> Iterator[LineRig]:
    """Normal parts for ever before the camera."""
    made = LineRig(tmp_path, line.artifacts, line.test_normal)
    yield made
    _end(made)


@pytest.fixture
def stand_in_rig(tmp_path: Path) -> Iterator[LineRig]:
    """A grey part for ever before the camera, and an engine that needs no artefacts: quick to start."""
    (tmp_path / "parts").mkdir()
    assert cv2.imwrite(str(tmp_path / "parts/0.png"), np.full((48, 64, 3), 50, np.uint8))
    made = LineRig(tmp_path, tmp_path / "artifacts", tmp_path / "parts", stand_in=True)
    yield made
    _end(made)


def _end(made: LineRig) -> None:
    for service in made.services:
        if service.process.poll() is None:
            service.process.kill()
            service.process.wait()
