"""Damage that alters what is there: its light, its sharpness, its shape."""

import cv2
import numpy as np
from numpy.random import Generator

from train.damage.parts import Picture, Weights
from train.damage.shapes import LEAST_AREA, MOST_AREA, blend, blob, draw_centre, log_uniform


def light(picture: Picture, donor: Picture, random: Generator, where: Weights) -> Picture:  # noqa: ARG001
    """Brighter or darker through a soft mask: a stain, a burn, a worn coat, glare."""
    mask = blob(
        random, picture.shape[0], draw_centre(random, where), log_uniform(random, 4 * LEAST_AREA, MOST_AREA),
        soft=random.uniform(0.6, 1.4),
    )  # fmt: skip
    strength = log_uniform(random, 0.15, 0.8)
    before = picture.astype(np.float32)
    # A gain leaves dark places as they are; a veil of light lies on all of them.
    veil = before + strength * (255 - before)
    after = (before * (1 - strength), before * (1 + strength), veil)[random.integers(3)]
    return blend(picture, np.clip(after, 0, 255), mask)


def blur(picture: Picture, donor: Picture, random: Generator, where: Weights) -> Picture:  # noqa: ARG001
    """Detail is smeared: evenly, or along one direction."""
    side = picture.shape[0]
    area = log_uniform(random, 5 * LEAST_AREA, MOST_AREA)
    mask = blob(random, side, draw_centre(random, where), area, soft=random.uniform(0.1, 0.5))
    sigma = max(1.0, side * log_uniform(random, 0.008, 0.06))
    if random.random() < 0.5:
        return blend(picture, np.asarray(cv2.GaussianBlur(picture, (0, 0), sigma), np.uint8), mask)
    length = 2 * round(2 * sigma) + 1
    kernel = np.zeros((length, length), np.uint8)
    angle, middle = random.uniform(0, np.pi), length // 2
    reach = np.array([np.cos(angle), np.sin(angle)]) * middle
    start, end = np.rint(middle - reach).astype(int), np.rint(middle + reach).astype(int)
    cv2.line(kernel, start.tolist(), end.tolist(), 255, 1, cv2.LINE_AA)
    smear = kernel.astype(np.float32) / kernel.sum()
    smeared = cv2.filter2D(picture, -1, smear, borderType=cv2.BORDER_REFLECT_101)
    return blend(picture, np.asarray(smeared, np.uint8), mask)


def warp(picture: Picture, donor: Picture, random: Generator, where: Weights) -> Picture:  # noqa: ARG001
    """The surface is pushed, twisted or pulled smoothly: a dent, a swirl, a stretch."""
    side = picture.shape[0]
    x0, y0 = draw_centre(random, where)
    radius = side * float(np.sqrt(log_uniform(random, 15 * LEAST_AREA, MOST_AREA) / np.pi))
    y, x = np.mgrid[:side, :side].astype(np.float32)
    dx, dy = x - np.float32(x0), y - np.float32(y0)
    # (1 - r^2)^2 falls by at most 1.54 a radius: pushed by less than .65 of it, no place is seen twice.
    bump = np.square(np.clip(1 - (dx**2 + dy**2) / np.float32(radius**2), 0, None))
    strength = log_uniform(random, 0.3, 0.63) * random.choice([-1, 1])
    way = random.integers(3)
    if way == 0:
        from_x, from_y = x - strength * bump * dx, y - strength * bump * dy
    elif way == 1:
        turn = 2.5 * strength * bump
        from_x, from_y = x0 + dx * np.cos(turn) - dy * np.sin(turn), y0 + dx * np.sin(turn) + dy * np.cos(turn)
    else:
        angle = random.uniform(0, 2 * np.pi)
        from_x = x - strength * radius * bump * np.cos(angle)
        from_y = y - strength * radius * bump * np.sin(angle)
    sources = from_x.astype(np.float32), from_y.astype(np.float32)
    moved = cv2.remap(picture, *sources, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
    return blend(picture, np.asarray(moved, np.uint8), (bump > 0).astype(np.float32))
