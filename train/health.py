"""What learning looks like, and whether the embedding has collapsed.

FaceNet (arXiv 1503.03832) warns of it: where negatives are chosen too hard, a network finds that it loses least by mapping
everything to one point. There every d is 0 and the loss stands still at the margin. That is told from figures of the learned
embedding, not from the loss alone, which depends on which triplets were chosen:

    loss over all triplets >= margin - mean d(a, n)        since d(a, p) >= 0 and a hinge is convex

so that where mean d(a, n) is under a tenth of the margin, at least nine tenths of a point's loss are left whatever the
selection saw. If then the labels are not even in order, it is a collapse. A run that is done has every d(a, n) beyond the
margin: it is never taken for one.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from senbetsu.config import TrainSection
from senbetsu.errors import UserError
from train.distances import mean_over, share_below, squared_distances
from train.labels import alike, negatives
from train.losses import LOSSES
from train.selections import SELECTIONS, Quadruplets, Triplets

COLLAPSED_SHARE = 0.1
"""Mean d(a, n) under this share of the loss's reach: shrunk to a point."""
CHANCE = 0.5
DISORDERED_SHARE = 0.05
"""Share of triplets with d_n <= d_p from which a shrunk embedding is a collapsed one: order survives in a small space too."""
UNLEARNED_SHARE = 0.25
"""Share of triplets with d_n <= d_p from which a run without active triplets is no finished one."""


class CollapsedError(UserError):
    """Learning left no usable embedding: shrunk to a point, not finite, or not given any triplet."""


class Look(NamedTuple):
    """An embedding at one moment."""

    positive_distance: float
    """Mean squared d(a, p)."""
    negative_distance: float
    """Mean squared d(a, n)."""
    inverted_share: float
    """Share of all triplets with d(a, n) <= d(a, p): one half is chance."""
    spread_min: float
    """Least standard deviation of any dimension."""
    spread_median: float
    """Its median over the dimensions."""
    effective_rank: float
    """In how many directions the embedding spreads; 0 for a point."""


class Record(NamedTuple):
    """A step that was recorded."""

    step: int
    loss: float
    active_share: float
    """Of the triplets that the selection could give at most, the share that it gave and that has a loss (at the margin)."""
    look: Look
    """At the batch, with dropout."""


@dataclass(frozen=True, slots=True)
class Curve:
    """What learning looked like: lists of one entry every few steps, and the embedding that came out."""

    step: list[int]
    loss: list[float]
    active_share: list[float]
    positive_distance: list[float]
    negative_distance: list[float]
    inverted_share: list[float]
    spread_min: list[float]
    spread_median: list[float]
    effective_rank: list[float]
    steps: int
    empty_steps: int
    """Steps whose batch gave no valid triplet."""
    point_loss: float
    """The loss of an embedding that has shrunk to one point: the margin, for the triplet loss."""
    final: Look
    """The learned embedding, without dropout, of up to train.learning.LOOKED_AT parts of each label."""

    @classmethod
    def of(cls, records: Sequence[Record], steps: int, empty_steps: int, point_loss: float, final: Look) -> "Curve":
        """From records in order, rounded for keeping."""
        return cls(
            [record.step for record in records],
            [round(record.loss, 6) for record in records],
            [round(record.active_share, 4) for record in records],
            [_significant(record.look.positive_distance) for record in records],
            [_significant(record.look.negative_distance) for record in records],
            [_significant(record.look.inverted_share) for record in records],
            [_significant(record.look.spread_min) for record in records],
            [_significant(record.look.spread_median) for record in records],
            [_significant(record.look.effective_rank) for record in records],
            steps,
            empty_steps,
            point_loss,
            Look(*(_significant(value) for value in final)),
        )


def look_at(embeddings: Tensor, distances: Tensor, labels: Tensor) -> Look:
    """Figures of embeddings (B, D), their squared distances (B, B) and labels (B,); NaN where there is no such pair."""
    positives, others = alike(labels), negatives(labels)
    spread = embeddings.std(0, correction=0)
    return Look(
        mean_over(distances, positives),
        mean_over(distances, others),
        share_below(distances, positives, others, 0.0),
        float(spread.min()),
        float(spread.median()),
        effective_rank(embeddings),
    )


