"""Frames that wait to be judged: a bounded line for each camera, in order of arrival; the cameras take turns."""

import threading
import time
from collections import deque
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from daemon.batching import BatchPolicy, Speed, Split
from daemon.book import Look
from senbetsu.camera import Frame


@dataclass(frozen=True, slots=True, eq=False)
class WaitingFrame:
    """A look's frame."""

    look: Look
    frame: Frame
    image: NDArray[np.uint8]
    arrived_at_ns: int

    @property
    def deadline_ns(self) -> int:
        """Of its look."""
        return self.look.deadline_ns


Taken = Split[WaitingFrame]


class FrameQueue:
    """Thread-safe, for several takers too. A camera that has `limits[camera]` frames waiting gets no more in."""

    def __init__(self, limits: dict[str, int], policy: BatchPolicy) -> None:
        self._limits = limits
        self._policy = policy
        self._lines: dict[str, deque[WaitingFrame]] = {camera: deque() for camera in limits}
        self._turns = list(limits)
        """Cameras: first whose last part was judged longest ago."""
        self._count = 0
        self._changed = threading.Condition()
        self._closed = False

    def put(self, waiting: WaitingFrame) -> bool:
        """False if the camera's line is full: that part cannot be looked at."""
        camera = waiting.look.camera
        line = self._lines[camera]
        with self._changed:
            if len(line) >= self._limits[camera]:
                return False
            line.append(waiting)
            self._count += 1
            self._changed.notify()
            return True

    def depth(self, camera: str) -> int:
        """Frames of one camera that wait."""
        return len(self._lines[camera])

    def __len__(self) -> int:
        return self._count

    def take(self, idle_s: float, speed: Speed) -> Taken | None:
        """The next batch, and those who cannot be judged in time any more.

        Blocks until there is one; returns an empty one after `idle_s` without any, None when closed and empty.
        """
        with self._changed:
            if not self._count and not self._changed.wait_for(lambda: self._count or self._closed, timeout=idle_s):
                return Split([], [], [], [])
            while not self._closed and self._count:
                left_ns = self._policy.close_at_ns(list(self._lines.values()), speed) - time.monotonic_ns()
                if left_ns <= 0:
                    break
                self._changed.wait(left_ns / 1e9)
            if not self._count:  # another taker was quicker, or it is over
                return None if self._closed else Split([], [], [], [])
            lines = [self._lines[camera] for camera in self._turns]
            taken = self._policy.split(lines, time.monotonic_ns(), speed)
            for line, count in zip(lines, taken.taken, strict=True):
                for _ in range(count):
                    line.popleft()
                self._count -= count
            if len(lines) > 1:
                for waiting in taken.batch:
                    self._turns.remove(waiting.look.camera)
                    self._turns.append(waiting.look.camera)
            return taken

    def close(self) -> None:
        """Let the taker finish what is there and stop."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
