"""Outcomes become messages: numbered, published, counted, and kept for those who missed them."""

import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

import zmq
from prometheus_client import Counter

from daemon.outcome import Outcome
from daemon.replay import ReplayRing
from senbetsu.config import Config
from senbetsu.curve import Curve
from senbetsu.messages import Heartbeat, Result, StateChange, encode
from senbetsu.metrics import Metrics
from senbetsu.requests import Answer, ReplayAnswer
from senbetsu.sockets import bound_socket
from senbetsu.states import State
from senbetsu.verdict import Reason, Verdict


@dataclass(frozen=True, slots=True)
class Identity:
    """What every message of one run carries."""

    instance: str
    epoch: int
    boot_id: str

    @classmethod
    def of_this_start(cls, instance: str) -> Self:
        """The epoch is microseconds since 1970: greater than that of any start before, and under 2^53. The boot tells a run of
        the operating system from another, as monotonic clocks start anew.
        """
        boot = Path("/proc/sys/kernel/random/boot_id")
        boot_id = boot.read_text().strip() if boot.exists() else f"pid-{os.getpid()}"
        return cls(instance, int(datetime.now(UTC).timestamp() * 1e6), boot_id)


class Publisher:
    """The PUB socket, and what was published by it; one thread at a time."""

    def __init__(
        self,
        context: "zmq.Context[Any]",
        config: Config,
        identity: Identity,
        simulated: Callable[[str], bool],
        metrics: Metrics,
        curve: Curve | None = None,
    ) -> None:
        """`simulated`: whether a camera's frames are, now: known once it is connected."""
        cameras = [camera.name for camera in config.cameras]
        self._lock = threading.Lock()
        """ZeroMQ: a socket may go from thread to thread where a lock lies between them, and is never used by two at a time."""
        self._identity = identity
        self._simulated = simulated
        self.ring = ReplayRing(config.daemon.replay_results)
        self.seq = 0
        self.reject_seq = 0
        self.acknowledged = 0
        self.verdicts: dict[Verdict, int] = dict.fromkeys(Verdict, 0)
        self._beat = 0
        self._metrics = metrics
        self._parts: dict[tuple[str, Reason], Counter] = {
            (camera, reason): metrics.counter("parts_total", camera, _verdict_of(reason).value, reason.name)
            for camera in cameras
            for reason in Reason
            if reason is not Reason.NONE
        }
        self._latency = {camera: metrics.histogram("trigger_to_verdict_seconds", camera) for camera in cameras}
        self._ratio = {camera: metrics.histogram("score_ratio", camera) for camera in cameras}
        self._missed = {camera: metrics.counter("triggers_missed_total", camera) for camera in cameras}
        self._late = {camera: metrics.counter("deadline_exceeded_total", camera) for camera in cameras}
        self._newest_at = 0.0
        metrics.gauge("last_verdict_timestamp_seconds").set_function(lambda: self._newest_at)
        metrics.gauge("results_unacknowledged").set_function(lambda: self.seq - self.acknowledged)
        self.socket = bound_socket(context, "publish", config.daemon.publish, "daemon.publish", curve)

    def publish(self, outcome: Outcome) -> None:
        """One look's result: exactly one message."""
        with self._lock:
            self._publish(outcome)

    def count(self, outcome: Outcome, published_at_ns: int) -> None:
        """Tell the metrics of one that was published."""
        look = outcome.look
        self._parts[look.camera, outcome.reason].inc()
        self._latency[look.camera].observe((published_at_ns - look.triggered_at_ns) / 1e9)
        if outcome.score == outcome.score:  # NaN: nothing was measured
            self._ratio[look.camera].observe(outcome.score / look.judged_by.threshold)
        if outcome.reason is Reason.NO_FRAME:
            self._missed[look.camera].inc()
        if outcome.decided_at_ns > look.deadline_ns:
            self._late[look.camera].inc()

    def heartbeat(self, state: State, recipe: int) -> None:
        """The next beat; `recipe` is the active one's number."""
        identity = self._identity
        with self._lock:
            self._beat += 1
            beat = Heartbeat(
                instance=identity.instance, epoch=identity.epoch, seq=self.seq, counter=self._beat, state=state,
                recipe=recipe, sent_at_ns=time.monotonic_ns(), boot_id=identity.boot_id,
            )  # fmt: skip
            self.socket.send_multipart(encode(beat))

    def state(self, state: State, detail: str, recipe: int) -> None:
        """Tell a change of state, or of the active recipe's number."""
        identity = self._identity
        with self._lock:
            change = StateChange(
                instance=identity.instance, epoch=identity.epoch, seq=self.seq, state=state, detail=detail,
                recipe=recipe, sent_at_ns=time.monotonic_ns(),
            )  # fmt: skip
            self.socket.send_multipart(encode(change))

    def acknowledge(self, seq: int) -> None:
        """Results up to `seq` were taken over."""
        self.acknowledged = max(self.acknowledged, min(seq, self.seq))

    def replay(self, epoch: int, after: int) -> Answer | ReplayAnswer:
        """Results of this epoch after a seq, as many as fit into one answer."""
        if epoch != self._identity.epoch:
            error = f"epoch {epoch} is over; its results are gone with it. This is epoch {self._identity.epoch}"
            return Answer(False, "replay", {"error": error, "epoch": self._identity.epoch})
        with self._lock:
            lost, first, payloads = self.ring.after(after)
            return ReplayAnswer(epoch, first, lost, self.seq, payloads)

    def counts(self) -> dict[str, int | None]:
        """What a snapshot of the daemon says of results."""
        with self._lock:
            return {
                "seq": self.seq, "oldest": self.ring.oldest, "reject_seq": self.reject_seq,
                "acknowledged": self.acknowledged,
            }  # fmt: skip

    def _publish(self, outcome: Outcome) -> None:
        look = outcome.look
        judged_by = look.judged_by
        verdict = _verdict_of(outcome.reason)
        self.seq += 1
        self.reject_seq += verdict is Verdict.REJECT
        self.verdicts[verdict] += 1
        wall = time.time()
        identity = self._identity
        result = Result(
            instance=identity.instance, epoch=identity.epoch, seq=self.seq, reject_seq=self.reject_seq, gate=look.gate,
            run=look.run or None, trigger=look.trigger, part_id=look.part_id, camera=look.camera, frame_id=outcome.frame_id,
            item=look.item, items=look.items,
            verdict=verdict, reason=outcome.reason, score=outcome.score, threshold=judged_by.threshold,
            metric_distance=outcome.metric_distance, novelty_distance=outcome.novelty_distance,
            triggered_at_ns=None if look.trigger is None else look.triggered_at_ns, exposed_at_ns=outcome.exposed_at_ns,
            decided_at_ns=outcome.decided_at_ns, boot_id=identity.boot_id,
            wall_time=datetime.fromtimestamp(wall, UTC).isoformat(timespec="milliseconds"), recipe=judged_by.recipe,
            model_sha256=judged_by.model_sha256, profile_sha256=judged_by.profile_sha256,
            simulated=self._simulated(look.camera),
        )  # fmt: skip
        frames = encode(result)
        self.socket.send_multipart(frames)
        self.ring.add(frames[1])
        self._newest_at = wall


def _verdict_of(reason: Reason) -> Verdict:
    return Verdict.PASS if reason is Reason.OK else Verdict.REJECT
