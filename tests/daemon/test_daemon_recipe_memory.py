"""A recipe is kept while a look that it has to judge is open, and its engine freed when none is."""

import gc
import threading
import weakref
from pathlib import Path

import numpy as np
import pytest

from daemon.batching import BatchPolicy
from daemon.book import Book
from daemon.drift import DriftWatch
from daemon.judging import Judging
from daemon.later import Later
from daemon.loaded import Loaded
from daemon.outcome import Outbox, Outcome
from daemon.progress import Progress
from daemon.queue import FrameQueue
from daemon.recipes import Recipes, RecipeSource
from senbetsu.config import Config, read_settings
from senbetsu.engine import Lane, Scores
from senbetsu.judge import Judge
from senbetsu.metrics import DAEMON_METRICS, Metrics
from senbetsu.requests import RecipeRequest
from senbetsu.verdict import Reason

FAR_NS = 1 << 62


class Engine:
    kind, precision, device, batch_sizes = "none", "fp32", "none", (1,)
    in_turn = False

    def __init__(self) -> None:
        self.inputs = np.zeros((1, 8, 8, 3), np.uint8)

    @property
    def lanes(self) -> tuple[Lane, ...]:
        return (self,)

    def run(self, count: int) -> Scores:
        score = np.full(count, 0.5, np.float32)
        return Scores(score, score, score)


def test_the_engine_before_is_freed_when_its_last_look_is_settled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for number in (2, 3):
        folder = tmp_path / f"recipes/r{number}"
        folder.mkdir(parents=True)
        (folder / "recipe.toml").write_text(f"recipe = {number}\n")
    engines: list[weakref.ref[Engine]] = []

    def load(config: Config) -> Judge:
        engine = Engine()
        engines.append(weakref.ref(engine))
        return Judge(engine, 1.0, "m", f"p{config.recipe}", 1, 0.5)

    settings = read_settings()
    config = settings.config()
    metrics = Metrics(DAEMON_METRICS)
    first = Loaded.of(config, load(config))
    book = Book(first.judged_by)
    outcomes: list[Outcome] = []
    outbox = Outbox(book, outcomes.append)
    judging = Judging(
        first,
        FrameQueue({}, BatchPolicy(1, 0)),
        outbox,
        Progress({}, 10**9, 10**9),
        metrics,
        Later(),
        1.0,
        lambda *_: None,
    )
    woken = threading.Event()
    source = RecipeSource(settings, read_settings, load)
    recipes = Recipes(source, config, first, book, judging, DriftWatch(first, config, metrics), metrics, woken.set)
    del first
    (look,) = book.announce("gate1", ["cam1"], 1, None, 0, FAR_NS)

    def change(number: int) -> None:
        woken.clear()
        assert recipes.ask(RecipeRequest(number=number), (b"client",)) is None
        assert woken.wait(20)
        ((envelope, answer),) = recipes.turn()
        assert (envelope, answer.ok, answer.body["recipe"]) == ((b"client",), True, number)
        recipes.turn()

    gc.disable()  # freed at once, not whenever the collector comes by
    try:
        change(2)
        change(3)
        assert [engine() is not None for engine in engines] == [True, False, True], (
            "the first still has a look to judge"
        )
        assert outbox.settle(Outcome(look, Reason.DEADLINE, 0))
        recipes.turn()
        assert [engine() is not None for engine in engines] == [False, False, True]
    finally:
        gc.enable()
    assert outcomes[0].look.judged_by.recipe == 1
    labels = {sample.labels["recipe"] for family in metrics.registry.collect() for sample in family.samples
              if sample.name == "senbetsu_calibration_info"}  # fmt: skip
    assert labels == {"3"}
