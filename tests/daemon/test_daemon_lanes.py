"""An engine with lanes: a part that comes alone has the whole engine, those that come together a lane each, each once."""

import threading
import time
from pathlib import Path

import numpy as np

from daemon.batching import BatchPolicy
from daemon.book import Book
from daemon.judging import Judging
from daemon.later import Later
from daemon.loaded import Loaded
from daemon.outcome import Outbox, Outcome
from daemon.progress import Progress
from daemon.queue import FrameQueue, WaitingFrame
from senbetsu.camera import Frame
from senbetsu.config import Config
from senbetsu.engine import Scores
from senbetsu.judge import Judge
from senbetsu.metrics import DAEMON_METRICS, Metrics
from senbetsu.verdict import Reason

FAR_NS = 1 << 62
WAIT_S = 20


class OneLane:
    """Scores the mean grey / 100, and says who judged; a picture of 99 is held until it is let go."""

    def __init__(self, name: str, judged: list[tuple[str, int]], let_go: threading.Event, rows: int = 1) -> None:
        self.inputs = np.zeros((rows, 8, 8, 3), np.uint8)
        self.batches: list[int] = []
        self._name, self._judged, self._let_go = name, judged, let_go
        self._free = threading.Lock()
        self.offset = 0.0

    def run(self, count: int) -> Scores:
        assert self._free.acquire(blocking=False), f"{self._name} is used by two threads"
        greys = self.inputs[:count, 0, 0, 0]
        self._judged += [(self._name, int(grey)) for grey in greys]
        self.batches.append(count)
        if 99 in greys:
            assert self._let_go.wait(WAIT_S)
        score = greys.astype(np.float32) / 100 + self.offset
        self._free.release()
        return Scores(score, score, score)


class Laned(OneLane):
    """Two lanes, and itself for a part that is alone."""

    kind, precision, device, batch_sizes = "laned", "fp32", "none", (1,)
    in_turn = True

    def __init__(self) -> None:
        self.judged: list[tuple[str, int]] = []
        self.let_go = threading.Event()
        super().__init__("whole", self.judged, self.let_go)
        self._lanes = tuple(OneLane("lane", self.judged, self.let_go, 4) for _ in range(2))

    @property
    def lanes(self) -> tuple[OneLane, ...]:
        return self._lanes


class Line:
    def __init__(self, idle_s: float = WAIT_S) -> None:
        self.engine = Laned()
        loaded = Loaded.of(Config(artifacts=Path("recipe1")), Judge(self.engine, 1.0, "m", "p", 1, 0.5))
        self.engine.judged.clear()
        self.book = Book(loaded.judged_by)
        self.published: list[Outcome] = []
        self.outbox = Outbox(self.book, self.published.append)
        self.frames = FrameQueue({"cam1": 200}, BatchPolicy.of(self.engine, 0))
        self.progress = Progress({}, 10**9, 10**9)
        self.deaths: list[str] = []
        self.died = threading.Event()
        self.judging = Judging(
            loaded, self.frames, self.outbox, self.progress, Metrics(DAEMON_METRICS), Later(), idle_s, self._died
        )

    def _died(self, _: str, error: BaseException) -> None:
        self.deaths.append(str(error))
        self.died.set()

    def part(self, number: int, grey: int, arrived_at_ns: int = 0, deadline_ns: int = FAR_NS) -> None:
        image = np.full((8, 8, 3), grey, np.uint8)
        (look,) = self.book.announce("gate1", ["cam1"], number, None, 0, deadline_ns)
        assert self.frames.put(WaitingFrame(look, Frame(number, 0, image), image, arrived_at_ns))

    def hold(self, number: int) -> None:
        """A part that keeps the whole engine until it is let go."""
        self.part(number, 99)
        while not self.engine.judged:
            threading.Event().wait(0.001)

    def rests(self) -> None:
        """Wait until no lane has a part: a part's outcome is told before its lane is free."""
        while self.judging._busy:
            threading.Event().wait(0.001)

    def outcomes(self, count: int) -> list[Outcome]:
        """Those that were published since this was last asked: so many, or what came within WAIT_S."""
        pause = threading.Event()
        for _ in range(WAIT_S * 200):
            if len(self.published) >= count:
                break
            pause.wait(0.005)
        some = self.published[:]
        del self.published[: len(some)]
        return some

    def end(self) -> None:
        self.frames.close()
        self.judging.join(WAIT_S)


