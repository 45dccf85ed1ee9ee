"""Whether the parts on the line still score as those that were calibrated with did. Pure.

Of n calibration scores the threshold is the k-th smallest, s_(k). Given it, the k - 1 scores below it and the scores of new
good parts that pass are independent and of one distribution: so what share of new passed parts falls between two of the
calibration's order statistics is known without knowing that distribution. With bins that end at every few of them, holding
c_1, ..., c_B of the k scores, passed parts fall into bins as balls are drawn from Polya's urn:

    P(next in bin j | M_1, ..., M_B seen) = (c_j + M_j) / (k + M)        exactly so for continuous scores,

which takes in that the calibration is finite too. Drift is an urn that begins with other balls a_1, ..., a_B, k in all. The
likelihood ratio of the two,

    E = prod (a_j + M_j) / (c_j + M_j)        over the parts of a window, M_j those of bin j before each,

begins with 1 and is 1 on average at any time, while nothing drifts; so is the mean of E over several such urns. By Ville's
inequality (1939) it ever reaches A with probability 1 / A at most: it may be looked at after every part, and an alarm comes as
soon as the evidence is there (Shafer 2021; Vovk et al. 2021 on testing exchangeability). Two families of urns are looked at:

- level: scores creep up or down, c_j exp(s (r_j - 1/2)), r_j the bin's mean rank;
- shape: they are spread wider or narrower, or gather in one bin.

A short window forgets what was before a drift began, a long one sees a small drift: so windows of several lengths, each
twice the one before, run side by side, each length one after the other. Two more tests look at rejects, of which there may be
too few or too many: senbetsu.reject_runs.

An alarm of level or shape ends as it began, by evidence: while it lasts, each part is weighed by p_j / q_j, p_j = c_j / k and q
that of the mildest urn that the window that raised the alarm speaks for nearly as much as for the best (which flatters: the
window was looked at when it looked worst), with some of p in it. The product, begun anew whenever it falls under 1 (Page 1954),
has to reach 4 N, of both where both alarm: if parts went on as q says, it would do so once in 4 N parts on average at most
(Lorden 1971). The larger the drift was, the fewer good parts end its alarm, however long the window that raised it. With that
all windows begin anew: what was before the repair is forgotten.

Continuous looking is paid for: each test may alarm falsely once in 4 N parts on average, so that all of them do once in N; of
the first two each of H lengths L_h has its share, so that A_h = 4 N H / L_h. With the end of an alarm one window of each length
begins that else would not; it alarms falsely with probability 1 / A_h, for which A_h is larger by their sum. As this is about
averages it holds however windows depend on each other through the one calibration. It holds for parts that are independent
and like the calibration's. Parts of a lot resemble each other; then the alarm is about that lot, and early. A drift that is
smaller than what n parts can tell from chance, about 1 / sqrt(n) in mean rank, is not found however long one looks: more parts
in the calibration find smaller ones.
"""

import math
from dataclasses import dataclass, field
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray

from senbetsu.distribution import ScoreDistribution
from senbetsu.reject_runs import impatience_of, many_rejected, none_rejected, patience_of

LENGTHS = 7
"""Window lengths: W, 2 W, 4 W, ..."""
LEVEL_STEPS = (0.15, 0.3, 0.6, 1.2, 2.4, 4.8)
"""s, up and down: from what takes thousands of parts to see to what a few show."""
SPREAD_STEPS = (0.3, 0.6, 1.2, 2.4)
PLAUSIBLE = 0.1
"""An urn with this share of the best one's evidence may be the drift as well."""
CALM = 0.2
"""Share of the parts that may be as calibrated while an alarm lasts: no single one tells much against it."""
MOST_EVIDENCE = 1e200
"""E is kept below it, which only makes alarms rarer: a part multiplies it by less than 1e100."""
LEAST_LIMIT = 100.0
"""Less evidence than this is no alarm, however often false ones may come."""
Test = Literal["level", "shape", "few_rejects", "many_rejects"]
TESTS: tuple[Test, ...] = ("level", "shape", "few_rejects", "many_rejects")
OF_SCORES = TESTS[:2]


