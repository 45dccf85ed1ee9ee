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

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d, avg_pool2d

WINDOW_GRID = 3
"""Windows a side."""
PARTS = 3
"""Of a variance: of the row means, of the column means, and the rest."""
PLACE_GRID = 8
"""Most places a side."""
VARIANCE_FLOOR = 1e-6
PART_FLOOR = 1e-3
"""Smallest part of a variance, as a share of it: what is smaller is rounding (in bf16 most of all)."""

Size = tuple[int, int]
Parts = tuple[Tensor, Tensor, Tensor]
"""Of a variance, each (B, C, h, w): of the row means, of the column means, and the rest."""


class Statistics(NamedTuple):
    """Of B pictures: context (B, M), whole (B, 3 M), windows (B, 9, 3 M), places (B, L, P); float32.

    M is the sum of all maps' channels, P that of the deeper maps' (see `deeper`), L the number of places.
    """

    context: Tensor
    whole: Tensor
    windows: Tensor
    places: Tensor


class Measure(nn.Module):
    """Feature maps, each (B, C_i, H_i, W_i) from shallow to deep, -> Statistics, in the maps' dtype.

    All means are average poolings: over rows, over columns, over windows, each of what is already smaller. They take
    channels last, as backbones leave them, so that nothing has to be transposed.
    """

    def __init__(self, sizes: Sequence[Size]) -> None:
        """`sizes` (H_i, W_i) of the maps, each at least 4 x 4."""
        super().__init__()
        self._groups = [[number for number, size in enumerate(sizes) if size == one] for one in dict.fromkeys(sizes)]
        self._sizes = list(sizes)
        self._deeper = deeper([width for _, width in sizes])
        self._grid = (min(sizes[-1][0], PLACE_GRID), min(sizes[-1][1], PLACE_GRID))

    def forward(self, maps: list[Tensor]) -> Statistics:
        """See the class."""
        context, places = [], []
        whole: list[Parts] = []
        windows: list[Parts] = []
        for group in self._groups:
            size = self._sizes[group[0]]
            x = torch.cat([maps[number] for number in group], 1)
            mean = avg_pool2d(x, size)
            context.append(mean)
            centred = x - mean  # E[x^2] - E[x]^2 of centred values: little cancels
            whole.append(_parts_of_whole(centred, size))
            windows.append(_parts_of_windows(centred, size))
            if group[0] in self._deeper:
                places.append(_on_grid(x, size, self._grid))
        return Statistics(
            torch.cat(context, 1).flatten(1),
            _log_spread(whole).flatten(1),
            _log_spread(windows),
            torch.cat(places, 1).permute(0, 2, 3, 1).flatten(1, 2),
        )


def _parts_of_whole(centred: Tensor, size: Size) -> Parts:
    """One window over all, whose mean is nothing: a pooling less than _parts_of_windows takes."""
    height, width = size
    of_rows = avg_pool2d(avg_pool2d(centred, (1, width)).square(), (height, 1))
    of_columns = avg_pool2d(avg_pool2d(centred, (height, 1)).square(), (1, width))
    variance = avg_pool2d(centred.square(), size)
    return _floored(of_rows, of_columns, variance)


def _parts_of_windows(centred: Tensor, size: Size) -> Parts:
    (height, down), (width, across) = map(_windows, size)
    means_of_rows = avg_pool2d(centred, (1, width), (1, across))
    means_of_columns = avg_pool2d(centred, (height, 1), (down, 1))
    square_of_mean = avg_pool2d(means_of_rows, (height, 1), (down, 1)).square()
    of_rows = avg_pool2d(means_of_rows.square(), (height, 1), (down, 1)) - square_of_mean
    of_columns = avg_pool2d(means_of_columns.square(), (1, width), (1, across)) - square_of_mean
    variance = avg_pool2d(centred.square(), (height, width), (down, across)) - square_of_mean
    return _floored(of_rows, of_columns, variance)


def _floored(of_rows: Tensor, of_columns: Tensor, variance: Tensor) -> Parts:
    """The three parts of a variance, none smaller than its floor."""
    floor = variance.clamp_min(0) * PART_FLOOR + VARIANCE_FLOOR
    rest = variance - of_rows - of_columns
    return torch.maximum(of_rows, floor), torch.maximum(of_columns, floor), torch.maximum(rest, floor)


def _log_spread(groups: list[Parts]) -> Tensor:
    """Parts (B, C_i, h, w) of each group of maps -> log standard deviations (B, h w, 3 M), part by part."""
    variances = torch.cat([parts[part] for part in range(PARTS) for parts in groups], 1)
    return _log(variances.permute(0, 2, 3, 1).flatten(1, 2)) * 0.5


def learnable(maps: list[Tensor]) -> Tensor:
    """(B, 4 M): context and whole alone, side by side, with a gradient: what a head maps."""
    context, parts = [], []
    for size in dict.fromkeys((x.shape[2], x.shape[3]) for x in maps):
        x = torch.cat([one for one in maps if one.shape[2:] == size], 1)
        mean = avg_pool2d(x, size)
        context.append(mean.flatten(1))
        parts.append(_parts_of_whole(x - mean, size))
    return torch.cat([*context, _log_spread(parts).flatten(1)], 1)


def _log(x: Tensor) -> Tensor:
    """The natural logarithm of positive numbers, to 3e-5 in [1e-7, 1e7], of nothing but roots, one quotient and a polynomial.

    log x = 32 atanh t with t = (x^(1/16) - 1) / (x^(1/16) + 1), and the series of atanh. An engine that has no vectorised
    logarithm of its own takes longer for that than for all the steps around it, which these join.
    """
    root = x.sqrt().sqrt().sqrt().sqrt()
    t = (root - 1) / (root + 1)
    s = t * t
    return t * (32 + s * (32 / 3 + s * (32 / 5 + s * (32 / 7 + s * (32 / 9 + s * (32 / 11 + s * (32 / 13)))))))


def deeper(sides: list[int]) -> list[int]:
    """Which maps, by number, give the places: those at most twice as large as the last one."""
    return [number for number, side in enumerate(sides) if side <= 2 * sides[-1]]


def _windows(length: int) -> tuple[int, int]:
    """Length of each of the three overlapping halves of a side, and from one's start to the next's."""
    step = length // (WINDOW_GRID + 1)
    return length - (WINDOW_GRID - 1) * step, step


def _on_grid(x: Tensor, size: Size, grid: Size) -> Tensor:
    """(B, C, *size) -> (B, C, *grid): the mean of every value and its up to eight neighbours, averaged again over the cells
    of a grid. Where the sides do not divide, cells overlap."""
    smooth = avg_pool2d(x, 3, stride=1, padding=1, count_include_pad=False)
    if size == grid:
        return smooth
    if size[0] % grid[0] or size[1] % grid[1]:
        return adaptive_avg_pool2d(smooth, grid)
    return avg_pool2d(smooth, (size[0] // grid[0], size[1] // grid[1]))
