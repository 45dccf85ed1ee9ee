"""The camera of patterns: pictures from memory, at each trigger or at a rate."""

import time

import pytest

from senbetsu.camera import open_camera
from senbetsu.config import CameraSection
from senbetsu.errors import ConfigError

FAR_NS = 1 << 62


def section(source: str = "64x48", **more: object) -> CameraSection:
    return CameraSection(name="cam1", kind="pattern", source=source, gate="gate1", **more)  # type: ignore[arg-type]


def test_its_pictures_have_the_size_that_was_asked_for_and_their_ids_rise_by_one() -> None:
    camera = open_camera(section())
    frames = [camera.grab(0, FAR_NS) for _ in range(20)]
    assert [frame.frame_id for frame in frames if frame] == list(range(1, 21))
    assert all(frame is not None and frame.image is not None and frame.image.shape == (48, 64, 3) for frame in frames)
    assert frames[0] is not None
    assert frames[1] is not None
    assert (frames[0].image != frames[1].image).any()
    assert camera.simulated


def test_in_free_run_no_frame_comes_before_it_is_due() -> None:
    camera = open_camera(section(trigger="free_run", rate_hz=50.0))
    exposed = []
    for _ in range(5):
        frame = camera.grab(0, FAR_NS)
        assert frame is not None
        exposed.append(frame.exposed_at_ns)
    assert exposed == sorted(exposed)
    assert exposed[-1] - exposed[0] >= 4 * 20_000_000
    assert camera.grab(0, time.monotonic_ns()) is None, "none is due yet"


@pytest.mark.parametrize("source", ["1024", "0x5", "65536x65536", "a picture.png"])
def test_a_size_that_is_none_is_refused_with_an_example(source: str) -> None:
    with pytest.raises(ConfigError, match="for example 1024x1024"):
        open_camera(section(source))
