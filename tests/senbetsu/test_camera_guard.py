"""A camera that is lost is a fault at once, is reconnected for ever, and comes back; one that is frozen is not believed."""

import contextlib
import threading
import time
from typing import Any

import numpy as np
import pytest

import senbetsu.camera.guard
from senbetsu.camera import CameraFault, Frame
from senbetsu.camera.guard import GuardedCamera, Repetition
from senbetsu.errors import UserError

MS = 1_000_000
PATIENCE_S = 20


class Scripted:
    """A camera that does what it is told; `opens` says what each attempt to open it meets."""

    name, simulated, exposes_on_trigger = "cam1", False, True

    def __init__(self) -> None:
        self.now_ns = 10**12
        self.grey: int | None = 0
        self.fault: str | None = None
        self.fault_between: str | None = None
        self.reads_back: dict[str, Any] = {"gain_db": 1.0}
        self.opens: list[BaseException | None] = []
        self.opened = 0
        self.alive = True
        self.may_open = threading.Event()
        self.may_open.set()
        self._frames = 0

    def open(self) -> None:
        assert self.may_open.wait(PATIENCE_S)
        self.opened += 1
        error = self.opens.pop(0) if self.opens else None
        if error is not None:
            raise error
        self._frames = 0
        self.fault = None

    def grab(self, not_before_ns: int, until_ns: int) -> Frame | None:
        if self.fault is not None:
            raise CameraFault(self.fault)
        if self.grey is None:
            return None
        self._frames += 1
        return Frame(self._frames, self.now_ns, np.full((100, 200, 3), self.grey, np.uint8))

    def check(self) -> bool:
        if self.fault is not None:
            raise CameraFault(self.fault)
        return self.alive

    def prepare(self) -> None:
        if self.fault_between is not None:
            raise CameraFault(self.fault_between)

    def close(self) -> None: ...
    def edges(self) -> int | None:
        return 7

    def settings(self) -> dict[str, Any]:
        return dict(self.reads_back)


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> Scripted:
    monkeypatch.setattr(senbetsu.camera.guard, "FIRST_RETRY_S", 0.001)
    monkeypatch.setattr(senbetsu.camera.guard, "LONGEST_RETRY_S", 0.004)
    return Scripted()


@pytest.fixture
def camera(device: Scripted) -> Any:
    guarded = GuardedCamera(device, 2000 * MS, 1000 * MS, clock=lambda: device.now_ns)
    guarded.open()
    yield guarded
    device.may_open.set()
    guarded.close()


def until_well(camera: Any) -> Frame:
    until = time.monotonic() + PATIENCE_S
    while time.monotonic() < until:
        with contextlib.suppress(CameraFault):
            frame: Frame = camera.grab(0, 0)
            return frame
        time.sleep(0.001)
    raise AssertionError("it never came back")


def test_a_lost_camera_is_a_fault_for_every_trigger_and_comes_back_with_ids_that_go_on(
    camera: Any, device: Scripted
) -> None:
    device.grey = 1
    assert camera.grab(0, 0).frame_id == 1
    device.may_open.clear()
    device.fault = "unplugged"
    for _ in range(3):
        with pytest.raises(CameraFault, match=r"unplugged; reconnecting"):
            camera.grab(0, 0)
    with pytest.raises(CameraFault):
        camera.check()
    device.may_open.set()
    device.grey = 2
    assert until_well(camera).frame_id == 2


def test_a_camera_that_comes_back_set_otherwise_is_in_fault_until_it_is_set_as_it_was(
    camera: Any, device: Scripted
) -> None:
    device.reads_back["gain_db"] = 2.0
    device.fault = "unplugged"
    with pytest.raises(CameraFault, match="unplugged"):
        camera.grab(0, 0)
    until = time.monotonic() + PATIENCE_S
    while "not set as it was: gain_db is 2.0, was 1.0" not in why(camera):
        assert time.monotonic() < until
    device.reads_back["gain_db"] = 1.0
    until_well(camera)


def test_a_camera_that_was_calibrated_otherwise_is_in_fault_from_the_start(device: Scripted) -> None:
    guarded = GuardedCamera(device, 2000 * MS, 1000 * MS, expected={"gain_db": 9.0}, clock=lambda: device.now_ns)
    guarded.open()
    assert "gain_db is 1.0, was 9.0" in why(guarded)
    guarded.close()


def why(camera: Any) -> str:
    try:
        camera.grab(0, 0)
    except CameraFault as fault:
        return str(fault)
    return ""


