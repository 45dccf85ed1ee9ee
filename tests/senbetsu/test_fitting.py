"""From a frame to the network's input. Slow loops are the oracle."""

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from senbetsu.fitting import fit

GREY, BELT = 137, 40


def picture(height: int = 97, width: int = 131) -> NDArray[np.uint8]:
    """Smooth, and without two alike corners."""
    noise = np.random.default_rng(7).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return np.asarray(cv2.GaussianBlur(noise, (0, 0), 4), np.uint8)


def averaged(frame: NDArray[np.uint8], size: int) -> NDArray[np.float64]:
    """Area averaging by the book: each target pixel is the mean of the area that it covers."""
    height, width = frame.shape[:2]

    def weights(length: int) -> NDArray[np.float64]:
        edges = np.linspace(0, length, size + 1)
        w = np.zeros((size, length))
        for target in range(size):
            for source in range(length):
                w[target, source] = max(0.0, min(edges[target + 1], source + 1) - max(edges[target], source))
        return w / w.sum(1, keepdims=True)

    return np.einsum("ah,hwc,bw->abc", weights(height), frame.astype(np.float64), weights(width))


@pytest.mark.parametrize("shape", [(64, 96), (70, 50), (33, 200)])
def test_shrinking_averages_the_whole_frame(shape: tuple[int, int]) -> None:
    frame = np.random.default_rng(1).integers(0, 256, (*shape, 3), dtype=np.uint8)
    out = np.zeros((32, 32, 3), np.uint8)
    fit(frame, out)
    np.testing.assert_allclose(out, averaged(frame, 32), atol=1)


@pytest.mark.parametrize("shape", [(128, 160), (254, 130), (129, 160), (512, 300), (260, 516), (520, 640)])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_a_large_frame_is_averaged_in_steps_and_hardly_otherwise(shape: tuple[int, int], channels: int) -> None:
    """Noise, in which no two pixels have to do with each other, is the worst case; the mean of all is kept."""
    frame = np.random.default_rng(2).integers(0, 256, (*shape, channels), dtype=np.uint8)
    out = np.zeros((32, 32, 3), np.uint8)
    fit(frame, out)
    exact = averaged(frame[:, :, :3] if channels > 1 else frame.repeat(3, 2), 32)
    apart = out - exact
    assert abs(apart.mean()) < 0.5
    assert apart.std() < 0.55 * exact.std()


def test_a_large_frames_fine_stripes_become_grey() -> None:
    """Whatever their width in pixels, from the finest on: nothing aliases that averaging in one step would not let through."""
    for period in (2, 3, 4, 5):
        stripes = np.zeros((256, 256, 3), np.uint8)
        stripes[:, np.arange(256) % period < period / 2] = 200
        out = np.zeros((32, 32, 3), np.uint8)
        fit(stripes, out)
        assert np.abs(out - averaged(stripes, 32)).max() <= 16


def test_frames_of_one_size_follow_each_other_and_none_is_left_in_the_next() -> None:
    first, second, of_second = np.zeros((3, 32, 32, 3), np.uint8)
    frames = np.random.default_rng(3).integers(0, 256, (2, 256, 256, 3), dtype=np.uint8)
    fit(frames[1], of_second)
    fit(frames[0], first)
    fit(frames[1], second)
    np.testing.assert_array_equal(second, of_second)
    assert (first != second).any()


@pytest.mark.parametrize("shape", [(20, 640), (640, 20)])
def test_a_side_that_shrinks_is_averaged_even_where_the_other_grows(shape: tuple[int, int]) -> None:
    """Stripes of one pixel must become grey, not a pattern that depends on where the samples fall."""
    stripes = np.zeros((*shape, 3), np.uint8)
    stripes[(slice(None), slice(0, None, 2)) if shape[1] > shape[0] else slice(0, None, 2)] = 200
    out = np.zeros((64, 64, 3), np.uint8)
    fit(stripes, out)
    assert np.abs(out.astype(int) - 100).max() <= 1


def test_growing_interpolates() -> None:
    ramp = np.repeat(np.arange(0, 160, 10, dtype=np.uint8)[None, :, None], 16, 0).repeat(3, 2)
    out = np.zeros((64, 64, 3), np.uint8)
    fit(ramp, out)
    assert (np.diff(out[:, :, 0].astype(int), axis=1) >= 0).all()
    assert len(np.unique(out)) > 16


def test_a_frame_of_the_right_size_is_copied() -> None:
    frame = picture(64, 64)
    out = np.zeros_like(frame)
    fit(frame, out)
    np.testing.assert_array_equal(out, frame)


@pytest.mark.parametrize("size", [(48, 48), (200, 100), (20, 20), (20, 200)])
@pytest.mark.parametrize("kind", ["grey", "grey with an axis", "colour", "colour with alpha"])
def test_one_row_of_a_batch_is_written_in_place_and_no_other(size: tuple[int, int], kind: str) -> None:
    grey = np.full(size, GREY, np.uint8)
    frame = {
        "grey": grey,
        "grey with an axis": grey[:, :, None],
        "colour": np.dstack([grey] * 3),
        "colour with alpha": np.dstack([grey] * 3 + [np.zeros_like(grey)]),
    }[kind]
    batch = np.full((3, 48, 48, 3), BELT, np.uint8)
    fit(frame, batch[1])
    assert (batch[1] == GREY).all()
    assert (batch[[0, 2]] == BELT).all()


def test_a_cut_out_of_a_frame_fits_as_its_copy_does() -> None:
    frame = picture(200, 300)
    for view in (frame[10:150, 20:260], frame[:, ::2], frame[::-1], frame[:, :, ::-1], frame.transpose(1, 0, 2)):
        out, of_copy = np.zeros((2, 64, 64, 3), np.uint8)
        fit(view, out)
        fit(np.ascontiguousarray(view), of_copy)
        np.testing.assert_array_equal(out, of_copy)


@pytest.mark.parametrize(
    "frame",
    [
        np.ones((300, 300, 3), np.uint16),
        np.ones((300, 300), np.float32),
        np.ones((64, 64, 3), np.int8),
        np.ones((0, 300, 3), np.uint8),
        np.ones((300, 300, 2), np.uint8),
        np.ones(300, np.uint8),
    ],
)
def test_a_frame_that_is_no_eight_bit_picture_is_refused(frame: NDArray[np.generic]) -> None:
    """OpenCV would leave the input as it was, and the part before would be judged a second time."""
    with pytest.raises(ValueError, match="frame of"):
        fit(frame, np.zeros((64, 64, 3), np.uint8))


def test_an_input_of_another_type_or_shape_is_refused() -> None:
    for out in (np.zeros((64, 64, 3), np.float32), np.zeros((64, 64), np.uint8), np.zeros((64, 64, 4), np.uint8)):
        with pytest.raises(ValueError, match="uint8 is wanted"):
            fit(picture(), out)
