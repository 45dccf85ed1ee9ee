"""Cameras that OpenCV reads: V4L2 devices, RTSP streams, and video files played at their own rate.

A thread of its own takes every frame as it comes, so that nothing waits in a driver's hidden buffer and the newest one
is always at hand. Each connection has its own: one that hangs in a driver is left behind when the camera is reconnected.
They run freely: a part's frame is one that was exposed after the part's trigger (see senbetsu.camera.exposure). A network
stream arrives an unknown time after its exposure, so with it software trigger is refused. A video file is no camera: its
results are simulated.
"""

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from senbetsu.camera.exposure import ExposureClock
from senbetsu.camera.interface import CameraFault, CameraSettings, EndOfFrames, Frame
from senbetsu.config import CameraSection
from senbetsu.errors import UserError

FIRST_FRAME_S = 5.0
INTERVAL_IF_UNKNOWN_NS = 100_000_000


class OpenCVCamera:
    """See senbetsu.camera.interface.Camera."""

    exposes_on_trigger = False

    def __init__(self, section: CameraSection, video_capture: Callable[..., Any] = cv2.VideoCapture) -> None:
        """`video_capture`: makes something like cv2.VideoCapture. Raises UserError where settings contradict."""
        self.name = section.name
        self._source: int | str = int(section.source) if section.source.isdecimal() else section.source
        self._where = f"cameras.{section.name}.source = {section.source!r}"
        self._is_stream = "://" in section.source
        self._is_file = not self._is_stream and Path(section.source).is_file()
        self.simulated = self._is_file
        if self._is_stream and section.trigger == "software":
            raise UserError(
                f"cameras.{section.name}.trigger = 'software': a network stream does not tell when a frame was "
                "exposed, so that a part might be judged by one from before it came; "
                "set it to 'free_run', or use a local camera"
            )
        self._video_capture = video_capture
        self._silent_ns = round(section.silent_ms * 1e6)
        self._reader: Reader | None = None

    def open(self) -> None:
        """Connect and wait for the first frame."""
        device = Path(f"/dev/video{self._source}" if isinstance(self._source, int) else self._source)
        if not self._is_stream and not device.exists():
            here = ", ".join(sorted(str(path) for path in Path("/dev").glob("video*"))) or "none"
            raise self._not_there(
                f"there is no {device}; give the number or path of a video device (here: {here}), "
                "a video file, or the URL of a stream"
            )
        video = self._connect()
        if video is None:
            raise self._not_there(
                "cannot be opened as a camera, stream or video; "
                "is it in use by another program, may this user read it, is the address right?"
            )
        self._reader = Reader(self.name, str(self._source), video, self._silent_ns, is_file=self._is_file)
        self._reader.start()
        if not self._reader.wait_for_first(max(self._silent_ns / 1e9, FIRST_FRAME_S)):
            self.close()
            raise self._not_there("opened, but no frame came")

    def _not_there(self, why: str) -> CameraFault | UserError:
        """A camera or a stream may come yet, as when it starts more slowly than this PC; a file does not."""
        may_come = self._is_stream or isinstance(self._source, int) or self._source.startswith("/dev/")
        return CameraFault(f"{self._where}: {why}") if may_come else UserError(f"{self._where}: {why}")

    def _connect(self) -> Any | None:
        if self._is_stream:
            silent_ms = self._silent_ns // 1_000_000
            limits = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, silent_ms, cv2.CAP_PROP_READ_TIMEOUT_MSEC, silent_ms]
            video = self._video_capture(self._source, cv2.CAP_FFMPEG, limits)
        else:
            video = self._video_capture(self._source)
        if not video.isOpened():
            video.release()
            return None
        video.set(cv2.CAP_PROP_BUFFERSIZE, 1)
        return video

    def _connected(self) -> "Reader":
        if self._reader is None:
            raise CameraFault(f"camera {self.name}: not connected")
        return self._reader

    def grab(self, not_before_ns: int, until_ns: int) -> Frame | None:
        """The newest frame that was not given yet, exposed at or after `not_before_ns`."""
        return self._connected().newest(not_before_ns, until_ns)

    def prepare(self) -> None:
        """The reader is always ahead."""

    def check(self) -> bool:
        """Whether frames came since the last call; a file that is over shows by being there that nothing failed."""
        return self._connected().alive()

    def edges(self) -> None:
        """It has no trigger input."""

    def settings(self) -> CameraSettings:
        """OpenCV's properties do not tell what a device really does with them."""
        return {}

    def close(self) -> None:
        """Stop the reader; one that hangs is left behind."""
        reader, self._reader = self._reader, None
        if reader is not None:
            reader.close()


