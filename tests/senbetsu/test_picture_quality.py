"""Exposure and sharpness of a picture."""

import cv2
import numpy as np
import pytest

from senbetsu.picture_quality import quality_of


def test_grey_and_shares_are_those_of_the_pixels() -> None:
    picture = np.full((10, 10, 3), 100, np.uint8)
    picture[:2] = 0
    picture[2:3] = 255
    quality = quality_of(picture)
    assert quality.mean_grey == pytest.approx((70 * 100 + 10 * 255) / 100)
    assert (quality.under, quality.over) == (pytest.approx(0.2), pytest.approx(0.1))


def test_blur_lowers_sharpness_and_light_does_not(drawn_part) -> None:
    picture = (drawn_part(3) // 2 + 20).astype(np.uint8)
    sharp = quality_of(picture).sharpness
    assert quality_of(cv2.GaussianBlur(picture, (0, 0), 1)).sharpness < 0.3 * sharp
    brighter = cv2.convertScaleAbs(picture, alpha=1.5)
    assert quality_of(brighter).sharpness == pytest.approx(sharp, rel=0.05)


@pytest.mark.parametrize("shape", [(20, 30), (20, 30, 1), (20, 30, 3), (20, 30, 4)])
def test_every_form_of_frame_is_measured_alike(shape: tuple[int, ...]) -> None:
    quality = quality_of(np.full(shape, 77, np.uint8))
    assert quality.mean_grey == pytest.approx(77, abs=1)
    assert quality.sharpness == 0
