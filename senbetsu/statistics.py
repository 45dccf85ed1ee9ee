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

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

WINDOW_GRID = 3
"""Windows a side."""
REGIONS = 1 + WINDOW_GRID**2
"""The whole picture, then its windows."""
PARTS = 3
"""Of a variance: of the row means, of the column means, and the rest."""
PLACE_GRID = 8
"""Most places a side."""
VARIANCE_FLOOR = 1e-6
PART_FLOOR = 1e-3
"""Smallest part of a variance, as a share of it: what is smaller is rounding (in bf16 most of all)."""

Matrix = NDArray[np.float64]
Size = tuple[int, int]


class Statistics(NamedTuple):
    """Of B pictures: context (B, M), whole (B, 3 M), windows (B, 9, 3 M), places (B, L, P); float32.

    M is the sum of all maps' channels, P that of the deeper maps' (see `deeper`), L the number of places.
    """

    context: Tensor
    whole: Tensor
    windows: Tensor
    places: Tensor


class Measure(nn.Module):
    """Feature maps, each (B, C_i, H_i, W_i) from shallow to deep, -> Statistics.

    All means are products with fixed matrices, and so are the parts of the variances, as sums of squares of such means:
    a picture takes few and large steps, which is what costs time where one part is judged at once. The matrices stand on
    the left, so that channels stay last, as backbones leave them, and nothing has to be transposed.
    """

    def __init__(self, sizes: Sequence[Size]) -> None:
        """`sizes` (H_i, W_i) of the maps, each at least 4 x 4. Computes in float64; `float()` makes it float32."""
        super().__init__()
        self._groups = [[number for number, size in enumerate(sizes) if size == one] for one in dict.fromkeys(sizes)]
        self._deeper = deeper([width for _, width in sizes])
        grid = (min(sizes[-1][0], PLACE_GRID), min(sizes[-1][1], PLACE_GRID))
        for group in self._groups:
            size = sizes[group[0]]
            means, parts = means_matrix(size), parts_matrix(size)
            for name, matrix in (("means", means), ("parts", parts), ("places", places_matrix(size, grid))):
                self.register_buffer(f"_{name}_{group[0]}", torch.from_numpy(matrix), persistent=False)

    def forward(self, maps: list[Tensor]) -> Statistics:
        """See the class."""
        context, variances, places = [], [], []
        for group in self._groups:
            x = torch.cat([maps[number] for number in group], 1).permute(0, 2, 3, 1).flatten(1, 2)
            mean = x.mean(1, keepdim=True)
            centred = x - mean  # E[x^2] - E[x]^2 of centred values: no cancellation when computed in bf16
            means = self.get_buffer(f"_means_{group[0]}") @ centred
            variances.append(self.get_buffer(f"_parts_{group[0]}") @ torch.cat([centred, means], 1).square())
            context.append(mean.flatten(1))
            if group[0] in self._deeper:
                places.append(self.get_buffer(f"_places_{group[0]}") @ x)
        stacked = torch.cat(variances, 2)
        parts = stacked.reshape(stacked.shape[0], REGIONS, PARTS, stacked.shape[2])
        spread = _log_spread(parts, 2).flatten(2)
        return Statistics(torch.cat(context, 1), spread[:, 0], spread[:, 1:], torch.cat(places, 2))


def learnable(maps: list[Tensor]) -> Tensor:
    """(B, 4 M): context and whole alone, side by side, with a gradient: what a head maps."""
    context, parts = [], []
    for size in dict.fromkeys(tuple(x.shape[-2:]) for x in maps):
        group = torch.cat([x for x in maps if tuple(x.shape[-2:]) == size], 1)
        mean = group.mean((2, 3), keepdim=True)
        centred = group - mean
        variance = centred.square().mean((2, 3))
        of_rows, of_columns = centred.mean(3).square().mean(2), centred.mean(2).square().mean(2)
        context.append(mean.flatten(1))
        parts.append(torch.stack([of_rows, of_columns, variance - of_rows - of_columns], 1))
    return torch.cat([*context, _log_spread(torch.cat(parts, 2), 1).flatten(1)], 1)


