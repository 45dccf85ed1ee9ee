"""When a part is before the camera: at the pulses' pace, at a person's, by the clock; cut as on the line."""

from collections.abc import Callable

import numpy as np
import pytest

from calibrate.live import take_live
from calibrate.shots import GIVE_UP_S, Shots, check_pace
from senbetsu.camera import CameraFault, Frame
from senbetsu.config import BeltSection, CameraSection, Config, GateSection, RegionSection
from senbetsu.errors import UserError


def section_of(**settings: object) -> CameraSection:
    return CameraSection.model_validate({"name": "cam1", "kind": "pylon", "source": "1", "gate": "gate1", **settings})


class Line:
    """A camera and a clock that waits for nobody: each grab that finds no frame takes half a second."""

    def __init__(self, *frames: "np.ndarray | CameraFault | None") -> None:
        self.frames = list(frames)
        self.now_s = 0.0
        self.grabs: list[tuple[float, int]] = []
        self.asked = 0
        self.simulated = False
        self.name = "cam1"

    def grab(self, not_before_ns: int, until_ns: int) -> Frame | None:
        self.grabs.append((self.now_s, not_before_ns))
        found = self.frames.pop(0) if self.frames else None
        if isinstance(found, CameraFault):
            raise found
        if found is None:
            self.now_s += 0.5
            return None
        return Frame(len(self.grabs), len(self.grabs) * 10**8, found)

    def prepare(self) -> None:
        pass

    def check(self) -> bool:
        return True

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds

    def ask(self) -> None:
        self.asked += 1
        self.now_s += 100

    def shots(self, section: CameraSection, every: object = None) -> Shots:
        return Shots(self, section, every, self.ask, lambda: self.now_s, self.sleep)  # type: ignore[arg-type]


def picture(value: int = 0) -> np.ndarray:
    return np.full((60, 80), value, np.uint8)


def test_a_software_trigger_that_nobody_sends_takes_a_pace() -> None:
    section = section_of(trigger="software")
    with pytest.raises(UserError, match=r"nobody sends one.*--every enter.*--every SECONDS.*trigger=hardware"):
        check_pace(section, None, simulated=False)
    for every in (2.0, "enter"):
        check_pace(section, every, simulated=False)  # type: ignore[arg-type]
    check_pace(section, None, simulated=True)


@pytest.mark.parametrize(
    ("settings", "who"),
    [({"trigger": "hardware"}, "the PLC's pulses"), ({"trigger": "free_run", "belt": BeltSection()}, "the belt")],
)
def test_where_the_line_says_when_a_part_is_there_nobody_else_does(settings: dict, who: str) -> None:
    section = section_of(**settings)
    check_pace(section, None, simulated=False)
    with pytest.raises(UserError, match=rf"{who}.*leave --every out"):
        check_pace(section, 1.0, simulated=False)


def test_every_pulse_is_a_part_and_those_that_wait_are_not_thrown_away() -> None:
    line = Line(picture(1), None, picture(2), picture(3))
    shots = line.shots(section_of(trigger="hardware"))
    assert [int(shots.next("")[0][0, 0]) for _ in range(3)] == [1, 2, 3]  # type: ignore[index]
    assert {not_before for _, not_before in line.grabs} == {0}


def test_without_pulses_it_waits_and_says_so_once(caplog: pytest.LogCaptureFixture) -> None:
    line = Line(*[None] * round(10 * GIVE_UP_S), picture(7))
    with caplog.at_level("INFO"):
        (found,) = line.shots(section_of(trigger="hardware", trigger_line="Line3")).next("")
    assert found is not None
    assert caplog.text.count("no pulse at Line3 for 30 s; waiting for parts") == 1


@pytest.mark.parametrize("trigger", ["hardware", "free_run"])
def test_a_camera_that_is_lost_for_long_ends_it(trigger: str) -> None:
    line = Line(*[CameraFault("cable")] * 10_000)
    with pytest.raises(UserError, match=r"no picture for 30 s \(cable\); 3 of 9; the same command goes on"):
        line.shots(section_of(trigger=trigger)).next("3 of 9")


