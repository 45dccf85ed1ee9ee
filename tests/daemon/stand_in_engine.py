"""Runs the real daemon with an engine of which the tests know every score: `python stand_in_engine.py CONFIG SETTINGS`.

The score is the picture's mean grey / 100, so that pictures darker than 100 pass at threshold 1. A picture of one even
grey makes the engine misbehave: 255 no number, 254 EngineFault, 253 hangs, 252 another exception.
SETTINGS is a JSON object: `delay_ms` of each run, `max_batch`; `calibration_scores`, which drift is watched for against.
Another recipe's folder holds a judge.json: its `threshold` and `profile_sha256`, and `load_ms`, how long it takes to load.
"""

import json
import math
import os
import sys
import threading
import time
from pathlib import Path

import numpy as np

from daemon.__main__ import serve
from daemon.recipes import RecipeSource
from senbetsu.config import Config, read_settings
from senbetsu.distribution import ScoreDistribution
from senbetsu.engine import EngineFault, Lane, Scores
from senbetsu.errors import ArtifactError
from senbetsu.judge import Judge
from senbetsu.program import run, set_up_logging

THRESHOLD = 1.0
NOT_A_NUMBER, FAULT, HANG, CRASH = 255, 254, 253, 252


class StandInEngine:
    """See senbetsu.engine.Engine."""

    kind, precision, device = "stand-in", "fp32", "none"
    in_turn = False

    def __init__(self, max_batch: int = 8, delay_ms: float = 0.0) -> None:
        self.batch_sizes = (1, max_batch)
        self.inputs = np.zeros((max_batch, 32, 32, 3), np.uint8)
        self._delay_s = delay_ms / 1000

    @property
    def lanes(self) -> tuple[Lane, ...]:
        return (self,)

    def run(self, count: int) -> Scores:
        if self._delay_s:
            time.sleep(self._delay_s)
        grey = self.inputs[:count].reshape(count, -1)
        score = grey.mean(axis=1).astype(np.float32) / 100
        for row in np.flatnonzero(grey.min(axis=1) == grey.max(axis=1)):
            match int(grey[row, 0]):
                case 255:
                    score[row] = math.nan
                case 254:
                    raise EngineFault("the stand-in failed")
                case 253:
                    threading.Event().wait()
                case 252:
                    raise RuntimeError("the stand-in crashed")
        return Scores(score, score / 2, score / 4)


def main() -> int:
    engine = json.loads(sys.argv[2])
    scores = engine.pop("calibration_scores", None)
    distribution = None if scores is None else ScoreDistribution.of(scores, len(scores))

    def load(config: Config) -> Judge:
        path = config.artifacts / "judge.json"
        if not path.is_file():
            raise ArtifactError(f"{path}: missing; the stand-in has nothing to judge with")
        judge = json.loads(path.read_text())
        time.sleep(judge.get("load_ms", 0) / 1000)
        return Judge(StandInEngine(**engine), judge["threshold"], "m" * 64, judge["profile_sha256"], 50, 0.02)

    settings = read_settings(Path(sys.argv[1]))
    first = Judge(StandInEngine(**engine), THRESHOLD, "m" * 64, "p" * 64, 299, 0.01, distribution)
    return serve(settings.config(), first, RecipeSource(settings, lambda: read_settings(Path(sys.argv[1])), load))


if __name__ == "__main__":
    set_up_logging(verbose=False)
    status = run(main, "daemon")
    sys.stderr.flush()
    os._exit(status)
