"""Lots: in which folds they are held out, and what they say of a lot that nobody has seen.

How many good parts of a lot nobody has seen yet a threshold t rejects is for other lots to tell. With G lots, of which lot j
has a share r_j of its parts above t, and a new lot that is exchangeable with them,

    expected false-reject rate of a part of a new lot  <=  (1 + sum_j r_j) / (G + 1)

This is the level at which hierarchical conformal prediction (Dunn, Wasserman & Ramdas 2022, arXiv 1809.07441; Lee, Barber &
Willett 2023, arXiv 2306.06342) would put its threshold at t: each lot weighs the same however many parts it has, and the
new one counts as rejected whole. It never is less than 1 / (G + 1): six lots say nothing better than 14 % of a seventh.

How much the parts of a lot resemble each other is told by the intraclass correlation of the log scores (one-way analysis of
variance), and n parts are then worth about n / (1 + (n_0 - 1) ICC) independent ones (Kish 1965), n_0 the usual lot's size.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter

import numpy as np
from scipy.special import chdtrc

from calibrate.parts import UNSEEN, Parts
from senbetsu.conformal import percent, proportion_interval
from senbetsu.lots import LotRule, taken_at_s

DIFFERENT = 0.01
"""A p-value under this says that the lots differ."""


def name_lots(parts: Parts, rule: LotRule) -> None:
    """The lot of each part. Raises UserError where a picture has none."""
    if rule.gap_s is None:
        parts.set_lots((part.number, rule.lot_of(part.path)) for part in parts.every())
    else:
        parts.set_taken((part.number, taken_at_s(part.path)) for part in parts.every())
        parts.set_lots(rule.lots_by_time(parts.by_time()))


def hold_out(parts: Parts, count: int, *, by_lot: bool) -> list[str]:
    """The fold that each part is held out in, of `count`; gives warnings.

    A part that was trained on has its fold; those that were not are dealt out, always the same way. By lots, the parts of
    one lot share a fold: that in which all of it was trained, if so; else the lots are dealt out, the largest first.
    """
    if not by_lot:
        parts.hold_by_content(count)
        return []
    lots = parts.lot_sizes()
    kept_together = all(first == last for _, _, first, last in lots)
    fold_of = {lot: first for lot, _, first, _ in lots if first is not None} if kept_together else {}
    filled = [sum(size for lot, size, _, _ in lots if fold_of.get(lot) == number) for number in range(count)]
    for lot, size, _, _ in sorted(lots, key=lambda one: (-one[1], one[0])):
        if lot not in fold_of:
            fold_of[lot] = filled.index(min(filled))
            filled[fold_of[lot]] += size
    parts.hold_lots(fold_of)
    return [] if kept_together else [
        "`train` dealt the parts of a lot over several folds, so what it learned (the axes that are measured along) has seen "
        "every lot; centroid and whitening have not. The claim is a little optimistic for a new lot; "
        "`train --group` with the same rule mends it"
    ]  # fmt: skip


NEW_LOT = f"lot NOT IN (SELECT lot FROM part WHERE NOT ({UNSEEN}))"
"""Which parts are of lots that `train` saw nothing of."""


@dataclass(frozen=True, slots=True)
class LotRate:
    """One lot at the threshold; low and high bound its rate with 95 % confidence (Clopper & Pearson)."""

    lot: str
    parts: int
    rejected: int
    rate: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Spread:
    """How the lots that were not trained on differ."""

    lots: tuple[LotRate, ...]
    new_lot_rate: float
    """Expected false-reject rate of a part of a lot not seen yet, at most."""
    difference_p: float | None
    """Kruskal-Wallis p-value of the scores: small where lots differ; None with one lot."""
    intraclass_correlation: float
    effective_parts: float

    def reading(self) -> tuple[str, str]:
        """What it says, the number."""
        return (
            f"parts of a lot not seen yet, from {len(self.lots)} lots",
            f"at most {percent(self.new_lot_rate)} expected",
        )

    def warnings(self, rate: float) -> list[str]:
        """Where a claim of `rate` would be optimistic."""
        found = []
        if len(self.lots) < 2:
            found.append(
                "all parts that set the threshold are of one lot: nothing is known of how another one would differ; the "
                "claim is about this lot"
            )
        elif self.new_lot_rate > rate:
            found.append(
                f"the claim of {percent(rate)} is about parts from the {len(self.lots)} lots shown; of a part of a new "
                f"lot they support no better than {percent(self.new_lot_rate)} expected. Show more lots"
            )
        if self.difference_p is not None and self.difference_p < DIFFERENT:
            found.append(
                f"the lots differ (Kruskal-Wallis p = {self.difference_p:.2g}); "
                f"{sum(lot.parts for lot in self.lots)} parts are worth about {self.effective_parts:.0f} independent ones, "
                "and a bound that takes them for independent is optimistic"
            )
        return found


class _Lot:
    """Sums over the parts of one lot: of the ranks of their scores, and mean and scatter of the scores' logarithms."""

    def __init__(self) -> None:
        self.parts = self.rejected = 0
        self.ranks = self.mean = self.scatter = 0.0

    def add(self, log: float, rank: float, *, rejected: bool) -> None:
        self.parts += 1
        self.rejected += rejected
        self.ranks += rank
        step = log - self.mean
        self.mean += step / self.parts
        self.scatter += step * (log - self.mean)


