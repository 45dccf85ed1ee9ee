"""Count, mean and scatter of vectors: all that a centroid and a whitening need, in memory constant in the parts.

Moments of disjoint sets are merged and taken away exactly (Chan, Golub & LeVeque 1979):

    mean    = (n_a mean_a + n_b mean_b) / n
    scatter = scatter_a + scatter_b + n_a n_b / n  (mean_b - mean_a)(mean_b - mean_a)^T

A part may give several vectors, one for each of G places (the windows of a picture): each place has a mean of its own,
and all share one scatter. G is 1 for what the whole picture gives.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True, slots=True, eq=False)
class Moments:
    """Moments of `count` parts: mean (G, D) and scatter (D, D), float64; scatter is summed over parts and places."""

    count: int
    mean: NDArray[np.float64]
    scatter: NDArray[np.float64]

    @classmethod
    def of(cls, vectors: ArrayLike) -> Self:
        """Moments of vectors (N, D) or (N, G, D); N may be 0."""
        X = np.asarray(vectors, np.float64)
        if X.ndim == 2:
            X = X[:, None, :]
        if len(X) == 0:
            return cls(0, np.zeros(X.shape[1:]), np.zeros((X.shape[2], X.shape[2])))
        mean = X.mean(0)
        centred = (X - mean).reshape(-1, X.shape[2])
        return cls(len(X), mean, centred.T @ centred)

    def merged(self, other: Self) -> Self:
        """Moments of both sets together."""
        count = self.count + other.count
        if count == 0:
            return self
        step = other.mean - self.mean
        return type(self)(
            count,
            self.mean + step * (other.count / count),
            self.scatter + other.scatter + (self.count * other.count / count) * (step.T @ step),
        )

    def without(self, other: Self) -> Self:
        """Moments of what is left when a subset is taken away.

        Raises:
            ValueError: `other` has more parts than this, so it is no subset.
        """
        count = self.count - other.count
        if count < 0:
            raise ValueError(f"cannot take {other.count} parts from {self.count}")
        if count == 0:
            return type(self)(0, np.zeros_like(self.mean), np.zeros_like(self.scatter))
        mean = self.mean + (self.mean - other.mean) * (other.count / count)
        step = other.mean - mean
        scatter = self.scatter - other.scatter - (count * other.count / self.count) * (step.T @ step)
        return type(self)(count, mean, scatter)
