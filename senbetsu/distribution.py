"""The scores that a calibration saw, in few numbers: the profile keeps them, and drift is watched for against them."""

import math
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Self

BINS = 20


@dataclass(frozen=True, slots=True)
class ScoreDistribution:
    """The calibration's scores as bins: those at or under the threshold, and how many there were in all."""

    upper_edges: tuple[float, ...]
    """Ascending; the last one is the threshold."""
    counts: tuple[int, ...]
    """Scores in each bin, k in all."""
    n: int

    def __post_init__(self) -> None:
        edges = self.upper_edges
        fits = len(edges) == len(self.counts) > 0 and all(a < b for a, b in pairwise(edges))
        if not fits or not all(map(math.isfinite, edges)) or min(self.counts) < 1 or self.k > self.n:
            raise ValueError(
                "expected ascending upper_edges with a count of at least 1 each, and n of at least their sum"
            )

    @classmethod
    def of(cls, scores: Sequence[float], k: int) -> Self:
        """Of n scores, with the threshold at the k-th smallest; bins of equally many, fewer where scores are equal."""
        ordered = sorted(scores)
        return cls.from_ranks(len(ordered), k, [ordered[r - 1] for r in cls.ranks(k)], partial(bisect_right, ordered))

    @staticmethod
    def ranks(k: int) -> list[int]:
        """Of the scores that bins end at, from 1, ascending."""
        return sorted({max(1, round(k * j / BINS)) for j in range(1, BINS + 1)})

    @classmethod
    def from_ranks(cls, n: int, k: int, scores: Sequence[float], count_upto: Callable[[float], int]) -> Self:
        """The same of the scores that have `ranks(k)`, and of how many of all n have at most a given one."""
        edges = sorted(set(scores))
        upto = [min(count_upto(edge), k) for edge in edges]
        counts = (high - low for low, high in zip([0, *upto], upto, strict=False))
        return cls(tuple(float(edge) for edge in edges), tuple(counts), n)

    @property
    def k(self) -> int:
        """Rank of the threshold."""
        return sum(self.counts)

    def bin_of(self, score: float) -> int:
        """Of a score that passes."""
        return min(bisect_left(self.upper_edges, score), len(self.upper_edges) - 1)
