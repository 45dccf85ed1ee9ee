"""A camera without hardware or files: a few noise pictures kept in memory, given at each trigger or at a set rate.

It costs the line nothing but what a frame costs after it was taken, which is what `senbetsu bench` wants to know. Its
results are marked simulated.
"""

import re
import time

import numpy as np
from numpy.typing import NDArray

from senbetsu.camera.interface import CameraSettings, Frame
from senbetsu.config import CameraSection
from senbetsu.errors import ConfigError

PICTURES = 8
MOST_PIXELS = 1 << 26


def pattern_pictures(width: int, height: int) -> list[NDArray[np.uint8]]:
    """PICTURES noise pictures (height, width, 3) uint8, always the same ones."""
    random = np.random.default_rng(0)
    return [random.integers(0, 256, (height, width, 3), np.uint8) for _ in range(PICTURES)]


def picture_size(text: str, setting: str) -> tuple[int, int]:
    """Width and height in pixels of "WIDTHxHEIGHT". Raises ConfigError, which names the setting."""
    size = re.fullmatch(r"([1-9][0-9]{0,4})x([1-9][0-9]{0,4})", text)
    if size is None or int(size[1]) * int(size[2]) > MOST_PIXELS:
        raise ConfigError(
            f"{setting} = {text!r}: expected the size of the pictures in pixels, width x height, of at most "
            f"{MOST_PIXELS >> 20} megapixels; for example 1024x1024"
        )
    return int(size[1]), int(size[2])


class PatternCamera:
    """See senbetsu.camera.interface.Camera. `source` is "WIDTHxHEIGHT" in pixels."""

    simulated = True
    exposes_on_trigger = True

    def __init__(self, section: CameraSection) -> None:
        self.name = section.name
        self._size = picture_size(section.source, f"cameras.{section.name}.source")
        self._period_ns = round(1e9 / (section.rate_hz or 10.0)) if section.trigger == "free_run" else 0
        self._due_ns = 0
        self._frame_id = 0
        self._pictures: list[NDArray[np.uint8]] = []

    def open(self) -> None:
        """Draw the pictures."""
        self._pictures = pattern_pictures(*self._size)
        self._due_ns = time.monotonic_ns()

    def prepare(self) -> None:
        """Nothing to do ahead."""

    def grab(self, not_before_ns: int, until_ns: int) -> Frame | None:
        """The next picture, when it is due."""
        due_ns = max(not_before_ns, self._due_ns)
        wait_ns = min(due_ns, until_ns) - time.monotonic_ns()
        if wait_ns > 0:
            time.sleep(wait_ns / 1e9)
        if due_ns > until_ns:
            return None
        exposed_at_ns = time.monotonic_ns()
        if self._period_ns:
            self._due_ns = max(self._due_ns + self._period_ns, exposed_at_ns)
        self._frame_id += 1
        return Frame(self._frame_id, exposed_at_ns, self._pictures[self._frame_id % PICTURES])

    def check(self) -> bool:
        """It is always there."""
        return True

    def edges(self) -> None:
        """It has no trigger input."""

    def settings(self) -> CameraSettings:
        """It has none."""
        return {}

    def close(self) -> None:
        """Nothing to disconnect."""
