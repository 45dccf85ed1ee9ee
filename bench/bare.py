"""The bare engine: what this PC can do where nothing but pre-processing and the engine runs, in one loop."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from senbetsu.images import fit
from senbetsu.judge import Judge
from senbetsu.verdict import decide

Pictures = Sequence[NDArray[np.uint8]]


@dataclass(frozen=True, slots=True)
class OnePart:
    """From a frame in memory to its verdict, one at a time; milliseconds."""

    p50_ms: float
    p99_ms: float


def run_batches(judge: Judge, pictures: Pictures, seconds: float) -> float:
    """Parts a second, in batches of the engine's largest size, for so long."""
    engine, size = judge.engine, judge.engine.batch_sizes[-1]
    done, began_s = 0, time.perf_counter()
    while (now_s := time.perf_counter()) - began_s < seconds:
        for row in range(size):
            fit(pictures[(done + row) % len(pictures)], engine.inputs[row])
        scores = engine.run(size)
        for row in range(size):
            decide(float(scores.score[row]), judge.threshold)
        done += size
    return done / (now_s - began_s)


def one_by_one(judge: Judge, pictures: Pictures, seconds: float) -> OnePart:
    """Latency of single parts, back to back, for so long."""
    took_s: list[float] = []
    began_s = time.perf_counter()
    while time.perf_counter() - began_s < seconds:
        started_s = time.perf_counter()
        fit(pictures[len(took_s) % len(pictures)], judge.engine.inputs[0])
        decide(float(judge.engine.run(1).score[0]), judge.threshold)
        took_s.append(time.perf_counter() - started_s)
    p50, p99 = np.quantile(took_s, [0.5, 0.99]) * 1e3
    return OnePart(round(float(p50), 3), round(float(p99), 3))
