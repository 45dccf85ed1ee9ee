"""The one distance matrix of a batch, from which every selection and every loss gathers.

d(i, j) = |x_i - x_j|^2,   the squared L2 distance of FaceNet (arXiv 1503.03832)
"""

import torch
from torch import Tensor


def squared_distances(embeddings: Tensor) -> Tensor:
    """(B, D) -> (B, B) squared L2 distances, >= 0."""
    squares = embeddings.square().sum(1)
    return (squares[:, None] + squares[None, :] - 2 * embeddings @ embeddings.T).clamp_min(0)


def mean_over(distances: Tensor, which: Tensor) -> float:
    """Mean of (B, B) distances where `which` (B, B) is True; NaN where it nowhere is."""
    return float(distances[which].mean()) if bool(which.any()) else float("nan")


def share_below(distances: Tensor, positives: Tensor, negatives: Tensor, margin: float) -> float:
    """Share of all valid (a, p, n) with d(a, n) <= d(a, p) + margin: 0 is done, one half is chance at margin 0.

    Counted by sorting each anchor's negatives, so that N^3 triplets take N^2 log N steps; NaN where there is no triplet.

    Args:
        distances: (B, B).
        positives: (B, B) bool, of each anchor's row.
        negatives: (B, B) bool, as well.
        margin: in squared distance.
    """
    valid = positives & negatives.any(1)[:, None]
    total = int((valid.sum(1) * negatives.sum(1)).sum())
    if total == 0:
        return float("nan")
    ordered = torch.where(negatives, distances, torch.inf).sort(1).values
    below = torch.searchsorted(ordered, (distances + margin).contiguous(), right=True)
    return int(below[valid].sum()) / total
