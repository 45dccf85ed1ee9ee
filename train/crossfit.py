"""What the learned distance is worth, found on parts that it was not learned on.

The parts are dealt into folds. Each fold is left out once: a head is learned and a whitening fitted on the others, and
the fold's parts are measured with them. From these distances come the scale of every statistic (mean and spread of its
logarithm among normals) and the weight of the metric gauge: the share, at most one half, at which fused scores tell the
held-out defects from the held-out normals best. At most one half, because the kinds of defect that nobody has labelled
yet are seen by the frozen features alone; none, where there is no evidence that learning helps.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from senbetsu.auroc import auroc
from senbetsu.config import TrainSection
from senbetsu.embedding import fit_scorer, normal_moments
from senbetsu.features import Features
from senbetsu.scoring import Fusion, Head
from train.head import learn_head, principal_head

NOVELTY_ONLY = (0.0, 0.5, 0.5)
METRIC_SHARES = tuple(i / 20 for i in range(11))
MIN_DEFECTS = 4
"""Fewer defects than this say nothing about the metric gauge when they are dealt into folds."""


@dataclass(frozen=True, slots=True, eq=False)
class CrossFit:
    """What the folds gave."""

    heads: tuple[Head, ...]
    normal_fold: NDArray[np.int64]
    fusion: Fusion
    auroc_by_share: dict[float, float]
    """Held-out AUROC at each share of the metric gauge; empty without defects."""


def deal(count: int, folds: int, seed: int) -> NDArray[np.int64]:
    """A fold for each of `count` parts, as even as can be, in random order."""
    return np.random.default_rng(seed).permutation(np.arange(count) % folds)


def cross_fit(
    normals: Features, defects: Features | None, labels: NDArray[np.int64], settings: TrainSection
) -> CrossFit:
    """Learn and measure fold by fold.

    Args:
        normals: N parts.
        defects: M parts, or None.
        labels: (N + M,) class of each part, normals first.
    """
    folds = min(settings.folds, len(normals))
    normal_fold = deal(len(normals), folds, settings.seed)
    defect_fold = deal(0 if defects is None else len(defects), folds, settings.seed + 1)
    everything = normals.whole if defects is None else np.concatenate([normals.whole, defects.whole])
    is_normal = np.arange(len(everything)) < len(normals)
    fold_of = np.concatenate([normal_fold, defect_fold])
    heads = []
    normal_logs = np.zeros((len(normals), 3))
    defect_logs = np.zeros((len(everything) - len(normals), 3))
    placeholder = Fusion((0, 0, 0), (1, 1, 1), NOVELTY_ONLY)
    for fold in range(folds):
        kept = fold_of != fold
        fitting = normals.take(normal_fold != fold)
        if defects is None:
            head = principal_head(fitting.whole)
        else:
            head, _ = learn_head(
                everything[kept],
                labels[kept],
                is_normal[kept],
                settings,
                f"learning without fold {fold + 1} of {folds}",
            )
        heads.append(head)
        scorer = fit_scorer(head, normal_moments(head, fitting.whole, fitting.windows), placeholder)
        held_out = normals.take(normal_fold == fold)
        normal_logs[normal_fold == fold] = scorer.log_distances(held_out.whole, held_out.windows)
        if defects is not None:
            bad = defects.take(defect_fold == fold)
            defect_logs[defect_fold == fold] = scorer.log_distances(bad.whole, bad.windows)
    share, curve = choose_metric_share(normal_logs, defect_logs)
    weights = (share, (1 - share) * NOVELTY_ONLY[1], (1 - share) * NOVELTY_ONLY[2])
    return CrossFit(tuple(heads), normal_fold, Fusion.of(normal_logs, weights), curve)


def choose_metric_share(
    normal_logs: NDArray[np.float64], defect_logs: NDArray[np.float64]
) -> tuple[float, dict[float, float]]:
    """The share of the metric gauge with the best held-out AUROC, the smallest of equals; and the AUROC of each share.

    Log distances (N, 3) of normals and (M, 3) of defects, each measured by models that were fitted without it.
    """
    if len(defect_logs) < MIN_DEFECTS:
        return 0.0, {}
    curve = {}
    for share in METRIC_SHARES:
        fusion = Fusion.of(normal_logs, (share, (1 - share) * NOVELTY_ONLY[1], (1 - share) * NOVELTY_ONLY[2]))
        curve[share] = auroc(fusion.outputs(normal_logs)[:, 0], fusion.outputs(defect_logs)[:, 0])
    best = max(curve.values())
    return min(share for share, value in curve.items() if value >= best - 1e-4), curve
