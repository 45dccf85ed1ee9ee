"""The loop of metric learning: P x K batches, a selection, a loss, AdamW with a cosine schedule.

It learns any network of rows; `train.head` gives it the linear head.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from senbetsu.config import TrainSection
from train.distances import squared_distances
from train.health import Curve, Record, final_look, require_finite
from train.labels import require_two_other_labels
from train.losses import LOSSES
from train.recording import Observer, Recording
from train.sampling import pk_batches
from train.selections import SELECTIONS, Quadruplets, Triplets, with_second_negative

LOOKED_AT = 128
"""Of each label at most so many parts are looked at in the end: the normals, being many, must not hide the others."""


def learn(
    network: nn.Module,
    inputs: Tensor,
    labels: NDArray[np.int64],
    settings: TrainSection,
    what: str,
    observers: Sequence[Observer] = (),
) -> Curve:
    """Learn `network` in place; the same result for the same seed and the same network.

    Args:
        network: (B, F) rows -> (B, D) embeddings.
        inputs: (N, F) float32.
        labels: (N,) of each row: 0 normal, 1, 2, ... kinds of defect, train.labels.UNKNOWN for those of unknown kind.
        settings: seed, steps, loss, selection, margins, batch and learning rate.
        what: name of the progress bar and of the run in messages.
        observers: called with each record as it is made.

    Returns:
        How it went. It is for the caller to judge it, by train.health.require_learned.

    Raises:
        UserError: no label has two parts, or a quadruplet is asked for and there is no second other label.
        CollapsedError: the embedding is not finite any more.
    """
    loss_of = LOSSES[settings.loss]
    if loss_of.needs_quadruplets:
        require_two_other_labels(labels, settings.labels_per_batch, f"{what}, train.loss = {settings.loss!r}")
    targets = torch.from_numpy(labels)
    run = Recording(what, settings.steps, settings, [_at_rest(network, observe) for observe in observers])
    with torch.random.fork_rng(devices=[]), _one_thread():
        torch.manual_seed(settings.seed)
        batches = pk_batches(labels, settings.labels_per_batch, settings.images_per_label, settings.seed)
        optimizer = torch.optim.AdamW(
            network.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay, foreach=False
        )
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, settings.steps)
        network.train()
        for step in run:
            batch = torch.from_numpy(next(batches))
            embeddings = network(inputs[batch])
            distances = squared_distances(embeddings)
            fixed, of = distances.detach(), targets[batch]
            require_finite(step - 1, fixed, settings, what)
            loss, chosen = select_and_lose(distances, of, settings)
            optimizer.zero_grad(set_to_none=True)
            torch.autograd.backward(loss)
            optimizer.step()
            schedule.step()
            run.note(step, loss, embeddings.detach(), fixed, of, chosen)
        network.eval()
        some = looked_at(labels)
        with torch.no_grad():
            final = network(inputs[some])
        require_finite(settings.steps, final, settings, what)
    return run.curve(final_look(final, targets[some]))


def select_and_lose(distances: Tensor, labels: Tensor, settings: TrainSection) -> tuple[Tensor, Triplets | Quadruplets]:
    """The loss of a batch by the settings' selection and loss, and what was selected.

    Args:
        distances: (B, B) squared, with a gradient.
        labels: (B,) int64.
        settings: loss, selection and margins.
    """
    loss_of, fixed = LOSSES[settings.loss], distances.detach()
    triplets = SELECTIONS[settings.selection].select(fixed, labels, settings.margin)
    chosen = with_second_negative(triplets, fixed, labels) if loss_of.needs_quadruplets else triplets
    return loss_of.of(distances, chosen, settings.margin, settings.second_margin), chosen


def looked_at(labels: NDArray[np.int64]) -> Tensor:
    """Indices of at most LOOKED_AT images of each label, evenly apart."""
    chosen = []
    for label in np.unique(labels):
        images = np.flatnonzero(labels == label)
        count = min(len(images), LOOKED_AT)
        chosen.append(images[np.arange(count) * len(images) // count])
    return torch.from_numpy(np.concatenate(chosen))


def _at_rest(network: nn.Module, observe: Observer) -> Observer:
    """Observes without dropout."""

    def looked_on(record: Record) -> None:
        network.eval()
        observe(record)
        network.train()

    return looked_on


@contextmanager
def _one_thread() -> Iterator[None]:
    """The steps are so small that a second thread gains nothing, and on a busy machine waits for its turn at each one."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