class Reader:
    """Takes the frames of one connection as they come, until it fails; keeps the newest."""

    def __init__(self, name: str, source: str, video: Any, silent_ns: int, *, is_file: bool) -> None:
        self._name = name
        self._source = source
        self._video = video
        self._silent_ns = silent_ns
        self._is_file = is_file
        # One that is being filled and one that is the newest; a frame that is taken leaves the ring.
        self._ring: list[NDArray[np.uint8] | None] = [None] * 2
        self._ready = threading.Condition()
        self._newest: Frame | None = None
        self._arrived_ns = time.monotonic_ns()
        self._taken_id = 0
        self._checked_id = 0
        self._fault: str | None = None
        self._died: BaseException | None = None
        self._ended = False
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._read, name=f"reader-{name}", daemon=True)

    def start(self) -> None:
        """Begin to read."""
        self._thread.start()

    def close(self) -> None:
        """Stop; a driver that hangs keeps its thread."""
        self._closing.set()
        self._thread.join(timeout=2)

    def wait_for_first(self, timeout_s: float) -> bool:
        """Whether a frame came."""

        def came_or_never_will() -> bool:
            over = self._ended or self._fault is not None or self._died is not None
            return self._newest is not None or over

        with self._ready:
            self._ready.wait_for(came_or_never_will, timeout=timeout_s)
            return self._newest is not None

    def _read(self) -> None:
        try:
            self._read_until_it_fails()
            with self._ready:
                self._ended = self._is_file
                self._fault = None if self._is_file else f"camera {self._name}: {self._source} delivers no more frames"
                self._ready.notify_all()
        except BaseException as error:  # noqa: BLE001  (handed to the capture thread, which dies of it)
            with self._ready:
                self._died = error
                self._ready.notify_all()
        finally:
            self._video.release()

    def _read_until_it_fails(self) -> None:
        video = self._video
        rate_hz = video.get(cv2.CAP_PROP_FPS)
        interval_ns = round(1e9 / rate_hz) if 1 <= rate_hz <= 10_000 else INTERVAL_IF_UNKNOWN_NS
        exposures = ExposureClock(interval_ns)
        due_ns = time.monotonic_ns()
        frames = 0
        while not self._closing.is_set():
            slot = frames % len(self._ring)
            asked_ns = time.monotonic_ns()
            if not video.grab():
                return
            arrived_ns = time.monotonic_ns()
            driver_stamp_ns = round(video.get(cv2.CAP_PROP_POS_MSEC) * 1e6)
            whole, image = video.retrieve(self._ring[slot])
            frames += 1
            if self._is_file:
                due_ns = max(due_ns + interval_ns, time.monotonic_ns())
                self._closing.wait((due_ns - time.monotonic_ns()) / 1e9)
                exposed_at_ns = arrived_ns = time.monotonic_ns()
            else:
                exposures.free_running_frame(arrived_ns)
                exposed_at_ns = exposures.earliest_ns(asked_ns, arrived_ns, driver_stamp_ns)
            if whole and image is not None:
                self._ring[slot] = image
                frame = Frame(frames, exposed_at_ns, image)
            else:
                frame = Frame(frames, exposed_at_ns, None, "cannot be decoded")
            with self._ready:
                self._newest, self._arrived_ns = frame, arrived_ns
                self._ready.notify_all()

    def newest(self, not_before_ns: int, until_ns: int) -> Frame | None:
        """See OpenCVCamera.grab."""
        with self._ready:
            while True:
                frame = self._newest
                if frame is not None and frame.frame_id > self._taken_id and frame.exposed_at_ns >= not_before_ns:
                    self._taken_id = frame.frame_id
                    self._ring[(frame.frame_id - 1) % len(self._ring)] = None
                    return frame
                self._raise_if_lost()
                if self._ended:
                    raise EndOfFrames(f"camera {self._name}: {self._source} is over")
                left_ns = until_ns - time.monotonic_ns()
                if left_ns <= 0:
                    return None
                self._ready.wait(left_ns / 1e9)

    def _raise_if_lost(self) -> None:
        if self._died is not None:
            raise RuntimeError(f"camera {self._name}: its reader died") from self._died
        if self._fault is not None:
            raise CameraFault(self._fault)
        if not self._ended and time.monotonic_ns() - self._arrived_ns > self._silent_ns:
            raise CameraFault(
                f"camera {self._name}: {self._source} is silent for over {self._silent_ns // 1_000_000} ms"
            )

    def alive(self) -> bool:
        """See OpenCVCamera.check."""
        with self._ready:
            self._raise_if_lost()
            if self._ended:
                return Path(self._source).exists()
            newest = 0 if self._newest is None else self._newest.frame_id
            alive = newest > self._checked_id
            self._checked_id = newest
            return alive
