"""How long a batch takes, measured as it goes: what the next one of its size stays within, 99 times of 100 or more.

That is the rank of split conformal prediction (senbetsu.conformal), not that of the sample's own quantile, which more than 1 %
go beyond. At an overload every part is judged at the last moment, so that with 99 % the p99 of the parts would be the
deadline itself; 99.5 % leave it something to spare.

Memory is constant: the durations of a size lie in a ring, and once more in order, where the quantile is read off.
"""

import threading
from bisect import bisect_left, insort
from collections.abc import Sequence
from dataclasses import dataclass

from senbetsu.conformal import rank_for_rate

KEPT = 400
"""Once so many were seen, the rank is the second largest's, and one hiccup makes no engine slow; before, the largest's."""
BEYOND = 0.005
"""So often, at most, a batch takes longer; of fewer than 199 no duration supports that, and the largest has to do."""
_PLACES = tuple(min(n, rank_for_rate(n, BEYOND)) - 1 for n in range(KEPT + 1))
"""Of the quantile among n durations in order."""


class RunTimes:
    """Durations by captured batch size, thread-safe. A size that never ran takes its parts' share of the next smaller one that
    did, which is long: it is tried where that is in time, and measured then."""

    def __init__(self, batch_sizes: Sequence[int]) -> None:
        self._sizes = tuple(sorted(batch_sizes))
        self._index_of = [
            next(i for i, size in enumerate(self._sizes) if size >= max(count, 1))
            for count in range(self._sizes[-1] + 1)
        ]
        self._rings = [[0] * KEPT for _ in self._sizes]
        self._ordered: list[list[int]] = [[] for _ in self._sizes]
        self._seen = [0] * len(self._sizes)
        self._p99_ns = [0] * len(self._sizes)
        self._lock = threading.Lock()

    def observe(self, count: int, duration_ns: int) -> None:
        """A batch of `count` parts took so long, from the copy of its frames to its scores."""
        index = self._index_of[count]
        with self._lock:
            ring, ordered, slot = self._rings[index], self._ordered[index], self._seen[index] % KEPT
            if self._seen[index] >= KEPT:
                del ordered[bisect_left(ordered, ring[slot])]
            insort(ordered, duration_ns)
            ring[slot] = duration_ns
            self._seen[index] += 1
            self._p99_ns[index] = ordered[_PLACES[len(ordered)]]

    def p99_ns(self, count: int) -> int:
        """What the next batch of so many parts stays within, 99 times of 100 or more; 0 where none was seen."""
        index = wanted = self._index_of[count]
        while index > 0 and self._seen[index] == 0:
            index -= 1
        return self._p99_ns[index] * self._sizes[wanted] // self._sizes[index]


@dataclass(frozen=True, slots=True)
class UntilPublished:
    """How long it takes a batch until its last result is out: the engine's time, and what publishing takes."""

    engine: RunTimes
    publishing: RunTimes
    """Of one size: from a part's scores to its result on the wire."""

    def p99_ns(self, count: int) -> int:
        """What 99 of 100 batches of so many parts stay within, or more: the two quantiles are added."""
        return self.engine.p99_ns(count) + self.publishing.p99_ns(1)
