"""What became of a look, on its way from whoever settled it to the wire."""

import math
import threading
from collections import deque
from collections.abc import Callable
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
    """Outcomes of settled looks, published in the order in which they were settled, by one thread at a time.

    Whoever settles a look publishes it: handed to another thread, it would wait until that one gets a core, while parts are
    judged on all of them. Who finds another at it leaves the outcome to that one, so no thread waits here (flat combining,
    Hendler et al., SPAA 2010).
    """

    def __init__(self, book: Book, publish: Callable[[Outcome], None]) -> None:
        """`publish` is called by any thread, but never by two at a time; what it raises ends the thread that settled."""
        self._book = book
        self._publish = publish
        self._outcomes: deque[Outcome] = deque()
        self._failed: list[Outcome] = []
        """Could not be published as they were; each ended the thread that tried. They are rejected in the end."""
        self._lock = threading.Lock()
        self._publishing = threading.Lock()

    def settle(self, outcome: Outcome) -> bool:
        """Settle the look and publish its outcome; False, and nothing is published, if it was settled before."""
        with self._lock:
            if not self._book.settle(outcome.look):
                return False
            self._outcomes.append(outcome)
        # Looked at again after the lock is free: what came while it was not was left to whoever held it.
        while self._outcomes and self._publishing.acquire(blocking=False):
            try:
                self._publish_all()
            finally:
                self._publishing.release()
        return True

    def close(self) -> None:
        """Publish what is left. What is settled from here on goes nowhere."""
        self._publishing.acquire()
        with self._lock:  # whoever has settled a look has left its outcome
            pass
        self._publish_all()
        for outcome in self._failed:
            self._publish(Outcome(outcome.look, Reason.MODEL_FAULT, outcome.decided_at_ns))

    def _publish_all(self) -> None:
        while self._outcomes:
            outcome = self._outcomes.popleft()
            try:
                self._publish(outcome)
            except BaseException:
                self._failed.append(outcome)
                raise
