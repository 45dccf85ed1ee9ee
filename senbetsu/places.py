"""What lies where: each place of a picture against what the whole picture leads one to expect there.

At place l let x be the deeper maps' values and y = U^T (x - m_l) their r leading directions; let c be the picture's
context (its channels' means) in few whitened directions. Among normal parts (c, y) is taken as Gaussian, so that

    e    = y - B_l (c - m_c)                                  what the picture as a whole does not explain,
    q_l  = (|W e|^2 + w (|x - m_l|^2 - |y|^2) / v) / s_l      W whitens e, one for all places,
    d^2  = mean of the largest q_l                            (4 % of the places, at least one)

B_l is a ridge regression, place by place: it takes away what light, exposure, grain and kind of part do to a place. s_l is
the mean of the numerator at that place among normal parts, drawn towards that of all places, so that a place where parts
vary more counts less. v is the variance of what the r directions leave over; its weight w is for the judge to choose: where
parts are few, U has not seen all that is normal, and damage lies in what is left over.

Patches against a Gaussian for each location are after Defard et al. 2021 (PaDiM, arXiv 2011.08785); the conditioning on
the picture is ours.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from senbetsu.whitening import DISTANCE_FLOOR, oas_weight, shrinkage

RANK = 128
"""Directions of a patch."""
CONTEXT_RANK = 192
"""Directions of the context, at most: a quarter of the parts."""
CONTEXT_WIDTHS = (16, 32, 64, 128, CONTEXT_RANK)
"""What a graph takes; directions that parts do not have are zero. A graph is converted anew, which takes long, only for
another width, not for another number of parts."""
FARTHEST_SHARE = 0.04
PLACE_PRIOR = 50
"""So many parts' worth of the mean over all places goes into a place's scale."""
PATCHES_FOR_DIRECTIONS = 15_000
CHUNK = 128

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class PlaceFrame:
    """The axes that places are measured along.

    context_mean (M,), context_map (M, R) to whitened directions; directions (P, r) orthonormal columns; float32.
    """

    context_mean: NDArray[np.float32]
    context_map: NDArray[np.float32]
    directions: NDArray[np.float32]

    @classmethod
    def of(cls, context: ArrayLike, places: NDArray[np.floating]) -> Self:
        """From normal parts: context (N, M) and places (N, L, P), N >= 2."""
        C = np.asarray(context, np.float64)
        mean = C.mean(0)
        _, sizes, axes = np.linalg.svd(C - mean, full_matrices=False)
        variances = np.square(sizes) / len(C)
        keep = max(1, min(CONTEXT_RANK, len(C) // 4, int((variances > 1e-9 * max(variances[0], 1e-12)).sum())))
        covariance_trace, of_square = float(variances.sum()), float(np.square(variances).sum())
        weight = oas_weight(covariance_trace, of_square, C.shape[1], len(C))
        shrunk = (1 - weight) * variances[:keep] + weight * max(covariance_trace / C.shape[1], 1e-12)
        return cls(mean.astype(np.float32), (axes[:keep].T / np.sqrt(shrunk)).astype(np.float32), _directions(places))

    def look(self, context: NDArray[np.floating]) -> NDArray[np.float32]:
        """Contexts (N, M) -> (N, R)."""
        centred = np.asarray(context, np.float32) - self.context_mean
        return np.asarray(centred @ self.context_map, np.float32)


def _directions(places: NDArray[np.floating]) -> NDArray[np.float32]:
    """The leading directions in which a place's values vary from part to part, from an even choice of the parts."""
    N, L, P = places.shape
    chosen = np.unique(np.linspace(0, N - 1, min(N, max(2, PATCHES_FOR_DIRECTIONS // L))).astype(int))
    X = places[np.random.default_rng(0).permutation(N)[chosen]].astype(np.float32)
    X = (X - X.mean(0)).reshape(-1, P)
    _, vectors = np.linalg.eigh((X.T @ X).astype(np.float64))
    return np.ascontiguousarray(vectors[:, ::-1][:, : min(RANK, P)].astype(np.float32))


@dataclass(frozen=True, slots=True, eq=False)
class PlaceMoments:
    """Moments of `count` parts in one frame, merged as senbetsu.moments merges them; float64.

    context_mean (R,), context_scatter (R, R); mean (L, P) of the values themselves and energy (L,), their summed squared
    distance from it; along (L, r), the mean along the directions; cross (L, R, r) of context and directions, scatter
    (L, r, r) of the directions.
    """

    count: int
    context_mean: Array
    context_scatter: Array
    mean: Array
    energy: Array
    along: Array
    cross: Array
    scatter: Array

    @classmethod
    def of(cls, frame: PlaceFrame, context: NDArray[np.floating], places: NDArray[np.floating]) -> Self:
        """Of context (N, M) and places (N, L, P); beyond these, memory does not grow with N."""
        _, L, P = places.shape
        R, r = frame.context_map.shape[1], frame.directions.shape[1]
        total = cls(
            0, np.zeros(R), np.zeros((R, R)), np.zeros((L, P)), np.zeros(L), np.zeros((L, r)), np.zeros((L, R, r)),
            np.zeros((L, r, r)),
        )  # fmt: skip
        for start in range(0, len(places), CHUNK):
            total = total.merged(cls._of_chunk(frame, context[start : start + CHUNK], places[start : start + CHUNK]))
        return total

    @classmethod
    def _of_chunk(cls, frame: PlaceFrame, context: NDArray[np.floating], places: NDArray[np.floating]) -> Self:
        c = frame.look(context).astype(np.float64)
        mean_c = c.mean(0)
        centred = (c - mean_c).astype(np.float32)
        X = places.astype(np.float32)
        mean = X.mean(0, dtype=np.float64)
        X -= mean.astype(np.float32)
        Y = (X @ frame.directions).transpose(1, 0, 2)
        return cls(
            len(X),
            mean_c,
            (centred.T @ centred).astype(np.float64),
            mean,
            np.square(X).sum((0, 2), dtype=np.float64),
            mean @ frame.directions,
            np.matmul(centred.T[None], Y).astype(np.float64),
            np.matmul(Y.transpose(0, 2, 1), Y).astype(np.float64),
        )

    def merged(self, other: Self) -> Self:
        """Of both sets together; both in the same frame."""
        if self.count == 0 or other.count == 0:
            return self if other.count == 0 else other
        count = self.count + other.count
        share, weight = other.count / count, self.count * other.count / count
        step_c = other.context_mean - self.context_mean
        step, step_y = other.mean - self.mean, other.along - self.along
        return type(self)(
            count,
            self.context_mean + step_c * share,
            self.context_scatter + other.context_scatter + weight * np.outer(step_c, step_c),
            self.mean + step * share,
            self.energy + other.energy + weight * np.square(step).sum(1),
            self.along + step_y * share,
            self.cross + other.cross + weight * step_c[None, :, None] * step_y[:, None, :],
            self.scatter + other.scatter + weight * step_y[:, :, None] * step_y[:, None, :],
        )

    def without(self, other: Self) -> Self:
        """Of what is left when a subset is taken away. Raises ValueError where `other` has more parts."""
        count = self.count - other.count
        if count < 0:
            raise ValueError(f"cannot take {other.count} parts from {self.count}")
        if other.count == 0:
            return self
        if count == 0:
            return type(self)(0, *(np.zeros_like(getattr(self, name)) for name in _MOMENTS))
        share, weight = other.count / count, count * other.count / self.count
        context_mean = self.context_mean + (self.context_mean - other.context_mean) * share
        mean = self.mean + (self.mean - other.mean) * share
        along = self.along + (self.along - other.along) * share
        step_c, step, step_y = other.context_mean - context_mean, other.mean - mean, other.along - along
        return type(self)(
            count,
            context_mean,
            self.context_scatter - other.context_scatter - weight * np.outer(step_c, step_c),
            mean,
            np.maximum(self.energy - other.energy - weight * np.square(step).sum(1), 0),
            along,
            self.cross - other.cross - weight * step_c[None, :, None] * step_y[:, None, :],
            self.scatter - other.scatter - weight * step_y[:, :, None] * step_y[:, None, :],
        )


_MOMENTS = ("context_mean", "context_scatter", "mean", "energy", "along", "cross", "scatter")


@dataclass(frozen=True, slots=True, eq=False)
class Places:
    """What distances are measured with; float32 but for `rest`.

    mean (L, P); context_mean (R,); regression (L, R, r); whitening (r, r) with orthogonal columns; scale (L,);
    rest = w / v.
    """

    frame: PlaceFrame
    mean: NDArray[np.float32]
    context_mean: NDArray[np.float32]
    regression: NDArray[np.float32]
    whitening: NDArray[np.float32]
    scale: NDArray[np.float32]
    rest: float

    def squared(self, context: NDArray[np.floating], places: NDArray[np.floating]) -> NDArray[np.float64]:
        """q (N, L) of context (N, M) and places (N, L, P): the reference of every engine, and a heat map."""
        rows = []
        for start in range(0, len(places), CHUNK):
            c = self.frame.look(context[start : start + CHUNK]) - self.context_mean
            X = places[start : start + CHUNK].astype(np.float32) - self.mean
            Y = X @ self.frame.directions
            E = (Y - np.matmul(c[None], self.regression).transpose(1, 0, 2)) @ self.whitening
            left_over = np.maximum(np.square(X).sum(-1) - np.square(Y).sum(-1), 0)
            rows.append((np.square(E).sum(-1) + self.rest * left_over) / self.scale)
        return np.concatenate(rows).astype(np.float64) if rows else np.zeros((0, len(self.scale)))

    def distance(self, context: NDArray[np.floating], places: NDArray[np.floating]) -> NDArray[np.float64]:
        """Distances (N,)."""
        q = self.squared(context, places)
        farthest = np.sort(q, 1)[:, -farthest_count(q.shape[1]) :]
        distance: NDArray[np.float64] = np.maximum(np.sqrt(farthest.mean(1)), DISTANCE_FLOOR)
        return distance


def context_width(rank: int) -> int:
    """The smallest of CONTEXT_WIDTHS that holds so many directions."""
    return next(width for width in CONTEXT_WIDTHS if width >= rank)


def farthest_count(places: int) -> int:
    """How many of the places make the distance."""
    return max(1, round(FARTHEST_SHARE * places))


def fit_places(frame: PlaceFrame, moments: PlaceMoments, rest_weight: float) -> Places:
    """Regression, whitening and scales from moments; rest_weight is w.

    Raises:
        ValueError: fewer than two parts.
    """
    n = moments.count
    if n < 2:
        raise ValueError(f"places need at least two parts, found {n}")
    L, R, r = moments.cross.shape
    ridge = max(1.0, 0.5 * R) * np.eye(R)
    B = np.linalg.solve(moments.context_scatter + ridge, moments.cross)
    explained = np.matmul(B.transpose(0, 2, 1), moments.cross)
    again = np.matmul(B.transpose(0, 2, 1), np.matmul(moments.context_scatter, B))
    scatter = moments.scatter - explained - explained.transpose(0, 2, 1) + again
    covariance = scatter.sum(0) / (n * L)
    mean_variance = max(float(np.trace(covariance)) / r, 1e-12)
    weight = shrinkage(covariance, n * L)
    values, vectors = np.linalg.eigh((1 - weight) * covariance + weight * mean_variance * np.eye(r))
    whitening = vectors / np.sqrt(np.maximum(values, 1e-9 * mean_variance))
    left_over = np.maximum(moments.energy - np.trace(moments.scatter, axis1=1, axis2=2), 0)
    spare = moments.mean.shape[1] - r
    # Few parts leave next to nothing over; shrinkage holds for those directions as well.
    variance = max(float(left_over.sum()) / (n * L * max(1, spare)), weight * mean_variance, 1e-9 * mean_variance)
    # Where no direction is left over, what seems to be is rounding.
    rest = rest_weight / variance if spare else 0.0
    expected = (np.einsum("lij,ik,jk->l", scatter, whitening, whitening, optimize=True) + rest * left_over) / n
    scale = (n * expected + PLACE_PRIOR * expected.mean()) / (n + PLACE_PRIOR) / max(float(expected.mean()), 1e-12)
    return Places(
        frame,
        moments.mean.astype(np.float32),
        moments.context_mean.astype(np.float32),
        B.astype(np.float32),
        whitening.astype(np.float32),
        np.maximum(scale, 1e-3).astype(np.float32),
        rest,
    )