@dataclass(frozen=True, slots=True, eq=False)
class Expected:
    """What parts like the calibration's give, and what drift would: made once, used by every camera."""

    distribution: ScoreDistribution
    lengths: NDArray[np.int64]
    """(H,) passed parts of a window, the shortest, W, first."""
    limits: NDArray[np.float64]
    """(H,) A: evidence of a window that is an alarm."""
    relief: float
    """Logarithm of the evidence that ends an alarm of level or shape."""
    urns: NDArray[np.float64]
    """(D, B) balls that an urn of drift begins with, k in all."""
    means: NDArray[np.float64]
    """(D, 2) by which evidence is averaged over the urns of level, and over those of shape."""
    strengths: NDArray[np.float64]
    """(D,) what a good part tells on average against each urn, in nats."""
    first_shape: int
    """The urns before it are of level, those from it on of shape."""
    middles: NDArray[np.float64]
    """(B,) mean rank of a bin's scores among the k, from 0 to 1."""
    patience: int
    """M: so many parts in a row without a reject are an alarm."""
    impatience: int
    """R: so many rejects before W parts have passed are an alarm."""

    @classmethod
    def of(cls, distribution: ScoreDistribution, window: int, false_alarm_parts: int) -> Self:
        """For false alarms once in `false_alarm_parts` (N) parts on average; `window` is W."""
        c = np.array(distribution.counts, np.float64)
        middles = (np.cumsum(c) - c / 2) / c.sum()
        level = [np.exp(sign * s * (middles - 0.5)) for s in LEVEL_STEPS for sign in (1, -1)]
        spread = 6 * np.square(middles - 0.5) - 0.5
        shape = [np.exp(sign * s * spread) for s in SPREAD_STEPS for sign in (1, -1)]
        urns = [c * tilt * (c.sum() / (c @ tilt)) for tilt in (*level, *shape)]
        urns += [c / 2 + one * c.sum() / 2 for one in np.eye(len(c))]
        of_level = np.arange(len(urns)) < len(level)
        lengths = window * 2 ** np.arange(LENGTHS)
        share = len(TESTS) * false_alarm_parts
        limits = share * LENGTHS / lengths
        return cls(
            distribution,
            lengths,
            np.maximum(limits * (1 + len(OF_SCORES) * (1 / limits).sum()), LEAST_LIMIT),
            math.log(share),
            np.array(urns),
            np.column_stack([of_level / of_level.sum(), ~of_level / (~of_level).sum()]),
            np.log(c / np.array(urns)) @ c / c.sum(),
            len(level),
            middles,
            patience_of(distribution.n, distribution.k, share),
            impatience_of(distribution.n, distribution.k, window, window / share),
        )

    @property
    def window(self) -> int:
        """W."""
        return int(self.lengths[0])


