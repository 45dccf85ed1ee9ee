"""The losses, one table. Each gathers from the batch's distance matrix d (squared L2) and the indices of a selection.

    triplet          max(0, d(a,p) - d(a,n) + margin)                      FaceNet, arXiv 1503.03832
    soft_margin      log(1 + exp(d(a,p) - d(a,n)))                         Hermans, Beyer & Leibe 2017, arXiv 1703.07737
    quadruplet       max(0, d(a,p) - d(a,n1) + margin)
                     + max(0, d(a,p) - d(a,n2) + margin)                   the slides' form
    quadruplet_chen  max(0, d(a,p) - d(a,n1) + margin)
                     + max(0, d(a,p) - d(n1,n2) + second_margin)           Chen et al. 2017, arXiv 1704.01719

The papers sum over the triplets; here it is the mean, so that a step is as long for a few of them as for many. Without any
triplet the loss is zero, with a gradient (of zero). A loss of triplets takes (a, p, n1) of quadruplets.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import softplus

from train.selections import Quadruplets, Triplets


def triplet_loss(distances: Tensor, chosen: Triplets | Quadruplets, margin: float) -> Tensor:
    """Mean hinge, a scalar; distances (B, B)."""
    d_positive, d_negative = _gather(distances, chosen)
    return _mean(distances, (d_positive - d_negative + margin).clamp_min(0))


def soft_margin_loss(distances: Tensor, chosen: Triplets | Quadruplets) -> Tensor:
    """Mean softplus, a scalar: no margin, and no triplet is ever done."""
    d_positive, d_negative = _gather(distances, chosen)
    return _mean(distances, softplus(d_positive - d_negative))


def quadruplet_loss(distances: Tensor, chosen: Quadruplets, margin: float) -> Tensor:
    """The slides' form: both negatives keep the margin from the anchor."""
    second = Triplets(chosen.anchor, chosen.positive, chosen.negative2)
    return triplet_loss(distances, chosen, margin) + triplet_loss(distances, second, margin)


def quadruplet_chen_loss(distances: Tensor, chosen: Quadruplets, margin: float, second_margin: float) -> Tensor:
    """The paper's form: any two unlike images are to lie farther apart than two alike, not only those with an anchor."""
    d_positive = distances[chosen.anchor, chosen.positive]
    d_negatives = distances[chosen.negative1, chosen.negative2]
    pushed = _mean(distances, (d_positive - d_negatives + second_margin).clamp_min(0))
    return triplet_loss(distances, chosen, margin) + pushed


def _gather(distances: Tensor, chosen: Triplets | Quadruplets) -> tuple[Tensor, Tensor]:
    return distances[chosen[0], chosen[1]], distances[chosen[0], chosen[2]]


def _mean(distances: Tensor, terms: Tensor) -> Tensor:
    return terms.mean() if terms.numel() else distances.sum() * 0.0


@dataclass(frozen=True, slots=True)
class Loss:
    """One loss of the table."""

    of: Callable[[Tensor, Triplets | Quadruplets, float, float], Tensor]
    """(B, B) distances, indices, margin, second margin -> scalar."""
    of_a_point: Callable[[float, float], float]
    """margin, second margin -> the loss where the whole embedding has shrunk to one point."""
    reach: Callable[[float], float]
    """margin -> the distance by which a negative has to lie farther than a positive before this loss lets go of it."""
    needs_quadruplets: bool = False


def _quadruplets(chosen: Triplets | Quadruplets) -> Quadruplets:
    if not isinstance(chosen, Quadruplets):
        raise TypeError("this loss takes quadruplets: extend the triplets by with_second_negative first")
    return chosen


LOSSES = {
    "triplet": Loss(lambda d, c, m, _: triplet_loss(d, c, m), lambda m, _: m, lambda m: m),
    "soft_margin": Loss(
        lambda d, c, _m, _s: soft_margin_loss(d, c), lambda _m, _s: float(torch.tensor(2.0).log()), lambda _: 1.0
    ),
    "quadruplet": Loss(
        lambda d, c, m, _: quadruplet_loss(d, _quadruplets(c), m), lambda m, _: 2 * m, lambda m: m, True
    ),
    "quadruplet_chen": Loss(
        lambda d, c, m, s: quadruplet_chen_loss(d, _quadruplets(c), m, s), lambda m, s: m + s, lambda m: m, True
    ),
}
