"""How long a batch takes, measured as it goes: quantiles of the last batches of each size.

Memory and time are constant: the durations of a size lie in a ring, and its quantiles are found anew every few batches.
"""

from collections.abc import Sequence

import numpy as np

KEPT = 128
REFRESH = 8
QUANTILES = (0.95, 0.99)


class RunTimes:
    """Durations by captured batch size. A size that never ran is taken to last as long as the next smaller one that did."""

    def __init__(self, batch_sizes: Sequence[int]) -> None:
        self._sizes = tuple(sorted(batch_sizes))
        self._index_of = [
            next(i for i, size in enumerate(self._sizes) if size >= max(count, 1))
            for count in range(self._sizes[-1] + 1)
        ]
        self._rings = np.zeros((len(self._sizes), KEPT), np.int64)
        self._seen = [0] * len(self._sizes)
        self._quantiles = [(0, 0)] * len(self._sizes)

    def observe(self, count: int, duration_ns: int) -> None:
        """A batch of `count` parts took so long, from the copy of its frames to its scores."""
        index = self._index_of[count]
        seen = self._seen[index]
        self._rings[index, seen % KEPT] = duration_ns
        self._seen[index] = seen + 1
        if seen < REFRESH or seen % REFRESH == 0:
            ring = self._rings[index, : min(seen + 1, KEPT)]
            low, high = np.quantile(ring, QUANTILES, method="higher")
            self._quantiles[index] = int(low), int(high)

    def p95_ns(self, count: int) -> int:
        """What 19 of 20 batches of so many parts stay within; 0 where none was seen."""
        return self._of(count)[0]

    def p99_ns(self, count: int) -> int:
        """What 99 of 100 stay within; 0 where none was seen."""
        return self._of(count)[1]

    def _of(self, count: int) -> tuple[int, int]:
        index = self._index_of[count]
        while index > 0 and self._seen[index] == 0:
            index -= 1
        return self._quantiles[index]
