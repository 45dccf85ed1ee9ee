"""Which triplets of a batch are learned from: one table of rules by their proper names.

Indices flow, not tensors: a selection returns (a, p, n), a loss gathers from the batch's distance matrix. With d_p =
d(a, p) and d_n = d(a, n) of a positive p and a negative n:

    all         every (a, p, n), N^3 of them: the reference
    semihard    for each (a, p) the nearest n with d_p < d_n < d_p + margin (FaceNet, arXiv 1503.03832)
    hard        for each (a, p) the nearest n, where d_n < d_p
    batch_hard  for each a the farthest p and the nearest n (Hermans, Beyer & Leibe 2017, arXiv 1703.07737)
    slide       "do not use triplets with d_n > d_p", taken literally: every (a, p, n) with d_n <= d_p

The slide gives FaceNet as its source and wants to keep out of the local optimum where the loss is the margin. Its
sentence says the opposite of FaceNet's rule: FaceNet leaves out d_n < d_p, and keeps what lies just beyond the positive.
With one negative a pair, the nearest, the slide's rule is `hard`. docs/losses.md shows what each does.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from train.labels import alike, negatives, positive_pairs, unlike

MAX_TRIPLETS = 2**20
"""Most triplets that `all` and `slide` give for a batch. Of more, these many are drawn evenly (a few come twice), so that
the mean over them is an unbiased estimate of the mean over all; the draw is the same for the same batch."""


class Triplets(NamedTuple):
    """Indices into a batch, each (T,) int64: anchor, positive of the same label, negative of another."""

    anchor: Tensor
    positive: Tensor
    negative: Tensor


class Quadruplets(NamedTuple):
    """Indices into a batch, each (T,) int64: anchor, positive, and negatives of two different other labels."""

    anchor: Tensor
    positive: Tensor
    negative1: Tensor
    negative2: Tensor


@dataclass(frozen=True, slots=True)
class Selection:
    """One rule."""

    select: Callable[[Tensor, Tensor, float], Triplets]
    """(B, B) squared distances without a gradient, (B,) int64 labels, margin -> T triplets; T may be 0."""
    most: Callable[[Tensor], int]
    """(B,) labels -> how many triplets the rule gives at most, for the share of them that is active."""


def every(labels: Tensor) -> Triplets:
    """Every valid triplet of the batch, or MAX_TRIPLETS of them."""
    others = negatives(labels)
    anchor, _ = positive_pairs(labels)
    return _listed(labels, others.sum(1)[anchor], others.int().argsort(dim=1, descending=True, stable=True))


def slide(distances: Tensor, labels: Tensor) -> Triplets:
    """Every triplet with d_n <= d_p, or MAX_TRIPLETS of them."""
    ordered, order = _nearest_first(distances, labels)
    pairs = positive_pairs(labels)
    return _listed(labels, torch.searchsorted(ordered, distances.contiguous(), right=True)[pairs], order)


def semihard(distances: Tensor, labels: Tensor, margin: float) -> Triplets:
    """For each positive pair the nearest negative with d_p < d_n < d_p + margin; pairs without one give no triplet."""
    ordered, order = _nearest_first(distances, labels)
    anchor, positive = positive_pairs(labels)
    # The first negative beyond the positive is the only one that can be it.
    rank = torch.searchsorted(ordered, distances.contiguous(), right=True)[anchor, positive].clamp_max(len(labels) - 1)
    d_positive, d_negative = distances[anchor, positive], ordered[anchor, rank]
    found = (d_negative > d_positive) & (d_negative < d_positive + margin)
    return Triplets(anchor[found], positive[found], order[anchor, rank][found])


def hard(distances: Tensor, labels: Tensor) -> Triplets:
    """For each positive pair the nearest negative, where d_n < d_p; pairs without one give no triplet."""
    ordered, order = _nearest_first(distances, labels)
    anchor, positive = positive_pairs(labels)
    found = ordered[anchor, 0] < distances[anchor, positive]
    return Triplets(anchor[found], positive[found], order[anchor, 0][found])


def batch_hard(distances: Tensor, labels: Tensor) -> Triplets:
    """For each anchor its farthest positive and its nearest negative, wherever they lie."""
    positives, others = alike(labels), negatives(labels)
    anchor = (positives.any(1) & others.any(1)).nonzero().flatten()
    if anchor.numel() == 0:
        return Triplets(anchor, anchor, anchor)
    farthest = torch.where(positives, distances, -torch.inf)[anchor].argmax(1)
    nearest = torch.where(others, distances, torch.inf)[anchor].argmin(1)
    return Triplets(anchor, farthest, nearest)


def _nearest_first(distances: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """(B, B) each anchor's distances to its negatives in ascending order, inf behind them, and whose they are."""
    ordered, order = torch.where(negatives(labels), distances, torch.inf).sort(dim=1, stable=True)
    return ordered, order


