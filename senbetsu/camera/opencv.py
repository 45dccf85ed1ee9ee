"""Cameras that OpenCV reads: V4L2 devices, RTSP streams, and video files played at their own rate.

A thread of its own takes every frame as it comes, so that nothing waits in a driver's hidden buffer and the newest one
is always at hand. When a frame's exposure began is not told; it was after the frame before it had come, and that moment
is what is reported, so that a frame exposed before its trigger is never taken for one exposed after it.
"""

import logging
import threading
import time
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from senbetsu.camera.interface import CameraFault, EndOfFrames, Frame
from senbetsu.config import CameraSection
from senbetsu.errors import UserError

log = logging.getLogger(__name__)

FIRST_RETRY_S, LONGEST_RETRY_S = 0.25, 8.0


class OpenCVCamera:
    """See senbetsu.camera.interface.Camera. Reconnects for ever, with back-off."""

    simulated = False

    def __init__(self, section: CameraSection) -> None:
        self.name = section.name
        self._source: int | str = int(section.source) if section.source.isdecimal() else section.source
        self._where = f"cameras.{section.name}.source = {section.source!r}"
        self._is_file = isinstance(self._source, str) and Path(self._source).is_file()
        self._silent_s = section.silent_ms / 1000
        # One that is being filled and one that is the newest; a frame that is taken leaves the ring.
        self._ring: list[NDArray[np.uint8] | None] = [None] * 2
        self._ready = threading.Condition()
        self._newest: Frame | None = None
        self._taken_id = 0
        self._fault: str | None = None
        self._ended = False
        self._closing = threading.Event()
        self._reader: threading.Thread | None = None
        self._checked_id = 0

    def open(self) -> None:
        """Connect and wait for the first frame."""
        if isinstance(self._source, str) and "://" not in self._source and not Path(self._source).exists():
            raise UserError(f"{self._where}: no such file or device")
        video = self._connect()
        if video is None:
            raise UserError(f"{self._where}: cannot be opened as a camera, stream or video")
        self._reader = threading.Thread(target=self._read_for_ever, args=(video,), name=f"reader-{self.name}", daemon=True)
        self._reader.start()
        with self._ready:
            self._ready.wait_for(lambda: self._newest is not None or self._ended, timeout=max(self._silent_s, 5))
        if self._newest is None:
            raise UserError(f"{self._where}: opened, but no frame came")

    def _connect(self) -> cv2.VideoCapture | None:
        video = cv2.VideoCapture(self._source)
        if not video.isOpened():
            video.release()
            return None
        video.set(cv2.CAP_PROP_BUFFERSIZE, 1)
        return video

    def _read_for_ever(self, video: cv2.VideoCapture | None) -> None:
        retry_s = FIRST_RETRY_S
        frame_id = 0
        while not self._closing.is_set():
            if video is None:
                self._closing.wait(retry_s)
                retry_s = min(2 * retry_s, LONGEST_RETRY_S)
                video = self._connect()
                continue
            read = self._read_until_it_fails(video, frame_id)
            video.release()
            video = None
            if read > frame_id:
                frame_id, retry_s = read, FIRST_RETRY_S
            if self._is_file:
                with self._ready:
                    self._ended = True
                    self._ready.notify_all()
                return
            with self._ready:
                self._fault = f"camera {self.name}: {self._source} delivers no more frames; reconnecting"
                self._ready.notify_all()
            log.error("%s", self._fault)

    def _read_until_it_fails(self, video: cv2.VideoCapture, frame_id: int) -> int:
        rate_hz = video.get(cv2.CAP_PROP_FPS) if self._is_file else 0.0
        period_ns = round(1e9 / rate_hz) if rate_hz > 0 else 0
        before_ns = time.monotonic_ns()
        while not self._closing.is_set():
            slot = frame_id % len(self._ring)
            there, image = video.read(self._ring[slot])
            if not there or image is None:
                return frame_id
            if period_ns:
                self._closing.wait(max(0, before_ns + period_ns - time.monotonic_ns()) / 1e9)
            self._ring[slot] = image  # type: ignore[assignment]
            frame_id += 1
            with self._ready:
                if self._fault is not None:
                    log.info("camera %s: frames again", self.name)
                self._fault = None
                self._newest = Frame(frame_id, before_ns, image)  # type: ignore[arg-type]
                self._ready.notify_all()
            before_ns = time.monotonic_ns()
        return frame_id

    def grab(self, not_before_ns: int, until_ns: int) -> Frame | None:
        """The newest frame that was not given yet, exposed at or after `not_before_ns`."""
        with self._ready:
            while True:
                frame = self._newest
                if frame is not None and frame.frame_id > self._taken_id and frame.exposed_at_ns >= not_before_ns:
                    self._taken_id = frame.frame_id
                    self._ring[(frame.frame_id - 1) % len(self._ring)] = None
                    return frame
                if self._fault is not None:
                    raise CameraFault(self._fault)
                if self._ended:
                    raise EndOfFrames(f"camera {self.name}: {self._source} is over")
                left_ns = until_ns - time.monotonic_ns()
                if left_ns <= 0:
                    return None
                self._ready.wait(left_ns / 1e9)

    def prepare(self) -> None:
        """The reader is always ahead."""

    def check(self) -> bool:
        """Whether frames came since the last call."""
        with self._ready:
            if self._fault is not None:
                raise CameraFault(self._fault)
            newest = 0 if self._newest is None else self._newest.frame_id
            alive = newest > self._checked_id
            self._checked_id = newest
            return alive

    def close(self) -> None:
        """Stop the reader."""
        self._closing.set()
        if self._reader is not None:
            self._reader.join(timeout=2)
