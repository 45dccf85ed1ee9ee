"""What became of a look, on its way from whoever settled it to the publisher."""

import contextlib
import math
import os
import threading
from collections import deque
from dataclasses import dataclass

from daemon.book import Book, Look
from senbetsu.verdict import Reason


@dataclass(frozen=True, slots=True)
class Outcome:
    """`reason` OK passes, everything else rejects. Scores are NaN where nothing was measured."""

    look: Look
    reason: Reason
    decided_at_ns: int
    frame_id: int | None = None
    exposed_at_ns: int | None = None
    score: float = math.nan
    metric_distance: float = math.nan
    novelty_distance: float = math.nan


class Outbox:
    """Outcomes of settled looks, in the order in which they were settled; wakes the publisher through a descriptor."""

    def __init__(self, book: Book) -> None:
        self._book = book
        self._outcomes: deque[Outcome] = deque()
        self._lock = threading.Lock()
        self.wake_fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)

    def settle(self, outcome: Outcome) -> bool:
        """Settle the look and hand its outcome on; False, and nothing is handed on, if it was settled before."""
        with self._lock:
            if not self._book.settle(outcome.look):
                return False
            self._outcomes.append(outcome)
        self.wake()
        return True

    def wake(self) -> None:
        """Make the publisher look around."""
        os.eventfd_write(self.wake_fd, 1)

    def drain(self) -> list[Outcome]:
        """All that is there; clears the descriptor first, so that nothing that comes meanwhile is missed."""
        with contextlib.suppress(BlockingIOError):
            os.eventfd_read(self.wake_fd)
        outcomes = []
        while self._outcomes:
            outcomes.append(self._outcomes.popleft())
        return outcomes
