"""Two processes, each of its own environment, that take turns: one sleeps at its pipe while the other is timed.

A worker answers one line of JSON with another. Nothing is imported that only one of the environments has.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from numpy.typing import NDArray

WARM_UP = 3
"""Calls before each timed block: they wake the threads, and are not counted."""

Frames = NDArray[np.uint8]
Ways = Mapping[str, Callable[[Frames], float]]
"""Name -> (224, 224, 3) uint8 BGR to score."""


def answers_alone() -> TextIO:
    """Standard output for the answers; what libraries print goes to standard error from here on. To be called first."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    return answers


def serve(answers: TextIO, ways: Ways, frames: Frames, about: Mapping[str, Any]) -> None:
    """Answer until standard input ends.

    Args:
        answers: see `answers_alone`.
        ways: what is timed.
        frames: (N, 224, 224, 3), which the calls take one after the other.
        about: sent first, with the names of the ways.
    """
    answers.write(json.dumps({"ways": list(ways), **about}) + "\n")
    for line in sys.stdin:
        asked = json.loads(line)
        way = ways[asked["way"]]
        if "calls" in asked:
            answers.write(json.dumps(timed(way, frames, asked["calls"])) + "\n")
        else:
            answers.write(json.dumps([float(way(frame)) for frame in frames]) + "\n")


def timed(way: Callable[[Frames], float], frames: Frames, calls: int) -> list[float]:
    """Milliseconds of each call."""
    for number in range(WARM_UP):
        way(frames[number % len(frames)])
    found = []
    for number in range(calls):
        frame = frames[number % len(frames)]
        began = time.perf_counter()
        way(frame)
        found.append((time.perf_counter() - began) * 1e3)
    return found


class Worker:
    """The other end of `serve`."""

    def __init__(self, python: str, module: str, arguments: Sequence[str], folder: Path, paths: Sequence[Path]) -> None:
        """Start `python -m module` in `folder`, with `paths` to import from; wait until it is ready."""
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, paths)), "TRUST_REMOTE_CODE": "1"}
        self._process = subprocess.Popen(
            [python, "-P", "-m", module, *arguments], cwd=folder, env=environment, text=True, bufsize=1,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip
        self.about: dict[str, Any] = self._answer()
        self.ways: list[str] = self.about.pop("ways")

    def times(self, way: str, calls: int) -> list[float]:
        """Milliseconds of each call of a block."""
        found: list[float] = self._ask({"way": way, "calls": calls})
        return found

    def scores(self, way: str) -> list[float]:
        """Of every frame."""
        found: list[float] = self._ask({"way": way})
        return found

    def close(self) -> None:
        """End it."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()

    def _ask(self, what: dict[str, Any]) -> Any:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(what) + "\n")
        return self._answer()

    def _answer(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self._process.args!r} ended with {self._process.wait()}")
        return json.loads(line)
