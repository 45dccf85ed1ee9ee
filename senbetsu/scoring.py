"""From statistics to the score: the head, the two gauges' distances, and their fusion, as one graph.

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
from typing import NamedTuple, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from senbetsu.backbone import Backbone
from senbetsu.network import FeatureNetwork
from senbetsu.places import Places, context_width, farthest_count
from senbetsu.whitening import DISTANCE_FLOOR, Whitening

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
        """The same as float32 tensors, in the form that the graph takes."""
        A, c, hinge, gain = self.fusion.matrix()
        parts: list[object] = [self.head.weight.T, self.head.bias]
        parts += [self.metric.centroid, 1 / self.metric.variances]
        for whitening in (self.whole, self.windows):
            rest = 1 / whitening.rest_variance if _is_truncated(whitening) else 0.0
            parts += [whitening.centroid, whitening.directions, 1 / whitening.variances - rest, [rest]]
        P = self.places
        L, R, r = P.regression.shape
        spare = (0, context_width(R) - R)
        parts += [
            P.frame.context_mean,
            np.pad(P.frame.context_map, ((0, 0), spare)),
            np.pad(P.context_mean, spare),
            P.mean,
            P.frame.directions,
            np.pad(P.regression.transpose(1, 0, 2).reshape(R, L * r), (spare, (0, 0))),
            P.whitening,
            1 / P.scale,
            [P.rest],
        ]
        return ScorerConstants(
            *(torch.tensor(np.ascontiguousarray(p), dtype=torch.float32) for p in [*parts, A.T, c, [hinge], [gain]])
        )


def _is_truncated(whitening: Whitening) -> bool:
    dimensions, rank = whitening.directions.shape
    return bool(dimensions > rank)


class ScorerConstants(NamedTuple):
    """What a profile puts into the graph; float32. `*_gain` is 1 / l_i - 1 / l_rest, `*_rest` is 1 / l_rest.

    The learned space counts every direction the same (senbetsu.whitening.fit_isotropic), and needs no directions.
    """

    head_weight: Tensor
    head_bias: Tensor
    metric_centroid: Tensor
    metric_gain: Tensor
    whole_centroid: Tensor
    whole_directions: Tensor
    whole_gain: Tensor
    whole_rest: Tensor
    windows_centroid: Tensor
    windows_directions: Tensor
    windows_gain: Tensor
    windows_rest: Tensor
    context_mean: Tensor
    context_map: Tensor
    context_centre: Tensor
    places_mean: Tensor
    places_directions: Tensor
    places_regression: Tensor
    places_whitening: Tensor
    places_gain: Tensor
    places_rest: Tensor
    fusion_matrix: Tensor
    fusion_offset: Tensor
    fusion_hinge: Tensor
    fusion_gain: Tensor


def _squared(vectors: Tensor, centroid: Tensor, directions: Tensor, gain: Tensor, rest: Tensor) -> Tensor:
    """(..., D) -> squared whitened distances (...)."""
    y = vectors - centroid
    along = y @ directions
    return (along.square() * gain).sum(-1) + y.square().sum(-1) * rest


def _half_log(squared: Tensor) -> Tensor:
    """Log of distances from squared ones."""
    return squared.clamp_min(DISTANCE_FLOOR**2).log() * 0.5


class ScoringNetwork(nn.Module):
    """Picture -> score and what it is made of: what every engine runs."""

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        self.features = FeatureNetwork(backbone)

    def forward(
        self,
        images: Tensor,
        head_weight: Tensor,
        head_bias: Tensor,
        metric_centroid: Tensor,
        metric_gain: Tensor,
        whole_centroid: Tensor,
        whole_directions: Tensor,
        whole_gain: Tensor,
        whole_rest: Tensor,
        windows_centroid: Tensor,
        windows_directions: Tensor,
        windows_gain: Tensor,
        windows_rest: Tensor,
        context_mean: Tensor,
        context_map: Tensor,
        context_centre: Tensor,
        places_mean: Tensor,
        places_directions: Tensor,
        places_regression: Tensor,
        places_whitening: Tensor,
        places_gain: Tensor,
        places_rest: Tensor,
        fusion_matrix: Tensor,
        fusion_offset: Tensor,
        fusion_hinge: Tensor,
        fusion_gain: Tensor,
    ) -> Tensor:
        """images (B, H, W, 3) uint8 BGR, then ScorerConstants -> (B, 4) float32, columns as in OUTPUTS.

        The constants are arguments, so that one exported graph serves every profile: an engine turns them into
        constants when it is built.
        """
        context, whole, windows, places, *tuned = self.features(images)
        rows = tuned[0] if tuned else torch.cat([context, whole], 1)
        embedding = nn.functional.normalize(rows @ head_weight + head_bias, dim=1, eps=1e-12)
        near = ((embedding - metric_centroid).square() * metric_gain).sum(1)
        x = places - places_mean
        y = x @ places_directions
        expected = (((context - context_mean) @ context_map - context_centre) @ places_regression).reshape(y.shape)
        left_over = (x.square().sum(-1) - y.square().sum(-1)).clamp_min(0)
        q = (((y - expected) @ places_whitening).square().sum(-1) + left_over * places_rest) * places_gain
        farthest = q.topk(farthest_count(q.shape[1]), 1).values.mean(1)
        far = _squared(whole, whole_centroid, whole_directions, whole_gain, whole_rest)
        of_windows = _squared(windows, windows_centroid, windows_directions, windows_gain, windows_rest)
        measured = (
            (_half_log(near), near),
            (_half_log(far), far),
            (_half_log(of_windows.amax(1)), of_windows.sum(1)),
            (_half_log(farthest), q.sum(1)),
        )
        logs = torch.stack([log for log, _ in measured], 1)
        # Not a matrix product: an engine that computes products in bf16 would round the logarithms to 1 / 64.
        gauges = (logs[:, :, None] * fusion_matrix).sum(1) + fusion_offset
        metric, novelty = gauges[:, 0], gauges[:, 1]
        # An engine may fuse a scalar with the clamp or the maximum that it meets, which then hides that it is NaN.
        scalars = whole_rest + windows_rest + places_rest + fusion_hinge + fusion_gain
        evidence = torch.stack([squared for _, squared in measured], 1).sum(1) + metric + novelty + scalars
        score = novelty + fusion_gain * (metric - fusion_hinge).clamp_min(0)
        return torch.cat([torch.stack([score, metric, novelty], 1).exp(), evidence[:, None]], 1)
