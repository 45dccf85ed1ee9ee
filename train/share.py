"""How much the learned distance adds to the score: as much as held-out defects allow, and never against unseen kinds.

Two sorts of evidence, all of it from parts that the heads in question never saw: defects of kinds that were shown, and
defects of a kind that was hidden while the head was learned. A weight is allowed only if hidden kinds are told from normal
parts no worse than without the learned distance, beyond a small tolerance, on average and, with twice that, each of them. Of
the allowed weights whose mean of both AUROCs comes near the best the largest is taken: evidence of few defects is noise, and
a learned distance that it does not speak against helps. None is larger than LARGEST, whatever the evidence: kinds that were
hidden for a trial are still more like those shown than what nobody has seen. With one kind of defect nothing can be
hidden, and that limit is all that speaks for unseen kinds.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from senbetsu.auroc import auroc
from senbetsu.scoring import Fusion

WEIGHTS = (0.0, 0.05, 0.1, 0.2, 0.3, 0.5)
LARGEST = WEIGHTS[-1]
TOLERANCE = 0.005
"""In AUROC, of the hidden kinds' mean; twice as much of each."""
NEAR_THE_BEST = 0.002
"""In AUROC."""
MIN_DEFECTS = 4
"""Fewer defects than this say nothing about the metric gauge when they are dealt into folds."""


@dataclass(frozen=True, slots=True, eq=False)
class Evidence:
    """Log distances (N, 4) of normals and (M, 4) of defects, each measured by models that were fitted without it."""

    name: str
    normal: NDArray[np.float64]
    defect: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Share:
    """Weight of the metric gauge, and the held-out AUROC at each weight; empty where nothing was proven."""

    weight: float
    seen: dict[float, float]
    hidden: dict[float, float]
    """Mean over the hidden kinds; empty where there were none."""


def choose_metric_weight(novelty_only: Fusion, seen: Evidence, hidden: Sequence[Evidence]) -> Share:
    """See the module."""
    if len(seen.defect) < MIN_DEFECTS:
        return Share(0.0, {}, {})
    by_seen = {weight: _auroc(novelty_only, seen, weight) for weight in WEIGHTS}
    by_kind = {
        weight: np.array([_auroc(_scaled(novelty_only, one), one, weight) for one in hidden]) for weight in WEIGHTS
    }
    harm = {weight: by_kind[0.0] - by_kind[weight] for weight in WEIGHTS}
    allowed = [
        weight
        for weight in WEIGHTS
        if not hidden or (harm[weight].mean() <= TOLERANCE and harm[weight].max() <= 2 * TOLERANCE)
    ]

    def worth(weight: float) -> float:
        return by_seen[weight] if not hidden else (by_seen[weight] + float(by_kind[weight].mean())) / 2

    best = max(worth(weight) for weight in allowed)
    chosen = max(weight for weight in allowed if worth(weight) >= best - NEAR_THE_BEST)
    means = {weight: float(areas.mean()) for weight, areas in by_kind.items()} if hidden else {}
    return Share(chosen, by_seen, means)


def _scaled(fusion: Fusion, evidence: Evidence) -> Fusion:
    """Another head has another scale: that of the normals that it was measured with."""
    own = Fusion.of(evidence.normal, fusion.weights)
    return Fusion((own.log_mean[0], *fusion.log_mean[1:]), (own.log_std[0], *fusion.log_std[1:]), fusion.weights)


def _auroc(fusion: Fusion, evidence: Evidence, weight: float) -> float:
    weighted = replace(fusion, weights=(weight, *fusion.weights[1:]))
    return auroc(weighted.outputs(evidence.normal)[:, 0], weighted.outputs(evidence.defect)[:, 0])
