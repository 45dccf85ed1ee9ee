"""What the product is measured against, on the same frozen statistics.

softmax: a linear classifier over normal and the kinds shown, of the very rows that the learned head maps
(`Features.head_rows`, standardised on the normals), with the head's own number of steps, P x K batches, dropout, AdamW,
learning rate, weight decay and cosine schedule; cross-entropy. Its score is log((1 - p) / p) with p = p(normal), which orders
parts as 1 - p does, without the ties where p rounds to one.

mean distance: plain L2 distance of the pooled channel means (`Features.context`) to their mean over the normals.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from senbetsu.config import TrainSection
from senbetsu.features import Features
from train.head import standardisation
from train.sampling import pk_batches


@dataclass(frozen=True, slots=True, eq=False)
class Softmax:
    """A learned classifier: weight (C, F) and bias (C,) of standardised rows, class 0 normal."""

    mean: NDArray[np.float64]
    spread: NDArray[np.float64]
    weight: NDArray[np.float64]
    bias: NDArray[np.float64]

    def scores(self, parts: Features) -> NDArray[np.float64]:
        """log((1 - p) / p) of parts (N,)."""
        return log_odds_against_normal(((parts.head_rows - self.mean) / self.spread) @ self.weight.T + self.bias)


def log_odds_against_normal(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    """Logits (N, C), class 0 normal -> log((1 - p) / p) (N,) of p = softmax_0."""
    odds: NDArray[np.float64] = np.logaddexp.reduce(logits[:, 1:], 1) - logits[:, 0]
    return odds


def learn_softmax(normals: Features, defects: Features, labels: NDArray[np.int64], settings: TrainSection) -> Softmax:
    """See the module. labels (N + M,): 0 normal, then kinds by any numbers."""
    mean, spread = standardisation(normals.head_rows)
    rows = np.concatenate([normals.head_rows, defects.head_rows])
    inputs = torch.tensor((rows - mean) / spread, dtype=torch.float32)
    classes, of = np.unique(labels, return_inverse=True)
    targets = torch.from_numpy(of)
    batches = pk_batches(labels, settings.labels_per_batch, settings.images_per_label, settings.seed)
    # Drawn by bytes: torch's own dropout would take longer than the rest of the step.
    random = np.random.default_rng(settings.seed)
    dropped_below = round(256 * settings.dropout)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        linear = nn.Linear(inputs.shape[1], len(classes))
        optimizer = torch.optim.AdamW(
            linear.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay, foreach=False
        )
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, settings.steps)
        for _ in range(settings.steps):
            batch = torch.from_numpy(next(batches))
            kept = random.integers(0, 256, (len(batch), inputs.shape[1]), np.uint8) >= dropped_below
            x = inputs[batch] * torch.from_numpy(kept) / (1 - dropped_below / 256)
            loss = nn.functional.cross_entropy(linear(x), targets[batch])
            optimizer.zero_grad(set_to_none=True)
            torch.autograd.backward(loss)
            optimizer.step()
            schedule.step()
    return Softmax(
        mean, spread, linear.weight.detach().numpy().astype(np.float64), linear.bias.detach().numpy().astype(np.float64)
    )


def mean_distance(normals: Features, parts: Features) -> NDArray[np.float64]:
    """L2 distances (N,) of the parts to the mean of the normals."""
    centre = normals.context.mean(0, dtype=np.float64)
    distance: NDArray[np.float64] = np.linalg.norm(parts.context.astype(np.float64) - centre, axis=1)
    return distance
