"""From statistics to the score: the head, the two gauges' distances, and their fusion.

senbetsu.scoring_network is the same as one graph, from the picture on.

    embedding   e = h / |h|,  h = A x + b                 the learned 64-d metric space; x is context and whole together
    distances   d_metric(e), d_whole, d_windows, d_places see senbetsu.whitening and senbetsu.places
    z_s         = (log d_s - mu_s) / sigma_s              put on one scale by normal parts that nothing was fitted on
    novelty     v = sum_s w_s z_s                         over the frozen statistics; weights w_s >= 0 that sum to 1
    score       = exp(sigma (v + w_m max(z_m - 1, 0)))    sigma = sum_s w_s sigma_s

The score is a weighted geometric mean of distances, each divided by that of a typical normal part: 1 is typical, 2
about twice as far from the centroid. The novelty distance is exp(sigma v), of the frozen statistics alone. The learned
distance can only add to it, and only from HINGE standard deviations beyond a typical part: a part that does not look like
the defects that were shown is no better for that, since damage that nobody has shown does not look like them either; and
what most normal parts differ by is kept out of the score.
"""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from senbetsu.backbone import Backbone
from senbetsu.places import Places, context_width
from senbetsu.whitening import Whitening

if TYPE_CHECKING:
    from senbetsu.scoring_network import ScoringNetwork

STATISTICS = ("metric", "whole", "windows", "places")
NOVELTY = STATISTICS[1:]
"""The statistics of the frozen features."""
HINGE = 1.0
"""From so many standard deviations of log d beyond its mean on, the learned distance counts."""
OUTPUTS = ("score", "metric_distance", "novelty_distance", "evidence")
"""`evidence` is the sum of all squared distances and of what they are weighed by. It is for one thing: it is finite only if
all of that is. Some engines' maximum and clamp take NaN for the smaller number, so that the score itself may hide one."""


@dataclass(frozen=True, slots=True, eq=False)
class Head:
    """The learned linear map to the embedding: weight (64, F), bias (64,), float32."""

    weight: NDArray[np.float32]
    bias: NDArray[np.float32]

    def embed(self, rows: NDArray[np.floating]) -> NDArray[np.float64]:
        """Unit vectors (N, 64) of rows (N, F): context and whole of each part, side by side."""
        h = np.asarray(rows, np.float64) @ self.weight.astype(np.float64).T + self.bias
        unit: NDArray[np.float64] = h / np.maximum(np.linalg.norm(h, axis=1, keepdims=True), 1e-12)
        return unit


@dataclass(frozen=True, slots=True)
class Fusion:
    """How distances become one score: of each of STATISTICS the mean and standard deviation of log d, and its weight.

    The weights of NOVELTY sum to 1; that of the metric gauge stands beside them.
    """

    log_mean: tuple[float, ...]
    log_std: tuple[float, ...]
    weights: tuple[float, ...]

    @classmethod
    def of(cls, log_distances: NDArray[np.floating], weights: tuple[float, ...]) -> Self:
        """From log distances (N, 4) of normal parts that nothing was fitted on."""
        # Too few or too equal parts must not make a statistic infinitely sharp.
        std = np.maximum(log_distances.std(0), 0.02)
        return cls(tuple(map(float, log_distances.mean(0))), tuple(map(float, std)), weights)

    def matrix(self) -> tuple[NDArray[np.float64], NDArray[np.float64], float, float]:
        """A (2, 4), c (2,), h and g: log metric and log novelty distance are A log d + c, and

        score = exp(log novelty + g max(log metric - h, 0)).
        """
        sigma = math.fsum(w * s for w, s in zip(self.weights[1:], self.log_std[1:], strict=True))
        A = np.zeros((2, len(STATISTICS)))
        A[0, 0] = 1.0
        A[1, 1:] = [sigma * w / s for w, s in zip(self.weights[1:], self.log_std[1:], strict=True)]
        hinge, gain = HINGE * self.log_std[0], sigma * self.weights[0] / self.log_std[0]
        return A, -A @ np.array(self.log_mean), hinge, gain

    def outputs(self, log_distances: NDArray[np.floating]) -> NDArray[np.float64]:
        """(N, 4) log distances -> (N, 3) score, metric distance, novelty distance."""
        A, c, hinge, gain = self.matrix()
        metric, novelty = (log_distances @ A.T + c).T
        score = novelty + gain * np.maximum(metric - hinge, 0)
        fused: NDArray[np.float64] = np.exp(np.stack([score, metric, novelty], 1))
        return fused


