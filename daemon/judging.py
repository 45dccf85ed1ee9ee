"""The engine's thread: frames from the queue, through the engine, to the outbox."""

import logging
import math
import threading
import time
from collections.abc import Callable, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from daemon.outcome import Outbox, Outcome
from daemon.progress import Progress
from daemon.queue import FrameQueue, WaitingFrame
from daemon.run_times import RunTimes
from senbetsu.engine import Engine, EngineFault
from senbetsu.images import fit
from senbetsu.judge import Judge
from senbetsu.metrics import Metrics
from senbetsu.verdict import Reason, decide

log = logging.getLogger("daemon")

CHECK_TOLERANCE = 1e-2
"""Relative: how far the known picture's score may lie from what it was at the start."""


class Judging(threading.Thread):
    """Every frame that is taken from the queue is settled. An engine that failed once is not asked again."""

    def __init__(
        self,
        judge: Judge,
        frames: FrameQueue,
        outbox: Outbox,
        progress: Progress,
        metrics: Metrics,
        idle_s: float,
        on_death: Callable[[str, BaseException], None],
    ) -> None:
        super().__init__(name="judging", daemon=True)
        self._engine: Engine = judge.engine
        self._threshold = judge.threshold
        self._frames = frames
        self._outbox = outbox
        self._progress = progress
        self._idle_s = idle_s
        self._on_death = on_death
        self._batch_size = metrics.histogram("batch_size")
        self._fit_s = metrics.histogram("stage_duration_seconds", "fit")
        self._engine_s = metrics.histogram("stage_duration_seconds", "engine")
        self._wait_s = metrics.histogram("stage_duration_seconds", "wait")
        self._speed = RunTimes(self._engine.batch_sizes)
        self._known_picture = _test_picture(self._engine.inputs.shape[1])
        self._known_score = self._score_known_picture()
        if not math.isfinite(self._known_score):
            raise EngineFault("the engine gives no finite score for its own test picture")
        progress.engine_proven()

    def run(self) -> None:
        """The thread."""
        try:
            while (taken := self._frames.take(self._idle_s, self._speed)) is not None:
                for waiting in taken.expired:
                    self._settle(waiting, Reason.DEADLINE)
                for waiting in taken.hopeless:
                    self._settle(waiting, Reason.OVERLOAD)
                batch = taken.batch
                started_ns = time.monotonic_ns()
                if batch := self._fit(batch):
                    self._judge(batch)
                    self._speed.observe(len(batch), time.monotonic_ns() - started_ns)
                elif time.monotonic_ns() - self._progress.engine_proven_ns >= self._idle_s * 1e9:
                    self._check()
        except BaseException as error:  # noqa: BLE001  (a dead thread is a fault of the daemon, which ends it)
            self._on_death(self.name, error)

    def _fit(self, batch: Sequence[WaitingFrame]) -> list[WaitingFrame]:
        """Copy the frames into the engine's inputs; those that came, the others are incomplete."""
        started_ns = time.monotonic_ns()
        fitted: list[WaitingFrame] = []
        for waiting in batch:
            self._wait_s.observe((started_ns - waiting.arrived_at_ns) / 1e9)
            try:
                fit(waiting.image, self._engine.inputs[len(fitted)])
            except (ValueError, cv2.error) as error:
                log.error("camera %s: frame %d: %s", waiting.look.camera, waiting.frame.frame_id, error)
                self._settle(waiting, Reason.INCOMPLETE_FRAME)
            else:
                fitted.append(waiting)
        if fitted:
            self._fit_s.observe((time.monotonic_ns() - started_ns) / 1e9)
        return fitted

    def _judge(self, batch: Sequence[WaitingFrame]) -> None:
        started_ns = time.monotonic_ns()
        self._progress.engine_busy_since_ns = started_ns
        try:
            scores = self._engine.run(len(batch))
        except BaseException:
            for waiting in batch:
                self._settle(waiting, Reason.MODEL_FAULT)
            raise
        done_ns = time.monotonic_ns()
        self._progress.engine_busy_since_ns = 0
        self._progress.engine_proven()
        for row, waiting in enumerate(batch):
            score = float(scores.score[row])
            _, reason = decide(score, self._threshold)
            self._outbox.settle(
                Outcome(
                    waiting.look, reason, done_ns, waiting.frame.frame_id, waiting.frame.exposed_at_ns, score,
                    float(scores.metric_distance[row]), float(scores.novelty_distance[row]),
                )
            )  # fmt: skip
        self._batch_size.observe(len(batch))
        self._engine_s.observe((done_ns - started_ns) / 1e9)

    def _settle(self, waiting: WaitingFrame, reason: Reason) -> None:
        frame = waiting.frame
        self._outbox.settle(Outcome(waiting.look, reason, time.monotonic_ns(), frame.frame_id, frame.exposed_at_ns))

    def _score_known_picture(self) -> float:
        np.copyto(self._engine.inputs[0], self._known_picture)
        return float(self._engine.run(1).score[0])

    def _check(self) -> None:
        """While no part comes: the known picture must still get its known score."""
        started_ns = self._progress.engine_busy_since_ns = time.monotonic_ns()
        score = self._score_known_picture()
        self._progress.engine_busy_since_ns = 0
        # Where all parts were given up for an engine that was slow for a while, this is how it is seen to be quick again.
        self._speed.observe(1, time.monotonic_ns() - started_ns)
        if not math.isclose(score, self._known_score, rel_tol=CHECK_TOLERANCE):
            raise EngineFault(f"the engine scored its test picture {score}, at the start it was {self._known_score}")
        self._progress.engine_proven()


def _test_picture(size: int) -> NDArray[np.uint8]:
    """A picture with something of everything, the same at every start: (S, S, 3) uint8."""
    return np.random.default_rng(0).integers(0, 256, (size, size, 3), dtype=np.uint8)