def spread_of(scores: Iterable[tuple[str, float]], threshold: float) -> Spread:
    """Of held-out parts, one or more, as lot and score, the lowest score first; it keeps nothing but sums of each lot."""
    lots: dict[str, _Lot] = {}
    n, ties, values = 0, 0.0, 0
    for score, equals in groupby(scores, key=itemgetter(1)):
        same = Counter(lot for lot, _ in equals)
        size, log, rank = same.total(), float(np.log(score)), n + (same.total() + 1) / 2
        for lot in same.elements():
            lots.setdefault(lot, _Lot()).add(log, rank, rejected=not score <= threshold)
        n += size
        ties += size**3 - size
        values += 1
    rates = []
    for name, sums in sorted(lots.items()):
        interval = proportion_interval(sums.rejected, sums.parts)
        rates.append(LotRate(name, sums.parts, sums.rejected, sums.rejected / sums.parts, *interval))
    correlation, usual = _intraclass(list(lots.values()))
    return Spread(
        tuple(rates),
        (1 + sum(rate.rate for rate in rates)) / (len(rates) + 1),
        _difference_p(list(lots.values()), n, ties) if len(lots) > 1 and values > 1 else None,
        correlation,
        n / (1 + (usual - 1) * correlation),
    )


def _difference_p(lots: list[_Lot], n: int, ties: float) -> float:
    """Kruskal & Wallis (1952), ranks of equal scores shared."""
    H = 12 / (n * (n + 1)) * sum(lot.ranks**2 / lot.parts for lot in lots) - 3 * (n + 1)
    return float(chdtrc(len(lots) - 1, H / (1 - ties / (n**3 - n))))


def _intraclass(lots: list[_Lot]) -> tuple[float, float]:
    """ICC(1) of unequal groups, in [0, 1], and n_0 (Donner 1986)."""
    n, G = sum(lot.parts for lot in lots), len(lots)
    if G < 2 or n <= G:
        return 0.0, 1.0
    mean = sum(lot.parts * lot.mean for lot in lots) / n
    between = sum(lot.parts * (lot.mean - mean) ** 2 for lot in lots) / (G - 1)
    within = sum(lot.scatter for lot in lots) / (n - G)
    size = (n - sum(lot.parts**2 for lot in lots) / n) / (G - 1)
    total = between + (size - 1) * within
    return (0.0 if total <= 0 else float(np.clip((between - within) / total, 0, 1))), float(size)
