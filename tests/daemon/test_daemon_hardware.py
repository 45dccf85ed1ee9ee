"""A hardware trigger with the emulated Basler camera: pulses on its line, the PLC's word of them, and what goes wrong.

The emulator takes its software trigger for a pulse. It has no edge counter; one is put in beside it that counts pulses.
"""

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from daemon.batching import BatchPolicy
from daemon.book import Book
from daemon.capture import Capture
from daemon.outcome import Outbox, Outcome
from daemon.progress import Progress
from daemon.queue import FrameQueue
from daemon.run_times import RunTimes
from senbetsu.camera import open_camera
from senbetsu.config import CameraSection, GateSection
from senbetsu.metrics import DAEMON_METRICS, Metrics
from senbetsu.verdict import Reason

PATIENCE_S = 20.0
WINDOW_MS = 400.0
"""Wide, since the machine that tests may be busy; parts come as far apart as that takes."""

pytest.importorskip("pypylon", reason="takes senbetsu[pylon]")
# In real time against an emulator: pulses and words have to meet within the window, so it is run where nothing else is.
pytestmark = [pytest.mark.timeout(60, method="thread"), pytest.mark.slow]


class Line:
    """A camera, its capture thread, and a PLC."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, counts: bool) -> None:
        section = {"name": "cam1", "kind": "pylon", "source": "0815-0000", "roi": [0, 0, 64, 48], "gate": "gate1"}
        hardware = {"trigger": "hardware", "window_ms": WINDOW_MS}
        self.section = CameraSection.model_validate({**section, **hardware})
        self.camera: Any = open_camera(self.section)
        self.pulses = 0
        industrial = self.camera._camera
        next_frame = industrial._device.fetch

        def with_count(timeout_s: float) -> Any:
            delivery = next_frame(timeout_s)
            return delivery and type(delivery)(delivery.number, None, delivery.image, delivery.error, self.pulses)

        if counts:
            monkeypatch.setattr(industrial, "edges", lambda: self.pulses)
            monkeypatch.setattr(industrial._device, "fetch", with_count)
        self.book = Book(None)
        self.outcomes: list[Outcome] = []
        self.outbox = Outbox(self.book, self.outcomes.append)
        self.frames = FrameQueue({"cam1": 64}, BatchPolicy(64, 0))
        self.deaths: list[BaseException] = []
        self.capture = Capture(
            self.camera, self.section, GateSection(name="gate1"), self.book, self.frames, self.outbox,
            Progress({"cam1": 10**9}, 10**9, 10**9, {"cam1": 1 << 62}), Metrics(DAEMON_METRICS), lambda: 0,
            lambda _, error: self.deaths.append(error),
        )  # fmt: skip
        self.capture.start()
        self.trigger = 0
        self._reasons: dict[int, Reason] = {}
        self._waiting: set[int | None] = set()

    def pulse(self) -> None:
        self.pulses += 1
        self.camera._camera._device._camera.TriggerSoftware.Execute()

    def word(self, run: int = 1) -> int:
        """The PLC's of a part."""
        self.trigger += 1
        now_ns = time.monotonic_ns()
        looks = self.book.announce("gate1", ["cam1"], self.trigger, None, now_ns, now_ns + 10**12, 1, run)
        self.capture.order(looks)
        return self.trigger

    def becomes(self, trigger: int) -> Reason | None:
        """The reason of its reject, or None where its frame waits to be judged."""
        until = time.monotonic() + PATIENCE_S
        while time.monotonic() < until:
            self._reasons |= {o.look.trigger: o.reason for o in self.outcomes if o.look.trigger is not None}
            if trigger in self._reasons:
                return self._reasons[trigger]
            taken = self.frames.take(0, RunTimes((1, 64)))
            assert taken is not None
            self._waiting |= {waiting.look.trigger for waiting in taken.batch}
            if trigger in self._waiting:
                return None
            time.sleep(0.002)
        raise AssertionError(f"nothing became of trigger {trigger}: {self.deaths}")


@pytest.fixture
def line_of(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Line]]:
    monkeypatch.setenv("PYLON_CAMEMU", "1")
    lines: list[Line] = []

    def start(*, counts: bool) -> Line:
        lines.append(Line(monkeypatch, counts=counts))
        return lines[-1]

    yield start
    for line in lines:
        line.capture.stop()
        line.capture.join(PATIENCE_S)
        assert (line.deaths, line.capture.is_alive()) == ([], False)


def test_with_a_counter_parts_are_judged_and_a_pulse_that_the_camera_missed_ends_the_run(
    line_of: Callable[..., Line],
) -> None:
    line = line_of(counts=True)
    for _ in range(2):
        line.pulse()
        assert line.becomes(line.word()) is None
    assert line.becomes(line.word()) is Reason.OUT_OF_STEP  # a word without a pulse
    assert line.capture.out_of_step is not None
    assert "lost pulse" in line.capture.out_of_step
    line.pulse()
    assert line.becomes(line.word()) is Reason.OUT_OF_STEP


def test_with_a_counter_a_frame_that_was_lost_costs_one_part(
    line_of: Callable[..., Line],
) -> None:
    line = line_of(counts=True)
    line.pulse()
    assert line.becomes(line.word()) is None
    line.pulses += 1  # counted by the camera, and not exposed
    assert line.becomes(line.word()) is Reason.NO_FRAME
    line.pulse()
    assert line.becomes(line.word()) is None
    assert line.capture.out_of_step is None


def test_without_a_counter_one_pulse_and_one_word_are_a_part_and_a_word_alone_is_none(
    line_of: Callable[..., Line],
) -> None:
    line = line_of(counts=False)
    line.pulse()
    assert line.becomes(line.word()) is None
    assert line.becomes(line.word()) is Reason.OUT_OF_STEP


def test_a_camera_that_is_pulled_out_rejects_its_parts_and_its_count_is_not_believed_when_it_is_back(
    line_of: Callable[..., Line],
) -> None:
    line = line_of(counts=False)
    line.camera._camera._device._camera.FirePnPCallback.Execute()
    reasons = set()
    until = time.monotonic() + PATIENCE_S
    while reasons != {Reason.CAMERA_FAULT, Reason.OUT_OF_STEP} and time.monotonic() < until:
        reasons.add(line.becomes(line.word()))
    assert reasons == {Reason.CAMERA_FAULT, Reason.OUT_OF_STEP}
    line.pulse()
    assert line.becomes(line.word(run=2)) is None
