"""Which claim the parts at hand support: method and rank, or a refusal that says what is needed, missing and possible."""

from dataclasses import dataclass
from typing import Literal

from senbetsu.conformal import (
    DEFAULT_CONFIDENCE,
    DEFAULT_RATE,
    Claim,
    Method,
    bad_at_most,
    bound_of_rank,
    parts_for_bound,
    parts_for_rate,
    percent,
    rank_for_bound,
    rank_for_rate,
    rate_of_rank,
)
from senbetsu.errors import UserError


class PromiseError(UserError):
    """A promise was asked for that the parts do not support."""


def make_claim(
    n_unseen: int,
    n_all: int,
    rate: float | None,
    confidence: float | None,
    what: str = "parts",
    contamination: float = 0.0,
) -> tuple[Claim, list[str]]:
    """Choose method and rank.

    Args:
        n_unseen: normal parts that nothing was fitted on.
        n_all: those, and the ones that can be scored by a model fitted without them.
        rate: promised false-reject rate; None: 1 % expected, or the tightest that the parts support.
        confidence: makes the promise a bound; None: the expected rate.
        what: what the parts are called in messages.
        contamination: share of the parts that may be bad.

    Returns:
        the claim, and warnings for the user.

    Raises:
        PromiseError: the promise was asked for and is not supported; says what is needed, missing and possible.
    """
    if n_all < 1:
        raise PromiseError(f"no normal {what} to set a threshold with")
    shown = _Shown(n_unseen, n_all, contamination, what)
    if confidence is not None and rate is not None:
        return shown.bound_claim(rate, confidence), []
    if rate is not None:
        return shown.expected_claim(rate), []
    return shown.best_claim()


@dataclass(frozen=True, slots=True)
class _Shown:
    """What there is to make a claim of."""

    unseen: int
    all: int
    contamination: float
    what: str

    def bad(self, n: int) -> int:
        return bad_at_most(n, self.contamination)

    def rank(self, n: int, rate: float) -> int | None:
        """The rank that promises an expected rate, or None."""
        k = rank_for_rate(n, rate, self.bad(n))
        return k if k <= n - self.bad(n) else None

    def claim(self, method: Method, k: int, promised: Literal["expected", "bound"], confidence: float | None) -> Claim:
        n = self.unseen if method == "split" else self.all
        bad = self.bad(n)
        used = DEFAULT_CONFIDENCE if confidence is None else confidence
        bound = bound_of_rank(n, k, used, bad) if method == "split" else None
        return Claim(method, n, k, rate_of_rank(n, k, bad), bound, used, promised, bad)

    def tightest(self) -> tuple[float, float]:
        """The tightest expected rates, split and cross; 1 where there is none."""
        split = (
            rate_of_rank(self.unseen, self.unseen - self.bad(self.unseen), self.bad(self.unseen))
            if self.unseen
            else 1.0
        )
        cross = 2 * rate_of_rank(self.all, self.all - self.bad(self.all), self.bad(self.all))
        return min(1.0, split), min(1.0, cross) if self.all > self.unseen else 1.0

    def bound_claim(self, rate: float, confidence: float) -> Claim:
        n, bad = self.unseen, self.bad(self.unseen)
        k = rank_for_bound(n, rate, confidence, bad)
        if k <= n - bad:
            return self.claim("split", k, "bound", confidence)
        possible = f"at most {percent(bound_of_rank(n, n - bad, confidence, bad))}" if n else "none"
        seen = f" ({self.all - n} more were trained on and do not count)" if self.all > n else ""
        raise PromiseError(
            f"a false-reject rate of at most {percent(rate)} with {confidence:.0%} confidence "
            f"{self._needs(parts_for_bound(rate, confidence, self.contamination), seen)}. The tightest bound that "
            f"these support with that confidence: {possible}. Show more parts or ask for less (--false-reject-rate, "
            f"--confidence)"
        )

    def expected_claim(self, rate: float) -> Claim:
        k = self.rank(self.unseen, rate)
        if k is not None:
            return self.claim("split", k, "expected", None)
        k = self.rank(self.all, rate / 2)
        if self.all > self.unseen and k is not None:
            return self.claim("cross", k, "expected", None)
        seen = f" ({self.all - self.unseen} more were trained on)" if self.all > self.unseen else ""
        raise PromiseError(
            f"an expected false-reject rate of at most {percent(rate)} "
            f"{self._needs(parts_for_rate(rate, self.contamination), seen)}. The tightest that these support: "
            f"{percent(min(self.tightest()))}. Show more parts or ask for less (--false-reject-rate)"
        )

    def _needs(self, needed: int | None, seen: str) -> str:
        found = f"found {self.unseen}{seen}"
        if needed is None:
            return (
                f"is not supported by any number of normal {self.what} while {percent(self.contamination)} of them may be "
                f"bad (--contamination), since the suspects may be good ones; {found}. Calibrate without a promise, look "
                "at the suspects, list the bad ones (--confirmed-bad), and calibrate again with a smaller share or none"
            )
        though = f", of which {percent(self.contamination)} may be bad" if self.contamination else ""
        missing = needed - self.unseen
        return f"needs {needed} normal {self.what} that were not trained on{though}; {found}, {missing} are missing"

    def best_claim(self) -> tuple[Claim, list[str]]:
        """1 % expected, or the tightest, which takes the highest score that is no suspect's."""
        k = self.rank(self.unseen, DEFAULT_RATE)
        if k is not None:
            return self.claim("split", k, "expected", None), []
        split, cross = self.tightest()
        # Parts that serve twice answer for 2 / (n + 1) only.
        if self.unseen > 0 and split <= cross:
            claim = self.claim("split", self.unseen - self.bad(self.unseen), "expected", None)
        else:
            k = self.rank(self.all, DEFAULT_RATE / 2)
            claim = self.claim("cross", self.all - self.bad(self.all) if k is None else k, "expected", None)
        return claim, self._warnings(claim)

    def _warnings(self, claim: Claim) -> list[str]:
        warnings = []
        if claim.guaranteed_rate > DEFAULT_RATE:
            needed = parts_for_rate(DEFAULT_RATE, self.contamination)
            in_all = parts_for_bound(DEFAULT_RATE, DEFAULT_CONFIDENCE, self.contamination)
            tighter = (
                f"{percent(DEFAULT_RATE)} takes a look at the suspects: list the bad ones (--confirmed-bad) and calibrate "
                "again with a smaller share or none"
                if needed is None or in_all is None
                else f"for {percent(DEFAULT_RATE)} show {needed - self.unseen} more that were not trained on "
                f"(a bound of {percent(DEFAULT_RATE)} with {DEFAULT_CONFIDENCE:.0%} confidence takes {in_all} in all)"
            )
            warnings.append(
                f"{claim.n} normal {self.what} support no better claim than {percent(claim.guaranteed_rate)} expected"
                f"{self._though(claim)}; {tighter}"
            )
        if claim.method == "cross":
            warnings.append(
                f"only {self.unseen} of the {self.all} normal {self.what} were not trained on, so every part served twice: "
                "to fit, and to set the threshold with models fitted without it. The guarantee is therefore twice the usual "
                "rate; parts that were not trained on give a tighter claim"
            )
        return warnings

    def _though(self, claim: Claim) -> str:
        return f" while {claim.suspects} of them may be bad" if claim.suspects else ""
