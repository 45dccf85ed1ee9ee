"""Which part a frame belongs to: a freely running camera's frame shows the newest part triggered before its exposure."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest

from daemon.batching import BatchPolicy
from daemon.book import Book, Look
from daemon.capture import Capture
from daemon.outcome import Outbox, Outcome
from daemon.progress import Progress
from daemon.queue import FrameQueue
from daemon.run_times import RunTimes
from senbetsu.camera import CameraFault, EndOfFrames, Frame
from senbetsu.config import CameraSection, GateSection
from senbetsu.errors import UserError
from senbetsu.metrics import DAEMON_METRICS, Metrics
from senbetsu.verdict import Reason

FAR_NS = 1 << 62
ENGINE_NS = 30_000_000


class ScriptedCamera:
    """Gives what the script says: an exposure time, None for no frame in time, or an error."""

    name, simulated = "cam1", False

    def __init__(self, script: list[Any], exposes_on_trigger: bool, skips_before: tuple[int, ...]) -> None:
        """`skips_before`: exposures before which two frames were missed."""
        self._script: Iterator[Any] = iter(script)
        self.exposes_on_trigger = exposes_on_trigger
        self._skips_before = skips_before
        self._frames = 0
        self.on_end: Callable[[], None] = lambda: None
        self.waits: Callable[[int], None] = lambda until_ns: None

    def grab(self, not_before_ns: int, until_ns: int) -> Frame | None:
        step = next(self._script)
        self.waits(until_ns)
        if isinstance(step, EndOfFrames):
            self.on_end()
        if isinstance(step, Exception):
            raise step
        if step is None:
            return None
        assert step >= not_before_ns, "the script is wrong: no camera may do this"
        self._frames += 3 if step in self._skips_before else 1
        return Frame(self._frames, step, np.zeros((2, 2, 3), np.uint8))

    def prepare(self) -> None: ...
    def check(self) -> bool:
        return True

    def close(self) -> None: ...


@pytest.fixture
def run() -> Callable[..., Any]:
    def run(
        script: list[Any],
        triggers: list[int],
        *,
        exposes: bool = False,
        buffer_frames: int = 16,
        due_ns: int = FAR_NS,
        skips_before: tuple[int, ...] = (),
        free_run: bool = False,
        waits: Callable[[int], None] = lambda until_ns: None,
        proven_ns: int = FAR_NS,
    ) -> Any:
        """Order a frame for a part at each trigger time, let the thread work, and tell what became of whom."""
        book = Book(None)
        outcomes: list[Outcome] = []
        outbox = Outbox(book, outcomes.append)
        frames = FrameQueue({"cam1": buffer_frames}, BatchPolicy(64, 0))
        settings = {"name": "cam1", "kind": "opencv", "source": "0", "gate": "gate1", "buffer_frames": buffer_frames}
        section = CameraSection.model_validate({**settings, "trigger": "free_run" if free_run else "software"})
        deaths: list[BaseException] = []
        camera = ScriptedCamera(script, exposes, skips_before)
        capture = Capture(
            camera, section, GateSection(name="gate1"), book, frames, outbox,
            Progress({"cam1": 10**9}, 10**9, 10**9, {"cam1": proven_ns}), Metrics(DAEMON_METRICS), lambda: ENGINE_NS,
            lambda _, error: deaths.append(error),
        )  # fmt: skip
        camera.on_end = capture.stop if free_run else camera.on_end
        camera.waits = waits
        looks: list[Look] = []
        for number, triggered_at_ns in enumerate(triggers):
            looks += book.announce("gate1", ["cam1"], number, None, triggered_at_ns, due_ns)
            capture.order(looks[-1:])
        if not free_run:
            capture.stop()
        capture.run()
        frames.close()
        taken = frames.take(0, RunTimes((1, 64)))
        waiting = [*taken.batch, *taken.expired] if taken else []
        return SimpleNamespace(
            judged={w.look.trigger: w.frame.frame_id for w in waiting},
            settled={o.look.trigger: o.reason for o in outcomes},
            frames={w.frame.frame_id: None for w in waiting} | {o.frame_id: o.reason for o in outcomes},
            deaths=deaths,
            fault=capture.fault,
        )

    return run


def test_a_camera_that_exposes_on_trigger_gives_each_part_its_own_frame(run: Any) -> None:
    done = run([1000, 1001, 1002], [10, 20, 30], exposes=True)
    assert done.judged == {0: 1, 1: 2, 2: 3}
    assert done.settled == {}


def test_a_freely_running_camera_shows_the_newest_part_and_those_before_had_passed_unseen(run: Any) -> None:
    done = run([25, 50], [10, 20, 30], exposes=False)
    assert done.judged == {1: 1, 2: 2}
    assert done.settled == {0: Reason.NO_FRAME}


def test_one_frame_is_never_given_to_two_parts(run: Any) -> None:
    done = run([100], [10, 20, 30], exposes=False)
    assert done.judged == {2: 1}
    assert done.settled == {0: Reason.NO_FRAME, 1: Reason.NO_FRAME}


def test_no_frame_a_fault_and_an_end_each_reject_their_part_alone(run: Any) -> None:
    done = run([None, CameraFault("cable"), 100, EndOfFrames("over")], [1, 2, 3, 4], exposes=True)
    assert done.judged == {2: 1}
    assert done.settled == {0: Reason.NO_FRAME, 1: Reason.CAMERA_FAULT, 3: Reason.NO_FRAME}
    assert done.fault is None  # it was well again with the third
    assert done.deaths == []


def test_more_orders_than_the_buffer_holds_are_overload_at_once(run: Any) -> None:
    done = run([100, 101], [1, 2, 3, 4, 5], exposes=True, buffer_frames=2)
    assert done.judged == {0: 1, 1: 2}
    assert done.settled == {2: Reason.OVERLOAD, 3: Reason.OVERLOAD, 4: Reason.OVERLOAD}


def test_a_part_whose_deadline_passed_before_its_turn_takes_no_frame(run: Any) -> None:
    done = run([], [1, 2], exposes=True, due_ns=5)
    assert done.judged == {}
    assert done.settled == {0: Reason.NO_FRAME, 1: Reason.NO_FRAME}


@pytest.mark.parametrize(("due_ms", "most_ms"), [(100, 68), (40, 20)])
def test_who_waits_for_the_result_is_told_of_a_missing_frame_before_the_deadline(
    run: Any, due_ms: int, most_ms: int
) -> None:
    """So long before it as the engine and the way take, but after half of the time at the earliest."""
    waited_until_ns: list[int] = []
    now_ns = time.monotonic_ns() + 3_600_000_000_000
    done = run([None], [now_ns], exposes=True, due_ns=now_ns + due_ms * 1_000_000, waits=waited_until_ns.append)
    assert done.settled == {0: Reason.NO_FRAME}
    assert waited_until_ns == [now_ns + most_ms * 1_000_000]


def test_a_part_that_comes_too_late_for_the_engine_takes_no_frame_either(run: Any) -> None:
    now_ns = time.monotonic_ns()
    done = run([], [now_ns - 80_000_000], exposes=True, due_ns=now_ns + 20_000_000)
    assert done.settled == {0: Reason.OVERLOAD}


def test_parts_of_a_camera_that_hangs_in_its_driver_are_rejected_at_once(run: Any) -> None:
    done = run([], [1, 2], exposes=True, proven_ns=0)
    assert done.settled == {0: Reason.CAMERA_FAULT, 1: Reason.CAMERA_FAULT}


def test_a_camera_that_crashes_ends_the_thread_and_says_so(run: Any) -> None:
    done = run([ValueError("driver")], [1], exposes=True)
    assert [str(error) for error in done.deaths] == ["driver"]


def test_a_frame_that_free_run_missed_is_told_as_overload(run: Any) -> None:
    done = run([100, 200, 300, EndOfFrames("over")], [], skips_before=(300,), free_run=True)
    assert done.frames == {1: None, 2: None, 3: Reason.OVERLOAD, 4: Reason.OVERLOAD, 5: None}


def test_a_frame_that_was_lost_on_its_way_is_told_from_one_that_nobody_took() -> None:
    """Frame ids 1, 4, 6: of the two before 4 one was lost by the link, the one before 6 gave way."""
    frames = [Frame(1, 10, PICTURE), Frame(4, 40, PICTURE, lost_before=1), Frame(6, 60, PICTURE)]
    done = free_running(frames)
    assert done == [(1, 0, None), (2, 0, Reason.OVERLOAD), (3, 0, Reason.INCOMPLETE_FRAME), (4, 0, None),
                    (5, 0, Reason.OVERLOAD), (6, 0, None)]  # fmt: skip


def test_each_region_is_an_item_and_half_a_region_is_none() -> None:
    regions = [{"x": 0, "y": 0, "width": 10, "height": 8}, {"x": 10, "y": 0, "width": 12, "height": 8}]
    wide, narrow = np.zeros((8, 22, 3), np.uint8), np.zeros((8, 21, 3), np.uint8)
    done = free_running([Frame(1, 10, wide), Frame(2, 20, narrow), Frame(3, 30, None, "cut off")], regions=regions)
    assert done == [(1, 0, None), (1, 1, None), (2, 0, None), (2, 1, Reason.INCOMPLETE_FRAME),
                    (3, 0, Reason.INCOMPLETE_FRAME), (3, 1, Reason.INCOMPLETE_FRAME)]  # fmt: skip


def on_belt(frame_id: int, *lefts: int, height: int = 100) -> Frame:
    """A frame of the belt with a part of 30 x 20 pixels at each of these; 10 ms after the one before it."""
    image = np.zeros((height, 200, 3), np.uint8)
    for left in lefts:
        image[40:60, max(0, left) : max(0, left + 30)] = 250
    return Frame(frame_id, frame_id * 10**7, image)


BELT = {"width": 64, "height": 48, "least_area": 100}
EMPTY = [on_belt(number) for number in range(1, 20)]


def test_parts_on_the_belt_are_looks_of_their_own_and_those_that_a_fault_hides_are_rejected() -> None:
    moving = [on_belt(step + 20, 200 - 5 * step, 320 - 5 * step) for step in range(40)]
    done = free_running([*EMPTY, *moving, CameraFault("unplugged")], belt=BELT)
    # The first was seen best in the middle, at left = 85; the second had come in whole when the camera was lost.
    assert [(frame_id, reason) for frame_id, _, reason in done] == [(20 + 23, None), (20 + 39, Reason.CAMERA_FAULT)]


def test_a_part_that_a_fault_hid_is_not_judged_when_the_camera_is_back_and_one_that_came_meanwhile_is() -> None:
    script: list[Any] = [on_belt(step + 20, 200 - step, 260 - step) for step in range(200)]
    script[45:75] = [CameraFault("unplugged")] * 30
    done = free_running([*EMPTY, *script], belt=BELT)
    first, second = done
    assert first[2] is Reason.CAMERA_FAULT
    assert second[2] is None
    assert second[0] == pytest.approx(20 + 260 - 85, abs=2)


def test_frames_that_do_not_fit_the_belt_are_counted_and_said_and_the_camera_goes_on() -> None:
    troubles: list[str | None] = []
    metrics = Metrics(DAEMON_METRICS)
    moving = [on_belt(step + 21, 200 - 5 * step) for step in range(60)]
    narrow = on_belt(20, height=80)
    done = free_running([*EMPTY, narrow, *moving], belt=BELT, metrics=metrics, troubles=troubles)
    assert [(frame_id, reason) for frame_id, _, reason in done] == [(21 + 23, None)]
    assert metrics.counter("frames_total", "cam1", "incomplete")._value.get() == 1
    assert metrics.counter("frames_total", "cam1", "watched")._value.get() == len(EMPTY) + len(moving)
    assert metrics.counter("frames_total", "cam1", "queued")._value.get() == 0
    assert [trouble is None for trouble in troubles] == [True, *[False] * 14, *[True] * 5, False, *[True] * 60]
    assert "200 x 80 pixels" in str(troubles[20])


def test_a_belt_that_does_not_fit_its_background_is_refused_at_the_start(tmp_path: Path) -> None:
    assert cv2.imwrite(str(tmp_path / "empty.png"), np.zeros((100, 200, 3), np.uint8))
    belt = {**BELT, "background": tmp_path / "empty.png", "within": (0, 0, 300, 100)}
    with pytest.raises(UserError, match=r"camera cam1: belt\.within = \[0, 0, 300, 100\].*200 x 100"):
        free_running([], belt=belt)


PICTURE = np.zeros((2, 2, 3), np.uint8)


def free_running(
    script: list[Any], metrics: Metrics | None = None, troubles: list[str | None] | None = None, **settings: Any
) -> list[tuple[int | None, int, Reason | None]]:
    """(frame, item, reason) of every look, in order; no reason where it waits to be judged."""
    book = Book(None)
    outcomes: list[Outcome] = []
    outbox = Outbox(book, outcomes.append)
    frames = FrameQueue({"cam1": 64}, BatchPolicy(64, 0))
    own = {"name": "cam1", "kind": "opencv", "source": "0", "gate": "gate1", "trigger": "free_run"}
    section = CameraSection.model_validate({**own, **settings})
    steps = iter(script)

    class Free(ScriptedCamera):
        def grab(self, not_before_ns: int, until_ns: int) -> Frame | None:
            if troubles is not None:
                troubles.append(capture.fault)
            step = next(steps, None)
            if step is None:
                capture.stop()
                return None
            if isinstance(step, Exception):
                raise step
            assert isinstance(step, Frame)
            return step

    capture = Capture(
        Free([], False, ()), section, GateSection(name="gate1"), book, frames, outbox,
        Progress({"cam1": 10**9}, 10**9, 10**9, {"cam1": FAR_NS}), metrics or Metrics(DAEMON_METRICS), lambda: ENGINE_NS,
        lambda name, error: None,
    )  # fmt: skip
    capture.run()
    frames.close()
    taken = frames.take(0, RunTimes((1, 64)))
    waiting = [*taken.batch, *taken.expired, *taken.hopeless] if taken else []
    looks = [(w.look.number, w.frame.frame_id, w.look.item, None) for w in waiting]
    looks += [(o.look.number, o.frame_id, o.look.item, o.reason) for o in outcomes]
    return [look[1:] for look in sorted(looks)]
