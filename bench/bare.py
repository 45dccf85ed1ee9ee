"""The bare engine: what this PC can do where nothing but pre-processing and the engine runs, in a loop."""

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from senbetsu.engine import Lane
from senbetsu.fitting import fit
from senbetsu.judge import Judge
from senbetsu.verdict import decide

Pictures = Sequence[NDArray[np.uint8]]


@dataclass(frozen=True, slots=True)
class OnePart:
    """From a frame in memory to its verdict, one at a time; milliseconds."""

    p50_ms: float
    p99_ms: float


def run_batches(judge: Judge, pictures: Pictures, seconds: float) -> float:
    """Parts a second for so long: each lane of the engine in a thread of its own, in batches of its largest size."""
    began_s = time.perf_counter()
    with ThreadPoolExecutor(len(judge.engine.lanes)) as threads:
        rates = threads.map(
            lambda lane: _run_lane(lane, judge.threshold, pictures, began_s, seconds), judge.engine.lanes
        )
        return sum(rates)


def _run_lane(lane: Lane, threshold: float, pictures: Pictures, began_s: float, seconds: float) -> float:
    size, done = len(lane.inputs), 0
    while (now_s := time.perf_counter()) - began_s < seconds:
        for row in range(size):
            fit(pictures[(done + row) % len(pictures)], lane.inputs[row])
        scores = lane.run(size)
        for row in range(size):
            decide(float(scores.score[row]), threshold)
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
