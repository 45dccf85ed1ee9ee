"""A process of a rig: forked from one that has imported all, or with an environment of its own; started again when it ends."""

import contextlib
import multiprocessing
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

TESTS = Path(__file__).resolve().parents[1]
PATIENCE_S = 30.0
"""How long is waited for what must come; only a failure takes so long."""

forks = multiprocessing.get_context("forkserver")


def prepare() -> None:
    """The process that all others are forked from imports what they need, once."""
    paths = [str(TESTS), str(TESTS.parent), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    os.environ["PYTHONPATH"] = os.pathsep.join(dict.fromkeys(path for path in paths if path))
    forks.set_forkserver_preload(["faults.processes"])


def free_port() -> int:
    """A port that nothing listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Spawned:
    """A process with an interpreter and an environment of its own: seconds to start."""

    def __init__(self, target: Callable[..., None], arguments: tuple[Any, ...], environment: dict[str, str]) -> None:
        command = [sys.executable, "-m", "faults.processes", target.__name__, *map(str, arguments)]
        self._process = subprocess.Popen(command, env={**os.environ, **environment})
        self.pid = self._process.pid

    def is_alive(self) -> bool:
        """As multiprocessing's."""
        return self._process.poll() is None

    def join(self, timeout: float | None = None) -> None:
        """As multiprocessing's."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout)

    @property
    def exitcode(self) -> int | None:
        """As multiprocessing's."""
        return self._process.poll()


@dataclass
class Program:
    """A process that is started again when it has ended, until `close`."""

    name: str
    target: Callable[..., None]
    arguments: tuple[Any, ...]
    log: Path
    supervised: bool = True
    environment: dict[str, str] | None = None
    """With it the process is no fork."""
    starts: int = 0
    statuses: list[int | None] = field(default_factory=list)
    process: Any = None

    def start(self) -> None:
        """Now."""
        if self.environment is None:
            self.process = forks.Process(target=self.target, args=self.arguments, daemon=True)
            self.process.start()
        else:
            self.process = Spawned(self.target, self.arguments, self.environment)
        self.starts += 1

    def send(self, number: int) -> None:
        """A signal, if it lives."""
        if self.process.is_alive():
            os.kill(self.process.pid, number)

    def watch(self) -> None:
        """Start it again if it has ended."""
        if self.supervised and self.process is not None and not self.process.is_alive():
            self.statuses.append(self.process.exitcode)
            self.start()

    def wait_for_end(self) -> int:
        """Its status."""
        self.process.join(PATIENCE_S)
        assert self.process.exitcode is not None, f"{self.name} does not end\n{self.log.read_text()}"
        return int(self.process.exitcode)

    def close(self) -> None:
        """End it for good."""
        self.supervised = False
        self.send(signal.SIGKILL)
        self.process.join()


def wall_clock_from(file: Path) -> dict[str, str]:
    """An environment in which the wall clock alone is as the file says (libfaketime)."""
    import libfaketime

    library = Path(libfaketime.__file__).parent / "vendor/libfaketime/src/libfaketime.so.1"
    return {
        "LD_PRELOAD": str(library), "FAKETIME_TIMESTAMP_FILE": str(file), "FAKETIME_NO_CACHE": "1",
        "DONT_FAKE_MONOTONIC": "1",
    }  # fmt: skip
