"""Raw pixels become BGR: against mosaics that are made pixel by pixel after the naming convention."""

import numpy as np
import pytest

from senbetsu.camera.pixels import CONVERSIONS, to_bgr

COLOURS = {"R": (10, 0), "G": (20, 1), "B": (30, 2)}
"""Value of a flat field in each colour, and its place in RGB."""


def mosaic(first_row: str, height: int, width: int) -> np.ndarray:
    """A flat field of (R, G, B) = (10, 20, 30) as a sensor with this pattern sees it."""
    second_row = {"RG": "GB", "BG": "GR", "GR": "BG", "GB": "RG"}[first_row]
    pattern = np.array([[COLOURS[c][0] for c in row] for row in (first_row, second_row)], np.uint8)
    return np.tile(pattern, (height // 2, width // 2))


@pytest.mark.parametrize("pattern", ["RG", "BG", "GR", "GB"])
def test_a_bayer_pattern_is_named_after_its_first_row(pattern: str) -> None:
    image = to_bgr(mosaic(pattern, 8, 12), 12, 8, f"Bayer{pattern}8")
    assert image.shape == (8, 12, 3)
    assert (image == (30, 20, 10)).all()


@pytest.mark.parametrize("name", [name for name, (depth, _) in CONVERSIONS.items() if depth > 1])
def test_colours_come_in_the_order_blue_green_red_whatever_the_camera_sends(name: str) -> None:
    order = {"RGB": (10, 20, 30), "BGR": (30, 20, 10)}[name[:3].upper()]
    depth = CONVERSIONS[name][0]
    pixels = np.tile(np.array([*order, 255][:depth], np.uint8), 6 * 4)
    image = to_bgr(pixels, 6, 4, name)
    assert image.shape == (4, 6, 3)
    assert (image == (30, 20, 10)).all()


def test_a_picture_is_a_copy_and_what_follows_its_last_pixel_is_left_out() -> None:
    pixels = np.arange(30, dtype=np.uint8)
    image = to_bgr(pixels, 4, 6, "Mono8")
    assert (image == np.arange(24).reshape(6, 4)).all()
    pixels[:] = 0
    assert image[5, 3] == 23


@pytest.mark.parametrize(("size", "name"), [(23, "Mono8"), (71, "RGB8"), (24, "Mono12")])
def test_too_few_pixels_or_an_unknown_format_is_refused(size: int, name: str) -> None:
    with pytest.raises(ValueError):
        to_bgr(np.zeros(size, np.uint8), 4, 6, name)
