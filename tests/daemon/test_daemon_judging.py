"""The engine's thread: every frame that is taken is settled, with its own score, and a wrong engine is not believed."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

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
from senbetsu.engine import EngineFault, Lane, Scores
from senbetsu.judge import Judge
from senbetsu.metrics import DAEMON_METRICS, Metrics
from senbetsu.verdict import Reason

FAR_NS = 1 << 62


class GreyEngine:
    """Scores the mean grey / 100; `drift` is added to every score after the first run."""

    kind, precision, device, batch_sizes = "grey", "fp32", "none", (1, 4)
    in_turn = False

    def __init__(self, drift: float = 0.0, first: float = 0.0) -> None:
        self.inputs = np.zeros((4, 8, 8, 3), np.uint8)
        self.counts: list[int] = []
        self._drift = drift
        self._offset = first

    @property
    def lanes(self) -> tuple[Lane, ...]:
        return (self,)

    def run(self, count: int) -> Scores:
        self.counts.append(count)
        score = self.inputs[:count].reshape(count, -1).mean(axis=1).astype(np.float32) / 100 + np.float32(self._offset)
        self._offset = self._drift
        return Scores(score, score, score)


@pytest.fixture
def judge_all() -> Callable[..., Any]:
    def judge_all(images: list[Any], engine: GreyEngine, deadline_ns: int = FAR_NS) -> tuple[list[Any], list[str]]:
        """The outcomes of these frames in order of trigger, and what the thread died of."""
        config = Config(artifacts=Path("recipe1"))
        loaded = Loaded.of(config, Judge(engine, 1.0, "m", "p", 1, 0.5))
        book = Book(loaded.judged_by)
        outcomes: list[Outcome] = []
        outbox = Outbox(book, outcomes.append)
        frames = FrameQueue({"cam1": 64}, BatchPolicy(4, 0))
        for number, image in enumerate(images):
            (look,) = book.announce("gate1", ["cam1"], number, None, 0, deadline_ns)
            assert frames.put(WaitingFrame(look, Frame(number, 0, image), image, 0))
        deaths: list[str] = []
        thread = Judging(
            loaded, frames, outbox, Progress({}, 10**9, 10**9), Metrics(DAEMON_METRICS), Later(),
            60.0 if images else 0.0, lambda _, error: deaths.append(str(error)),
        )  # fmt: skip
        if images:
            frames.close()
        thread.start()
        thread.join(60)
        return sorted(outcomes, key=lambda outcome: outcome.look.number), deaths

    return judge_all


def grey(value: int, shape: tuple[int, ...] = (8, 8, 3), dtype: Any = np.uint8) -> Any:
    return np.full(shape, value, dtype)


def test_each_part_gets_its_own_score_whatever_its_size_and_batch(judge_all: Any) -> None:
    engine = GreyEngine()
    values = [10, 200, 30, 90, 150, 60, 70]
    shapes = [(8, 8, 3), (30, 20, 3), (5, 5, 3), (16, 16), (16, 16, 1), (8, 8, 4), (9, 8, 3)]
    outcomes, deaths = judge_all([grey(v, s) for v, s in zip(values, shapes, strict=True)], engine)
    assert deaths == []
    # The oracle: a fourth channel is transparency and is not seen; all pictures are even.
    assert [o.score for o in outcomes] == pytest.approx([v / 100 for v in values], abs=0.02)
    assert [o.reason for o in outcomes] == [Reason.OK if v <= 100 else Reason.ANOMALY for v in values]
    assert engine.counts[1:] == [4, 3]


@pytest.mark.parametrize("broken", [grey(50, (8, 8, 2)), grey(50, (0, 8, 3)), grey(50, (8,))])
def test_a_frame_of_no_pictures_shape_is_incomplete_and_moves_no_other_parts_score(judge_all: Any, broken: Any) -> None:
    outcomes, deaths = judge_all([grey(10), broken, grey(150)], GreyEngine())
    assert deaths == []
    assert [o.reason for o in outcomes] == [Reason.OK, Reason.INCOMPLETE_FRAME, Reason.ANOMALY]
    assert [o.score for o in (outcomes[0], outcomes[2])] == pytest.approx([0.1, 1.5])


def test_what_is_past_its_deadline_is_not_looked_at(judge_all: Any) -> None:
    engine = GreyEngine()
    outcomes, _ = judge_all([grey(10), grey(20)], engine, deadline_ns=1)
    assert [o.reason for o in outcomes] == [Reason.DEADLINE, Reason.DEADLINE]
    assert engine.counts == [1]  # the known picture at the start, and nothing else


def test_an_engine_whose_known_picture_scores_otherwise_than_before_is_not_asked_again(judge_all: Any) -> None:
    outcomes, deaths = judge_all([], GreyEngine(drift=0.5))
    assert outcomes == []
    assert len(deaths) == 1
    assert "scored its test picture" in deaths[0]


def test_an_engine_that_gives_no_number_at_the_start_is_not_started(judge_all: Any) -> None:
    with pytest.raises(EngineFault, match="no finite score"):
        judge_all([grey(1)], GreyEngine(first=np.nan))
