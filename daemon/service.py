"""The daemon: it wires cameras, queue, engine and sockets together, and keeps the promise of one result a look.

The main thread takes requests, beats the heart while there is proof of life, settles what is overdue, and ends the process
when a thread has died: systemd starts it again, and the PLC rejects. A result is published by whichever thread settled it.
"""

import gc
import logging
import math
import sys
import time
from functools import partial
from typing import Any

import zmq

from daemon.batching import BatchPolicy
from daemon.book import Book
from daemon.capture import Capture
from daemon.check import check_config
from daemon.condition import CameraStanding, condition
from daemon.drift import DriftWatch
from daemon.judging import Judging
from daemon.later import Later
from daemon.loaded import Loaded
from daemon.outcome import Outbox, Outcome
from daemon.progress import Progress
from daemon.publishing import Identity, Publisher
from daemon.queue import FrameQueue
from daemon.recipes import Recipes, RecipeSource
from daemon.requests import Requests
from daemon.wake import Wake
from senbetsu import __version__
from senbetsu.camera import open_camera
from senbetsu.config import Config
from senbetsu.curve import server_curve
from senbetsu.judge import Judge
from senbetsu.metrics import DAEMON_METRICS, Metrics
from senbetsu.sdnotify import SystemdNotifier
from senbetsu.sockets import bound_socket
from senbetsu.states import State
from senbetsu.verdict import Reason, Verdict

log = logging.getLogger("daemon")

SWITCH_INTERVAL_S = 5e-4
OVERDUE_GRACE_NS = 5_000_000
"""Whoever knows the better reason (no frame, overload) gets this long after the deadline to give it."""
ENGINE_LIMIT_NS = 1_500_000_000
DRAIN_LIMIT_NS = 70_000_000_000
"""Longer than the longest deadline of a part."""