def test_by_the_clock_frames_lie_so_far_apart_and_none_is_older() -> None:
    line = Line(*map(picture, range(4)))
    shots = line.shots(section_of(trigger="software"), 2.5)
    for _ in range(4):
        shots.next("")
    assert [at_s for at_s, _ in line.grabs] == [0.0, 2.5, 5.0, 7.5]
    assert all(not_before > 0 for _, not_before in line.grabs)


def test_by_hand_each_press_of_enter_takes_one_and_a_long_pause_is_no_silence() -> None:
    line = Line(*map(picture, range(3)))
    shots = line.shots(section_of(trigger="software"), "enter")
    for _ in range(3):
        shots.next("")
    assert line.asked == len(line.grabs) == 3


def test_where_nobody_can_press_enter_it_says_what_to_do() -> None:
    def closed() -> None:
        raise EOFError

    line = Line(picture())
    with pytest.raises(UserError, match="--every SECONDS"):
        Shots(line, section_of(), "enter", closed).next("")  # type: ignore[arg-type]


def test_a_frame_is_cut_into_the_items_that_the_daemon_judges() -> None:
    left, beyond = RegionSection(x=0, y=0, width=30, height=40), RegionSection(x=60, y=0, width=30, height=40)
    image = picture()
    image[:40, :30] = 9
    found = Line(image).shots(section_of(trigger="hardware", regions=(left, beyond))).next("")
    assert found[0] is not None
    assert found[0].shape == (40, 30)
    assert (found[0] == 9).all()
    assert found[1] is None


def test_parts_on_a_belt_are_taken_once_however_many_frames_show_them() -> None:
    frames = []
    for left in range(-60, 260, 10):
        frame = np.full((120, 200, 3), 40, np.uint8)
        frame[40:80, max(0, left) : max(0, left + 40)] = 200
        frames.append(frame)
    empty = np.full((120, 200, 3), 40, np.uint8)
    line = Line(*[empty] * 40, *frames, *[empty] * 10)
    belt = BeltSection(width=64, height=64, least_area=400)
    (found,) = line.shots(section_of(trigger="free_run", belt=belt)).next("")
    assert found is not None
    assert found.shape[:2] == (64, 64)
    assert (found == 200).mean() > 0.2
    with pytest.raises(UserError, match="no picture for 30 s"):
        line.shots(section_of(trigger="free_run", belt=belt)).next("")


@pytest.mark.timeout(60)
def test_the_pulses_of_a_hardware_triggered_camera_are_the_parts(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    """Basler's emulation; it takes its software trigger for a pulse, and shows a pattern that moves by a pixel each time."""
    import threading

    import calibrate.live
    from senbetsu.images import read_image

    pytest.importorskip("pypylon", reason="takes senbetsu[pylon]")
    monkeypatch.setenv("PYLON_CAMEMU", "1")
    settings = {"kind": "pylon", "source": "0815-0000", "trigger": "hardware", "roi": [0, 0, 64, 48]}
    config = Config(artifacts=tmp_path, cameras=(section_of(**settings),), gates=(GateSection(name="gate1"),))
    opened: list[object] = []
    real: Callable = calibrate.live.open_camera
    monkeypatch.setattr(calibrate.live, "open_camera", lambda *given: opened.append(real(*given)) or opened[-1])
    done = threading.Event()

    def pulse() -> None:
        while not done.wait(0.1):
            for camera in opened:
                camera._camera._device._camera.TriggerSoftware.Execute()

    pulses = threading.Thread(target=pulse)
    pulses.start()
    try:
        folder, _, read_back = take_live(config, "cam1", 6)
    finally:
        done.set()
        pulses.join()
    pictures = [read_image(path) for path in sorted(folder.glob("*.png"))]
    assert [one.shape for one in pictures] == [(48, 64, 3)] * 6
    assert len({one.tobytes() for one in pictures}) == 6
    assert (read_back["model"], read_back["roi"]) == ("CamEmu", [0, 0, 64, 48])
