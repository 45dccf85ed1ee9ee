"""What tests/train/test_distributed.py runs under torchrun: one job of `JOBS`, its result saved by the first process."""

import os
import sys
from pathlib import Path

import numpy as np
import torch
from tiny import tiny_head, tiny_parts, tiny_statistics

from senbetsu.config import TrainSection
from senbetsu.distributed import Group, join_group
from senbetsu.errors import UserError
from train.distances import squared_distances
from train.finetune import fine_tune
from train.learning import select_and_lose
from train.tunable import tunable_parameters

SETTINGS = TrainSection(
    depth="all", tune_steps=6, tune_learning_rate=1e-3, learning_rate=1e-2, selection="all", dropout=0.25,
    labels_per_batch=2, tune_images_per_label=4,
)  # fmt: skip
ODD = 7
"""Pictures of a batch that two processes cannot share evenly."""

State = dict[str, torch.Tensor]


def gradients_of_one_batch(group: Group, count: int) -> State:
    """Loss and gradients of a batch of `count`, the first half of it normal and the rest not."""
    network, head = tiny_statistics(), tiny_head(seed=group.rank)  # unlike in each process: the first's is taken
    group.take_from_first([*head.parameters(), *head.buffers()])
    parameters = dict(tunable_parameters(network.stages, "all", 1, 32))
    parameters |= dict(head.named_parameters())
    for parameter in parameters.values():
        parameter.requires_grad_(True)
    pictures, _ = tiny_parts(count // 2, count - count // 2)
    labels = torch.tensor([0] * (count // 2) + [1] * (count - count // 2))
    seen = torch.from_numpy(pictures[group.share(count)])
    distances = squared_distances(group.gather(head(network(seen)), count))
    loss, chosen = select_and_lose(distances, labels, SETTINGS)
    loss.backward()
    group.sum_gradients(parameters.values())
    gradients = {name: parameter.grad.clone() for name, parameter in parameters.items()}
    return {**gradients, "loss": loss.detach(), "triplets": torch.tensor(len(chosen.anchor))}


def learned(group: Group) -> State:
    """Weights after some steps."""
    network, head = tiny_statistics(), tiny_head(seed=group.rank)
    pictures, labels = tiny_parts()
    curve = fine_tune(network, head, pictures, np.arange(len(labels)), labels, SETTINGS, "tuning", group)
    return {**network.stages.state_dict(), **head.state_dict(), "curve": torch.tensor(curve.loss)}


def failing(group: Group) -> State:
    """One process cannot go on."""
    with group.together():
        if group.rank == 1:
            raise UserError("a picture is gone")
    return {}


def dying(group: Group) -> State:
    """One process dies in the middle of the work, the other waits for it."""
    if group.rank == 1:
        raise RuntimeError("out of memory, say")
    return gradients_of_one_batch(group, 8)


JOBS = {
    "even": lambda group: gradients_of_one_batch(group, 8),
    "odd": lambda group: gradients_of_one_batch(group, ODD),
    "learned": learned,
    "failing": failing,
    "dying": dying,
}


def main() -> None:
    folder, names = Path(sys.argv[1]), sys.argv[2:]
    with join_group() as group:
        for name in names:
            try:
                state = JOBS[name](group)
            except UserError as error:
                (folder / f"{name}-{group.rank}.txt").write_text(str(error))
                raise
            if group.is_first:
                torch.save(state, folder / f"{name}.pt")
        (folder / f"done-{os.environ['RANK']}").touch()


if __name__ == "__main__":
    main()
