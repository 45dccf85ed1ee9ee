"""The engine's threads, one a lane: frames from the queue, through the engine, to the outbox.

Where the engine has lanes beside itself, the load chooses: a part that finds the engine idle has all of it and takes least
time; one that had to wait, or comes while others do or are judged, or before the engine has rested for as long as it last
worked, takes a lane, and more parts a second go through. The scores are the same. The whole engine carries fewer parts a
second, and its threads keep looking for work for a while, so it is for a line that leaves it half of its time.

A part is judged by the recipe that was active at its trigger. While the recipe changes, parts of both are on their way: then
both engines are here, and a batch is judged by one after the other.
"""

import logging
import math
import threading
import time
from collections.abc import Callable, Sequence

import cv2

from daemon.book import JudgedBy
from daemon.later import Later
from daemon.loaded import Loaded
from daemon.outcome import Outbox, Outcome
from daemon.progress import Progress
from daemon.queue import FrameQueue, Taken, WaitingFrame
from daemon.run_times import RunTimes, UntilPublished
from senbetsu.engine import EngineFault, Lane
from senbetsu.fitting import fit
from senbetsu.metrics import Metrics
from senbetsu.verdict import Reason, decide

log = logging.getLogger("daemon")

CHECK_TOLERANCE = 1e-2
"""Relative: how far the known picture's score may lie from what it was at the start."""


