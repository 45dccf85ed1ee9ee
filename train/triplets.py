"""The triplet loss, and which triplets it is taken over.

    L = mean over (a, p, n) of max(0, d(a, p) - d(a, n) + margin),   d the squared L2 distance

(Schroff, Kalenichenko & Philbin 2015, "FaceNet", arXiv 1503.03832.) Indices flow, not tensors: a selection returns
(a, p, n), the loss gathers from one distance matrix, so that every selection fits every loss.

FaceNet's semi-hard rule keeps d(a, p) < d(a, n) < d(a, p) + margin: negatives that are farther than the positive, but not
by the margin. The hardest ones (d(a, n) < d(a, p)) are left out: early in training they collapse the embedding into one
point, where the loss stands still at the margin.
"""

from typing import NamedTuple

import torch
from torch import Tensor


class Triplets(NamedTuple):
    """Indices into a batch, each (T,) int64: anchor, positive of the same label, negative of another."""

    anchor: Tensor
    positive: Tensor
    negative: Tensor


def squared_distances(embeddings: Tensor) -> Tensor:
    """(B, D) -> (B, B) squared L2 distances, >= 0."""
    squares = embeddings.square().sum(1)
    return (squares[:, None] + squares[None, :] - 2 * embeddings @ embeddings.T).clamp_min(0)


def positive_pairs(labels: Tensor) -> tuple[Tensor, Tensor]:
    """All (anchor, positive) of one label, anchor and positive unlike; labels (B,) int64."""
    same = labels[:, None] == labels[None, :]
    same.fill_diagonal_(False)
    anchor, positive = same.nonzero(as_tuple=True)
    return anchor, positive


def semihard(distances: Tensor, labels: Tensor, margin: float) -> Triplets:
    """For each positive pair the nearest semi-hard negative; pairs without one give no triplet.

    Args:
        distances: (B, B) squared L2.
        labels: (B,) int64.
        margin: alpha, in squared distance.

    Returns:
        T <= (number of positive pairs) triplets, T may be 0.
    """
    anchor, positive = positive_pairs(labels)
    if anchor.numel() == 0:
        return Triplets(anchor, positive, anchor)
    d_positive = distances[anchor, positive][:, None]
    d_negative = distances[anchor]
    is_negative = labels[anchor][:, None] != labels[None, :]
    is_semihard = is_negative & (d_negative > d_positive) & (d_negative < d_positive + margin)
    nearest = torch.where(is_semihard, d_negative, torch.inf).min(1)
    found = nearest.values.isfinite()
    return Triplets(anchor[found], positive[found], nearest.indices[found])


def triplet_loss(distances: Tensor, triplets: Triplets, margin: float) -> Tensor:
    """Mean hinge over the triplets; with none of them zero, with a gradient (of zero)."""
    a, p, n = triplets
    if a.numel() == 0:
        return distances.sum() * 0.0
    return (distances[a, p] - distances[a, n] + margin).clamp_min(0).mean()
