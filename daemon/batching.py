"""What goes into a batch, and when it is closed: pure, with the time and the engine's speed as arguments.

A batch is all that waits. It may be held open for company, but only while the slack of every part in it allows: its deadline
less what 99 of 100 batches of that size take until their results are published. With a wait of zero nothing is ever held,
and an engine that is idle never waits.

    close at   min(first arrival + wait, min_i deadline_i - p99(n + 1))

When more comes than the engine can do, parts at the head of the queue come so near their deadline that their result would be
late. They are given up, each by name, for the sake of those behind them, and a batch is no larger than what its most urgent
part can wait for: so those that are judged are judged in time, however many there are. Where none of those that wait could
be judged in time, the newest is tried all the same, and the others are given up for it alone: the engine may have become
quicker than it was measured to be, and only a part that is tried can show it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol


class Waiting(Protocol):
    """Something with a deadline that waits to be judged."""

    @property
    def arrived_at_ns(self) -> int: ...

    @property
    def deadline_ns(self) -> int: ...


class Speed(Protocol):
    """What 99 of 100 batches of `count` parts take until their results are out, see daemon.run_times."""

    def p99_ns(self, count: int) -> int: ...


class Split(NamedTuple):
    """Indices into what waits, each ascending; together they are its first so many."""

    batch: list[int]
    expired: list[int]
    """The deadline has passed."""
    hopeless: list[int]
    """It would have passed before the result; they are given up for those behind them, or all but the newest for the newest."""


@dataclass(frozen=True, slots=True)
class BatchPolicy:
    """`max_batch` parts at most; `wait_ns` for company at most."""

    max_batch: int
    wait_ns: int

    def close_at_ns(self, waiting: Sequence[Waiting], speed: Speed) -> int:
        """When a batch of these (not none, oldest first) is closed; at once (0) if it is full or nothing may wait."""
        if self.wait_ns == 0 or len(waiting) >= self.max_batch:
            return 0
        company_until_ns = waiting[0].arrived_at_ns + self.wait_ns
        slack_until_ns = min(part.deadline_ns for part in waiting) - speed.p99_ns(len(waiting) + 1)
        return min(company_until_ns, slack_until_ns)

    def split(self, waiting: Sequence[Waiting], now_ns: int, speed: Speed) -> Split:
        """Who is judged now, and who no longer can be."""
        batch: list[int] = []
        expired: list[int] = []
        hopeless: list[int] = []
        alone_ns = now_ns + speed.p99_ns(1)
        earliest_ns = 0
        for index, part in enumerate(waiting):
            if part.deadline_ns <= now_ns:
                expired.append(index)
            elif part.deadline_ns < alone_ns:
                hopeless.append(index)
            else:
                earliest_ns = part.deadline_ns if not batch else min(earliest_ns, part.deadline_ns)
                if len(batch) == self.max_batch or (batch and now_ns + speed.p99_ns(len(batch) + 1) > earliest_ns):
                    break
                batch.append(index)
        if not batch and hopeless:
            batch.append(hopeless.pop())
        return Split(batch, expired, hopeless)
