"""How long a batch takes, measured as it goes: what the next one of its size stays within, 99 times of 100 or more.

Of n durations that may as well have come in any other order, the next is at most the k-th smallest with a probability of
k / (n + 1): the rank of conformal prediction (Vovk, Gammerman, Shafer 2005), not that of the sample's own quantile, which
more than 1 % go beyond. At an overload every part is judged at the last moment, so that with 99 % the p99 of the parts would
be the deadline itself; 99.5 % leave it something to spare.

Memory and time are constant: the durations of a size lie in a ring, and the quantile is found anew every few batches.
"""

from collections.abc import Sequence
from dataclasses import dataclass

KEPT = 400
"""Then the rank is the second largest's: one hiccup does not make an engine slow."""
REFRESH = 8


def rank_within(n: int) -> int:
    """Which of n durations, from the smallest, the next one stays within 995 times of 1000. Of fewer than 199: the largest."""
    return min(n, -(-995 * (n + 1) // 1000))


class RunTimes:
    """Durations by captured batch size. A size that never ran is taken to last as long as the next smaller one that did."""

    def __init__(self, batch_sizes: Sequence[int]) -> None:
        self._sizes = tuple(sorted(batch_sizes))
        self._index_of = [
            next(i for i, size in enumerate(self._sizes) if size >= max(count, 1))
            for count in range(self._sizes[-1] + 1)
        ]
        self._rings = [[0] * KEPT for _ in self._sizes]
        self._seen = [0] * len(self._sizes)
        self._p99_ns = [0] * len(self._sizes)

    def observe(self, count: int, duration_ns: int) -> None:
        """A batch of `count` parts took so long, from the copy of its frames to its scores."""
        index = self._index_of[count]
        seen = self._seen[index]
        self._rings[index][seen % KEPT] = duration_ns
        self._seen[index] = seen + 1
        if seen < REFRESH or seen % REFRESH == 0:
            known = sorted(self._rings[index][: seen + 1])
            self._p99_ns[index] = known[rank_within(len(known)) - 1]

    def p99_ns(self, count: int) -> int:
        """What the next batch of so many parts stays within, 99 times of 100 or more; 0 where none was seen."""
        index = self._index_of[count]
        while index > 0 and self._seen[index] == 0:
            index -= 1
        return self._p99_ns[index]


@dataclass(frozen=True, slots=True)
class UntilPublished:
    """How long it takes a batch until its last result is out: the engine's time, and what publishing takes."""

    engine: RunTimes
    publishing: RunTimes
    """Of one size: from a part's scores to its result on the wire."""

    def p99_ns(self, count: int) -> int:
        """What 99 of 100 batches of so many parts stay within, or more: the two quantiles are added."""
        return self.engine.p99_ns(count) + self.publishing.p99_ns(1)
