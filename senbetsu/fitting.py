"""From a frame to the network's input: the one pre-processing of every program, which train, calibrate, score and daemon share.

They agree to the bit.
"""

import threading
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from senbetsu.images import Picture, decode_image, read_bytes

PREPROCESSING = 3
"""Number of the way from a frame to the network's input (`fit`). A change that alters a picture raises it: what was
calibrated before is then refused."""


def read_fitted(path: Path, out: Picture) -> None:
    """Read a file and make it fit, in place. Raises ImageError."""
    fit(decode_image(read_bytes(path), str(path), keep_grey=True), out)


def fit(frame: NDArray[np.uint8], out: NDArray[np.uint8]) -> None:
    """Squeeze a whole frame into the network's square input, in place: the one copy on a part's way.

    Shrinking averages (INTER_AREA, so that fine texture does not alias), growing interpolates. A frame with four times the
    pixels that are wanted, or more, on both sides is first halved, as often as leaves twice what is wanted, which is also an
    average and takes less than half of the time in all (benchmarks/fit.py). The aspect ratio is not kept: every part of a line
    is framed alike, so nothing is lost by it, and no pixel is spent on padding.

    Args:
        frame: (H, W), (H, W, 1), (H, W, 3) BGR or (H, W, 4) BGRA, uint8.
        out: (S, S, 3) uint8, C-contiguous, overwritten. Nothing is allocated for a BGR frame of the size of the one that
            this thread fitted before, unless one side grows and the other shrinks.

    Raises:
        ValueError: the frame is empty, or either is of another shape or type.
    """
    height, width = out.shape[:2]
    if frame.ndim not in (2, 3) or 0 in frame.shape or (frame.ndim == 3 and frame.shape[2] not in (1, 3, 4)):
        raise ValueError(f"a frame of shape {frame.shape} is no picture")
    if frame.dtype != np.uint8 or out.dtype != np.uint8 or out.ndim != 3 or out.shape[2] != 3:
        # OpenCV would write to a new array and leave `out` as it was: the part before would be judged again.
        raise ValueError(f"a frame of {frame.dtype} cannot be fitted to {out.shape} of {out.dtype}; uint8 is wanted")
    frame = _halved(frame, height, width)
    rows, columns = frame.shape[:2]
    if (rows > height and columns < width) or (rows < height and columns > width):
        # INTER_AREA averages only where both sides shrink, so the side that shrinks goes first.
        smaller = (min(columns, width), min(rows, height))
        frame = np.asarray(cv2.resize(frame, smaller, interpolation=cv2.INTER_AREA), np.uint8)
    shrinks = frame.shape[0] >= height and frame.shape[1] >= width
    how = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    if frame.ndim == 3 and frame.shape[2] == 3:
        if frame.shape[:2] == (height, width):
            np.copyto(out, frame)
        else:
            cv2.resize(frame, (width, height), dst=out, interpolation=how)
        return
    small = cv2.resize(frame, (width, height), interpolation=how)
    cv2.cvtColor(small, cv2.COLOR_BGRA2BGR if small.ndim == 3 else cv2.COLOR_GRAY2BGR, dst=out)


class _Scratch(threading.local):
    """A frame at a half, a quarter and so on of its size, for the next frame of the same size."""

    def __init__(self) -> None:
        self.halves: list[NDArray[np.uint8]] = []

    def half(self, level: int, shape: tuple[int, ...]) -> NDArray[np.uint8]:
        """Of this shape; allocated only where the one of this level had another."""
        if level == len(self.halves):
            self.halves.append(np.empty(shape, np.uint8))
        elif self.halves[level].shape != shape:
            self.halves[level] = np.empty(shape, np.uint8)
        return self.halves[level]


_scratch = _Scratch()


def _halved(frame: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """The mean of 2 x 2 pixels, as often as leaves twice what is wanted: this thread's scratch, or the frame."""
    rows, columns = frame.shape[:2]
    channels = frame.shape[2:] if frame.ndim == 3 and frame.shape[2] > 1 else ()
    level = 0
    while rows % 2 == 0 and columns % 2 == 0 and rows >= 4 * height and columns >= 4 * width:
        rows, columns = rows // 2, columns // 2
        half = _scratch.half(level, (rows, columns, *channels))
        cv2.resize(frame, (columns, rows), dst=half, interpolation=cv2.INTER_AREA)
        frame, level = half, level + 1
    return frame
