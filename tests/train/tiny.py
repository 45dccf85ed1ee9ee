"""A backbone of three small stages with BatchNorm, and pictures that its tests are made of."""

import itertools

import numpy as np
import torch
from torch import nn

from senbetsu.scoring import Head
from senbetsu.stages import Stages
from train.tunable import PictureStatistics, StandardisedHead

SIDE = 32
STATISTICS = 4 * (4 + 6 + 8)


class TinyNetwork(nn.Module):
    """Maps of 16, 8 and 4 places a side."""

    def __init__(self) -> None:
        super().__init__()
        channels = (3, 4, 6, 8)
        self.stages = nn.ModuleList(
            nn.Sequential(nn.Conv2d(i, o, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(o), nn.ReLU(inplace=True))
            for i, o in itertools.pairwise(channels)
        )
        self.unused = nn.Conv2d(8, 8, 1)

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        maps = []
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        return [*maps, self.unused(x)]


def tiny_statistics() -> PictureStatistics:
    """The same weights every time; its running statistics are not those of a batch."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = TinyNetwork()
        for norm in (m for m in network.modules() if isinstance(m, nn.BatchNorm2d)):
            norm.running_mean.normal_(0, 0.1)
            norm.running_var.uniform_(0.5, 1.5)
    stages = Stages(network, (0, 1, 2)).eval().requires_grad_(False)
    return PictureStatistics(stages, (127.0,) * 3, (64.0,) * 3)


def tiny_head(seed: int = 0) -> StandardisedHead:
    """Trained on nothing."""
    random = np.random.default_rng(seed)
    head = Head(
        random.normal(0, 0.1, (64, STATISTICS)).astype(np.float32), np.append(np.zeros(63), 1.0).astype(np.float32)
    )
    return StandardisedHead(head, np.full(STATISTICS, 0.3), np.full(STATISTICS, 0.1))


def tiny_parts(normals: int = 12, defects: int = 8) -> tuple[np.ndarray, np.ndarray]:
    """Pictures of stripes, upright ones normal (label 0) and slanted ones not (1), in noise; and their labels."""
    random = np.random.default_rng(0)
    y, x = np.mgrid[:SIDE, :SIDE]
    labels = np.repeat([0, 1], [normals, defects])
    pictures = np.stack(
        [
            127 + 50 * np.sin(0.8 * (x + label * y) + random.uniform(0, 6.3))[:, :, None]
            + random.normal(0, 10, (SIDE, SIDE, 3))
            for label in labels
        ]
    )  # fmt: skip
    return np.clip(pictures, 0, 255).astype(np.uint8), labels
