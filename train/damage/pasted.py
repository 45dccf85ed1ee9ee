"""Damage that puts something else in a place: a piece of another part, foreign matter, or nothing where there was a piece."""

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from train.damage.parts import Picture, Weights
from train.damage.shapes import (
    LEAST_AREA,
    MOST_AREA,
    Mask,
    blend,
    blob,
    draw_centre,
    is_grey,
    log_uniform,
    noise,
    strip,
    tint,
)


def cut_paste(picture: Picture, donor: Picture, random: Generator, where: Weights) -> Picture:
    """A rectangle of the donor or of another place, turned or mirrored (Li et al. 2021, "CutPaste", arXiv 2104.04015)."""
    side = picture.shape[0]
    area = log_uniform(random, LEAST_AREA, MOST_AREA) * side * side
    aspect = log_uniform(random, 0.3, 3.3)
    mask = strip(
        side, draw_centre(random, where), random.uniform(-np.pi / 4, np.pi / 4), (area * aspect) ** 0.5,
        (area / aspect) ** 0.5, soft=log_uniform(random, 1, 4),
    )  # fmt: skip
    return blend(picture, _moved(picture, donor, random), mask)


def scar(picture: Picture, donor: Picture, random: Generator, where: Weights) -> Picture:
    """A thin turned strip of another place, its light changed (the scar of arXiv 2104.04015)."""
    side = picture.shape[0]
    length, width = side * log_uniform(random, 0.08, 0.5), max(1.5, side * log_uniform(random, 0.008, 0.05))
    mask = strip(side, draw_centre(random, where), random.uniform(0, np.pi), length, width)
    return blend(picture, _moved(picture, donor, random), mask * np.float32(log_uniform(random, 0.4, 1)))


def foreign_texture(picture: Picture, donor: Picture, random: Generator, where: Weights) -> Picture:
    """Matter of another texture through a smooth ragged mask (after DRAEM, Zavrtanik et al. 2021, arXiv 2108.07610).

    DRAEM takes its textures from a data set of them; here they are generated, or the donor is altered past recognition.
    """
    side = picture.shape[0]
    area = log_uniform(random, 2 * LEAST_AREA, MOST_AREA)
    mask = blob(random, side, draw_centre(random, where), area, soft=random.uniform(0.1, 0.6), rough=0.8)
    texture = _altered(donor, random) if random.random() < 0.5 else _pattern(picture, random)
    return blend(picture, texture, mask * np.float32(log_uniform(random, 0.25, 1)))


def missing_piece(picture: Picture, donor: Picture, random: Generator, where: Weights) -> Picture:  # noqa: ARG001
    """A piece is gone, most often from the edge: the background shows, or where there is none, what lies below."""
    side = picture.shape[0]
    area = log_uniform(random, 2 * LEAST_AREA, MOST_AREA)
    part = where > 0
    if part.all() or not part.any():
        mask = blob(random, side, draw_centre(random, where), area, soft=0.05, rough=0.6)
        return blend(picture, _laid_bare(picture, mask, random), mask)
    edge = cv2.morphologyEx(part.astype(np.uint8), cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)) > 0
    place = edge.astype(np.float32) if random.random() < 0.7 else where
    mask = blob(random, side, draw_centre(random, place), area, soft=0.05, rough=0.5)
    return blend(picture, _background(picture, part, random), mask)


def _moved(picture: Picture, donor: Picture, random: Generator) -> Picture:
    """The donor or the picture itself, shifted, turned and perhaps mirrored, its light a little changed."""
    side = picture.shape[0]
    source = donor if random.random() < 0.5 else picture
    if random.random() < 0.5:
        source = source[:, ::-1]
    turn = cv2.getRotationMatrix2D((side / 2, side / 2), random.uniform(-180, 180), 1.0)
    shift = random.uniform(-side / 2, side / 2, 2)
    moved = cv2.warpAffine(
        source,
        turn + np.array([[0, 0, shift[0]], [0, 0, shift[1]]]),
        (side, side),
        flags=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REFLECT_101,
    )
    gain, offset = random.uniform(0.85, 1.15), random.uniform(-12, 12)
    return np.asarray(np.clip(moved.astype(np.float32) * gain + offset, 0, 255), np.uint8)


