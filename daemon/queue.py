"""Frames that wait to be judged: bounded per camera, in order of arrival over all cameras."""

import threading
import time
from collections import Counter, deque
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from daemon.batching import BatchPolicy, Speed
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


class Taken(NamedTuple):
    """See daemon.batching.Split."""

    batch: list[WaitingFrame]
    expired: list[WaitingFrame]
    hopeless: list[WaitingFrame]


class FrameQueue:
    """Thread-safe, for several takers too. A camera that has `limits[camera]` frames waiting gets no more in."""

    def __init__(self, limits: dict[str, int], policy: BatchPolicy) -> None:
        self._limits = limits
        self._policy = policy
        self._waiting: deque[WaitingFrame] = deque()
        self._depth: Counter[str] = Counter()
        self._changed = threading.Condition()
        self._closed = False

    def put(self, waiting: WaitingFrame) -> bool:
        """False if the camera's share is full: that part cannot be looked at."""
        camera = waiting.look.camera
        with self._changed:
            if self._depth[camera] >= self._limits[camera]:
                return False
            self._depth[camera] += 1
            self._waiting.append(waiting)
            self._changed.notify()
            return True

    def depth(self, camera: str) -> int:
        """Frames of one camera that wait."""
        return self._depth[camera]

    def __len__(self) -> int:
        return len(self._waiting)

    def take(self, idle_s: float, speed: Speed) -> Taken | None:
        """The next batch, and those who cannot be judged in time any more.

        Blocks until there is one; returns an empty one after `idle_s` without any, None when closed and empty.
        """
        with self._changed:
            if not self._waiting and not self._changed.wait_for(lambda: self._waiting or self._closed, timeout=idle_s):
                return Taken([], [], [])
            while not self._closed and self._waiting:
                left_ns = self._policy.close_at_ns(self._waiting, speed) - time.monotonic_ns()
                if left_ns <= 0:
                    break
                self._changed.wait(left_ns / 1e9)
            if not self._waiting:  # another taker was quicker, or it is over
                return None if self._closed else Taken([], [], [])
            split = self._policy.split(self._waiting, time.monotonic_ns(), speed)
            taken = [self._waiting.popleft() for _ in range(sum(map(len, split)))]
            for waiting in taken:
                self._depth[waiting.look.camera] -= 1
            return Taken(*([taken[i] for i in some] for some in split))

    def close(self) -> None:
        """Let the taker finish what is there and stop."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
