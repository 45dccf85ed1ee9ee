"""Pictures side by side: each is there once, whatever their number and size."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from senbetsu.errors import UserError
from senbetsu.montage import draw_montage


@pytest.mark.parametrize("count", [0, 1, 7, 8, 9])
def test_a_montage_shows_each_part_once_whatever_their_number_and_size(count: int, tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    tiles = []
    for number in range(count):
        size = random.integers(20, 120, 2)
        tiles.append(
            (np.full((*size, 3), (20 * number + 15, 255, 0), np.uint8), "2.01 of a part with a very long name")
        )
    draw_montage(tmp_path / "montage.png", tiles, "rejects")
    image = cv2.imread(str(tmp_path / "montage.png"))
    assert image is not None
    for number in range(12):
        assert (image == (20 * number + 15, 255, 0)).all(axis=2).any() == (number < count)


def test_a_picture_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"montage\.png: cannot be written"):
        draw_montage(tmp_path / "file/montage.png", [], "rejects")