def test_a_fault_that_shows_between_two_frames_is_said_by_the_next(camera: Any, device: Scripted) -> None:
    device.may_open.clear()
    device.fault_between = "does not tell its time"
    camera.prepare()
    with pytest.raises(CameraFault, match="does not tell its time"):
        camera.grab(0, 0)


def test_it_tries_for_ever_whatever_opening_says(camera: Any, device: Scripted) -> None:
    camera.grab(0, 0)
    device.fault = "unplugged"
    device.opens = [CameraFault("not there"), UserError("no /dev/video0")] * 5
    with pytest.raises(CameraFault):
        camera.grab(0, 0)
    until_well(camera)
    assert device.opened == 1 + 10 + 1


def test_a_camera_that_is_not_there_at_the_start_is_waited_for(device: Scripted) -> None:
    device.opens = [CameraFault("no such serial number"), CameraFault("still not")]
    guarded = GuardedCamera(device, 2000 * MS, 0)
    guarded.open()
    assert until_well(guarded).frame_id == 1
    guarded.close()


def test_a_wrong_setting_at_the_start_is_told_to_the_user(device: Scripted) -> None:
    device.opens = [UserError("gain_db = 99: allowed 0 to 24")]
    with pytest.raises(UserError, match="gain_db"):
        GuardedCamera(device, 2000 * MS, 0).open()


def test_a_reconnection_that_crashes_is_not_kept_quiet(camera: Any, device: Scripted) -> None:
    device.fault = "unplugged"
    device.opens = [ValueError("the driver crashed")]
    with pytest.raises(CameraFault):
        camera.grab(0, 0)
    with pytest.raises(RuntimeError, match="reconnecting it died"):
        until_well(camera)


def test_a_picture_that_comes_again_is_not_judged_and_then_a_fault(camera: Any, device: Scripted) -> None:
    device.grey = 5
    assert camera.grab(0, 0).error is None
    for _ in range(9):
        device.now_ns += 100 * MS
        frame = camera.grab(0, 0)
        assert (frame.image, "frozen" in frame.error) == (None, True)
    device.now_ns += 100 * MS
    with pytest.raises(CameraFault, match="the very same picture for 1000 ms"):
        camera.grab(0, 0)
    device.grey = 6
    assert until_well(camera).error is None


def test_a_camera_that_comes_back_with_the_picture_from_before_is_not_judged(camera: Any, device: Scripted) -> None:
    device.grey = 5
    camera.grab(0, 0)
    device.fault = "unplugged"
    with pytest.raises(CameraFault):
        camera.grab(0, 0)
    frame = until_well(camera)
    assert (frame.image, "frozen" in str(frame.error)) == (None, True)
    device.grey = 6
    assert camera.grab(0, 0).error is None


def test_another_picture_begins_the_count_anew(camera: Any, device: Scripted) -> None:
    for grey in [1, 1, 2, 2, 3, 3] * 4:
        device.now_ns += 600 * MS
        device.grey = grey
        camera.grab(0, 0)


def test_a_scene_that_may_stand_still_can_be_let(device: Scripted) -> None:
    guarded = GuardedCamera(device, 2000 * MS, 0, clock=lambda: device.now_ns)
    guarded.open()
    for _ in range(5):
        device.now_ns += 1000 * MS
        assert guarded.grab(0, 0).error is None


def test_silence_is_a_fault_after_its_time_and_life_is_not(camera: Any, device: Scripted) -> None:
    for _ in range(10):
        device.now_ns += 1500 * MS
        assert camera.check()
    device.alive = False
    device.now_ns += 1900 * MS
    assert not camera.check()
    device.now_ns += 200 * MS
    with pytest.raises(CameraFault, match="silent for over 2000 ms"):
        camera.check()


def test_one_pixel_of_the_grid_tells_a_new_picture() -> None:
    repetition = Repetition()
    image = np.zeros((480, 640), np.uint8)
    assert repetition.repeated_for_ns(image, 0) is None
    assert repetition.repeated_for_ns(image.copy(), 10) == 10
    image[4, 5] = 1
    assert repetition.repeated_for_ns(image, 20) is None


def test_a_small_picture_is_compared_whole() -> None:
    repetition = Repetition()
    image = np.zeros((3, 2, 3), np.uint8)
    assert repetition.repeated_for_ns(image, 0) is None
    image[2, 1, 2] = 1
    assert repetition.repeated_for_ns(image, 1) is None
    assert repetition.repeated_for_ns(image, 5) == 4