class Daemon:
    """`run` returns the exit status."""

    def __init__(
        self,
        config: Config,
        judge: Judge,
        notifier: SystemdNotifier | None = None,
        recipes: RecipeSource | None = None,
    ) -> None:
        """`recipes`: where others come from; None: `judge` is all there is."""
        check_config(config)
        self._config = config
        self._notifier = notifier or SystemdNotifier()
        self._stopping = False
        self._state, self._detail, self._told_recipe = State.STARTING, "starting", 0
        self._last_part_ns = 0
        self._wake = Wake()
        self._later = Later()

        self.metrics = Metrics(DAEMON_METRICS)
        self.metrics.gauge("build_info", __version__).set(1)
        loaded = Loaded.of(config, judge)
        now_ns = time.monotonic_ns()
        self._progress = Progress(
            {camera.name: round(camera.silent_ms * 1e6) for camera in config.cameras},
            ENGINE_LIMIT_NS,
            round(config.daemon.engine_stall_ms * 1e6),
            {camera.name: now_ns for camera in config.cameras},
        )
        self._book = Book(loaded.judged_by)
        self._outbox = Outbox(self._book, self._publish)
        policy = BatchPolicy.of(judge.engine, round(config.daemon.batch_wait_ms * 1e6))
        self._frames = FrameQueue(
            {camera.name: camera.buffer_frames * camera.items for camera in config.cameras}, policy
        )
        self._judging = Judging(
            loaded, self._frames, self._outbox, self._progress, self.metrics, self._later,
            config.daemon.engine_check_ms / 1000, self._died,
        )  # fmt: skip
        bound = {} if judge.camera is None else {judge.camera.name: judge.camera.read_back or None}
        cameras = [open_camera(section, bound.get(section.name)) for section in config.cameras]
        by_name = {section.name: camera for section, camera in zip(config.cameras, cameras, strict=True)}
        self._captures = {
            section.name: Capture(
                camera, section, config.gate(section.gate), self._book, self._frames, self._outbox, self._progress,
                self.metrics, self._judging.alone_ns, self._died,
            )
            for section, camera in zip(config.cameras, cameras, strict=True)
        }  # fmt: skip
        for name in self._captures:
            self.metrics.gauge("queue_depth", name).set_function(partial(self._frames.depth, name))
        self._state_gauge = self.metrics.gauge("state")
        self._drift = DriftWatch(loaded, config, self.metrics)
        self._recipes = Recipes(
            recipes, config, loaded, self._book, self._judging, self._drift, self.metrics, self._wake.set,
            lambda name: by_name[name].settings(),
        )  # fmt: skip

        self._context: zmq.Context[Any] = zmq.Context()
        self._curve = server_curve(self._context, config)
        self._identity = Identity.of_this_start(config.instance)
        self._publisher = Publisher(
            self._context, config, self._identity, lambda name: by_name[name].simulated, self.metrics, self._curve
        )
        self._router = bound_socket(self._context, "request", config.daemon.request, "daemon.request", self._curve)
        self._requests = Requests(
            self._router, config, self._identity, self._book, self._captures, self._publisher, self._recipes, self.metrics,
            lambda: (self._state, self._detail, self._stopping),
        )  # fmt: skip
        self.metrics.serve(config.daemon.metrics_host, config.daemon.metrics_port, "daemon.metrics_port")

    def stop(self) -> None:
        """Finish what is in flight and end. Safe in a signal handler."""
        self._stopping = True
        self._wake.set()

    def read_config_again(self) -> None:
        """Change to the recipe that the config file names now, or load the active one anew. Safe in a signal handler."""
        self._recipes.read_again()
        self._wake.set()

    def _died(self, thread: str, error: BaseException) -> None:
        self._progress.fail(f"thread {thread} died: {error!r}")  # first: from here on nothing passes
        self._wake.set()
        log.critical("thread %s died", thread, exc_info=error)

    def run(self) -> int:
        """Until told to stop (0) or unable to go on (1)."""
        gc.collect()
        gc.freeze()
        sys.setswitchinterval(SWITCH_INTERVAL_S)
        self._judging.start()
        for capture in self._captures.values():
            capture.start()
        self._enter(State.IDLE, "no parts")
        active = self._recipes.active
        engine, threshold, epoch = active.judge.engine, active.judge.threshold, self._identity.epoch
        status = f"ready: {engine.kind} {engine.precision}, threshold {threshold:.4f}, epoch {epoch}"
        log.info("%s; results on %s", status, self._config.daemon.publish)
        self._notifier.ready(status)
        del active, engine  # freed once another recipe judges
        try:
            self._watch()
        except Exception as error:  # noqa: BLE001  (a defect: what is on its way is rejected, and the process ends)
            self._died("main", error)
        return self._fault() if self._progress.fatal is not None else self._drain()

    def _watch(self) -> None:
        """Until told to stop, or unable to go on."""
        poller = zmq.Poller()
        poller.register(self._router, zmq.POLLIN)
        poller.register(self._wake.fd, zmq.POLLIN)
        beat_ns = round(self._config.daemon.heartbeat_ms * 1e6)
        next_beat_ns = time.monotonic_ns()
        requests_wait = False
        while not self._stopping and self._progress.fatal is None:
            wake_ns = min(next_beat_ns, self._book.next_deadline_ns() + OVERDUE_GRACE_NS)
            left_ms = max(0, -(-(wake_ns - time.monotonic_ns()) // 1_000_000))
            if (self._wake.fd, zmq.POLLIN) in poller.poll(0 if requests_wait else left_ms):
                self._wake.clear()
            requests_wait = self._requests.answer_some()
            self._change_recipe()
            now_ns = time.monotonic_ns()
            self._settle_overdue(now_ns)
            self._later.catch_up()
            if now_ns >= next_beat_ns:
                next_beat_ns = max(next_beat_ns + beat_ns, now_ns)
                self._beat(now_ns)

    def _publish(self, outcome: Outcome) -> None:
        """Called by whichever thread settled the look, one at a time."""
        self._publisher.publish(outcome)
        now_ns = self._last_part_ns = time.monotonic_ns()
        if not math.isnan(outcome.score):
            self._judging.publishing.observe(1, now_ns - outcome.decided_at_ns)
        self._later.tell(self._count, outcome, now_ns)

    def _count(self, outcome: Outcome, published_at_ns: int) -> None:
        self._publisher.count(outcome, published_at_ns)
        self._drift.see(outcome)

    def _settle_overdue(self, now_ns: int) -> None:
        overdue = self._book.overdue(now_ns - OVERDUE_GRACE_NS)
        silent = self._progress.silent_cameras(now_ns) if overdue else ()
        for look in overdue:
            frame = self._book.frame_of(look)
            if frame is not None:
                self._outbox.settle(Outcome(look, Reason.DEADLINE, now_ns, *frame))
                continue
            # A capture thread that hangs in its driver cannot say so itself.
            self._outbox.settle(
                Outcome(look, Reason.CAMERA_FAULT if look.camera in silent else Reason.NO_FRAME, now_ns)
            )

    def _beat(self, now_ns: int) -> None:
        self._fail_if_engine_stalls(now_ns)
        if self._progress.fatal is not None:
            return
        self._enter(*self._condition(now_ns))
        if self._progress.all_proven(now_ns):
            self._publisher.heartbeat(self._state, self._book.active.recipe)
        if self._progress.engine_is_proven(now_ns):
            # A camera that is gone is no reason to be restarted: the others go on, and this one is reconnected.
            self._notifier.watchdog()

    def _fail_if_engine_stalls(self, now_ns: int) -> None:
        if self._progress.engine_stalls(now_ns):
            limit_ms = self._config.daemon.engine_stall_ms
            self._progress.fail(f"the engine has been busy with one batch for over {limit_ms:g} ms")

    def _condition(self, now_ns: int) -> tuple[State, str]:
        silent = self._progress.silent_cameras(now_ns)
        cameras = {
            name: CameraStanding(capture.fault or ("silent" if name in silent else None), capture.ended.is_set())
            for name, capture in self._captures.items()
        }
        since_part_ns = now_ns - self._last_part_ns if self._last_part_ns else None
        return condition(cameras, bool(self._book), since_part_ns, self._recipes.detail + self._drift.detail)

    def _enter(self, state: State, detail: str) -> None:
        recipe = self._book.active.recipe
        if (state, detail, recipe) != (self._state, self._detail, self._told_recipe):
            self._state, self._detail, self._told_recipe = state, detail, recipe
            self._state_gauge.set(state)
            self._publisher.state(state, detail, recipe)
            self._notifier.status(f"{state.name}: {detail}")

    def _change_recipe(self) -> None:
        before = self._recipes.active
        self._requests.send(self._recipes.turn())
        if self._recipes.active is not before:
            self._enter(*self._condition(time.monotonic_ns()))

    def _drain(self) -> int:
        """Told to stop: no new triggers, everything in flight is judged or runs into its deadline, and is published."""
        log.info("stopping: finishing %d looks in flight", len(self._book))
        self._notifier.stopping("finishing what is in flight")
        self._requests.send(self._recipes.give_up())
        for capture in self._captures.values():
            capture.stop()
        next_beat_ns = time.monotonic_ns()
        give_up_ns = next_beat_ns + DRAIN_LIMIT_NS
        while self._progress.fatal is None and time.monotonic_ns() < give_up_ns:
            self._requests.answer_some()
            self._settle_overdue(time.monotonic_ns())
            self._later.catch_up()
            self._fail_if_engine_stalls(time.monotonic_ns())
            now_ns = time.monotonic_ns()
            if now_ns >= next_beat_ns and self._progress.engine_is_proven(now_ns):  # cameras have ended as told
                next_beat_ns = now_ns + round(self._config.daemon.heartbeat_ms * 1e6)
                self._publisher.heartbeat(self._state, self._book.active.recipe)
            capturing = any(  # one whose driver hangs has nothing left to give
                capture.is_alive() and not self._progress.is_silent(name, now_ns)
                for name, capture in self._captures.items()
            )
            if not capturing and len(self._book) == 0 and not self._frames:
                break
            time.sleep(0.001)
        if self._progress.fatal is not None:
            return self._fault()
        self._frames.close()
        self._judging.join(2)
        self._outbox.close()
        self._enter(State.SUSPENDED, "stopped as asked")
        self._say_counts()
        self._close()
        return 0

    def _fault(self) -> int:
        """Unable to go on: what is open is rejected, the state is told, and the process ends with a failure."""
        why = self._progress.fatal or "unknown"
        log.critical("FAULT: %s", why)
        now_ns = time.monotonic_ns()
        for look in self._book.still_open():
            frame = self._book.frame_of(look)
            camera_died = not self._captures[look.camera].is_alive() and frame is None
            reason = Reason.CAMERA_FAULT if camera_died else Reason.MODEL_FAULT
            self._outbox.settle(Outcome(look, reason, now_ns, *(frame or ())))
        self._outbox.close()
        self._enter(State.ABORTED, why)
        self._requests.answer_some()
        self._requests.send(self._recipes.give_up())
        self._say_counts()
        self._close()
        return 1

    def _say_counts(self) -> None:
        verdicts = self._publisher.verdicts
        log.info(
            "published %d results: %d pass, %d reject; %d looks unsettled",
            self._publisher.seq, verdicts[Verdict.PASS], verdicts[Verdict.REJECT], len(self._book),
        )  # fmt: skip

    def _close(self) -> None:
        self._publisher.socket.close()
        self._router.close()
        if self._curve is not None:
            self._curve.close()
        self._context.term()
