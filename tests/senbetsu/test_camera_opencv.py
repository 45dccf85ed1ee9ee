"""A live camera gives the newest frame, never one from before the trigger, and comes back after a fault.

A stand-in for cv2.VideoCapture plays what a device does, one step at a time; a video file is read by OpenCV itself.
"""

import queue
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

import senbetsu.camera.guard
from senbetsu.camera import CameraFault, EndOfFrames, open_camera
from senbetsu.camera.guard import GuardedCamera
from senbetsu.camera.opencv import OpenCVCamera
from senbetsu.config import CameraSection

PATIENCE_NS = 20_000_000_000


class Device:
    """A device that delivers what it is told, when it is told; it may be opened again and again."""

    def __init__(self) -> None:
        self.steps: queue.Queue[tuple[str, int, int]] = queue.Queue()
        self.opened = 0
        self.refuses = False
        self._stamp_ns = 0
        self._grey = 0

    def __call__(self, *source: object) -> "Device":
        self.opened += 1
        return self

    def isOpened(self) -> bool:  # noqa: N802
        return not self.refuses

    def get(self, what: int) -> float:
        return 1000.0 if what == cv2.CAP_PROP_FPS else self._stamp_ns / 1e6

    def set(self, what: int, value: float) -> bool:
        return False

    def release(self) -> None: ...

    def grab(self) -> bool:
        step, self._grey, self._stamp_ns = self.steps.get()
        if step == "crash":
            raise ValueError("the driver crashed")
        return step != "gone"

    def retrieve(self, into: Any = None) -> tuple[bool, Any]:
        if self._grey < 0:
            return False, None
        if into is None:
            into = np.empty((4, 6, 3), np.uint8)
        into[:] = self._grey
        return True, into

    def frame(self, grey: int, stamp_ns: int | None = None) -> None:
        """Deliver a frame stamped so, else a second ahead of now: exposed after any trigger of a test."""
        self.steps.put(("frame", grey, time.monotonic_ns() if stamp_ns is None else stamp_ns))

    def gone(self) -> None:
        self.steps.put(("gone", 0, 0))


@pytest.fixture
def device() -> Device:
    return Device()


