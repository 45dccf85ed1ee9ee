"""A folder camera shows its pictures in order, whole or said to be incomplete, when they are due."""

import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from senbetsu.camera import CameraFault, EndOfFrames, open_camera
from senbetsu.camera.folder import FolderCamera
from senbetsu.config import CameraSection

SOON_NS = 10**18


def section(source: Path, **settings: Any) -> CameraSection:
    return CameraSection.model_validate(
        {"name": "cam1", "kind": "folder", "source": str(source), "gate": "gate1", **settings}
    )


def write(path: Path, grey: int, size: tuple[int, int] = (20, 30), channels: int = 3) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    shape = (*size, channels) if channels > 1 else size
    assert cv2.imwrite(str(path), np.full(shape, grey, np.uint8))


@pytest.fixture
def parts(tmp_path: Path) -> Path:
    write(tmp_path / "parts/a.png", 10)
    write(tmp_path / "parts/b.png", 20, size=(7, 9))
    (tmp_path / "parts/c.jpg").write_bytes(b"\xff\xd8\xff and no more")
    write(tmp_path / "parts/d.bmp", 40, channels=1)
    return tmp_path / "parts"


def grab_all(camera: Any, most: int = 100) -> list[Any]:
    frames = []
    while len(frames) < most:
        try:
            frame = camera.grab(0, SOON_NS)
        except EndOfFrames:
            break
        assert frame is not None
        frames.append(frame)
        camera.prepare()
    return frames


def test_pictures_come_in_order_in_their_own_sizes_and_a_broken_one_is_incomplete(parts: Path) -> None:
    frames = grab_all(open_camera(section(parts)))
    assert [frame.frame_id for frame in frames] == [1, 2, 3, 4]
    greys = [None if f.image is None else (f.image.shape, int(f.image[0, 0, 0])) for f in frames]
    assert greys == [((20, 30, 3), 10), ((7, 9, 3), 20), None, ((20, 30, 3), 40)]
    assert "c.jpg" in frames[2].error


def test_played_once_it_stays_at_its_end_and_in_a_loop_it_begins_again(parts: Path) -> None:
    once = open_camera(section(parts))
    assert len(grab_all(once)) == 4
    assert grab_all(once) == []
    ids = [frame.frame_id for frame in grab_all(open_camera(section(parts, loop=True)), most=11)]
    assert ids == list(range(1, 12))


def test_the_next_picture_is_decoded_ahead(parts: Path) -> None:
    camera = open_camera(section(parts))
    (parts / "a.png").unlink()
    assert camera.grab(0, SOON_NS).image is not None
    (parts / "b.png").unlink()
    camera.prepare()
    assert camera.grab(0, SOON_NS).image is None


def test_a_frame_is_never_exposed_before_its_trigger(parts: Path) -> None:
    camera = open_camera(section(parts))
    triggered_at_ns = time.monotonic_ns()
    assert camera.grab(triggered_at_ns, SOON_NS).exposed_at_ns >= triggered_at_ns


def test_its_results_are_simulated_and_each_exposure_is_caused_by_a_trigger(parts: Path) -> None:
    camera = open_camera(section(parts))
    assert (camera.simulated, camera.exposes_on_trigger) == (True, True)


def test_a_source_that_goes_is_a_fault(parts: Path) -> None:
    camera = open_camera(section(parts))
    assert camera.check()
    parts.rename(parts.with_name("away"))
    with pytest.raises(CameraFault, match=r"cameras\.cam1\.source"):
        camera.check()


def test_a_video_is_played_frame_by_frame(tmp_path: Path) -> None:
    path = tmp_path / "belt.avi"
    video = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 25, (64, 48))
    for grey in (0, 80, 160, 240):
        video.write(np.full((48, 64, 3), grey, np.uint8))
    video.release()
    means = [float(frame.image.mean()) for frame in grab_all(open_camera(section(path, loop=True)), most=6)]
    assert means == pytest.approx([0, 80, 160, 240, 0, 80], abs=2)


class FakeTime:
    """Time that passes when somebody sleeps."""

    def __init__(self) -> None:
        self.now_ns = 10**12

    def monotonic_ns(self) -> int:
        return self.now_ns

    def sleep(self, seconds: float) -> None:
        self.now_ns += round(seconds * 1e9)


def test_in_free_run_frames_are_due_at_the_rate_and_a_stall_is_not_made_up_for_by_a_burst(
    parts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = FakeTime()
    monkeypatch.setattr("senbetsu.camera.folder.time", clock)
    camera = FolderCamera(section(parts, trigger="free_run", rate_hz=50.0, loop=True))
    camera.open()
    began_ns = clock.now_ns
    exposed = [camera.grab(0, clock.now_ns + 10**9) for _ in range(5)]
    assert [frame.exposed_at_ns - began_ns for frame in exposed if frame] == [n * 20_000_000 for n in range(5)]
    assert camera.grab(0, clock.now_ns + 5_000_000) is None  # not due yet
    clock.sleep(1.0)
    began_ns = clock.now_ns
    after = [camera.grab(0, clock.now_ns + 10**9) for _ in range(4)]
    assert [frame.exposed_at_ns - began_ns for frame in after if frame] == [n * 20_000_000 for n in range(4)]


def test_a_grey_picture_is_a_grey_frame(parts: Path) -> None:
    write(parts / "0.png", 5, channels=1)
    camera = FolderCamera(section(parts, rate_hz=1000))
    camera.open()
    assert camera.grab(0, SOON_NS).image.shape == (20, 30)
    assert camera.grab(0, SOON_NS).image.shape == (20, 30, 3)
