"""Where the part is: drawn parts whose outline is known, and pictures that have none."""

from collections.abc import Callable

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from train.damage.parts import part_of, where_parts_are

Picture = NDArray[np.uint8]
Draw = Callable[..., Picture]


def disc(centre: tuple[int, int], radius: int, size: int, part: int, belt: int) -> tuple[Picture, NDArray[np.bool_]]:
    """A disc with sensor noise, and which pixels it covers."""
    y, x = np.mgrid[:size, :size]
    inside = np.hypot(x - centre[0], y - centre[1]) <= radius
    levels = np.where(inside, part, belt)[:, :, None] + np.random.default_rng(radius).normal(0, 4, (size, size, 3))
    return np.clip(levels, 0, 255).astype(np.uint8), inside


def overlap(found: NDArray[np.bool_], true: NDArray[np.bool_]) -> float:
    return float((found & true).sum() / (found | true).sum())


@given(
    x=st.integers(50, 150), y=st.integers(50, 150), radius=st.integers(22, 40), part=st.sampled_from([90, 160, 230]),
    belt=st.sampled_from([20, 40]), bright_belt=st.booleans(),
)  # fmt: skip
@settings(max_examples=40, deadline=None)
def test_a_part_on_a_belt_is_found_wherever_it_lies(
    x: int, y: int, radius: int, part: int, belt: int, bright_belt: bool
) -> None:
    if bright_belt:
        part, belt = 255 - part, 255 - belt
    picture, inside = disc((x, y), radius, 200, part, belt)
    assert overlap(part_of(picture), inside) > 0.85


def test_dark_spots_and_holes_in_a_part_belong_to_it() -> None:
    picture, inside = disc((100, 100), 60, 200, 170, 30)
    cv2.circle(picture, (110, 95), 12, (30, 30, 30), -1)
    cv2.circle(picture, (100, 158), 4, (30, 30, 30), -1)
    assert overlap(part_of(picture), inside) > 0.92


@pytest.mark.parametrize("size", [128, 224, 512])
def test_the_weights_of_drawn_parts_are_high_on_them_and_zero_on_the_belt(drawn_part: Draw, size: int) -> None:
    weights = where_parts_are(drawn_part(seed, size=size) for seed in range(12))
    y, x = np.mgrid[:size, :size]
    distance = np.hypot(x - size // 2, y - size // 2)
    assert weights.shape == (size, size)
    assert weights.dtype == np.float32
    assert weights.max() == 1
    assert weights[distance < size / 3 - 8].min() > 0.95
    assert weights[distance > size / 3 + 12].max() == 0


def test_a_texture_that_fills_the_frame_is_part_everywhere() -> None:
    random = np.random.default_rng(0)
    textures = [
        np.repeat(cv2.GaussianBlur(random.normal(120, 50, (128, 128, 1)), (0, 0), s)[:, :, None], 3, 2)
        for s in range(1, 9)
    ]
    weights = where_parts_are(np.clip(texture, 0, 255).astype(np.uint8) for texture in textures)
    assert (weights == 1).all()


@pytest.mark.parametrize("level", [0, 128, 255])
def test_a_plain_picture_is_part_everywhere(level: int) -> None:
    picture = np.full((128, 128, 3), level, np.uint8)
    assert part_of(picture).all()
    assert (where_parts_are([picture]) == 1).all()


def test_a_part_that_is_cut_by_the_frame_is_not_told_from_the_background() -> None:
    picture = np.full((128, 128, 3), 30, np.uint8)
    picture[:, 40:] = 180
    assert part_of(picture).all()


def test_one_part_in_five_that_is_not_told_makes_the_whole_picture_count(drawn_part: Draw) -> None:
    plain = np.full((128, 128, 3), 40, np.uint8)
    parts = [drawn_part(seed) for seed in range(20)]
    assert (where_parts_are([*parts[:8], plain, plain]) == 1).all()
    assert (where_parts_are([*parts, plain]) == 0).any()


def test_no_picture_is_an_error() -> None:
    with pytest.raises(ValueError, match="no picture"):
        where_parts_are([])
