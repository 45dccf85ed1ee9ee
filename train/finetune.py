"""Fine-tuning: the backbone's last blocks, or all of it, learned together with the head, from where the head's own learning
ended.

BatchNorm keeps the running statistics that it came with, in learning as on the line. A P x K batch holds defects out of all
proportion, and few pictures: its statistics are not the line's; and a part's embedding would depend on the parts beside it,
and on how a batch is shared among processes.

On CUDA the backbone runs in bf16 where the GPU has it, else in fp16 with a scaled loss; statistics, head and distances stay
in fp32 everywhere, and on a CPU all does.
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from senbetsu.config import TrainSection
from senbetsu.distributed import Group
from senbetsu.errors import UserError
from train.augmentation import change, draw_changes
from train.distances import squared_distances
from train.health import Curve, final_look, require_finite
from train.labels import other_labels, require_two_other_labels
from train.learning import looked_at, select_and_lose
from train.losses import LOSSES
from train.recording import Observer, Recording
from train.sampling import pk_batches
from train.tunable import PictureStatistics, StandardisedHead, mixed_dtype, statistics_of, tunable_parameters

HEAD_RATE = 0.1
"""Of train.learning_rate: the head has learned already."""


def fine_tune(
    network: PictureStatistics,
    head: StandardisedHead,
    pictures: NDArray[np.uint8],
    rows: NDArray[np.int64],
    labels: NDArray[np.int64],
    settings: TrainSection,
    what: str,
    group: Group,
    observers: Sequence[Observer] = (),
) -> Curve:
    """Learn the backbone's chosen parameters and the head, in place; the same result for the same seed, however many
    processes share the work.

    Args:
        network: with the backbone, on the group's device.
        head: trained, on the same.
        pictures: (M, S, S, 3) uint8 BGR.
        rows: (N,) of these the pictures to learn from.
        labels: (N,) of each of them, as in train.learning.learn.
        settings: depth, seed, tune_*, augment_*, loss, selection, margins and dropout.
        what: name of the progress bar and of the run in messages.
        group: the processes that share each batch.
        observers: called with each record as it is made, in the first process alone.

    Returns:
        How it went; it is for the caller to judge it.

    Raises:
        UserError: there is no second label, or not enough for the loss, or not so many blocks.
        CollapsedError: the embedding is not finite any more.
    """
    loss_of = LOSSES[settings.loss]
    if not other_labels(labels):
        raise UserError(f"{what}: --depth {settings.depth} learns by contrast, and there are no defects; leave it out")
    if loss_of.needs_quadruplets:
        require_two_other_labels(labels, settings.labels_per_batch, f"{what}, train.loss = {settings.loss!r}")
    chosen_parameters = list(
        tunable_parameters(network.stages, settings.depth, settings.tuned_blocks, pictures.shape[1]).values()
    )
    parameters = [*chosen_parameters, *head.parameters()]
    group.take_from_first([*network.parameters(), *network.buffers(), *head.parameters(), *head.buffers()])
    for parameter in parameters:
        parameter.requires_grad_(True)
    optimizer = torch.optim.AdamW(
        [
            {"params": chosen_parameters, "lr": settings.tune_learning_rate},
            {"params": list(head.parameters()), "lr": HEAD_RATE * settings.learning_rate},
        ],
        weight_decay=settings.weight_decay,
        foreach=False,
    )
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, settings.tune_steps)
    scaler = torch.amp.GradScaler(group.device.type, enabled=mixed_dtype(group.device) == torch.float16)
    targets = torch.from_numpy(labels).to(group.device)
    batches = pk_batches(labels, settings.labels_per_batch, settings.tune_images_per_label, settings.seed)
    random = np.random.default_rng(settings.seed)
    seen_by = observers if group.is_first else ()
    run = Recording(what, settings.tune_steps, settings, seen_by, hidden=not group.is_first)
    for step in run:
        batch = next(batches)
        own = group.share(len(batch))
        changes = draw_changes(len(batch), pictures.shape[1], settings, random).of(own)
        seen = change(torch.from_numpy(pictures[rows[batch[own]]]).to(group.device), changes)
        kept = _kept(len(batch), head.linear.in_features, settings.dropout, random)[own].to(group.device)
        embeddings = group.gather(head(network(seen), kept), len(batch))
        distances, of = squared_distances(embeddings), targets[torch.from_numpy(batch)]
        fixed = distances.detach()
        require_finite(step - 1, fixed, settings, what, tuning=True)
        loss, selected = select_and_lose(distances, of, settings)
        optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(scaler.scale(loss))
        group.sum_gradients(parameters)
        scaler.step(optimizer)
        scaler.update()
        schedule.step()
        run.note(step, loss, embeddings.detach(), fixed, of, selected)
    for parameter in parameters:
        parameter.requires_grad_(False)
    some = looked_at(labels)
    with torch.no_grad():
        final = head(torch.from_numpy(statistics_of(network, pictures[rows[some.numpy()]])).to(group.device))
    require_finite(settings.tune_steps, final, settings, what, tuning=True)
    return run.curve(final_look(final.cpu(), torch.from_numpy(labels)[some]))


def _kept(count: int, features: int, dropout: float, random: np.random.Generator) -> Tensor:
    """(count, features) of 0 and 1 / (1 - dropout), drawn for the whole batch whatever this process' share is."""
    return torch.from_numpy((random.random((count, features)) >= dropout).astype(np.float32) / (1 - dropout))