def effective_rank(embeddings: Tensor) -> float:
    """exp of the entropy of the centred (B, D) embeddings' singular values, normalised to sum 1 (Roy & Vetterli 2007)."""
    sizes = torch.linalg.svdvals((embeddings - embeddings.mean(0)).double())
    total = float(sizes.sum())
    if not total > 1e-12:
        return 0.0
    shares = sizes / total
    return float(torch.special.entr(shares).sum().exp())


def active_share(distances: Tensor, labels: Tensor, chosen: Triplets | Quadruplets, settings: TrainSection) -> float:
    """See Record. Distances (B, B), labels (B,)."""
    d_positive, d_negative = distances[chosen[0], chosen[1]], distances[chosen[0], chosen[2]]
    active = int((d_negative < d_positive + settings.margin).sum())
    return active / max(SELECTIONS[settings.selection].most(labels), 1)


def final_look(embeddings: Tensor, labels: Tensor) -> Look:
    """Figures of learned embeddings (N, D) of labels (N,)."""
    return look_at(embeddings, squared_distances(embeddings), labels)


def require_finite(step: int, values: Tensor, settings: TrainSection, what: str, *, tuning: bool = False) -> None:
    """Raises CollapsedError where learning has run off to NaN or infinity; `tuning`: it was fine-tuning."""
    if not bool(torch.isfinite(values).all()):
        name, rate = _rate(settings, tuning)
        raise CollapsedError(
            f"{what}: the embedding is not finite after {step} steps, with {name} = {rate:g}; set it to {rate / 10:g}"
        )


def require_learned(curve: Curve, settings: TrainSection, what: str, *, tuning: bool = False) -> None:
    """Raises CollapsedError where nothing usable came out, with what to do about it; `tuning`: it was fine-tuning."""
    advice = _advice(settings, tuning)
    final, reach = curve.final, LOSSES[settings.loss].reach(settings.margin)
    if not all(math.isfinite(value) for value in final):
        raise CollapsedError(f"{what}: the learned embedding is not finite; {advice}")
    if is_shrunk(curve, settings) and final.inverted_share >= DISORDERED_SHARE:
        raise CollapsedError(
            f"{what}: the embedding has collapsed: all parts lie in one point (mean squared distance between unlike parts "
            f"{final.negative_distance:.2g}, between like ones {final.positive_distance:.2g}, margin {reach:g}; last loss "
            f"{curve.loss[-1]:.3f}, that of a point is {curve.point_loss:.3f}; {curve.empty_steps} of {curve.steps} steps "
            f"without a triplet). {advice}"
        )
    last = curve.active_share[-max(1, len(curve.active_share) // 4) :]
    if final.inverted_share >= CHANCE or (not any(last) and final.inverted_share >= UNLEARNED_SHARE):
        raise CollapsedError(
            f"{what}: nothing was learned: in {final.inverted_share:.0%} of all triplets the part of another label is the "
            f"nearer one (chance: {CHANCE:.0%}), and selection {settings.selection!r} found none in {curve.empty_steps} of "
            f"{curve.steps} steps. {advice}"
        )


def is_shrunk(curve: Curve, settings: TrainSection) -> bool:
    """Whether unlike parts lie nearly in one point. Where they are still in order, that is odd, and does no harm."""
    return curve.final.negative_distance < COLLAPSED_SHARE * LOSSES[settings.loss].reach(settings.margin)


def _rate(settings: TrainSection, tuning: bool) -> tuple[str, float]:
    """The setting's name, and its value."""
    if tuning:
        return "train.tune_learning_rate", settings.tune_learning_rate
    return "train.learning_rate", settings.learning_rate


def _advice(settings: TrainSection, tuning: bool) -> str:
    """What to choose instead, in the order in which it is most likely to help."""
    steps = []
    if settings.selection in ("hard", "batch_hard", "slide"):
        steps.append("--selection semihard or all (this one learns from the hardest negatives alone)")
    elif settings.selection == "semihard":
        steps.append("--selection all")
    name, rate = _rate(settings, tuning)
    steps.append(f"{name} = {rate / 10:g} (now {rate:g})")
    steps.append(f"train.tune_steps = {4 * settings.tune_steps}" if tuning else f"--steps {4 * settings.steps}")
    return f"Try {', or '.join(steps)}; and see that no part lies in the folder of another kind"


def _significant(value: float) -> float:
    return float(f"{value:.5g}")