@dataclass(frozen=True, slots=True, eq=False)
class Scorer:
    """All that judges, but for the threshold, which is in no graph."""

    head: Head
    metric: Whitening
    whole: Whitening
    windows: Whitening
    places: Places
    fusion: Fusion

    def log_distances(
        self,
        context: NDArray[np.floating],
        whole: NDArray[np.floating],
        windows: NDArray[np.floating],
        places: NDArray[np.floating],
        tuned: NDArray[np.floating] | None = None,
    ) -> NDArray[np.float64]:
        """(N, 4) of the statistics of N pictures (see senbetsu.statistics): the reference of every engine.

        `tuned` (N, 4 M): of the tuned backbone, where there is one: the head's input instead of context and whole.
        """
        rows = np.concatenate([context, whole], 1) if tuned is None else tuned
        return np.log(
            np.stack(
                [
                    self.metric.distance(self.head.embed(rows)[:, None]),
                    self.whole.distance(whole[:, None]),
                    self.windows.distance(windows),
                    self.places.distance(context, places),
                ],
                1,
            )
        )

    def constants(self) -> "ScorerConstants":
        """The same in the form that the graph takes."""
        A, c, hinge, gain = self.fusion.matrix()
        parts: list[object] = [self.head.weight.T, self.head.bias]
        parts += [self.metric.centroid, 1 / self.metric.variances]
        for whitening in (self.whole, self.windows):
            rest = 1 / whitening.rest_variance if _is_truncated(whitening) else 0.0
            parts += [whitening.centroid, whitening.directions, 1 / whitening.variances - rest, [rest]]
        P = self.places
        L, R, r = P.regression.shape
        spare = (0, context_width(R) - R)
        # Turned to the axes of what is left over, whose columns the whitening's are: then it weighs each by itself.
        columns = P.whitening.astype(np.float64)
        precision = np.square(columns).sum(0)
        axes = columns / np.sqrt(precision)
        parts += [
            P.frame.context_mean,
            np.pad(P.frame.context_map, ((0, 0), spare)),
            np.pad(P.context_mean, spare),
            P.mean,
            P.frame.directions @ axes,
            np.pad((P.regression @ axes).transpose(1, 0, 2).reshape(R, L * r), (spare, (0, 0))),
            precision,
            1 / P.scale,
            [P.rest],
        ]
        return ScorerConstants(*(np.ascontiguousarray(part, np.float32) for part in [*parts, A.T, c, [hinge], [gain]]))


def _is_truncated(whitening: Whitening) -> bool:
    dimensions, rank = whitening.directions.shape
    return bool(dimensions > rank)


class ScorerConstants(NamedTuple):
    """What a profile puts into the graph; float32. `*_gain` is 1 / l_i - 1 / l_rest, `*_rest` is 1 / l_rest; `places_precision`
    is 1 / l_i of what the context does not explain, along whose axes `places_directions` and `places_regression` stand.

    The learned space counts every direction the same (senbetsu.whitening.fit_isotropic), and needs no directions.
    """

    head_weight: NDArray[np.float32]
    head_bias: NDArray[np.float32]
    metric_centroid: NDArray[np.float32]
    metric_gain: NDArray[np.float32]
    whole_centroid: NDArray[np.float32]
    whole_directions: NDArray[np.float32]
    whole_gain: NDArray[np.float32]
    whole_rest: NDArray[np.float32]
    windows_centroid: NDArray[np.float32]
    windows_directions: NDArray[np.float32]
    windows_gain: NDArray[np.float32]
    windows_rest: NDArray[np.float32]
    context_mean: NDArray[np.float32]
    context_map: NDArray[np.float32]
    context_centre: NDArray[np.float32]
    places_mean: NDArray[np.float32]
    places_directions: NDArray[np.float32]
    places_regression: NDArray[np.float32]
    places_precision: NDArray[np.float32]
    places_gain: NDArray[np.float32]
    places_rest: NDArray[np.float32]
    fusion_matrix: NDArray[np.float32]
    fusion_offset: NDArray[np.float32]
    fusion_hinge: NDArray[np.float32]
    fusion_gain: NDArray[np.float32]


def scoring_network(backbone: Backbone) -> "ScoringNetwork":
    """Picture -> score as a network of torch, which takes seconds to import: an engine whose graph is kept does without."""
    from senbetsu.scoring_network import ScoringNetwork

    return ScoringNetwork(backbone)