def _pattern(picture: Picture, random: Generator) -> NDArray[np.float32]:
    """Clouds, stripes or grains between two colours."""
    side = picture.shape[0]
    kind = random.integers(3)
    if kind == 0:
        height = noise(random, side, side * log_uniform(random, 0.02, 0.15))
    elif kind == 1:
        y, x = np.mgrid[:side, :side].astype(np.float32)
        angle, period = random.uniform(0, np.pi), max(3.0, side * log_uniform(random, 0.012, 0.08))
        bent = 0.3 * noise(random, side, side * 0.1)
        height = np.sin((x * np.cos(angle) + y * np.sin(angle)) * (2 * np.pi / period) + bent) * 1.5
    else:
        height = random.normal(0, 1, (side, side)).astype(np.float32)
    share = np.clip(0.5 + 0.35 * height, 0, 1).astype(np.float32)[:, :, None]
    return np.asarray(share * tint(random, picture) + (1 - share) * tint(random, picture), np.float32)


def _altered(donor: Picture, random: Generator) -> NDArray[np.float32]:
    """The donor shrunk and repeated, with its colours turned and its grey levels inverted or steepened."""
    side = donor.shape[0]
    times = int(random.integers(2, 5))
    small = cv2.resize(donor, (-(-side // times), -(-side // times)), interpolation=cv2.INTER_AREA)
    tiled = np.tile(small, (times, times, 1))[:side, :side].astype(np.float32)
    if not is_grey(donor):
        tiled = tiled[:, :, random.permutation(3)]
    if random.random() < 0.5:
        tiled = 255 - tiled
    middle = tiled.mean()
    return np.asarray(
        np.clip((tiled - middle) * log_uniform(random, 0.7, 3) + middle + random.uniform(-60, 60), 0, 255), np.float32
    )


def _background(picture: Picture, part: NDArray[np.bool_], random: Generator) -> NDArray[np.float32]:
    """What would be seen with the part away: the nearest background, smoothed, with the background's own grain."""
    side = picture.shape[0]
    # The part's own shade on the background must not be taken for background.
    near = cv2.dilate(part.astype(np.uint8), np.ones((3, 3), np.uint8), iterations=max(1, side // 64))
    _, labels = cv2.distanceTransformWithLabels(near, cv2.DIST_L2, 3, labelType=cv2.DIST_LABEL_PIXEL)
    outside = near == 0
    if not outside.any():
        return np.full(picture.shape, np.median(picture[~part], axis=0), np.float32)
    colours = np.zeros((int(labels.max()) + 1, 3), np.float32)
    colours[labels[outside]] = picture[outside]
    smooth = cv2.GaussianBlur(colours[labels], (0, 0), side / 40)
    grain = picture[outside].astype(np.float32) - smooth[outside]
    picked = grain[random.integers(0, len(grain), side * side)].reshape(side, side, 3)
    return np.asarray(smooth + np.clip(picked, -20, 20), np.float32)


def _laid_bare(picture: Picture, mask: Mask, random: Generator) -> NDArray[np.float32]:
    """What lies below a piece that broke out of a surface: smooth and darker or brighter than what is around it."""
    side = picture.shape[0]
    around = (cv2.dilate(mask, np.ones((3, 3), np.uint8), iterations=max(2, side // 32)) > 0) & (mask == 0)
    colour = np.median(picture[around], axis=0) if around.any() else np.median(picture, axis=(0, 1))
    target = 0.0 if random.random() < 0.7 else 255.0
    strength = log_uniform(random, 0.08, 0.8)
    rough = noise(random, side, side * 0.03) * random.uniform(1, 8)
    bare = colour + strength * (target - colour)
    return np.asarray(bare + rough[:, :, None], np.float32)
