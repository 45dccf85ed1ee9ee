"""Learning the head: a linear map of the frozen statistics to 64 dimensions, normalised to unit length.

The statistics are standardised on the normal parts first; that is folded into the map that comes out.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from tqdm import tqdm

from senbetsu.config import TrainSection
from senbetsu.network import EMBEDDING_DIM
from senbetsu.scoring import Head
from train.sampling import pk_batches
from train.triplets import positive_pairs, semihard, squared_distances, triplet_loss


@dataclass(frozen=True, slots=True)
class Curve:
    """What learning looked like, one entry every few steps."""

    step: list[int]
    loss: list[float]
    active_share: list[float]
    """Share of positive pairs for which a semi-hard negative was found."""


def standardisation(whole: NDArray[np.floating]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and spread (F,) of statistics (N, F)."""
    X = np.asarray(whole, np.float64)
    return X.mean(0), np.maximum(X.std(0), 1e-3)


def learn_head(
    whole: NDArray[np.float32],
    labels: NDArray[np.int64],
    is_normal: NDArray[np.bool_],
    settings: TrainSection,
    what: str,
) -> tuple[Head, Curve]:
    """Triplet loss with semi-hard negatives, AdamW with a cosine schedule; the same result for the same seed.

    Args:
        whole: (N, F) statistics.
        labels: (N,) class of each part; the normals are one class, each kind of defect another.
        is_normal: (N,).
        settings: seed, steps, margin, batch and learning rate.
        what: name of the progress bar.
    """
    mean, spread = standardisation(whole[is_normal])
    X = torch.tensor((whole - mean) / spread, dtype=torch.float32)
    targets = torch.tensor(labels)
    with torch.random.fork_rng(devices=[]), _one_thread():
        torch.manual_seed(settings.seed)
        linear = nn.Linear(X.shape[1], EMBEDDING_DIM)
        dropout = nn.Dropout(settings.dropout)
        batches = pk_batches(labels, settings.labels_per_batch, settings.images_per_label, settings.seed)
        optimizer = torch.optim.AdamW(
            linear.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay, foreach=False
        )
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, settings.steps)
        curve = Curve([], [], [])
        every = max(1, settings.steps // 60)
        bar = tqdm(range(1, settings.steps + 1), desc=what, unit="step", disable=None, leave=False)
        for step in bar:
            batch = torch.from_numpy(next(batches))
            distances = squared_distances(nn.functional.normalize(linear(dropout(X[batch])), dim=1))
            triplets = semihard(distances.detach(), targets[batch], settings.margin)
            loss = triplet_loss(distances, triplets, settings.margin)
            value = loss.item()
            optimizer.zero_grad(set_to_none=True)
            torch.autograd.backward(loss)
            optimizer.step()
            schedule.step()
            if step % every == 0 or step == settings.steps:
                pairs = positive_pairs(targets[batch])[0].numel()
                share = triplets.anchor.numel() / max(pairs, 1)
                curve.step.append(step)
                curve.loss.append(round(value, 6))
                curve.active_share.append(round(share, 4))
                bar.set_postfix(loss=f"{value:.3f}", active=f"{share:.2f}")
    return _fold_in(linear.weight.detach().numpy(), linear.bias.detach().numpy(), mean, spread), curve


@contextmanager
def _one_thread() -> Iterator[None]:
    """The steps are so small that a second thread gains nothing, and on a busy machine waits for its turn at each one."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def principal_head(whole: NDArray[np.float32]) -> Head:
    """Without any defect there is nothing to tell apart: the normals' leading directions of variation, nothing learned.

    With fewer than 65 parts the directions that are left over are zero.
    """
    mean, spread = standardisation(whole)
    X = (whole - mean) / spread
    _, sizes, directions = np.linalg.svd(X, full_matrices=False)
    weight = np.zeros((EMBEDDING_DIM, X.shape[1]))
    rank = min(EMBEDDING_DIM, int((sizes > 1e-6 * max(sizes[0], 1e-12)).sum()))
    weight[:rank] = directions[:rank]
    # A constant beside the directions: without it, unit length would throw away how far out a part lies.
    bias = np.zeros(EMBEDDING_DIM)
    bias[-1] = float(np.sqrt(np.square(X).sum(1).mean())) or 1.0
    weight[-1] = 0.0
    return _fold_in(weight, bias, mean, spread)


def _fold_in(
    weight: NDArray[np.floating], bias: NDArray[np.floating], mean: NDArray[np.float64], spread: NDArray[np.float64]
) -> Head:
    folded = weight / spread
    return Head(folded.astype(np.float32), (bias - folded @ mean).astype(np.float32))