def _listed(labels: Tensor, counts: Tensor, order: Tensor) -> Triplets:
    """Triplets of each positive pair with the first `counts` (pairs,) images in its anchor's row of `order` (B, B).

    No more than MAX_TRIPLETS are ever laid out in memory.
    """
    anchor, positive = positive_pairs(labels)
    ends = counts.cumsum(0)
    total = int(ends[-1]) if len(ends) else 0
    number = torch.arange(min(total, MAX_TRIPLETS), device=labels.device)
    if total > MAX_TRIPLETS:
        # One from each of MAX_TRIPLETS equal stretches of the list, at a random place in it.
        place = torch.rand(MAX_TRIPLETS, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
        number = ((number + place.to(labels.device)) * (total / MAX_TRIPLETS)).long().clamp_max(total - 1)
    pair = torch.searchsorted(ends, number, right=True)
    rank = number - (ends - counts)[pair]
    return Triplets(anchor[pair], positive[pair], order[anchor[pair], rank])


def _pairs(labels: Tensor) -> int:
    return int((alike(labels) & negatives(labels).any(1)[:, None]).sum())


def _anchors(labels: Tensor) -> int:
    return int((alike(labels).any(1) & negatives(labels).any(1)).sum())


def _triplets(labels: Tensor) -> int:
    return min(MAX_TRIPLETS, int((alike(labels).sum(1) * negatives(labels).sum(1)).sum()))


SELECTIONS = {
    "all": Selection(lambda _distances, labels, _margin: every(labels), _triplets),
    "semihard": Selection(semihard, _pairs),
    "hard": Selection(lambda distances, labels, _margin: hard(distances, labels), _pairs),
    "batch_hard": Selection(lambda distances, labels, _margin: batch_hard(distances, labels), _anchors),
    "slide": Selection(lambda distances, labels, _margin: slide(distances, labels), _triplets),
}


def with_second_negative(triplets: Triplets, distances: Tensor, labels: Tensor) -> Quadruplets:
    """Each triplet with a second negative, of another label than the anchor's and the first negative's.

    It follows the rule by which the first was chosen: where the first lies beyond the positive (d_n1 > d_p) it is the
    nearest to the anchor that does so too, or else, if all others are nearer than the positive, the farthest of them;
    where the first is a hard one, it is the nearest of all. A triplet for which there is no third label is left out.

    Args:
        triplets: T of a selection.
        distances: (B, B) squared distances without a gradient.
        labels: (B,) int64.

    Returns:
        At most T quadruplets.
    """
    anchor, positive, first = triplets
    if anchor.numel() == 0:
        return Quadruplets(*triplets, first)
    # Triplets of one pair follow each other, and differ in the first negative alone.
    pair, of = torch.unique_consecutive(anchor * len(labels) + positive, return_inverse=True)
    beyond, nearest = _two_best(pair, distances, labels)
    differ = unlike(labels)
    is_beyond = distances[anchor, first] > distances[anchor, positive]
    best = torch.where(is_beyond[:, None], beyond[of], nearest[of])
    second = torch.where((best[:, 0] >= 0) & differ[best[:, 0], first], best[:, 0], best[:, 1])
    found = second >= 0
    return Quadruplets(anchor[found], positive[found], first[found], second[found])


def _two_best(pair: Tensor, distances: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """For each pair (a B + p) the best second negative by either rule, and the best of those unlike it; -1: there is none.

    Two are enough: whatever is like the first negative when the best one is, is like the best one as well.

    Returns:
        Two (pairs, 2) index tensors: nearest beyond the positive (else farthest before it), and nearest of all.
    """
    differ, allowed = unlike(labels), negatives(labels)
    behind = distances.max() + 1
    found: list[tuple[Tensor, Tensor]] = []
    for some in torch.split(pair, max(1, MAX_TRIPLETS // len(labels))):
        a = some // len(labels)
        d_negative, d_positive = distances[a], distances[a, some % len(labels)][:, None]
        beyond = torch.where(d_negative > d_positive, d_negative, behind + (d_positive - d_negative))
        found.append((_best_and_unlike(beyond, allowed[a], differ), _best_and_unlike(d_negative, allowed[a], differ)))
    return torch.cat([one for one, _ in found]), torch.cat([other for _, other in found])


def _best_and_unlike(costs: Tensor, allowed: Tensor, differ: Tensor) -> Tensor:
    """(pairs, 2) the allowed column of least cost, and that of least cost among those unlike it; -1: there is none."""
    costs = torch.where(allowed, costs, torch.inf)
    best = costs.min(1)
    rest = torch.where(differ[best.indices], costs, torch.inf).min(1)
    return torch.stack([torch.where(m.values.isfinite(), m.indices, -1) for m in (best, rest)], 1)
