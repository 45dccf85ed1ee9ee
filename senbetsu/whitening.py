"""The distance to a centroid in a space where the normal parts vary equally in every direction.

    d(x)^2 = (x - m)^T S^-1 (x - m)                                  (Mahalanobis 1936)

S is shrunk towards a multiple of the identity, since there are more dimensions than parts, by the oracle approximating
shrinkage of Chen, Wiesel, Eldar & Hero (2010, arXiv 0907.4698), which needs nothing but moments. Of S only the r leading
directions are kept; in all others S is taken as the mean of its remaining eigenvalues:

    d(x)^2 = sum_i (u_i . y)^2 / l_i + (|y|^2 - sum_i (u_i . y)^2) / l_rest,   y = x - m
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from senbetsu.moments import Moments

EXACT_UP_TO = 1024
SUBSPACE_ITERATIONS = 6
DISTANCE_FLOOR = 1e-6
"""Smallest distance, so that its logarithm exists for a part that lies on the centroid."""


@dataclass(frozen=True, slots=True, eq=False)
class Whitening:
    """A centroid and what distances to it are measured with.

    centroid (G, D), directions (D, r) orthonormal columns, variances (r,) their eigenvalues, rest_variance that of
    every other direction; float64.
    """

    centroid: NDArray[np.float64]
    directions: NDArray[np.float64]
    variances: NDArray[np.float64]
    rest_variance: float

    def distance(self, vectors: NDArray[np.floating]) -> NDArray[np.float64]:
        """Distances (N,) of vectors (N, G, D): the largest over the G places. The reference of every engine."""
        Y = np.asarray(vectors, np.float64) - self.centroid
        along = np.square(Y @ self.directions)
        squared = along @ (1 / self.variances)
        left_over = np.square(Y).sum(-1) - along.sum(-1)
        if self.directions.shape[0] > self.directions.shape[1]:
            squared = squared + np.maximum(left_over, 0) / self.rest_variance
        distance: NDArray[np.float64] = np.maximum(np.sqrt(squared.max(-1)), DISTANCE_FLOOR)
        return distance


def oas_weight(trace: float, trace_of_square: float, dimensions: int, count: int) -> float:
    """Weight of the identity in the shrunk covariance, in [0, 1], from traces of the covariance and of its square.

    Chen et al. 2010, equation 23, for many dimensions (its terms in 2 / D left out), which is scikit-learn's form.
    """
    denominator = (count + 1) * (trace_of_square - trace**2 / dimensions)
    return 1.0 if denominator <= 0 else min(1.0, (trace_of_square + trace**2) / denominator)


def shrinkage(covariance: NDArray[np.float64], count: int) -> float:
    """`oas_weight` of a covariance (D, D)."""
    return oas_weight(float(np.trace(covariance)), float(np.square(covariance).sum()), len(covariance), count)


def leading(covariance: NDArray[np.float64], rank: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The largest eigenvalues (r,), falling, and their vectors (D, r).

    Of a large matrix by subspace iteration (Halko, Martinsson & Tropp 2011, arXiv 0909.4061), since a full decomposition
    takes ten times as long; the same matrix always gives the same.
    """
    import torch  # takes seconds, and who only measures distances does without
    from scipy.linalg import eigh

    dimensions = len(covariance)
    if dimensions <= EXACT_UP_TO or 2 * rank > dimensions:
        values, vectors = eigh(covariance, subset_by_index=(dimensions - rank, dimensions - 1), driver="evr")
        return values[::-1], vectors[:, ::-1]
    C = torch.from_numpy(covariance).float()
    width = min(dimensions, rank + rank // 8 + 16)
    Q = torch.randn(dimensions, width, generator=torch.Generator().manual_seed(0))
    for _ in range(SUBSPACE_ITERATIONS):
        Q = torch.linalg.qr(C @ Q).Q
    values_, vectors_ = torch.linalg.eigh((Q.T @ (C @ Q)).double())
    return values_.flip(0)[:rank].numpy(), (Q.double() @ vectors_).flip(1)[:, :rank].numpy()


def fit_whitening(moments: Moments, rank: int) -> Whitening:
    """Centroid and shrunk, rank-truncated whitening from moments.

    Raises:
        ValueError: fewer than two parts, or moments that are not finite.
    """
    if moments.count < 2:
        raise ValueError(f"a whitening needs at least two parts, found {moments.count}")
    places, dimensions = moments.mean.shape
    covariance = moments.scatter / (moments.count * places)
    if not np.isfinite(covariance).all() or not np.isfinite(moments.mean).all():
        raise ValueError("the moments are not finite")
    weight = shrinkage(covariance, moments.count * places)
    # Parts that do not differ at all still get a distance: any departure from them is a far one.
    scale = max(float(np.trace(covariance)) / dimensions, 1e-12)
    rank = min(rank, dimensions)
    values, vectors = leading(covariance, rank)
    values = (1 - weight) * np.maximum(values, 0) + weight * scale
    left = dimensions - rank
    total = (1 - weight) * float(np.trace(covariance)) + weight * scale * dimensions
    rest = (total - float(values.sum())) / left if left else 1.0
    floor = 1e-9 * scale
    return Whitening(moments.mean.copy(), np.ascontiguousarray(vectors), np.maximum(values, floor), max(rest, floor))


def fit_isotropic(moments: Moments) -> Whitening:
    """The centroid, with every direction counting the same: plain L2 distance, in units of the parts' own spread.

    This is for a learned space. Learning squeezes the normal parts together in every direction but the one that leads
    towards the defects, where some spread is left; whitening would divide just that direction away.

    Raises:
        ValueError: fewer than two parts.
    """
    if moments.count < 2:
        raise ValueError(f"a centroid needs at least two parts, found {moments.count}")
    places, dimensions = moments.mean.shape
    variance = max(float(np.trace(moments.scatter)) / (moments.count * places * dimensions), 1e-12)
    return Whitening(moments.mean.copy(), np.eye(dimensions), np.full(dimensions, variance), 1.0)
