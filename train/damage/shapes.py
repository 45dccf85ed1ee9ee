"""Shapes that damage has: where it lies, how large it is, and soft masks in 0..1 of that size.

Areas and strengths are drawn log-uniformly, so that a set holds as many faint and small damages as plain ones.
"""

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from train.damage.parts import Picture, Weights

Mask = NDArray[np.float32]

LEAST_AREA, MOST_AREA = 0.001, 0.1
"""Of the picture."""


def log_uniform(random: Generator, low: float, high: float) -> float:
    """A number in low..high, each octave as likely as the next; 0 < low <= high."""
    return float(np.exp(random.uniform(np.log(low), np.log(high))))


def draw_centre(random: Generator, where: Weights) -> tuple[float, float]:
    """(x, y) in pixels, drawn with the weights (S, S); evenly where all are zero."""
    cumulated = np.cumsum(where, dtype=np.float64)
    if cumulated[-1] <= 0:
        cumulated = np.arange(1.0, where.size + 1)
    place = int(np.searchsorted(cumulated, random.uniform(0, cumulated[-1]), side="right"))
    y, x = divmod(min(place, where.size - 1), where.shape[1])
    return float(x), float(y)


def turned(side: int, centre: tuple[float, float], angle: float) -> tuple[Mask, Mask]:
    """Coordinates (S, S) in pixels from the centre, along and across a direction (radians)."""
    places = np.arange(side, dtype=np.float32)
    x, y = places[None, :] - np.float32(centre[0]), places[:, None] - np.float32(centre[1])
    cos, sin = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    return x * cos + y * sin, y * cos - x * sin


def strip(side: int, centre: tuple[float, float], angle: float, length: float, width: float, soft: float = 1.0) -> Mask:
    """A turned rectangle, length x width pixels, whose edge fades over `soft` pixels."""
    along, across = turned(side, centre, angle)
    inside = np.minimum(length / 2 - np.abs(along), width / 2 - np.abs(across))
    return np.asarray(np.clip(inside / soft + 0.5, 0, 1), np.float32)


def noise(random: Generator, side: int, cell: float) -> Mask:
    """Value noise (S, S) of mean 0 and deviation near 1 whose lumps are `cell` pixels wide, with two finer octaves."""
    total = np.zeros((side, side), np.float32)
    for octave in range(3):
        nodes = max(2, min(side, round(side / cell * 2**octave)) + 1)
        grid = random.normal(0, 0.5**octave, (nodes, nodes)).astype(np.float32)
        total += cv2.resize(grid, (side, side), interpolation=cv2.INTER_CUBIC)
    return total


def blob(
    random: Generator, side: int, centre: tuple[float, float], area: float, *, soft: float, rough: float = 0.5
) -> Mask:
    """An irregular, longish spot of an area (share of the picture).

    Args:
        soft: width of the edge, of the spot's radius; never sharper than a pixel.
        rough: 0 an ellipse, 1 ragged.
    """
    radius = max(1.0, side * float(np.sqrt(area / np.pi)))
    stretch = log_uniform(random, 1.0, 2.2) ** 0.5
    along, across = turned(side, centre, random.uniform(0, np.pi))
    r_squared = ((along / stretch) ** 2 + (across * stretch) ** 2) / radius**2
    height = 1 - r_squared + rough * noise(random, side, 1.2 * radius) * (r_squared < 4)
    pixels = max(1, min(round(area * side * side), side * side - 1))
    level = float(np.partition(height, -pixels, axis=None)[-pixels])
    edge = 2 * max(soft, 1 / radius)
    ramp = np.clip((height - level) / edge + 0.5, 0, 1)
    return np.asarray(ramp * ramp * (3 - 2 * ramp), np.float32)


def blend(picture: Picture, other: NDArray[np.floating] | Picture, mask: Mask) -> Picture:
    """The picture (S, S, 3) with `other` (S, S, 3) or (3,) in place of it as far as the mask (S, S) goes."""
    before = picture.astype(np.float32)
    after = before + mask[:, :, None] * (np.asarray(other, np.float32) - before)
    return np.asarray(np.clip(np.rint(after), 0, 255), np.uint8)


def is_grey(picture: Picture) -> bool:
    """Whether all channels are alike: colour on such a picture would give damage away."""
    return bool((picture[:, :, :1] == picture).all())


def tint(random: Generator, picture: Picture) -> NDArray[np.float32]:
    """A colour (3,) in 0..255, between the picture's own and any; grey for a grey picture."""
    colour = np.full(3, random.uniform(0, 255)) if is_grey(picture) else random.uniform(0, 255, 3)
    own = picture[picture.shape[0] // 2, picture.shape[1] // 2]
    return np.asarray(own + random.uniform(0.2, 1) * (colour - own), np.float32)
