"""Too few rejects in a row of good parts, or too many: how likely that is of a threshold at the k-th of n scores. Pure.

The false-reject rate of such a threshold is Beta(n - k + 1, k). So of M good parts in a row none is rejected with probability
P(M) = prod_{i<M} (k + i) / (n + 1 + i), and a row of M without one ends at a given part with probability P(M) - P(M + 1)
(P(M) the first time). A line that rejects nothing for so long does not see what it was calibrated to see.

R rejects, R >= W, before W parts have passed are for what comes at once. That many good ones are rejected with the
probability that a beta-binomial gives, and that many bad ones come on no line that sorts.
"""

import math

import numpy as np
from scipy.special import betaln

MOST_REJECTS = 1024
"""Times W: where even these prove nothing, the calibration was of a handful of parts."""


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
    """Probability that so many good parts are rejected before so many have passed: of that many trials less one at least
    `rejects` are rejects, which is beta-binomial.
    """
    trials, a, b = rejects + passes - 1, n - k + 1, k
    x = np.arange(rejects, trials + 1)
    logs = betaln(x + a, trials - x + b) - betaln(a, b) - betaln(x + 1, trials - x + 1) - math.log(trials + 1)
    return float(np.exp(logs).sum())
