"""The loop of metric learning: P x K batches, a selection, a loss, AdamW with a cosine schedule.

It learns any network of rows; `train.head` gives it the linear head.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from tqdm import tqdm

from senbetsu.config import TrainSection
from train.distances import squared_distances
from train.health import Curve, Record, active_share, final_look, look_at, require_finite
from train.labels import require_two_other_labels
from train.losses import LOSSES
from train.sampling import pk_batches
from train.selections import SELECTIONS, Quadruplets, Triplets, with_second_negative

RECORDS = 60
"""About so many steps of a run are recorded."""
LOOKED_AT = 128
"""Of each label at most so many parts are looked at in the end: the normals, being many, must not hide the others."""

Observer = Callable[[Record], None]


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
    records: list[Record] = []
    empty_steps = 0
    with torch.random.fork_rng(devices=[]), _one_thread():
        torch.manual_seed(settings.seed)
        batches = pk_batches(labels, settings.labels_per_batch, settings.images_per_label, settings.seed)
        optimizer = torch.optim.AdamW(
            network.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay, foreach=False
        )
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, settings.steps)
        every = max(1, settings.steps // RECORDS)
        network.train()
        bar = tqdm(range(1, settings.steps + 1), desc=what, unit="step", disable=None, leave=False)
        for step in bar:
            batch = torch.from_numpy(next(batches))
            embeddings = network(inputs[batch])
            distances = squared_distances(embeddings)
            fixed, of = distances.detach(), targets[batch]
            require_finite(step - 1, fixed, settings, what)
            loss, chosen = select_and_lose(distances, of, settings)
            empty_steps += chosen.anchor.numel() == 0
            optimizer.zero_grad(set_to_none=True)
            torch.autograd.backward(loss)
            optimizer.step()
            schedule.step()
            if step % every == 0 or step == settings.steps:
                look = look_at(embeddings.detach(), fixed, of)
                record = Record(step, loss.item(), active_share(fixed, of, chosen, settings), look)
                records.append(record)
                bar.set_postfix(
                    loss=f"{record.loss:.3f}", active=f"{record.active_share:.2f}",
                    d_ap=f"{look.positive_distance:.3f}", d_an=f"{look.negative_distance:.3f}",
                )  # fmt: skip
                for observe in observers:
                    network.eval()
                    observe(record)
                    network.train()
        network.eval()
        some = looked_at(labels)
        with torch.no_grad():
            final = network(inputs[some])
        require_finite(settings.steps, final, settings, what)
    point_loss = loss_of.of_a_point(settings.margin, settings.second_margin)
    return Curve.of(records, settings.steps, empty_steps, point_loss, final_look(final, targets[some]))


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


@contextmanager
def _one_thread() -> Iterator[None]:
    """The steps are so small that a second thread gains nothing, and on a busy machine waits for its turn at each one."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