def _log_spread(parts: Tensor, axis: int) -> Tensor:
    """Log standard deviations of the three parts of a variance, which lie along `axis`."""
    floor = parts.sum(axis, keepdim=True).clamp_min(0) * PART_FLOOR + VARIANCE_FLOOR
    return _log(torch.maximum(parts, floor)) * 0.5


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


def _windows(length: int) -> list[range]:
    """The whole length, then its three overlapping halves."""
    step = length // (WINDOW_GRID + 1)
    size = length - (WINDOW_GRID - 1) * step
    return [range(length), *(range(i * step, i * step + size) for i in range(WINDOW_GRID))]


def _regions() -> list[tuple[int, int]]:
    """Number of the vertical and of the horizontal range of each region."""
    return [(0, 0), *((i, j) for i in range(1, WINDOW_GRID + 1) for j in range(1, WINDOW_GRID + 1))]


def means_matrix(size: Size) -> Matrix:
    """(4 H + 4 W + 10, H W): means of every row in each horizontal range, of every column in each vertical one, of regions."""
    height, width = size
    rows = []
    for across in _windows(width):
        rows += [_mean(size, [row], across) for row in range(height)]
    for down in _windows(height):
        rows += [_mean(size, down, [column]) for column in range(width)]
    rows += [_mean(size, _windows(height)[i], _windows(width)[j]) for i, j in _regions()]
    return np.stack(rows)


def _mean(size: Size, rows: Sequence[int], columns: Sequence[int]) -> Matrix:
    taken = np.zeros(size)
    taken[np.ix_(list(rows), list(columns))] = 1 / (len(rows) * len(columns))
    return taken.ravel()


def parts_matrix(size: Size) -> Matrix:
    """(10 x 3, H W + 4 H + 4 W + 10): squares of the values and of `means_matrix`'s means -> parts of variances."""
    height, width = size
    ranges_down, ranges_across = _windows(height), _windows(width)
    row_means, column_means = height * width, height * width + len(ranges_across) * height
    region_means = column_means + len(ranges_down) * width
    matrix = np.zeros((REGIONS, PARTS, region_means + REGIONS))
    for region, (i, j) in enumerate(_regions()):
        down, across = ranges_down[i], ranges_across[j]
        square_of_mean = np.zeros(matrix.shape[2])
        square_of_mean[region_means + region] = 1.0
        values, of_rows, of_columns = np.zeros((3, matrix.shape[2]))
        values[: height * width] = _mean(size, down, across)
        of_rows[[row_means + j * height + row for row in down]] = 1 / len(down)
        of_columns[[column_means + i * width + column for column in across]] = 1 / len(across)
        matrix[region, 0] = of_rows - square_of_mean
        matrix[region, 1] = of_columns - square_of_mean
        matrix[region, 2] = values - of_rows - of_columns + square_of_mean
    return matrix.reshape(REGIONS * PARTS, matrix.shape[2])


def places_matrix(size: Size, grid: Size) -> Matrix:
    """(L, H W): the mean of every value's 3 x 3 neighbours, averaged again over the cells of a grid."""
    down, across = _smoothed_cells(size[0], grid[0]), _smoothed_cells(size[1], grid[1])
    return np.asarray(np.kron(down, across), np.float64)


def _smoothed_cells(length: int, cells: int) -> Matrix:
    """(cells, length) of one axis; cells as of an adaptive average: they may share a value where lengths do not divide."""
    at = np.arange(length)
    near = (np.abs(at[:, None] - at) <= 1).astype(np.float64)
    smooth = near / near.sum(1, keepdims=True)
    taken = np.zeros((cells, length))
    for cell in range(cells):
        inside = range(cell * length // cells, -(-(cell + 1) * length // cells))
        taken[cell, list(inside)] = 1 / len(inside)
    smoothed: Matrix = taken @ smooth
    return smoothed
