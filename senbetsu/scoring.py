"""From statistics to the score: the head, the two gauges' distances, and their fusion, as one graph.

    embedding   e = h / |h|,  h = A x + b                 the learned 64-d metric space; x the whole picture's statistics
    distances   d_metric(e), d_whole(x), d_windows(X)     whitened, see senbetsu.whitening
    z_s         = (log d_s - mu_s) / sigma_s              put on one scale by normal parts that nothing was fitted on
    score       = exp(sigma sum_s w_s z_s)                sigma = sum_s w_s sigma_s, weights w_s >= 0 that sum to 1

The score is a weighted geometric mean of distances, each divided by that of a typical normal part: 1 is typical, 2
about twice as far from the centroid. The novelty distance is the same over the frozen statistics alone, the metric
distance over the learned one.
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
from senbetsu.whitening import DISTANCE_FLOOR, Whitening

STATISTICS = ("metric", "whole", "windows")
NOVELTY = (1, 2)
"""Which of the statistics are of the frozen features."""
OUTPUTS = ("score", "metric_distance", "novelty_distance", "evidence")
"""`evidence` is the sum of all squared distances. It is for one thing: it is finite only if all of them are. Some engines'
maximum and clamp take NaN for the smaller number, so that the score itself may hide one."""


@dataclass(frozen=True, slots=True, eq=False)
class Head:
    """The learned linear map to the embedding: weight (64, F), bias (64,), float32."""

    weight: NDArray[np.float32]
    bias: NDArray[np.float32]

    def embed(self, whole: NDArray[np.floating]) -> NDArray[np.float64]:
        """Unit vectors (N, 64) of statistics (N, F)."""
        h = np.asarray(whole, np.float64) @ self.weight.astype(np.float64).T + self.bias
        unit: NDArray[np.float64] = h / np.maximum(np.linalg.norm(h, axis=1, keepdims=True), 1e-12)
        return unit


@dataclass(frozen=True, slots=True)
class Fusion:
    """How distances become one score: of each statistic the mean and standard deviation of log d, and its weight."""

    log_mean: tuple[float, float, float]
    log_std: tuple[float, float, float]
    weights: tuple[float, float, float]

    @classmethod
    def of(cls, log_distances: NDArray[np.floating], weights: tuple[float, float, float]) -> Self:
        """From log distances (N, 3) of normal parts that nothing was fitted on."""
        mean = log_distances.mean(0)
        # Too few or too equal parts must not make a statistic infinitely sharp.
        std = np.maximum(log_distances.std(0), 0.02)
        return cls(_three(mean), _three(std), weights)

    def matrix(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """A (3, 3) and c (3,) with outputs = exp(A log d + c), in the order of OUTPUTS."""
        A = np.zeros((3, 3))
        A[0] = self._row(self.weights)
        A[1, 0] = 1.0
        novelty = [self.weights[s] if s in NOVELTY else 0.0 for s in range(3)]
        A[2] = self._row([w / sum(novelty) for w in novelty])
        return A, -A @ np.array(self.log_mean)

    def _row(self, weights: tuple[float, ...] | list[float]) -> NDArray[np.float64]:
        sigma = math.fsum(w * s for w, s in zip(weights, self.log_std, strict=True))
        return np.array([sigma * w / s for w, s in zip(weights, self.log_std, strict=True)])

    def outputs(self, log_distances: NDArray[np.floating]) -> NDArray[np.float64]:
        """(N, 3) log distances -> (N, 3) score, metric distance, novelty distance."""
        A, c = self.matrix()
        fused: NDArray[np.float64] = np.exp(log_distances @ A.T + c)
        return fused


def _three(values: NDArray[np.floating]) -> tuple[float, float, float]:
    a, b, c = (float(v) for v in values)
    return a, b, c


@dataclass(frozen=True, slots=True, eq=False)
class Scorer:
    """All that judges, but for the threshold, which is in no graph."""

    head: Head
    metric: Whitening
    whole: Whitening
    windows: Whitening
    fusion: Fusion

    def log_distances(self, whole: NDArray[np.floating], windows: NDArray[np.floating]) -> NDArray[np.float64]:
        """(N, 3) of statistics whole (N, F) and windows (N, 9, F), in float64: the reference of every engine."""
        return np.log(
            np.stack(
                [
                    self.metric.distance(self.head.embed(whole)[:, None]),
                    self.whole.distance(whole[:, None]),
                    self.windows.distance(windows),
                ],
                1,
            )
        )

    def constants(self) -> "ScorerConstants":
        """The same as float32 tensors, in the form that the graph takes."""
        A, c = self.fusion.matrix()
        parts: list[object] = [self.head.weight.T, self.head.bias]
        for whitening in (self.metric, self.whole, self.windows):
            rest = 1 / whitening.rest_variance if _is_truncated(whitening) else 0.0
            parts += [whitening.centroid, whitening.directions, 1 / whitening.variances - rest, [rest]]
        return ScorerConstants(*(torch.tensor(np.ascontiguousarray(p), dtype=torch.float32) for p in [*parts, A.T, c]))


def _is_truncated(whitening: Whitening) -> bool:
    dimensions, rank = whitening.directions.shape
    return bool(dimensions > rank)


class ScorerConstants(NamedTuple):
    """What a profile puts into the graph; float32. `*_gain` is 1 / l_i - 1 / l_rest, `*_rest` is 1 / l_rest."""

    head_weight: Tensor
    head_bias: Tensor
    metric_centroid: Tensor
    metric_directions: Tensor
    metric_gain: Tensor
    metric_rest: Tensor
    whole_centroid: Tensor
    whole_directions: Tensor
    whole_gain: Tensor
    whole_rest: Tensor
    windows_centroid: Tensor
    windows_directions: Tensor
    windows_gain: Tensor
    windows_rest: Tensor
    fusion_matrix: Tensor
    fusion_offset: Tensor


def _log_distance(
    vectors: Tensor, centroid: Tensor, directions: Tensor, gain: Tensor, rest: Tensor
) -> tuple[Tensor, Tensor]:
    """(B, G, D) -> two of (B,): log of the largest whitened distance over the G places; sum of the squared ones."""
    y = vectors - centroid
    along = y @ directions
    squared = (along.square() * gain).sum(-1) + y.square().sum(-1) * rest
    return squared.amax(-1).clamp_min(DISTANCE_FLOOR**2).log() * 0.5, squared.sum(-1)


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
        metric_directions: Tensor,
        metric_gain: Tensor,
        metric_rest: Tensor,
        whole_centroid: Tensor,
        whole_directions: Tensor,
        whole_gain: Tensor,
        whole_rest: Tensor,
        windows_centroid: Tensor,
        windows_directions: Tensor,
        windows_gain: Tensor,
        windows_rest: Tensor,
        fusion_matrix: Tensor,
        fusion_offset: Tensor,
    ) -> Tensor:
        """images (B, H, W, 3) uint8 BGR, then ScorerConstants -> (B, 4) float32, columns as in OUTPUTS.

        The constants are arguments, so that one exported graph serves every profile: an engine turns them into
        constants when it is built.
        """
        whole, windows = self.features(images)
        embedding = nn.functional.normalize(whole @ head_weight + head_bias, dim=1, eps=1e-12)
        measured = (
            _log_distance(embedding[:, None], metric_centroid, metric_directions, metric_gain, metric_rest),
            _log_distance(whole[:, None], whole_centroid, whole_directions, whole_gain, whole_rest),
            _log_distance(windows, windows_centroid, windows_directions, windows_gain, windows_rest),
        )
        logs = torch.stack([log for log, _ in measured], 1)
        evidence = torch.stack([squared for _, squared in measured], 1).sum(1, keepdim=True)
        # Not a matrix product: an engine that computes products in bf16 would round the logarithms to 1 / 64.
        return torch.cat([((logs[:, :, None] * fusion_matrix).sum(1) + fusion_offset).exp(), evidence], 1)