class Judging:
    """Every frame that is taken from the queue is settled. An engine that failed once is not asked again."""

    def __init__(
        self,
        loaded: Loaded,
        frames: FrameQueue,
        outbox: Outbox,
        progress: Progress,
        metrics: Metrics,
        later: Later,
        idle_s: float,
        on_death: Callable[[str, BaseException], None],
    ) -> None:
        self.publishing = RunTimes((1,))
        """What a result takes from here to the wire."""
        self._loaded: dict[JudgedBy, Loaded] = {}
        self.activate(loaded)
        self._later = later
        self._frames = frames
        self._outbox = outbox
        self._progress = progress
        self._idle_s = idle_s
        self._on_death = on_death
        self._batch_size = metrics.histogram("batch_size")
        self._fit_s = metrics.histogram("stage_duration_seconds", "fit")
        self._engine_s = metrics.histogram("stage_duration_seconds", "engine")
        self._wait_s = metrics.histogram("stage_duration_seconds", "wait")
        self._lock = threading.Lock()
        self._busy = 0
        """Lanes that have a batch."""
        self._taken_ns = time.monotonic_ns()
        """When a lane last took one, or the start."""
        self._finished_ns = 0
        """When a lane last was done with one, and how long it had worked."""
        self._worked_ns = 0
        lanes = range(len(loaded.judge.engine.lanes))
        progress.engine_busy_since_ns = [0 for _ in lanes]
        progress.engine_proven()
        self._threads = [
            threading.Thread(target=self._run, args=(lane,), name=f"judging-{lane}", daemon=True) for lane in lanes
        ]

    def start(self) -> None:
        """The threads; they end when the queue is closed and empty."""
        for thread in self._threads:
            thread.start()

    def join(self, timeout_s: float) -> None:
        """Wait until they have ended, each for so long at most."""
        for thread in self._threads:
            thread.join(timeout_s)

    def activate(self, loaded: Loaded) -> None:
        """Be ready to judge by this recipe too; while no part comes, it is this one's engine that is looked after."""
        self._loaded[loaded.judged_by] = loaded
        self._active = loaded
        self._speed = UntilPublished(loaded.speed, self.publishing)

    def alone_ns(self) -> int:
        """What 99 of 100 parts take, each judged alone by the active recipe, from their frame to their result on the wire."""
        return self._speed.p99_ns(1)

    def drop(self, judged_by: JudgedBy) -> None:
        """No look that it has to judge is open any more: its engine is freed."""
        self._loaded.pop(judged_by, None)

    def _run(self, lane: int) -> None:
        """A thread."""
        try:
            while (taken := self._frames.take(self._idle_s, self._speed)) is not None:
                self._give_up(taken)
                if taken.batch:
                    taken_ns = self._taken_ns = time.monotonic_ns()
                    with self._lock:
                        self._busy += 1
                        rested_ns = taken.batch[0].arrived_at_ns - self._finished_ns
                        alone = self._busy == 1 and rested_ns >= self._worked_ns and not self._frames
                    self._judge_all(taken.batch, lane, alone)
                    with self._lock:
                        self._busy -= 1
                        self._finished_ns = time.monotonic_ns()
                        self._worked_ns = self._finished_ns - taken_ns
                if time.monotonic_ns() - self._taken_ns >= self._idle_s * 1e9:
                    self._check(self._active, lane)
        except BaseException as error:  # noqa: BLE001  (a dead thread is a fault of the daemon, which ends it)
            self._on_death(f"judging-{lane}", error)

    def _give_up(self, taken: Taken) -> None:
        for waiting in taken.expired:
            self._settle(waiting, Reason.DEADLINE)
        for waiting in taken.hopeless:
            self._settle(waiting, Reason.OVERLOAD)

    def _judge_all(self, batch: Sequence[WaitingFrame], lane: int, alone: bool) -> None:
        for judged_by in dict.fromkeys(waiting.look.judged_by for waiting in batch):
            some = [waiting for waiting in batch if waiting.look.judged_by is judged_by]
            loaded = self._loaded.get(judged_by)
            if loaded is None:
                for waiting in some:  # settled before its frame's turn came, or its recipe would still be here
                    self._settle(waiting, Reason.RECIPE)
                continue
            engine = loaded.judge.engine
            judges_by = engine if alone and len(some) <= len(engine.inputs) else engine.lanes[lane]
            started_ns = time.monotonic_ns()
            if fitted := self._fit(judges_by, some):
                self._judge(loaded, judges_by, fitted, lane)
                loaded.speed.observe(len(fitted), time.monotonic_ns() - started_ns)

    def _fit(self, judges_by: Lane, batch: Sequence[WaitingFrame]) -> list[WaitingFrame]:
        """Copy the frames into the engine's inputs; those that came, the others are incomplete."""
        started_ns = time.monotonic_ns()
        fitted: list[WaitingFrame] = []
        for waiting in batch:
            self._later.tell(self._wait_s.observe, (started_ns - waiting.arrived_at_ns) / 1e9)
            try:
                fit(waiting.image, judges_by.inputs[len(fitted)])
            except (ValueError, cv2.error) as error:
                log.error("camera %s: frame %d: %s", waiting.look.camera, waiting.frame.frame_id, error)
                self._settle(waiting, Reason.INCOMPLETE_FRAME)
            else:
                fitted.append(waiting)
        if fitted:
            self._later.tell(self._fit_s.observe, (time.monotonic_ns() - started_ns) / 1e9)
        return fitted

    def _judge(self, loaded: Loaded, judges_by: Lane, batch: Sequence[WaitingFrame], lane: int) -> None:
        started_ns = time.monotonic_ns()
        self._progress.engine_busy_since_ns[lane] = started_ns
        try:
            scores = judges_by.run(len(batch))
        except BaseException as error:
            self._progress.fail(f"lane {lane}: {error!r}")
            for waiting in batch:
                self._settle(waiting, Reason.MODEL_FAULT)
            raise
        done_ns = time.monotonic_ns()
        self._progress.engine_busy_since_ns[lane] = 0
        self._progress.engine_proven()
        if self._progress.fatal is not None:
            for waiting in batch:  # another lane failed meanwhile: what this one says is not believed either
                self._settle(waiting, Reason.MODEL_FAULT)
            return
        for row, waiting in enumerate(batch):
            score = float(scores.score[row])
            _, reason = decide(score, loaded.judge.threshold)
            if done_ns > waiting.look.deadline_ns:
                reason = Reason.DEADLINE  # known too late to be believed, whoever settles it
            self._outbox.settle(
                Outcome(
                    waiting.look, reason, done_ns, waiting.frame.frame_id, waiting.frame.exposed_at_ns, score,
                    float(scores.metric_distance[row]), float(scores.novelty_distance[row]),
                )
            )  # fmt: skip
        self._later.tell(self._batch_size.observe, len(batch))
        self._later.tell(self._engine_s.observe, (done_ns - started_ns) / 1e9)

    def _settle(self, waiting: WaitingFrame, reason: Reason) -> None:
        frame = waiting.frame
        self._outbox.settle(Outcome(waiting.look, reason, time.monotonic_ns(), frame.frame_id, frame.exposed_at_ns))

    def _check(self, loaded: Loaded, lane: int) -> None:
        """While no part comes: the known picture must still get its known score, from each lane and, seen to by the first of
        them, from the whole engine."""
        engine = loaded.judge.engine
        own = engine.lanes[lane]
        started_ns = self._progress.engine_busy_since_ns[lane] = time.monotonic_ns()
        self._check_score(loaded, own)
        # Where all parts were given up for an engine that was slow for a while, this is how it is seen to be quick again.
        loaded.speed.observe(1, time.monotonic_ns() - started_ns)
        if own is not engine and lane == 0:
            with self._lock:
                free = self._busy == 0
                self._busy += free  # so that a part that comes meanwhile is judged by a lane
            if free:
                self._check_score(loaded, engine)
                with self._lock:
                    self._busy -= 1
        self._progress.engine_busy_since_ns[lane] = 0
        self._progress.engine_proven()

    def _check_score(self, loaded: Loaded, judges_by: Lane) -> None:
        score = loaded.score_of_known_picture(judges_by)
        if not math.isclose(score, loaded.known_score, rel_tol=CHECK_TOLERANCE):
            raise EngineFault(f"the engine scored its test picture {score}, at the start it was {loaded.known_score}")
