"""The threshold and the claim it supports: split conformal prediction (Vovk, Gammerman & Shafer 2005).

Put the threshold at the k-th smallest of the scores of n normal parts that nothing was fitted on. Then a further
normal part lies above it with a probability of at most 1 - k / (n + 1), and the share of good parts that this threshold
rejects in the long run is distributed as Beta(n - k + 1, k): exactly so for continuous scores, and less with ties. Two
promises follow, and are never mixed up:

- the *expected* rate R:      k = ceil((n + 1)(1 - R))
- a *bound* R, confidence C:  the smallest k whose C-quantile of Beta(n - k + 1, k) is at most R

Where parts serve twice (cross-conformal, Vovk 2015; CV+, Barber et al. 2021, arXiv 1905.02928) each part is scored by a
model that was fitted without it. The price: the guarantee is 2R instead of R, so R is promised at the k of R / 2, and no
bound is promised at all. That guarantee is proved for comparing a new part with the model of every fold; the line runs
one model, fitted on all parts, for which it holds as far as leaving a fold out changes the scores little.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from scipy.stats import beta

from senbetsu.errors import UserError

DEFAULT_RATE = 0.01
DEFAULT_CONFIDENCE = 0.95

Method = Literal["split", "cross"]


class PromiseError(UserError):
    """A promise was asked for that the parts do not support."""


@dataclass(frozen=True, slots=True)
class Claim:
    """What n normal parts say of a threshold at their k-th smallest score."""

    method: Method
    n: int
    k: int
    expected_rate: float
    """Expected share of good parts rejected, at most; for `cross` the guarantee is twice it, and this is the usual."""
    bound: float | None
    """The share is at most this with `confidence`; None for `cross`, which supports no bound."""
    confidence: float
    promised: Literal["expected", "bound"]

    @property
    def guaranteed_rate(self) -> float:
        """What is guaranteed in expectation."""
        return self.expected_rate if self.method == "split" else min(1.0, 2 * self.expected_rate)

    @property
    def headline_rate(self) -> float:
        """The one number of the claim."""
        return self.bound if self.promised == "bound" and self.bound is not None else self.guaranteed_rate

    def sentence(self) -> str:
        """The claim in one sentence, for a person who has to sign it."""
        if self.promised == "bound" and self.bound is not None:
            return (
                f"With {self.confidence:.0%} confidence at most {percent(self.bound)} of good parts like these "
                f"{self.n} are rejected."
            )
        if self.method == "split":
            return f"On average at most {percent(self.expected_rate)} of good parts like these {self.n} are rejected."
        return (
            f"About {percent(self.expected_rate)} of good parts like these {self.n} are rejected on average; because "
            f"every part served twice, at most {percent(self.guaranteed_rate)} is what the method answers for."
        )

    def readings(self) -> list[tuple[str, str]]:
        """Both readings, always: (what it says, the number)."""
        bound = (
            "none: parts that serve twice support no bound" if self.bound is None else f"at most {percent(self.bound)}"
        )
        return [
            ("expected false-reject rate", f"at most {percent(self.guaranteed_rate)}"),
            (f"bound with {self.confidence:.0%} confidence", bound),
        ]


def percent(rate: float) -> str:
    """A share for people: three significant digits, rounded up, since it is a promise."""
    if rate <= 0:
        return "0 %"
    digits = 2 - math.floor(math.log10(rate * 100))
    scaled = math.ceil(round(rate * 100 * 10**digits, 6)) / 10**digits
    return f"{scaled:.{max(digits, 0)}f}".rstrip("0").rstrip(".") + " %" if digits > 0 else f"{scaled:.0f} %"


def rank_for_rate(n: int, rate: float) -> int:
    """k = ceil((n + 1)(1 - R)), in exact arithmetic; more than n where n is too few."""
    return math.ceil((n + 1) * (1 - Fraction(repr(rate))))


def parts_for_rate(rate: float) -> int:
    """Fewest parts that support an expected rate: those whose maximum does."""
    return math.ceil(1 / Fraction(repr(rate))) - 1


def bound_of_rank(n: int, k: int, confidence: float) -> float:
    """The C-quantile of Beta(n - k + 1, k): the true rate lies at or under it with that confidence."""
    return float(beta.ppf(confidence, n - k + 1, k))


def rank_for_bound(n: int, rate: float, confidence: float) -> int:
    """The smallest k whose bound is at most `rate`; n + 1 where even the maximum does not support it."""
    if n < 1 or bound_of_rank(n, n, confidence) > rate:
        return n + 1
    low, high = 1, n
    while low < high:
        middle = (low + high) // 2
        if bound_of_rank(n, middle, confidence) <= rate:
            high = middle
        else:
            low = middle + 1
    return low


def parts_for_bound(rate: float, confidence: float) -> int:
    """Fewest parts that support a bound: the smallest n with (1 - R)^n <= 1 - C."""
    n = max(1, math.floor(math.log1p(-confidence) / math.log1p(-rate)) - 1)
    while bound_of_rank(n, n, confidence) > rate:
        n += 1
    return n


def make_claim(
    n_unseen: int, n_all: int, rate: float | None, confidence: float | None, what: str = "parts"
) -> tuple[Claim, list[str]]:
    """Choose method and rank.

    Args:
        n_unseen: normal parts that nothing was fitted on.
        n_all: those, and the ones that can be scored by a model fitted without them.
        rate: promised false-reject rate; None: 1 % expected, or the tightest that the parts support.
        confidence: makes the promise a bound; None: the expected rate.
        what: what the parts are called in messages.

    Returns:
        the claim, and warnings for the user.

    Raises:
        PromiseError: the promise was asked for and is not supported; says what is needed, missing and possible.
    """
    if n_all < 1:
        raise PromiseError(f"no normal {what} to set a threshold with")
    if confidence is not None and rate is not None:
        return _bound_claim(n_unseen, n_all, rate, confidence, what), []
    if rate is not None:
        return _expected_claim(n_unseen, n_all, rate, what), []
    if rank_for_rate(n_unseen, DEFAULT_RATE) <= n_unseen:
        return _claim("split", n_unseen, rank_for_rate(n_unseen, DEFAULT_RATE), "expected", None), []
    # The tightest: the maximum of the scores. Parts that serve twice answer for 2 / (n + 1) only.
    split_is_tighter = n_unseen > 0 and (n_all == n_unseen or 2 * (n_unseen + 1) >= n_all + 1)
    if split_is_tighter:
        claim = _claim("split", n_unseen, n_unseen, "expected", None)
    else:
        k = min(n_all, rank_for_rate(n_all, DEFAULT_RATE / 2))
        claim = _claim("cross", n_all, k, "expected", None)
    missing = parts_for_rate(DEFAULT_RATE) - n_unseen
    warnings = []
    if claim.guaranteed_rate > DEFAULT_RATE:
        warnings.append(
            f"{claim.n} normal {what} support no better claim than {percent(claim.guaranteed_rate)} expected; for "
            f"{percent(DEFAULT_RATE)} show {missing} more that were not trained on "
            f"(a bound of {percent(DEFAULT_RATE)} with {DEFAULT_CONFIDENCE:.0%} confidence takes "
            f"{parts_for_bound(DEFAULT_RATE, DEFAULT_CONFIDENCE)} in all)"
        )
    if claim.method == "cross":
        warnings.append(
            f"only {n_unseen} of the {n_all} normal {what} were not trained on, so every part served twice: to fit, and "
            "to set the threshold with models fitted without it. The guarantee is therefore twice the usual rate; "
            f"parts that were not trained on give a tighter claim"
        )
    return claim, warnings


def _claim(method: Method, n: int, k: int, promised: Literal["expected", "bound"], confidence: float | None) -> Claim:
    used = DEFAULT_CONFIDENCE if confidence is None else confidence
    bound = bound_of_rank(n, k, used) if method == "split" else None
    return Claim(method, n, k, 1 - k / (n + 1), bound, used, promised)


def _bound_claim(n_unseen: int, n_all: int, rate: float, confidence: float, what: str) -> Claim:
    k = rank_for_bound(n_unseen, rate, confidence)
    if k <= n_unseen:
        return _claim("split", n_unseen, k, "bound", confidence)
    needed = parts_for_bound(rate, confidence)
    possible = f"at most {percent(bound_of_rank(n_unseen, n_unseen, confidence))}" if n_unseen else "none"
    seen = f" ({n_all - n_unseen} more were trained on and do not count)" if n_all > n_unseen else ""
    raise PromiseError(
        f"a false-reject rate of at most {percent(rate)} with {confidence:.0%} confidence needs {needed} normal {what} "
        f"that were not trained on; found {n_unseen}{seen}, {needed - n_unseen} are missing. The tightest bound that "
        f"these support with that confidence: {possible}. Show more parts or ask for less (--false-reject-rate, --confidence)"
    )


def _expected_claim(n_unseen: int, n_all: int, rate: float, what: str) -> Claim:
    k = rank_for_rate(n_unseen, rate)
    if k <= n_unseen:
        return _claim("split", n_unseen, k, "expected", None)
    k = rank_for_rate(n_all, rate / 2)
    if n_all > n_unseen and k <= n_all:
        return _claim("cross", n_all, k, "expected", None)
    needed = parts_for_rate(rate)
    tightest = min(1 / (n_unseen + 1), 2 / (n_all + 1) if n_all > n_unseen else 1.0, 1.0)
    seen = f" ({n_all - n_unseen} more were trained on)" if n_all > n_unseen else ""
    raise PromiseError(
        f"an expected false-reject rate of at most {percent(rate)} needs {needed} normal {what} that were not trained "
        f"on; found {n_unseen}{seen}, {needed - n_unseen} are missing. The tightest that these support: "
        f"{percent(tightest)}. Show more parts or ask for less (--false-reject-rate)"
    )


def threshold_at(scores: Sequence[float], k: int) -> float:
    """The k-th smallest score (k from 1). Raises UserError where it is not finite."""
    value = float(sorted(scores)[k - 1])
    if not math.isfinite(value):
        raise UserError(f"the threshold came out as {value}: some normal part has no finite score; nothing was written")
    return value


def proportion_interval(successes: int, trials: int, confidence: float = DEFAULT_CONFIDENCE) -> tuple[float, float]:
    """Two-sided exact interval of a proportion (Clopper & Pearson 1934)."""
    if trials == 0:
        return 0.0, 1.0
    tail = (1 - confidence) / 2
    low = 0.0 if successes == 0 else float(beta.ppf(tail, successes, trials - successes + 1))
    high = 1.0 if successes == trials else float(beta.ppf(1 - tail, successes + 1, trials - successes))
    return low, high
