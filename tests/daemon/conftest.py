"""A real daemon process with real sockets and an engine whose every score is known, and a client that talks to it."""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import zmq

from senbetsu.messages import Heartbeat, Result, StateChange, decode_heartbeat, decode_result, decode_state
from senbetsu.requests import Answer, Request, StateRequest, TriggerRequest, encode_request

LAUNCHER = Path(__file__).with_name("stand_in_engine.py")
PATIENCE_S = 90.0
"""How long a test waits for what must come; only a failure takes so long."""

GREY_PASSES, GREY_REJECTED = 50, 150


def free_port() -> int:
    """A port that nothing listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def write_greys_into(folder: Path, greys: list[int | None]) -> Path:
    """Pictures of one even grey in this order; None is a file that is no picture."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, grey in enumerate(greys):
        path = folder / f"{number:04d}.png"
        if grey is None:
            path.write_bytes(b"\x89PNG\r\n\x1a\n and then nothing")
        else:
            assert cv2.imwrite(str(path), np.full((48 + number % 3, 64, 3), grey, np.uint8))
    return folder


class Line:
    """One daemon process and a client of it. `messages` heard are kept until asked for."""

    def __init__(
        self, folder: Path, config: str, engine: dict[str, Any], override: dict[str, str], environment: dict[str, str]
    ) -> None:
        self.publish = f"tcp://127.0.0.1:{free_port()}"
        self.request = f"tcp://127.0.0.1:{free_port()}"
        self.metrics_port = free_port()
        self.folder = folder
        self._engine = engine
        self._environment = {**os.environ, **environment}
        self.config_file = folder / "line.toml"
        own = {"publish": f'"{self.publish}"', "request": f'"{self.request}"', "metrics_port": str(self.metrics_port)}
        settings = "".join(f"{key} = {value}\n" for key, value in {**own, **override}.items())
        self.config_file.write_text(f"{config}\n{'' if '[daemon]' in config else '[daemon]'}\n{settings}")
        self.context: zmq.Context[Any] = zmq.Context()
        self._subscriber = self.context.socket(zmq.SUB)
        self._subscriber.subscribe(b"")
        self._subscriber.setsockopt(zmq.RECONNECT_IVL, 20)
        self._subscriber.connect(self.publish)
        self._dealer = self.context.socket(zmq.DEALER)
        self._dealer.setsockopt(zmq.RECONNECT_IVL, 20)
        self._dealer.connect(self.request)
        self.heard: list[Result | Heartbeat | StateChange] = []
        self._log = folder / "daemon.log"
        self.process = self._start()

    def _start(self) -> "subprocess.Popen[bytes]":
        with self._log.open("ab") as log:
            return subprocess.Popen(
                [sys.executable, str(LAUNCHER), str(self.config_file), json.dumps(self._engine)],
                cwd=self.folder,
                env=self._environment,
                stderr=log,
            )

    def start_again(self) -> None:
        """The same line, a new process."""
        self.process = self._start()

    @property
    def log(self) -> str:
        return self._log.read_text()

    def hear(self, wanted: Callable[["Line"], Any]) -> Any:
        """Listen until `wanted(line)` is true of what was heard, and give that."""
        until = time.monotonic() + PATIENCE_S
        while not (answer := wanted(self)):
            left_ms = int((until - time.monotonic()) * 1000)
            assert left_ms > 0, f"it never came\n{self.log}"
            self._subscriber.poll(min(left_ms, 200))
            while self._subscriber.poll(0):
                topic, payload = self._subscriber.recv_multipart()
                kind = topic.split(b".")[0]
                decode = {b"result": decode_result, b"heartbeat": decode_heartbeat, b"state": decode_state}[kind]
                self.heard.append(decode(payload))
        return answer

    def results(self) -> list[Result]:
        return [message for message in self.heard if isinstance(message, Result)]

    def heartbeats(self) -> list[Heartbeat]:
        return [message for message in self.heard if isinstance(message, Heartbeat)]

    def states(self) -> list[StateChange]:
        return [message for message in self.heard if isinstance(message, StateChange)]

    def until_ready(self) -> Heartbeat:
        """Once a heartbeat is heard the subscription stands, and nothing that follows is missed."""
        before = len(self.heartbeats())
        heartbeats: list[Heartbeat] = self.hear(lambda line: line.heartbeats()[before:])
        return heartbeats[-1]

    def until_results(self, count: int, *, after: int = 0) -> list[Result]:
        """`count` results, not counting the first `after` that were heard."""
        results: list[Result] = self.hear(lambda line: len(line.results()) >= after + count and line.results()[after:])
        return results

    def send(self, request: Request | bytes) -> None:
        self._dealer.send(request if isinstance(request, bytes) else encode_request(request))

    def receive(self) -> Answer:
        assert self._dealer.poll(int(PATIENCE_S * 1000)), f"no answer\n{self.log}"
        return Answer.decode(self._dealer.recv())

    def ask(self, request: Request | bytes) -> Answer:
        self.send(request)
        return self.receive()

    def state(self) -> dict[str, Any]:
        return self.ask(StateRequest()).body

    def trigger(
        self, number: int, *, part_id: int | None = None, deadline_ms: float = 5000, gate: str = "gate1"
    ) -> Answer:
        return self.ask(TriggerRequest(gate=gate, trigger=number, part_id=part_id, deadline_ms=deadline_ms))

    def ends(self) -> int:
        return self.process.wait(PATIENCE_S)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.context.destroy(linger=0)


def one_camera(source: Path) -> str:
    """The tables of one `folder` camera that begins again at the end, and its gate."""
    return (
        f'[[cameras]]\nname = "cam1"\nkind = "folder"\nsource = "{source}"\ngate = "gate1"\nloop = true\n'
        '[[gates]]\nname = "gate1"\n'
    )


StartLine = Callable[..., Line]


def _starter(folder: Path, stack: ExitStack) -> StartLine:
    count = 0

    def start(
        greys: list[int | None] | None = None,
        *,
        config_of: Callable[[Path], str] = one_camera,
        tail: str = "",
        override: dict[str, str] | None = None,
        environment: dict[str, str] | None = None,
        **engine: Any,
    ) -> Line:
        """A daemon on pictures of these greys; `config_of` makes its cameras and gates of the pictures' folder."""
        nonlocal count
        count += 1
        place = folder / f"line{count}"
        parts = write_greys_into(place / "parts", greys or [GREY_PASSES, GREY_REJECTED])
        line = Line(place, config_of(parts) + tail, engine, override or {}, environment or {})
        stack.callback(line.close)
        return line

    return start


@pytest.fixture
def write_greys() -> Callable[[Path, list[int | None]], Path]:
    """Writes pictures of one even grey each."""
    return write_greys_into


@pytest.fixture(name="free_port")
def _free_port() -> Callable[[], int]:
    """Gives a port that nothing listens on now."""
    return free_port


@pytest.fixture
def start_line(tmp_path: Path) -> Iterator[StartLine]:
    """Starts daemons of a test's own; all are ended with it."""
    with ExitStack() as stack:
        yield _starter(tmp_path, stack)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Line]:
    """One daemon for a module; its pictures in turn pass, are rejected, are unreadable, make the score no number."""
    with ExitStack() as stack:
        started = _starter(tmp_path_factory.mktemp("line"), stack)([GREY_PASSES, GREY_REJECTED, None, 255])
        started.until_ready()
        yield started
