"""What is measured of a picture's feature maps: how strongly each channel answers, how it varies, and what lies where.

    context   mean of every channel over the picture: light and texture, what the other statistics are read against
    whole     log spread of every channel over the picture, in three parts
    windows   the same over 3 x 3 overlapping half-size windows: small things that the whole averages away
    places    the deeper maps themselves, brought to one coarse grid: what lies where

The variance of a channel over H rows and W columns has three parts that add up to it, as in a two-way analysis of
variance (Fisher 1925): of the row means, of the column means, and what neither explains. Made parts have grain, edges and
grids that run along the axes, and damage mostly does not. The logarithm makes a change of light or gain, which scales all
parts alike, a shift along one direction, which the whitening then takes for what it is.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

WINDOW_GRID = 3
"""Windows a side."""
PLACE_GRID = 8
"""Most places a side."""
VARIANCE_FLOOR = 1e-6
PART_FLOOR = 1e-3
"""Smallest part of a variance, as a share of it: what is smaller is rounding (in bf16 most of all)."""


class Statistics(NamedTuple):
    """Of B pictures: context (B, M), whole (B, 3 M), windows (B, 9, 3 M), places (B, L, P); float32.

    M is the sum of all maps' channels, P that of the deeper maps' (see `deeper`), L the number of places.
    """

    context: Tensor
    whole: Tensor
    windows: Tensor
    places: Tensor


def measure(maps: list[Tensor]) -> Statistics:
    """Statistics of feature maps, each (B, C_i, H_i, W_i) with H_i, W_i >= 4, from shallow to deep."""
    context, whole, windows = [], [], []
    for group in _by_size(maps):
        mean = group.mean((2, 3), keepdim=True)
        centred = group - mean  # E[x^2] - E[x]^2 of centred values: no cancellation when computed in bf16
        context.append(mean.flatten(1))
        whole.append(_log_spread(*_parts_of_whole(centred)))
        windows.append(_log_spread(*_parts_of_windows(centred)))
    return Statistics(
        torch.cat(context, 1),
        torch.cat(whole, 2).flatten(1),
        torch.cat([x.flatten(3) for x in windows], 2).flatten(1, 2).transpose(1, 2),
        places(maps),
    )


def learnable(maps: list[Tensor]) -> Tensor:
    """(B, 4 M): context and whole alone, side by side: what a head maps."""
    context, whole = [], []
    for group in _by_size(maps):
        mean = group.mean((2, 3), keepdim=True)
        context.append(mean.flatten(1))
        whole.append(_log_spread(*_parts_of_whole(group - mean)))
    return torch.cat([*context, torch.cat(whole, 2).flatten(1)], 1)


def _by_size(maps: list[Tensor]) -> list[Tensor]:
    """Maps of one size as one: fewer and larger steps."""
    sizes = dict.fromkeys(tuple(x.shape[-2:]) for x in maps)
    return [torch.cat([x for x in maps if tuple(x.shape[-2:]) == size], 1) for size in sizes]


def _parts_of_whole(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(B, C, H, W) of mean 0 -> variance, that of the row means, that of the column means; each (B, C)."""
    return (
        x.square().mean((2, 3)),
        x.mean(3).square().mean(2),
        x.mean(2).square().mean(2),
    )


def _parts_of_windows(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The same in every window: each (B, C, 3, 3)."""
    height, width = x.shape[-2:]
    down, across = height // 4, width // 4
    tall, wide = height - (WINDOW_GRID - 1) * down, width - (WINDOW_GRID - 1) * across
    row_means = functional.avg_pool2d(x, (1, wide), (1, across))
    column_means = functional.avg_pool2d(x, (tall, 1), (down, 1))
    square_of_mean = functional.avg_pool2d(row_means, (tall, 1), (down, 1)).square()
    return (
        functional.avg_pool2d(x.square(), (tall, wide), (down, across)) - square_of_mean,
        functional.avg_pool2d(row_means.square(), (tall, 1), (down, 1)) - square_of_mean,
        functional.avg_pool2d(column_means.square(), (1, wide), (1, across)) - square_of_mean,
    )


def _log_spread(variance: Tensor, of_rows: Tensor, of_columns: Tensor) -> Tensor:
    """(B, C, ...) each -> (B, 3, C, ...): log standard deviation of the row means, the column means, and the rest."""
    parts = torch.stack([of_rows, of_columns, variance - of_rows - of_columns], 1)
    floor = variance.clamp_min(0)[:, None] * PART_FLOOR + VARIANCE_FLOOR
    return torch.maximum(parts, floor).log() * 0.5


def deeper(sides: list[int]) -> list[int]:
    """Which maps, by number, give the places: those at most twice as large as the last one."""
    return [number for number, side in enumerate(sides) if side <= 2 * sides[-1]]


def places(maps: list[Tensor]) -> Tensor:
    """(B, L, P): the deeper maps, each averaged over 3 x 3 neighbours, on the last one's grid (of at most 8 x 8)."""
    height, width = (min(side, PLACE_GRID) for side in maps[-1].shape[-2:])
    chosen = [maps[number] for number in deeper([x.shape[-1] for x in maps])]
    on_grid = [_on_grid(functional.avg_pool2d(x, 3, 1, 1, count_include_pad=False), height, width) for x in chosen]
    return torch.cat(on_grid, 1).flatten(2).transpose(1, 2)


def _on_grid(x: Tensor, height: int, width: int) -> Tensor:
    if x.shape[-2] % height or x.shape[-1] % width:
        return functional.adaptive_avg_pool2d(x, (height, width))
    step = (x.shape[-2] // height, x.shape[-1] // width)
    return x if step == (1, 1) else functional.avg_pool2d(x, step)