@dataclass(slots=True)
class DriftDetector:
    """Takes a camera's judged parts in turn. Its tests' newest figures and alarms can be read at any time."""

    expected: Expected
    alarms: dict[Test, str] = field(default_factory=dict)
    """What is wrong, while it is; the text does not change meanwhile."""
    p_values: dict[Test, float] = field(default_factory=lambda: dict.fromkeys(TESTS, 1.0))
    """When the newest window of W ended, or an alarm began: of level and shape the least of all lengths, times their number."""
    mean_rank: float = 0.5
    """Of the window that raised the newest alarm, or the newest one of W: over 1/2 where scores are higher than calibrated."""
    psi: float = 0.0
    """Population stability index of the same window."""
    windows: int = 0
    """Of W that have ended."""
    _counts: NDArray[np.float64] = field(init=False)
    """(H, B) M: of each length's running window."""
    _evidence: NDArray[np.float64] = field(init=False)
    """(H, D) E: of each length's running window, for each urn."""
    _relief: dict[Test, NDArray[np.float64]] = field(default_factory=dict)
    """(B,) log p_j / q_j, of level and shape while they alarm."""
    _relieved: dict[Test, float] = field(default_factory=dict)
    """Logarithm of the evidence that it is over."""
    _in_windows: int = 0
    """Passed parts since all windows began."""
    _passed: int = 0
    _rejected: int = 0
    """In the running W passed parts."""
    _since_reject: int = 0

    def __post_init__(self) -> None:
        lengths, (urns, bins) = len(self.expected.lengths), self.expected.urns.shape
        self._counts, self._evidence = np.zeros((lengths, bins)), np.ones((lengths, urns))

    def see(self, score: float, *, passed: bool) -> bool:
        """A part that was judged by its score; whether an alarm began or ended with it."""
        before = tuple(self.alarms)
        if passed:
            self._see_passed(score)
        else:
            self._see_rejected()
        return before != tuple(self.alarms)

    def _see_rejected(self) -> None:
        expected = self.expected
        self._since_reject = 0
        self.p_values["few_rejects"] = 1.0
        self.alarms.pop("few_rejects", None)
        self._rejected += 1
        if self._rejected == expected.impatience:
            n, k = expected.distribution.n, expected.distribution.k
            self.p_values["many_rejects"] = many_rejected(n, k, self._rejected, expected.window)
            self.alarms["many_rejects"] = "most parts are rejected"

    def _see_passed(self, score: float) -> None:
        expected = self.expected
        distribution = expected.distribution
        self._since_reject += 1
        if self._since_reject == expected.patience:
            self.p_values["few_rejects"] = none_rejected(distribution.n, distribution.k, self._since_reject)
            self.alarms["few_rejects"] = f"{self._since_reject} parts in a row without a reject"
        self._passed += 1
        if self._passed % expected.window == 0:
            self._end_of_rejects()
        j = distribution.bin_of(score)
        for test, relief in self._relief.items():
            self._relieved[test] = max(0.0, self._relieved[test] + float(relief[j]))
        if self._relief and min(self._relieved.values()) >= self.expected.relief:
            self._end_alarms()
            return
        seen = self._counts[:, j, None]
        self._evidence *= (expected.urns[:, j] + seen) / (distribution.counts[j] + seen)
        np.minimum(self._evidence, MOST_EVIDENCE, out=self._evidence)
        self._counts[:, j] += 1
        self._in_windows += 1
        evidence = self._evidence @ expected.means
        beyond = evidence >= expected.limits[:, None]
        ends_window = self._in_windows % expected.window == 0
        if ends_window or beyond.any():
            self._tell(evidence, beyond, ends_window=ends_window)
        if ends_window:
            self._end_windows()

    def _tell(self, evidence: NDArray[np.float64], beyond: NDArray[np.bool_], *, ends_window: bool) -> None:
        """(H, 2) of each length's running window, of level and of shape; and where it is an alarm."""
        for test, of_lengths, are_beyond in zip(OF_SCORES, evidence.T, beyond.T, strict=True):
            if ends_window or are_beyond.any():
                self.p_values[test] = min(1.0, len(of_lengths) / float(of_lengths.max()))
            if are_beyond.any() and test not in self.alarms:
                self._raise(test, int(np.argmax(are_beyond)))

    def _raise(self, test: Test, h: int) -> None:
        """By the window of this length, the shortest of those that tell."""
        self._describe(h)
        self.alarms[test] = (
            f"scores are {'higher' if self.mean_rank > 0.5 else 'lower'} than calibrated"
            if test == "level"
            else "scores are spread otherwise than calibrated"
        )
        first = self.expected.first_shape
        own = slice(0, first) if test == "level" else slice(first, None)
        evidence, strengths = self._evidence[h, own], self.expected.strengths[own]
        plausible = evidence >= PLAUSIBLE * evidence.max()
        mildest = int(np.argmin(np.where(plausible, strengths, np.inf)))
        share = self.expected.urns[own][mildest] / np.array(self.expected.distribution.counts)
        self._relief[test], self._relieved[test] = -np.log((1 - CALM) * share + CALM), 0.0

    def _end_alarms(self) -> None:
        """Of level and shape; what was before is forgotten."""
        for test in OF_SCORES:
            self.alarms.pop(test, None)
            self.p_values[test] = 1.0
        self._relief, self._relieved = {}, {}
        self._counts[:], self._evidence[:], self._in_windows = 0, 1, 0
        self.mean_rank, self.psi = 0.5, 0.0

    def _describe(self, h: int) -> None:
        self.mean_rank = float(self._counts[h] @ self.expected.middles / self._counts[h].sum())
        self.psi = _psi(self._counts[h], np.array(self.expected.distribution.counts))

    def _end_of_rejects(self) -> None:
        if self._rejected < self.expected.impatience:
            self.p_values["many_rejects"] = 1.0
            self.alarms.pop("many_rejects", None)
        self._rejected = 0

    def _end_windows(self) -> None:
        self.windows += 1
        self._describe(0)
        ended = self._in_windows % self.expected.lengths == 0
        self._counts[ended], self._evidence[ended] = 0, 1


def _psi(counts: NDArray[np.float64], c: NDArray[np.integer]) -> float:
    """Sum of (a - e) ln(a / e) over the bins; half a part is added to each, so that an empty one is no infinity."""
    a = (counts + 0.5) / (counts + 0.5).sum()
    e = (c + 0.5) / (c + 0.5).sum()
    return float(((a - e) * np.log(a / e)).sum())
