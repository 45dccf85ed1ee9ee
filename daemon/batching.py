"""What goes into a batch, and when it is closed: pure, with the time and the engine's speed as arguments.

A batch is all that waits. It may be held open for company, but only while the slack of every part in it allows: its deadline
less what 99 of 100 batches of that size take until their results are published. With a wait of zero nothing is ever held,
and an engine that is idle never waits.

    close at   min(first arrival + wait, min_i deadline_i - p99(n + 1))

Where an engine judges the parts of a batch one after the other, a batch saves only what is done once for it, and makes its
first part wait for its last. So there it is a small share of what waits (`backlog`): one part is added to it for several that
wait for each lane, and none where a few come together.

Each camera has a line of its own, and a batch is filled from them in turn, the oldest of each (round robin, Nagle, RFC 970):
a camera that sends more than its share of the engine makes its own parts wait, and nobody else's.

When more comes than the engine can do, parts at the head of a line come so near their deadline that their result would be
late. They are given up, each by name, for the sake of those behind them, and a batch is no larger than what its most urgent
part can wait for: so those that are judged are judged in time, however many there are. Where none of those that wait could
be judged in time, the newest of whose turn it is is tried all the same, and the others are given up for it alone: the engine
may have become quicker than it was measured to be, and only a part that is tried can show it.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, NamedTuple, Protocol, Self, TypeVar

from senbetsu.engine import Engine

BACKLOG_OF_A_LANE = 4
"""So many wait for each lane where one more part is taken at a time, in turn: its result comes late by less than a quarter of
what the last of them has to wait for."""


class Waiting(Protocol):
    """Something with a deadline that waits to be judged."""

    @property
    def arrived_at_ns(self) -> int: ...

    @property
    def deadline_ns(self) -> int: ...


class Speed(Protocol):
    """What 99 of 100 batches of `count` parts take until their results are out, see daemon.run_times."""

    def p99_ns(self, count: int) -> int: ...


W = TypeVar("W", bound=Waiting)


class Split(NamedTuple, Generic[W]):
    """Those of each line are in its order."""

    batch: list[W]
    expired: list[W]
    """The deadline has passed."""
    hopeless: list[W]
    """It would have passed before the result; they are given up for those behind them, or all but one for that one."""
    taken: list[int]
    """How many of each line they are together: its first so many."""


@dataclass(frozen=True, slots=True)
class BatchPolicy:
    """`max_batch` parts at most; `wait_ns` for company at most. Over 1, so many wait for each part of a batch of `backlog`."""

    max_batch: int
    wait_ns: int
    backlog: int = 1

    @classmethod
    def of(cls, engine: Engine, wait_ns: int) -> Self:
        """For the lanes of this engine."""
        backlog = BACKLOG_OF_A_LANE * len(engine.lanes) if engine.in_turn else 1
        return cls(len(engine.lanes[0].inputs), wait_ns, backlog)

    def most(self, count: int) -> int:
        """Parts in a batch where so many wait."""
        return self.max_batch if self.backlog == 1 else min(self.max_batch, max(1, count // self.backlog))

    def close_at_ns(self, lines: Sequence[Sequence[W]], speed: Speed) -> int:
        """When a batch of these (not none, each line oldest first) is closed; at once (0) if it is full or none may wait."""
        count = sum(map(len, lines))
        if self.wait_ns == 0 or count >= self.most(count):
            return 0
        company_until_ns = min(line[0].arrived_at_ns for line in lines if line) + self.wait_ns
        slack_until_ns = min(part.deadline_ns for line in lines for part in line) - speed.p99_ns(count + 1)
        return min(company_until_ns, slack_until_ns)

    def split(self, lines: Sequence[Sequence[W]], now_ns: int, speed: Speed) -> Split[W]:
        """Who is judged now, and who no longer can be. The lines are in the order of their turns, each oldest first."""
        split: Split[W] = Split([], [], [], [0] * len(lines))
        batch, _, hopeless, taken = split
        most = self.most(sum(map(len, lines)))
        alone_ns = now_ns + speed.p99_ns(1)
        earliest_ns = 0
        for turn, line in enumerate(lines):
            taken[turn] = _skip_late(line, 0, now_ns, alone_ns, split)
        turns = deque(range(len(lines)))
        while turns:
            turn = turns.popleft()
            line = lines[turn]
            taken[turn] = _skip_late(line, taken[turn], now_ns, alone_ns, split)
            if taken[turn] == len(line):
                continue
            part = line[taken[turn]]
            earliest_ns = min(earliest_ns, part.deadline_ns) if batch else part.deadline_ns
            if len(batch) == most or (batch and now_ns + speed.p99_ns(len(batch) + 1) > earliest_ns):
                return split
            batch.append(part)
            taken[turn] += 1
            turns.append(turn)
        if not batch and hopeless:
            tried = next(part for line in lines for part in reversed(line) if part.deadline_ns > now_ns)
            hopeless.remove(tried)
            batch.append(tried)
        return split


def _skip_late(line: Sequence[W], first: int, now_ns: int, alone_ns: int, split: Split[W]) -> int:
    """From `first` on, those that can no longer be judged in time; how many of the line are taken then."""
    while first < len(line) and (line[first].deadline_ns < alone_ns or line[first].deadline_ns <= now_ns):
        (split.expired if line[first].deadline_ns <= now_ns else split.hopeless).append(line[first])
        first += 1
    return first
