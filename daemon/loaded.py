"""A recipe that is loaded: what judges, proven on a picture whose score is known from then on.

Everything that takes time is done here, before it judges its first part, so that it can be done beside a line that runs.
"""

import math
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from daemon.book import JudgedBy
from daemon.run_times import RunTimes
from senbetsu.config import Config
from senbetsu.drift import Expected
from senbetsu.engine import EngineFault, Lane
from senbetsu.judge import Judge
from senbetsu.recipes import named


@dataclass(frozen=True, slots=True, eq=False)
class Loaded:
    """`judged_by` is what its results say; `speed` learns how long its batches take."""

    judged_by: JudgedBy
    judge: Judge
    known_picture: NDArray[np.uint8]
    known_score: float
    speed: RunTimes
    expected: Expected | None
    """What drift is watched for against; None: the profile holds nothing for it."""

    @classmethod
    def of(cls, config: Config, judge: Judge) -> Self:
        """Prove it. Raises EngineFault where it gives no finite score."""
        recipe = named(config)
        engine, distribution = judge.engine, judge.distribution
        picture = _test_picture(engine.inputs.shape[1])
        score = _score_of(picture, engine)
        if not math.isfinite(score):
            raise EngineFault("the engine gives no finite score for its own test picture")
        settings = config.daemon
        return cls(
            JudgedBy(recipe.name, recipe.number, judge.model_sha256, judge.profile_sha256, judge.threshold),
            judge,
            picture,
            score,
            RunTimes(range(1, len(engine.lanes[0].inputs) + 1) if engine.in_turn else engine.batch_sizes),
            None
            if distribution is None
            else Expected.of(distribution, settings.drift_window, settings.drift_false_alarm_parts),
        )

    def score_of_known_picture(self, judges_by: Lane) -> float:
        """By the engine or one of its lanes, which nobody else uses meanwhile."""
        return _score_of(self.known_picture, judges_by)


def _score_of(picture: NDArray[np.uint8], judges_by: Lane) -> float:
    np.copyto(judges_by.inputs[0], picture)
    return float(judges_by.run(1).score[0])


def _test_picture(size: int) -> NDArray[np.uint8]:
    """A picture with something of everything, the same at every start: (S, S, 3) uint8."""
    return np.random.default_rng(0).integers(0, 256, (size, size, 3), dtype=np.uint8)
