"""Whether the parts on the line still score as those that were calibrated with did. Pure.

Of n calibration scores the threshold is the k-th smallest, s_(k). Given it, the k - 1 scores below it and the scores of new
good parts that pass are independent and of one distribution: so what share of new passed parts falls between two of the
calibration's order statistics is known without knowing that distribution. With bins that end at every few of them, holding
c_1, ..., c_B of the k scores, the counts in a window of W passed parts are

    Dirichlet-multinomial(W; c_1, ..., c_B)        exactly so for continuous scores,

which takes in that the calibration is finite too. Two things are looked at, in windows that do not overlap:

- level: the mean rank of the window's parts among the calibration's, two-sided: scores creep up or down;
- shape: chi-square of the counts against the c_j.

Their p-values are those of a Monte Carlo test (Barnard 1963; valid at any number of draws). A third looks at rejects: of M
good parts in a row none is rejected with probability P(M) = prod_{i<M} (k + i) / (n + 1 + i), as the false-reject rate is
Beta(n - k + 1, k); and a row of M without one ends at a given part with probability P(M) - P(M + 1) (P(M) the first time).
A line that rejects nothing for so long does not see what it was calibrated to see. A fourth is there for what comes at
once: R rejects, R >= W, before W parts have passed. That many good ones are rejected with the probability that a
beta-binomial gives, and that many bad ones come on no line that sorts.

Continuous looking is paid for: each test may alarm falsely once in 4 N parts on average, so that all of them do once in N. As
this is about averages it holds however windows depend on each other through the one calibration. It holds for parts that
are independent and like the calibration's. Parts of a lot resemble each other; then the alarm is about that lot, and early.
"""

import math
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray
from scipy.stats import betabinom

BINS = 20
DRAWS = 100_000
MOST_REJECTS = 1024
"""Times W: where even these prove nothing, the calibration was of a handful of parts."""
CLEAR_FROM = 0.01
"""An alarm ends with a window whose p-value is at least this."""
Test = Literal["level", "shape", "few_rejects", "many_rejects"]
TESTS: tuple[Test, ...] = ("level", "shape", "few_rejects", "many_rejects")


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
        passed = sorted(scores)[:k]
        ranks = sorted({max(1, round(k * j / BINS)) for j in range(1, BINS + 1)})
        edges = sorted({passed[rank - 1] for rank in ranks})
        upto = [bisect_right(passed, edge) for edge in edges]
        counts = (high - low for low, high in zip([0, *upto], upto, strict=False))
        return cls(tuple(float(edge) for edge in edges), tuple(counts), len(scores))

    @property
    def k(self) -> int:
        """Rank of the threshold."""
        return sum(self.counts)

    def bin_of(self, score: float) -> int:
        """Of a score that passes."""
        return min(bisect_left(self.upper_edges, score), len(self.upper_edges) - 1)


