"""The threshold and the claim it supports: split conformal prediction (Vovk, Gammerman & Shafer 2005).

Put the threshold at the k-th smallest of the scores of n normal parts that nothing was fitted on. Then a further
normal part lies above it with a probability of at most 1 - k / (n + 1), and the share of good parts that this threshold
rejects in the long run is distributed as Beta(n - k + 1, k): exactly so for continuous scores, and less with ties. Two
promises follow, and are never mixed up:

- the *expected* rate R:      k = ceil((n + 1)(1 - R))
- a *bound* R, confidence C:  the smallest k whose C-quantile of Beta(n - k + 1, k) is at most R

Among the n shown parts up to m = floor(c n) may be bad (a stated share c of contamination). The other g >= n - m are good
and like those to come. Of the k lowest scores at least k - m are good parts', so the threshold lies at or above the good
ones' (k - m)-th smallest, and whatever the bad ones score, the good parts' rate is at most that of the worst case, in which
all m hide below the threshold:

- expected rate:  (n - k + 1) / (n - m + 1)
- distribution:   Beta(n - k + 1, k - m)

This counts every part above the threshold as a good one, so it holds whether or not those taken for bad ones are bad. The
m highest scores are the *suspects*: they never set the threshold, so k <= n - m. Should all of them be bad and no other part,
the rate is that of the k-th smallest of n - m good ones; that is the second reading, which only a person who has looked at
them can vouch for. Only the worst case is promised.

Where parts serve twice (cross-conformal, Vovk 2015; CV+, Barber et al. 2021, arXiv 1905.02928) each part is scored by a
model that was fitted without it. The price: the guarantee is 2R instead of R, so R is promised at the k of R / 2, and no
bound is promised at all. That guarantee is proved for leaving out one part at a time, and for comparing a new part with every
model; with K folds the proof adds up to min(2 (1 - 1/K) / (n/K + 1), (1 - K/n) / (K + 1)), and the line runs one model,
fitted on all parts. So 2R is what holds as far as leaving out a fold changes the scores little: docs/calibration.md shows
what was seen.
"""

import math
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaincinv

from senbetsu.errors import UserError

DEFAULT_RATE = 0.01
DEFAULT_CONFIDENCE = 0.95
MOST_BAD = 1000
"""Numbers of bad parts that are tried for how many parts a promise needs."""

Method = Literal["split", "cross"]


@dataclass(frozen=True, slots=True)
class Claim:
    """What n normal parts say of a threshold at their k-th smallest score."""

    method: Method
    n: int
    k: int
    expected_rate: float
    """Expected share of good parts rejected, at most, whatever the suspects are; for `cross` the guarantee is twice it,
    and this is the usual."""
    bound: float | None
    """The share is at most this with `confidence`; None for `cross`, which supports no bound."""
    confidence: float
    promised: Literal["expected", "bound"]
    suspects: int = 0
    """m: so many of the n may be bad; the highest scores, which are not let set the threshold."""

    @property
    def guaranteed_rate(self) -> float:
        """What is guaranteed in expectation."""
        return self.expected_rate if self.method == "split" else min(1.0, 2 * self.expected_rate)

    @property
    def headline_rate(self) -> float:
        """The one number of the claim."""
        return self.bound if self.promised == "bound" and self.bound is not None else self.guaranteed_rate

    @property
    def rate_if_suspects_are_bad(self) -> float:
        """The expected rate where all suspects are bad and no other part is; for `cross` twice the usual."""
        rate = rate_of_rank(self.n - self.suspects, self.k)
        return rate if self.method == "split" else min(1.0, 2 * rate)

    def sentence(self) -> str:
        """The claim in one sentence, for a person who has to sign it."""
        these = f"good parts like these {self.n}"
        whatever = f", even if up to {self.suspects} of the {self.n} are bad" if self.suspects else ""
        if self.promised == "bound" and self.bound is not None:
            return f"With {self.confidence:.0%} confidence at most {percent(self.bound)} of {these} are rejected{whatever}."
        if self.method == "split":
            return f"On average at most {percent(self.expected_rate)} of {these} are rejected{whatever}."
        return (
            f"About {percent(self.expected_rate)} of {these} are rejected on average{whatever}; because "
            f"every part served twice, at most {percent(self.guaranteed_rate)} is what the method answers for."
        )

    def readings(self) -> list[tuple[str, str]]:
        """Both readings, always: (what it says, the number)."""
        bound = (
            "none: parts that serve twice support no bound" if self.bound is None else f"at most {percent(self.bound)}"
        )
        readings = [
            ("expected false-reject rate", f"at most {percent(self.guaranteed_rate)}"),
            (f"bound with {self.confidence:.0%} confidence", bound),
        ]
        if self.suspects:
            readings.append(
                (
                    f"expected, if all {self.suspects} suspects are bad and no other part is (look at them)",
                    f"at most {percent(self.rate_if_suspects_are_bad)}",
                )
            )
        return readings


