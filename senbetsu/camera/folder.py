"""A camera that replays pictures, or a video, at a set rate or at each trigger. Its results are marked simulated.

Grey pictures come as grey frames, as from a Mono8 camera.
"""

import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from senbetsu.camera.interface import CameraFault, CameraSettings, EndOfFrames, Frame
from senbetsu.config import CameraSection
from senbetsu.errors import ImageError, UserError
from senbetsu.images import VIDEO_SUFFIXES, decode_image, find_images, read_bytes

Picture = NDArray[np.uint8]
DEFAULT_RATE_HZ = 10.0


class FolderCamera:
    """See senbetsu.camera.interface.Camera. In free run a frame is due every 1 / rate_hz seconds."""

    simulated = True
    exposes_on_trigger = True

    def __init__(self, section: CameraSection) -> None:
        self.name = section.name
        self._source = Path(section.source)
        self._where = f"cameras.{section.name}.source = {section.source!r}"
        self._loop = section.loop
        self._period_ns = round(1e9 / (section.rate_hz or DEFAULT_RATE_HZ)) if section.trigger == "free_run" else 0
        self._due_ns = 0
        self._frame_id = 0
        self._frames: Iterator[tuple[Picture | None, str | None]] = iter(())
        self._next: tuple[Picture | None, str | None] | None = None

    def open(self) -> None:
        """Find the pictures and decode the first one. Raises UserError where there are none."""
        if not self._source.exists():
            raise UserError(f"{self._where}: no such file or folder")
        self._frames = self._video() if self._source.suffix.lower() in VIDEO_SUFFIXES else self._pictures()
        self.prepare()
        self._due_ns = time.monotonic_ns()

    def _pictures(self) -> Iterator[tuple[Picture | None, str | None]]:
        try:
            paths = find_images([self._source])
        except UserError as error:
            raise UserError(f"{self._where}: {error}") from error
        while True:
            for path in paths:
                try:
                    yield decode_image(read_bytes(path), str(path), keep_grey=True), None
                except ImageError as error:
                    yield None, str(error)
            if not self._loop:
                return

    def _video(self) -> Iterator[tuple[Picture | None, str | None]]:
        while True:
            video = cv2.VideoCapture(str(self._source))
            if not video.isOpened():
                raise UserError(f"{self._where}: not a video that can be read")
            count = 0
            while True:
                there, image = video.read()
                if not there:
                    break
                count += 1
                yield np.asarray(image, np.uint8), None
            video.release()
            if count == 0:
                raise UserError(f"{self._where}: the video holds no frame")
            if not self._loop:
                return

    def prepare(self) -> None:
        """Decode the next picture."""
        if self._next is None:
            self._next = next(self._frames, None)

    def grab(self, not_before_ns: int, until_ns: int) -> Frame | None:
        """The next picture, when it is due."""
        due_ns = max(not_before_ns, self._due_ns)
        if due_ns > until_ns:
            _sleep_until(until_ns)
            return None
        self.prepare()
        if self._next is None:
            raise EndOfFrames(f"camera {self.name}: all of {self._source} has been shown")
        _sleep_until(due_ns)
        image, error = self._next
        self._next = None
        exposed_at_ns = time.monotonic_ns()
        if self._period_ns:
            self._due_ns += self._period_ns
            if self._due_ns < exposed_at_ns:
                # After a stall go on from now: a burst to catch up would be frames that no camera would have taken.
                self._due_ns = exposed_at_ns + self._period_ns
        else:
            self._due_ns = 0
        self._frame_id += 1
        return Frame(self._frame_id, exposed_at_ns, image, error)

    def check(self) -> bool:
        """Whether the source is still there."""
        if not self._source.exists():
            raise CameraFault(f"{self._where}: is gone")
        return True

    def edges(self) -> None:
        """It has no trigger input."""

    def settings(self) -> CameraSettings:
        """A recording has none."""
        return {}

    def close(self) -> None:
        """Nothing to disconnect."""


def _sleep_until(at_ns: int) -> None:
    left_ns = at_ns - time.monotonic_ns()
    if left_ns > 0:
        time.sleep(left_ns / 1e9)