@dataclass(frozen=True, slots=True, eq=False)
class Expected:
    """What windows of parts like the calibration's give: drawn once, used for every window."""

    distribution: ScoreDistribution
    window: int
    """W, passed parts."""
    level: NDArray[np.float64]
    """|mean rank - 1/2| of the draws, sorted."""
    shape: NDArray[np.float64]
    """Chi-square of the draws, sorted."""
    patience: int
    """M: so many parts in a row without a reject are an alarm."""
    impatience: int
    """R: so many rejects before W parts have passed are an alarm."""
    limit: float
    """Largest p-value of a window that is an alarm."""

    @classmethod
    def of(cls, distribution: ScoreDistribution, window: int, false_alarm_parts: int, seed: int = 0) -> Self:
        """For false alarms once in `false_alarm_parts` (N) parts on average."""
        random = np.random.default_rng(seed)
        c = np.array(distribution.counts, np.float64)
        levels, shapes = [], []
        for _ in range(0, DRAWS, DRAWS // 10):
            p = random.standard_gamma(c, (DRAWS // 10, len(c)))
            counts = random.multinomial(window, p / p.sum(1, keepdims=True))
            levels.append(np.abs(_mean_rank(counts, c) - 0.5))
            shapes.append(_chi_square(counts, c))
        limit = window / (len(TESTS) * false_alarm_parts)
        return cls(
            distribution,
            window,
            np.sort(np.concatenate(levels)),
            np.sort(np.concatenate(shapes)),
            patience_of(distribution.n, distribution.k, len(TESTS) * false_alarm_parts),
            impatience_of(distribution.n, distribution.k, window, limit),
            limit,
        )


def _mean_rank(counts: NDArray[np.integer], c: NDArray[np.float64]) -> NDArray[np.float64]:
    """(..., B) counts -> (...): 1/2 where the window is like the calibration, 0 and 1 at the ends."""
    middle = (np.cumsum(c) - c / 2) / c.sum()
    means: NDArray[np.float64] = counts @ middle / counts.sum(-1)
    return means


def _chi_square(counts: NDArray[np.integer], c: NDArray[np.float64]) -> NDArray[np.float64]:
    expected = counts.sum(-1, keepdims=True) * c / c.sum()
    squares: NDArray[np.float64] = (np.square(counts - expected) / expected).sum(-1)
    return squares


def none_rejected(n: int, k: int, parts: int) -> float:
    """Probability that none of so many good parts in a row is rejected, by a threshold at the k-th of n scores."""
    lose = math.lgamma
    return math.exp(lose(k + parts) - lose(k) + lose(n + 1) - lose(n + 1 + parts))


def patience_of(n: int, k: int, false_alarm_parts: int) -> int:
    """The smallest M with P(M) <= M / N and P(M) - P(M + 1) <= 1 / N: an alarm at M is false once in N parts on average."""
    low, high = 1, false_alarm_parts
    while low < high:
        middle = (low + high) // 2
        first = none_rejected(n, k, middle)
        if max(first / middle, first - none_rejected(n, k, middle + 1)) <= 1 / false_alarm_parts:
            high = middle
        else:
            low = middle + 1
    return low


def impatience_of(n: int, k: int, window: int, limit: float) -> int:
    """The smallest R >= W of which P(R rejects before W passes) <= limit; a few parts' calibration may need many."""
    rejects = window
    while many_rejected(n, k, rejects, window) > limit:
        rejects *= 2
        if rejects > MOST_REJECTS * window:
            break
    return rejects


def many_rejected(n: int, k: int, rejects: int, passes: int) -> float:
    """Probability that so many good parts are rejected before so many have passed."""
    return float(betabinom.sf(rejects - 1, rejects + passes - 1, n - k + 1, k))


@dataclass(slots=True)
class DriftDetector:
    """Takes a camera's judged parts in turn. Its tests' newest figures and alarms can be read at any time."""

    expected: Expected
    alarms: dict[Test, str] = field(default_factory=dict)
    """What is wrong, while it is; the text does not change meanwhile."""
    p_values: dict[Test, float] = field(default_factory=lambda: dict.fromkeys(TESTS, 1.0))
    """Of the newest whole window."""
    mean_rank: float = 0.5
    """Of the newest window: over 1/2 where scores are higher than the calibration's."""
    psi: float = 0.0
    """Population stability index of the newest window."""
    windows: int = 0
    _counts: list[int] = field(default_factory=list)
    _passed: int = 0
    _rejected: int = 0
    _since_reject: int = 0

    def see(self, score: float, *, passed: bool) -> bool:
        """A part that was judged by its score; whether an alarm began or ended with it."""
        before = tuple(self.alarms)
        if not passed:
            self._since_reject = 0
            self.p_values["few_rejects"] = 1.0
            self.alarms.pop("few_rejects", None)
            self._rejected += 1
            if self._rejected == self.expected.impatience:
                self._too_many()
            return before != tuple(self.alarms)
        self._since_reject += 1
        if self._since_reject == self.expected.patience:
            distribution = self.expected.distribution
            self.p_values["few_rejects"] = none_rejected(distribution.n, distribution.k, self._since_reject)
            self.alarms["few_rejects"] = f"{self._since_reject} parts in a row without a reject"
        distribution = self.expected.distribution
        if not self._counts:
            self._counts = [0] * len(distribution.counts)
        self._counts[distribution.bin_of(score)] += 1
        self._passed += 1
        if self._passed == self.expected.window:
            self._judge_window()
        return before != tuple(self.alarms)

    def _too_many(self) -> None:
        """The window ends here: what has passed of it is what is left over of parts that mostly do not."""
        expected = self.expected
        n, k = expected.distribution.n, expected.distribution.k
        self.p_values["many_rejects"] = many_rejected(n, k, self._rejected, expected.window)
        self.alarms["many_rejects"] = "most parts are rejected"
        self._counts, self._passed, self._rejected = [], 0, 0
        self.windows += 1

    def _judge_window(self) -> None:
        counts, c = np.array(self._counts), np.array(self.expected.distribution.counts, np.float64)
        self._counts, self._passed, self._rejected = [], 0, 0
        self.windows += 1
        self.p_values["many_rejects"] = 1.0
        self.alarms.pop("many_rejects", None)
        self.mean_rank = float(_mean_rank(counts, c))
        self.psi = _psi(counts, c)
        up = self.mean_rank > 0.5
        self._decide(
            "level",
            abs(self.mean_rank - 0.5),
            self.expected.level,
            f"scores are {'higher' if up else 'lower'} than calibrated",
        )
        self._decide(
            "shape", float(_chi_square(counts, c)), self.expected.shape, "scores are spread otherwise than calibrated"
        )

    def _decide(self, test: Test, statistic: float, draws: NDArray[np.float64], what: str) -> None:
        # Sums in another order differ in the last digits; what is equal counts as at least as large.
        beyond = len(draws) - int(np.searchsorted(draws, statistic * (1 - 1e-9), side="left"))
        p = self.p_values[test] = (1 + beyond) / (1 + len(draws))
        if p <= self.expected.limit:
            self.alarms.setdefault(test, what)
        elif p >= CLEAR_FROM:
            self.alarms.pop(test, None)


def _psi(counts: NDArray[np.integer], c: NDArray[np.float64]) -> float:
    """Sum of (a - e) ln(a / e) over the bins; half a part is added to each, so that an empty one is no infinity."""
    a = (counts + 0.5) / (counts + 0.5).sum()
    e = (c + 0.5) / (c + 0.5).sum()
    return float(((a - e) * np.log(a / e)).sum())