def test_a_part_that_comes_alone_is_judged_by_the_whole_engine_and_one_beside_it_by_a_lane() -> None:
    line = Line()
    line.judging.start()
    line.hold(1)
    line.part(2, 20)  # while the first is held
    assert [o.look.trigger for o in line.outcomes(1)] == [2]
    line.part(3, 30)
    assert [o.look.trigger for o in line.outcomes(1)] == [3]
    line.engine.let_go.set()
    assert [o.look.trigger for o in line.outcomes(1)] == [1]
    line.end()
    assert line.deaths == []
    assert line.engine.judged == [("whole", 99), ("lane", 20), ("lane", 30)]


def test_a_part_that_had_to_wait_takes_a_lane_though_nothing_else_waits() -> None:
    line = Line()
    line.judging.start()
    for number, arrived_at_ns in ((1, 0), (2, 0), (3, FAR_NS)):  # the second came before the first was done
        line.part(number, 10 * number, arrived_at_ns)
        assert [o.look.trigger for o in line.outcomes(1)] == [number]
        line.rests()
    line.end()
    assert line.deaths == []
    assert line.engine.judged == [("whole", 10), ("lane", 20), ("whole", 30)]


def test_a_part_that_comes_before_the_engine_has_rested_as_long_as_it_worked_takes_a_lane() -> None:
    line = Line()
    line.judging.start()
    line.hold(1)
    held_until_ns = time.monotonic_ns() + 50_000_000
    while time.monotonic_ns() < held_until_ns:
        threading.Event().wait(0.001)
    line.engine.let_go.set()
    assert [o.look.trigger for o in line.outcomes(1)] == [1]
    line.rests()
    line.part(2, 20, held_until_ns + 40_000_000)
    assert [o.look.trigger for o in line.outcomes(1)] == [2]
    line.rests()
    line.part(3, 30, FAR_NS)
    assert [o.look.trigger for o in line.outcomes(1)] == [3]
    line.end()
    assert line.deaths == []
    assert line.engine.judged == [("whole", 99), ("lane", 20), ("whole", 30)]


def test_of_parts_that_wait_together_each_is_judged_once_with_its_own_score() -> None:
    line = Line()
    for number in range(150):
        line.part(number, number % 90)
    line.judging.start()
    outcomes = line.outcomes(150)
    line.end()
    assert line.deaths == []
    assert {count for lane in line.engine.lanes for count in lane.batches} == {
        1,
        2,
        3,
        4,
    }  # fewer as the line grows short
    assert sorted((o.look.trigger, round(100 * o.score)) for o in outcomes) == [(n, n % 90) for n in range(150)]
    assert ("lane", 0) in line.engine.judged


def test_lanes_and_the_whole_engine_are_each_looked_after_while_no_part_comes() -> None:
    for wrong in (None, 0, 1):
        line = Line(idle_s=0.01)
        judges_by = line.engine if wrong is None else line.engine.lanes[wrong]
        judges_by.offset = 0.5
        line.judging.start()
        assert line.died.wait(WAIT_S)
        line.end()
        assert "scored its test picture" in line.deaths[0]


def test_one_lane_that_hangs_is_a_stall_though_the_other_goes_on() -> None:
    line = Line()
    line.judging.start()
    line.hold(1)
    line.part(2, 10)
    line.outcomes(1)
    busy_ns = max(line.progress.engine_busy_since_ns)
    assert not line.progress.engine_stalls(busy_ns + 10**9)
    assert line.progress.engine_stalls(busy_ns + 10**9 + 1)
    line.engine.let_go.set()
    line.end()
    assert not line.progress.engine_stalls(busy_ns + 10**12)


def test_what_a_lane_says_after_another_has_failed_is_not_believed() -> None:
    line = Line()
    line.judging.start()
    line.hold(1)
    line.progress.fail("thread judging-1 died")
    line.engine.let_go.set()
    line.part(2, 20)
    assert {o.look.trigger: o.reason for o in line.outcomes(2)} == {1: Reason.MODEL_FAULT, 2: Reason.MODEL_FAULT}
    line.end()


def test_a_part_that_is_done_after_its_deadline_never_passes() -> None:
    """The main thread would say so a little later; whoever is first must not say otherwise."""
    line = Line()
    line.judging.start()
    due_ns = time.monotonic_ns() + 300_000_000
    line.part(1, 99, deadline_ns=due_ns)
    while not line.engine.judged:
        threading.Event().wait(0.001)
    while time.monotonic_ns() <= due_ns:
        threading.Event().wait(0.01)
    line.engine.let_go.set()
    (outcome,) = line.outcomes(1)
    assert outcome.reason is Reason.DEADLINE
    line.end()
