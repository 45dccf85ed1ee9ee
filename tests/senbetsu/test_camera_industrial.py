"""Industrial cameras as far as they can be had without one: pylon's emulated Basler, and genicam's simulated producer.

Neither has a clock that can be asked, and the simulated producer has no triggers.
"""

import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest

import senbetsu.camera.guard
from senbetsu.camera import Camera, CameraFault, Frame, open_camera
from senbetsu.camera.features import Nodes, Value, read_settings
from senbetsu.config import CameraSection
from senbetsu.errors import UserError

PATIENCE_S = 20.0
Open = Callable[..., Camera]


@pytest.fixture(params=["pylon", "genicam"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> Iterator[Open]:
    monkeypatch.setenv("PYLON_CAMEMU", "2")
    monkeypatch.setattr(senbetsu.camera.guard, "FIRST_RETRY_S", 0.01)
    cameras = []

    def opened(kind: str, **settings: Any) -> Camera:
        if kind == "pylon":
            pytest.importorskip("pypylon", reason="takes senbetsu[pylon]")
            own = {"source": "0815-0000", "roi": [0, 0, 64, 48]}
        else:
            genicam = pytest.importorskip("genicam", reason="takes senbetsu[genicam]")
            pytest.importorskip("harvesters", reason="takes senbetsu[genicam]")
            producer = Path(genicam.__file__).with_name("viky.cti")
            own = {"source": "VikyTL_DEV_red", "producer": str(producer), "pixel_format": "Mono8", "rate_hz": 200.0}
        section = {"name": "cam1", "kind": kind, "gate": "gate1", "trigger": "free_run", **own, **settings}
        camera = open_camera(CameraSection.model_validate(section))
        cameras.append(camera)
        return camera

    yield opened
    for camera in cameras:
        camera.close()


def next_frame(camera: Camera, not_before_ns: int = 0) -> Frame:
    frame = camera.grab(not_before_ns, time.monotonic_ns() + round(PATIENCE_S * 1e9))
    assert frame is not None
    return frame


def until_frame(camera: Camera) -> Frame:
    """Once it is back."""
    until = time.monotonic() + PATIENCE_S
    while time.monotonic() < until:
        try:
            return next_frame(camera)
        except CameraFault:
            time.sleep(0.01)
    raise AssertionError("it never came back")


def until_fault(camera: Camera) -> str:
    """What it says when it is lost."""
    until = time.monotonic() + PATIENCE_S
    while time.monotonic() < until:
        try:
            camera.grab(0, time.monotonic_ns() + 20_000_000)
        except CameraFault as fault:
            return str(fault)
    raise AssertionError("nothing was noticed")


def inner(camera: Any) -> Any:
    """pypylon's camera, to do to it what a cable does."""
    return camera._camera._device._camera


def test_in_free_run_every_frame_comes_in_order_and_is_simulated(opened: Open, kind: str) -> None:
    camera = opened(kind)
    frames = [next_frame(camera) for _ in range(20)]
    assert [f.frame_id for f in frames] == list(range(1, 21))
    assert {(f.error, f.lost_before, f.trigger_id) for f in frames} == {(None, 0, None)}
    stamps = [f.exposed_at_ns for f in frames]
    assert stamps == sorted(stamps)
    assert camera.simulated
    assert not camera.exposes_on_trigger
    assert camera.edges() is None


def test_it_lives_while_it_answers_and_is_gone_when_it_is_closed(opened: Open, kind: str) -> None:
    camera = opened(kind)
    next_frame(camera)
    assert camera.check()
    camera.close()


def test_settings_are_written_and_read_back(opened: Open) -> None:
    camera = opened("pylon", roi=[8, 16, 320, 240], exposure_us=2500.0, gain_db=6.0, pixel_format="BayerGR8")
    found = camera.settings()
    assert found["model"] == "CamEmu"
    assert found["exposure_us"] == pytest.approx(2500, rel=0.01)
    assert found["gain_db"] == pytest.approx(6, rel=0.01)
    assert found["roi"] == [8, 16, 320, 240]
    assert found["pixel_format"] == "BayerGR8"
    image = next_frame(camera).image
    assert image is not None
    assert image.shape == (240, 320, 3)


@pytest.mark.parametrize("pixel_format", ["Mono8", "BayerRG8", "RGB8Packed", "BGR8Packed", "BGRA8Packed"])
def test_every_format_becomes_grey_or_bgr(opened: Open, pixel_format: str) -> None:
    image = next_frame(opened("pylon", pixel_format=pixel_format)).image
    assert image is not None
    assert image.shape == ((48, 64) if pixel_format == "Mono8" else (48, 64, 3))


def test_genicams_colours_become_bgr(opened: Open) -> None:
    image = next_frame(opened("genicam", pixel_format="RGBa8")).image
    assert image is not None
    assert image.shape == (400, 400, 3)


@pytest.mark.parametrize(
    ("kind", "wrong", "told"),
    [
        ("pylon", {"exposure_us": 5e7}, r"exposure_us = 50000000.0.*refuses.*1\.0 to"),
        ("pylon", {"roi": [0, 0, 5000, 48]}, r"roi = 5000.*refuses"),
        ("pylon", {"pixel_format": "Mono7"}, r"pixel_format = 'Mono7'.*Mono8"),
        ("pylon", {"pixel_format": "Mono12"}, r"delivers Mono12.*not read here"),
        ("genicam", {"exposure_us": 100.0}, r"exposure_us = 100.0: this camera has no ExposureTime"),
        ("genicam", {"trigger": "software", "rate_hz": None}, r"trigger = 'software': this camera has no trigger"),
        ("genicam", {"producer": "/dev/null/none.cti"}, r"there is no such file"),
        ("genicam", {"producer": __file__}, r"not a GenTL producer"),
    ],
)
def test_what_the_camera_cannot_do_is_told_with_the_setting(
    opened: Open, kind: str, wrong: dict[str, Any], told: str
) -> None:
    with pytest.raises(UserError, match=told):
        opened(kind, **wrong)


def test_a_camera_of_another_name_is_a_fault_that_names_those_that_are_here(opened: Open, kind: str) -> None:
    camera = opened(kind, source="nobody")
    with pytest.raises(CameraFault, match=r"nobody.*here are: (0815-0000|0|VikyTL_DEV_red)"):
        camera.grab(0, 0)


def test_without_the_library_the_extra_is_named(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, {"pylon": "pypylon", "genicam": "harvesters.core"}[kind], None)
    section = {"name": "cam1", "kind": kind, "gate": "gate1", "source": "1", "producer": "maker.cti"}
    with pytest.raises(UserError, match=rf"pip install 'senbetsu\[{kind}\]'"):
        open_camera(CameraSection.model_validate(section))


def test_a_software_trigger_exposes_one_frame_after_it(opened: Open) -> None:
    camera = opened("pylon", trigger="software")
    assert camera.exposes_on_trigger
    for number in range(1, 4):
        triggered_at_ns = time.monotonic_ns()
        frame = next_frame(camera, triggered_at_ns)
        assert frame.frame_id == number
        assert triggered_at_ns <= frame.exposed_at_ns <= time.monotonic_ns()


def test_a_frame_that_was_too_late_for_its_trigger_is_never_the_next_ones(opened: Open) -> None:
    camera: Any = opened("pylon", trigger="software")
    next_frame(camera)
    device = camera._camera._device
    with pytest.MonkeyPatch.context() as late:
        late.setattr(device, "fetch", lambda timeout_s: None)
        assert camera.grab(0, time.monotonic_ns() + round(PATIENCE_S * 1e9)) is None
    # The one that was thrown away has number 2, and nothing of it is left behind the next one.
    assert next_frame(camera).frame_id == 3
    assert device.fetch(0.1) is None


def test_a_camera_that_is_lost_while_its_acquisition_begins_anew_is_a_fault(opened: Open) -> None:
    """The handle was closed under it: reading a feature fails, which is no other kind of failure."""
    camera: Any = opened("pylon", trigger="software")
    next_frame(camera)
    device = camera._camera._device
    with pytest.MonkeyPatch.context() as late:
        late.setattr(device, "fetch", lambda timeout_s: None)
        late.setattr(device, "stop", inner(camera).Close)
        with pytest.raises(CameraFault, match="PixelFormat"):
            camera.grab(0, time.monotonic_ns() + round(PATIENCE_S * 1e9))


def test_a_camera_that_is_never_ready_for_a_trigger_is_silent(opened: Open) -> None:
    camera: Any = opened("pylon", trigger="software", silent_ms=200.0)
    next_frame(camera)
    camera._camera._frame_limit_ns = 200_000_000
    camera._camera._device.fire = lambda timeout_s: False
    assert camera.grab(0, time.monotonic_ns()) is None
    assert "silent: no frame" in until_fault(camera)


def test_pulses_without_a_frame_are_silence_and_no_pulses_are_not(opened: Open) -> None:
    """`edges` is asked where a pulse has no frame."""
    camera: Any = opened("pylon", trigger="hardware")
    camera._camera._frame_limit_ns = 50_000_000
    assert camera.edges() is None
    assert camera.grab(0, time.monotonic_ns() + 50_000_000) is None
    inner(camera).TriggerSoftware.Execute()
    next_frame(camera)
    until = time.monotonic() + 0.1
    while time.monotonic() < until:
        assert camera.grab(0, time.monotonic_ns() + 10_000_000) is None
    assert camera.edges() is None  # the first in a row
    time.sleep(0.06)
    with pytest.raises(CameraFault, match="silent: no frame"):
        camera.edges()


def test_a_camera_that_is_never_idle_is_asked_its_time_again(opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither camera here has a clock; when it would be asked is seen all the same."""
    camera: Any = opened("pylon")
    asked: list[int] = []
    monkeypatch.setattr(camera._camera, "_ask_clock", asked.append)
    next_frame(camera)
    camera.prepare()
    assert len(asked) == 1  # none was asked since it was opened
    camera._camera._asked_clock_ns = time.monotonic_ns()
    next_frame(camera)
    camera.prepare()
    assert len(asked) == 1


def test_what_the_camera_sets_by_itself_is_not_read_back_as_a_number() -> None:
    class Automatic(Nodes):
        values: ClassVar[dict[str, Value]] = {
            "ExposureTime": 812.5,
            "ExposureAuto": "Continuous",
            "Gain": 3.0,
            "GainAuto": "Off",
        }

        def has(self, name: str) -> bool:
            return name in self.values

        def get(self, name: str) -> Value:
            return self.values[name]

    found = read_settings(Automatic())
    assert (found["exposure_us"], found["gain_db"]) == ("automatic", 3.0)


def test_a_camera_that_cannot_be_opened_is_looked_for_anew_on_its_interface(
    opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was unplugged meanwhile, say; nobody else may be on that interface."""
    camera: Any = opened("genicam")
    producer = camera._camera._device._producer
    known = producer._harvester.device_info_list
    before, names = list(known), [info.property_dict["id_"] for info in known]
    section = camera._camera._section.model_copy(update={"source": names[-1]})
    with monkeypatch.context() as broken:
        broken.setattr(producer._harvester, "create", lambda *_, **__: (_ for _ in ()).throw(OSError("in use")))
        with pytest.raises(OSError, match="in use"):
            producer.connect(section)
    assert [info.property_dict["id_"] for info in known] == names
    assert [new is old for new, old in zip(known, before, strict=True)] == [True] * (len(known) - 1) + [False]


def test_a_pulse_on_the_line_exposes_and_without_one_there_is_none(opened: Open) -> None:
    """The emulator takes its software trigger for a pulse whatever the source is set to."""
    camera = opened("pylon", trigger="hardware", trigger_line="Line2")
    assert camera.grab(0, time.monotonic_ns() + 50_000_000) is None
    assert inner(camera).TriggerSource.Value == "Line2"
    inner(camera).TriggerSoftware.Execute()
    assert next_frame(camera).frame_id == 1
    assert camera.check()


def test_incomplete_buffers_are_told_counted_and_given_back(opened: Open) -> None:
    camera = opened("pylon", buffer_frames=4)
    next_frame(camera)
    inner(camera).ForceFailedBufferCount.Value = 9  # more than there are buffers
    inner(camera).ForceFailedBuffer.Execute()
    errors = []
    while len(errors) < 9 or errors[-1] is not None:
        errors.append(next_frame(camera).error)
    assert sum(error is not None for error in errors) == 9
    assert "incomplete" in next(error for error in errors if error)


def test_a_camera_that_is_pulled_out_is_a_fault_and_comes_back(opened: Open) -> None:
    camera, other = opened("pylon"), opened("pylon", source="0815-0001")
    newest_id = next_frame(camera).frame_id
    next_frame(other)
    inner(camera).FirePnPCallback.Execute()
    assert "gone" in until_fault(camera)
    assert next_frame(other).error is None
    assert until_frame(camera).frame_id > newest_id


def test_a_camera_that_answers_but_delivers_nothing_is_silent(opened: Open) -> None:
    camera = opened("pylon", silent_ms=100)
    next_frame(camera)
    inner(camera).TriggerMode.Value = "On"  # it now waits for pulses of which nobody knows
    assert "silent: no frame for" in until_fault(camera)
    assert until_frame(camera).error is None  # reopened, it is set up as the config says


def test_a_camera_whose_pictures_are_all_the_same_is_frozen(opened: Open) -> None:
    camera = opened("pylon", frozen_ms=50)
    inner(camera).TestImageSelector.Value = "Testimage1"
    assert "frozen" in until_fault(camera)


def test_two_cameras_of_one_producer_come_and_go_without_each_other(opened: Open) -> None:
    red, green = opened("genicam"), opened("genicam", source="VikyTL_DEV_green")
    assert next_frame(red).frame_id == next_frame(green).frame_id == 1
    green.close()
    green = opened("genicam", source="VikyTL_DEV_green")
    assert next_frame(green).frame_id == 1
    assert [next_frame(red).lost_before for _ in range(3)][1:] == [0, 0]