@pytest.fixture
def camera(device: Device, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(senbetsu.camera.guard, "FIRST_RETRY_S", 0.001)
    settings = {"name": "cam1", "kind": "opencv", "source": "/dev/null", "gate": "gate1", "silent_ms": 60_000}
    live = GuardedCamera(OpenCVCamera(CameraSection.model_validate(settings), device), 60_000_000_000, 0)
    device.frame(1)
    live.open()
    yield live
    closer = threading.Thread(target=live.close)
    closer.start()
    device.gone()
    closer.join()


def well(camera: Any) -> bool:
    """Whether it shows life again."""
    try:
        return bool(camera.check())
    except CameraFault:
        return False


def until_its_end(camera: Any) -> Iterator[Any]:
    """All frames that it gives."""
    try:
        while True:
            yield camera.grab(0, soon_ns())
    except EndOfFrames:
        return


def soon_ns() -> int:
    return time.monotonic_ns() + PATIENCE_NS


def test_a_frame_is_given_once_and_the_newest_stands_for_those_missed(camera: Any, device: Device) -> None:
    assert camera.grab(0, soon_ns()).image[0, 0, 0] == 1
    assert camera.grab(0, 0) is None
    for grey in (2, 3, 4):
        device.frame(grey)
    seen = []
    while not seen or seen[-1].frame_id < 4:
        seen.append(camera.grab(0, soon_ns()))
    assert seen[-1].image[0, 0, 0] == 4
    assert [frame.frame_id for frame in seen] == sorted({frame.frame_id for frame in seen})


def test_a_frame_exposed_before_the_trigger_is_never_given(camera: Any, device: Device) -> None:
    triggered_at_ns = time.monotonic_ns()
    # The device says 1000 Hz: what is stamped within two intervals, 2 ms, may have begun before the trigger.
    device.frame(2, triggered_at_ns - 5_000_000)
    device.frame(3, triggered_at_ns + 1_000_000)
    frame, grey = None, 3
    while frame is None:
        assert camera.grab(triggered_at_ns, time.monotonic_ns() + 1_000_000) is None
        grey += 1
        stamped_at_ns = time.monotonic_ns()
        device.frame(grey, stamped_at_ns)
        frame = camera.grab(triggered_at_ns, time.monotonic_ns() + 1_000_000)
    assert frame.image[0, 0, 0] == grey
    assert triggered_at_ns <= frame.exposed_at_ns <= stamped_at_ns - 2_000_000


def test_a_frame_that_was_taken_is_not_written_to_again(camera: Any, device: Device) -> None:
    taken = []
    for grey in range(10, 20):
        device.frame(grey)
        while (frame := camera.grab(0, soon_ns())).image[0, 0, 0] != grey:
            pass
        taken.append((grey, frame))
    assert all((frame.image == grey).all() for grey, frame in taken)


def test_a_frame_that_cannot_be_decoded_is_incomplete(camera: Any, device: Device) -> None:
    device.frame(-1)
    camera.grab(0, soon_ns())
    frame = camera.grab(0, soon_ns())
    assert (frame.image, frame.error) == (None, "cannot be decoded")


def test_a_device_that_goes_is_a_fault_until_it_is_back_and_frame_ids_go_on(camera: Any, device: Device) -> None:
    before = camera.grab(0, soon_ns())
    device.gone()
    with pytest.raises(CameraFault, match=r"cam1.*reconnecting"):
        camera.grab(0, soon_ns())
    with pytest.raises(CameraFault):
        camera.check()
    device.frame(9)
    while not well(camera):
        pass
    frame = camera.grab(0, soon_ns())
    assert device.opened >= 2
    assert frame.frame_id > before.frame_id
    assert not well(camera)  # no frame since the last look


def test_a_device_that_falls_silent_is_a_fault(device: Device) -> None:
    settings = {"name": "cam1", "kind": "opencv", "source": "/dev/null", "gate": "gate1", "silent_ms": 20}
    live = OpenCVCamera(CameraSection.model_validate(settings), device)
    device.frame(1)
    live.open()
    live.grab(0, soon_ns())
    with pytest.raises(CameraFault, match="silent for over 20 ms"):
        live.grab(0, time.monotonic_ns() + 30_000_000)
    device.frame(2)
    while not well(live):
        pass
    device.gone()
    live.close()


def test_a_reader_that_dies_takes_the_capture_thread_with_it(camera: Any, device: Device) -> None:
    camera.grab(0, soon_ns())
    device.steps.put(("crash", 0, 0))
    with pytest.raises(RuntimeError, match="reader died"):
        camera.grab(0, soon_ns())
    with pytest.raises(RuntimeError, match="reader died"):
        camera.check()


def test_a_video_file_is_simulated_plays_in_order_and_ends(tmp_path: Path) -> None:
    path = tmp_path / "belt.avi"
    video = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 50, (64, 48))
    for grey in range(0, 100, 10):
        video.write(np.full((48, 64, 3), grey, np.uint8))
    video.release()
    settings = {"name": "cam1", "kind": "opencv", "source": str(path), "gate": "gate1"}
    camera = open_camera(CameraSection.model_validate(settings))
    assert (camera.simulated, camera.exposes_on_trigger) == (True, False)
    frames = list(until_its_end(camera))
    assert len(frames) >= 2  # a reader that is held up shows the newest and leaves out what it missed
    assert [frame.frame_id for frame in frames] == sorted({frame.frame_id for frame in frames})
    for frame in frames:
        assert frame.image.mean() == pytest.approx(10 * (frame.frame_id - 1), abs=3)
    assert camera.check()
    camera.close()