def percent(rate: float) -> str:
    """A share for people: three significant digits, rounded up, since it is a promise."""
    if rate <= 0:
        return "0 %"
    digits = 2 - math.floor(math.log10(rate * 100))
    scaled = math.ceil(round(rate * 100 * 10**digits, 6)) / 10**digits
    return f"{scaled:.{max(digits, 0)}f}".rstrip("0").rstrip(".") + " %" if digits > 0 else f"{scaled:.0f} %"


def bad_at_most(n: int, share: float) -> int:
    """m = floor(c n), in exact arithmetic: so many of n parts are bad at the most where a share c of them may be."""
    return math.floor(n * Fraction(repr(share)))


def rate_of_rank(n: int, k: int, bad: int = 0) -> float:
    """The expected rate at the k-th smallest of n scores, at most; up to `bad` of the n are no good parts."""
    return (n - k + 1) / (n - bad + 1)


def rank_for_rate(n: int, rate: float, bad: int = 0) -> int:
    """The smallest k that promises an expected rate, in exact arithmetic; more than n - bad where n is too few."""
    return n + 1 - math.floor((n - bad + 1) * Fraction(repr(rate)))


def parts_for_rate(rate: float, share: float = 0.0) -> int | None:
    """Fewest parts that support an expected rate while `share` of them may be bad; None where no number does."""
    R = Fraction(repr(rate))
    return _fewest(share, lambda bad: math.ceil((bad + 1) / R) + bad - 1)


def bound_of_rank(n: int, k: int, confidence: float, bad: int = 0) -> float:
    """The C-quantile of Beta(n - k + 1, k - bad): the true rate lies at or under it with that confidence."""
    return float(betaincinv(n - k + 1, k - bad, confidence)) if k > bad else 1.0


def rank_for_bound(n: int, rate: float, confidence: float, bad: int = 0) -> int:
    """The smallest k whose bound is at most `rate`; n + 1 where even the (n - bad)-th smallest does not support it."""
    if n - bad < 1 or bound_of_rank(n, n - bad, confidence, bad) > rate:
        return n + 1
    return bisect_left(range(n - bad), True, 1, key=lambda k: bound_of_rank(n, k, confidence, bad) <= rate)


def parts_for_bound(rate: float, confidence: float, share: float = 0.0) -> int | None:
    """Fewest parts that support a bound while `share` of them may be bad; None where no number does.

    With a share of zero that is the smallest n with (1 - R)^n <= 1 - C.
    """

    def fewest(bad: int) -> int:
        def holds(n: int) -> bool:
            return bound_of_rank(n, n - bad, confidence, bad) <= rate

        high = 2 * bad + 1
        while not holds(high):
            high *= 2
        return bisect_left(range(high), True, bad + 1, key=holds)

    return _fewest(share, fewest)


def _fewest(share: float, fewest: Callable[[int], int]) -> int | None:
    """The smallest n with n >= fewest(floor(share n))."""
    c = Fraction(repr(share))
    if c == 0:
        return fewest(0)
    for bad in range(MOST_BAD):
        n = max(fewest(bad), math.ceil(bad / c))
        if bad_at_most(n, share) == bad:
            return n
    return None


def threshold_at(scores: Sequence[float] | NDArray[np.float64], k: int) -> float:
    """The k-th smallest score (k from 1). Raises UserError where it is not finite."""
    # What is no number comes last: it is rejected.
    return finite_threshold(float(np.sort(np.asarray(scores, np.float64))[k - 1]))


def finite_threshold(score: float) -> float:
    """The score. Raises UserError where it is not finite."""
    if not math.isfinite(score):
        raise UserError(f"the threshold came out as {score}: some normal part has no finite score; nothing was written")
    return score


def proportion_interval(successes: int, trials: int, confidence: float = DEFAULT_CONFIDENCE) -> tuple[float, float]:
    """Two-sided exact interval of a proportion (Clopper & Pearson 1934)."""
    if trials == 0:
        return 0.0, 1.0
    tail = (1 - confidence) / 2
    low = 0.0 if successes == 0 else float(betaincinv(successes, trials - successes + 1, tail))
    high = 1.0 if successes == trials else float(betaincinv(successes + 1, trials - successes, 1 - tail))
    return low, high
