"""Pictures changed as a line itself changes them: mirrored, a little out of place, a little brighter or darker.

torchvision's v2 transforms, on uint8 BGR. Every picture of a batch is changed in its own way, which is drawn for the whole
batch from one generator before anything is changed: so several processes that each take a share of a batch see the very
pictures that one process would.

Flips are for parts without an orientation. Where it matters (a label, a side that must be up), a mirrored part is a part
that the line never makes: train.augment_flips = false.
"""

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchvision.transforms.v2 import functional

from senbetsu.config import TrainSection


class Changes(NamedTuple):
    """What is done to each of N pictures; each entry (N,)."""

    mirrored: NDArray[np.bool_]
    """Left and right swapped."""
    upside_down: NDArray[np.bool_]
    right: NDArray[np.int64]
    """Shift in pixels; what comes in at the edge repeats it."""
    down: NDArray[np.int64]
    gain: NDArray[np.float64]
    """Factor of the light, 1 as it was; what would be over 255 is cut off there, as in a camera."""

    def of(self, rows: NDArray[np.int64]) -> "Changes":
        """Those of some of the pictures."""
        return Changes(self.mirrored[rows], self.upside_down[rows], self.right[rows], self.down[rows], self.gain[rows])


def draw_changes(count: int, side: int, settings: TrainSection, random: np.random.Generator) -> Changes:
    """Changes for `count` pictures of `side` pixels.

    All numbers are drawn whatever is switched off, so that one setting does not change what another one does.
    """
    flips = random.random((2, count)) < 0.5 * settings.augment_flips
    shifts = np.rint(random.uniform(-1, 1, (2, count)) * settings.augment_shift * side).astype(np.int64)
    gain = 1 + random.uniform(-1, 1, count) * settings.augment_light
    return Changes(flips[0], flips[1], shifts[0], shifts[1], gain)


def change(pictures: Tensor, changes: Changes) -> Tensor:
    """pictures (N, S, S, 3) uint8 BGR -> the same shape and type, changed."""
    return torch.stack([_changed(picture, *each) for picture, *each in zip(pictures, *changes, strict=True)])


def _changed(picture: Tensor, mirrored: bool, upside_down: bool, right: int, down: int, gain: float) -> Tensor:
    x = picture.permute(2, 0, 1)
    height, width = x.shape[-2:]
    if mirrored:
        x = functional.horizontal_flip(x)
    if upside_down:
        x = functional.vertical_flip(x)
    if right or down:
        left, top = max(int(right), 0), max(int(down), 0)
        padding = [left, top, max(-int(right), 0), max(-int(down), 0)]
        x = functional.pad(x, padding, padding_mode="edge")
        x = functional.crop(x, max(-int(down), 0), max(-int(right), 0), height, width)
    if gain != 1:
        x = functional.adjust_brightness(x, float(gain))
    return x.permute(1, 2, 0)
