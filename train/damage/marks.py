"""Damage that marks the surface: thin cracks, and small spots."""

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from train.damage.parts import Picture, Weights
from train.damage.shapes import LEAST_AREA, Mask, blend, blob, draw_centre, log_uniform, tint

FRACTION_BITS = 4
"""Of a pixel, in which OpenCV takes coordinates."""


def crack(picture: Picture, donor: Picture, random: Generator, where: Weights) -> Picture:  # noqa: ARG001
    """A thin jagged line, dark or bright, sometimes branched; it ends where the part ends."""
    side = picture.shape[0]
    drawn = np.zeros((side, side), np.uint8)
    length, width = side * log_uniform(random, 0.15, 0.8), side * log_uniform(random, 0.005, 0.018)
    heading = random.uniform(0, 2 * np.pi)
    start = np.array(draw_centre(random, where))
    points = _jagged(random, start, heading, length, side)
    _draw(drawn, points, width)
    for _ in range(int(random.choice([0, 0, 1, 2]))):
        fork = points[random.integers(len(points))]
        aside = heading + random.choice([-1, 1]) * random.uniform(0.4, 1.2)
        _draw(drawn, _jagged(random, fork, aside, length / 3, side), width / 2)
    mask = np.asarray(drawn * np.float32(1 / 255) * (where > 0), np.float32)
    return _marked(picture, mask, random, strength=log_uniform(random, 0.25, 0.95))


def spot(picture: Picture, donor: Picture, random: Generator, where: Weights) -> Picture:  # noqa: ARG001
    """One to four small blobs, dark, bright or of a colour: pores, stains, spatter."""
    side = picture.shape[0]
    soft, rough = random.uniform(0.1, 0.8), random.uniform(0.1, 0.6)
    mask = np.zeros((side, side), np.float32)
    for _ in range(int(random.choice([1, 1, 2, 4]))):
        area = log_uniform(random, LEAST_AREA, 15 * LEAST_AREA)
        mask = np.maximum(mask, blob(random, side, draw_centre(random, where), area, soft=soft, rough=rough))
    strength = log_uniform(random, 0.2, 0.95)
    if random.random() < 0.25:
        return blend(picture, tint(random, picture), mask * np.float32(strength))
    return _marked(picture, mask, random, strength)


def _marked(picture: Picture, mask: Mask, random: Generator, strength: float) -> Picture:
    """Darker or brighter under the mask, the surface's grain showing through: dark more often, as pits and cracks are."""
    target = 0.0 if random.random() < 0.65 else 255.0
    return blend(picture, np.full(3, target, np.float32), mask * np.float32(strength))


def _jagged(
    random: Generator, start: NDArray[np.floating], heading: float, length: float, side: int
) -> NDArray[np.float64]:
    """Points (K, 2) of a line that turns a little at every step and now and then sharply."""
    step = max(2.0, side * 0.018)
    steps = max(2, round(length / step))
    turns = random.normal(0, 0.3, steps) + random.normal(0, 0.9, steps) * (random.random(steps) < 0.15)
    # Only a quarter of each turn lasts: a crack wanders about its direction and does not curl up.
    headings = heading + 0.25 * np.cumsum(turns) + turns
    strides = step * random.uniform(0.5, 1.5, steps)
    moves = np.stack([np.cos(headings), np.sin(headings)], 1) * strides[:, None]
    return np.concatenate([np.asarray(start)[None], start + np.cumsum(moves, 0)])


def _draw(drawn: NDArray[np.uint8], points: NDArray[np.floating], width: float) -> None:
    """Draw a line that thins out to its end, in place; less than a pixel wide, it is fainter instead."""
    for i in range(len(points) - 1):
        here = width * (1 - 0.7 * i / len(points))
        start, end = np.rint(points[i : i + 2] * 2**FRACTION_BITS).astype(int).tolist()
        level, pixels = round(255 * min(1.0, here)), max(1, round(here))
        cv2.line(drawn, start, end, level, pixels, cv2.LINE_AA, FRACTION_BITS)
