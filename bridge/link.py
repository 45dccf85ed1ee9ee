"""The bridge's side of ZeroMQ: hears the daemon, asks it for what was missed, passes triggers on."""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from typing import Any, cast

import zmq
import zmq.asyncio

from bridge.contract import GateContract
from bridge.sequence import Sequence
from senbetsu.config import BridgeSection
from senbetsu.messages import (
    TOPIC_HEARTBEAT,
    TOPIC_RESULT,
    TOPIC_STATE,
    AckRequest,
    Answer,
    MessageError,
    ReplayRequest,
    Request,
    Result,
    TriggerRequest,
    decode_heartbeat,
    decode_result,
    decode_state,
    encode_request,
)
from senbetsu.metrics import Metrics
from senbetsu.verdict import Reason

log = logging.getLogger("bridge")

REPLAY_AGAIN_NS = 200_000_000


class DaemonLink:
    """One daemon. `changed(gate)` is called when a gate's registers may have changed."""

    def __init__(
        self,
        section: BridgeSection,
        gates: Mapping[str, GateContract],
        metrics: Metrics,
        changed: Callable[[str], None],
        clock_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._gates = gates
        self._changed = changed
        self._now_ns = clock_ns
        self._sequence = Sequence()
        self._replay_asked_ns = 0
        self._acknowledged = 0
        self._recovered, self._lost = metrics.counter("results_recovered_total"), metrics.counter("results_lost_total")
        self._malformed = metrics.counter("messages_malformed_total")
        self._context = zmq.asyncio.Context()
        self._subscriber = self._context.socket(zmq.SUB)
        self._subscriber.setsockopt(zmq.RCVHWM, 100_000)
        self._subscriber.setsockopt(zmq.RECONNECT_IVL, 50)
        self._subscriber.setsockopt(zmq.RECONNECT_IVL_MAX, 500)
        for topic in (TOPIC_RESULT, TOPIC_HEARTBEAT, TOPIC_STATE):
            self._subscriber.subscribe(topic.encode())
        self._subscriber.connect(section.subscribe)
        self._dealer = self._context.socket(zmq.DEALER)
        # A trigger that nobody takes now must never reach a daemon that starts later.
        self._dealer.setsockopt(zmq.IMMEDIATE, 1)
        self._dealer.setsockopt(zmq.LINGER, 0)
        self._dealer.setsockopt(zmq.RECONNECT_IVL, 50)
        self._dealer.setsockopt(zmq.RECONNECT_IVL_MAX, 500)
        self._dealer.connect(section.request)

    async def hear(self) -> None:
        """Take messages for ever."""
        while True:
            frames = await self._subscriber.recv_multipart()
            try:
                self._take(frames)
            except MessageError as error:
                # Not believed. Should it have been a result, its number is missing and will be asked for again.
                self._malformed.inc()
                log.warning("malformed message from the daemon: %s", error)

    def _take(self, frames: list[bytes]) -> None:
        if len(frames) != 2:
            raise MessageError(f"expected 2 frames, found {len(frames)}")
        topic, payload = frames
        now_ns = self._now_ns()
        if topic.startswith(TOPIC_RESULT.encode()):
            result = decode_result(payload)
            if result.topic.encode() != topic:
                raise MessageError(f"topic {topic!r} on a result of {result.topic}")
            self._begin(result.epoch, result.seq - 1, now_ns)
            self._apply(result, now_ns)
        elif topic == TOPIC_HEARTBEAT.encode():
            beat = decode_heartbeat(payload)
            self._begin(beat.epoch, beat.seq, now_ns)
            if beat.epoch == self._sequence.epoch:
                self._sequence.announce(beat.seq)
                for name, gate in self._gates.items():
                    gate.on_heartbeat(beat.epoch, beat.counter, beat.state, now_ns)
                    self._changed(name)
        elif topic == TOPIC_STATE.encode():
            change = decode_state(payload)
            self._begin(change.epoch, change.seq, now_ns)
            log.info("daemon: %s (%s)", change.state.name, change.detail)
            for name, gate in self._gates.items():
                gate.on_state(change.epoch, change.state, now_ns)
                self._changed(name)
        self._recover(now_ns)

    def _begin(self, epoch: int, newest: int, now_ns: int) -> None:
        if self._sequence.begin(epoch, newest):
            log.info("daemon's epoch is %d", epoch)
            self._acknowledged = self._sequence.complete
            self._replay_asked_ns = 0
            for name, gate in self._gates.items():
                gate.on_epoch(epoch, now_ns)
                self._changed(name)

    def _apply(self, result: Result, now_ns: int) -> bool:
        if result.epoch == self._sequence.epoch and not self._sequence.take(result.seq):
            # The contract looks itself whether it is the same once more, or another one under the same number.
            log.debug("result %d came again", result.seq)
        gate = self._gates.get(result.gate)
        if gate is None:
            return False
        gate.on_result(result, now_ns)
        self._changed(result.gate)
        return True

    def _recover(self, now_ns: int) -> None:
        """Ask again for what is missing."""
        sequence = self._sequence
        if sequence.epoch is None or not sequence.has_gap or now_ns - self._replay_asked_ns < REPLAY_AGAIN_NS:
            return
        log.info("results are missing after %d (newest %d): asking again", sequence.complete, sequence.newest)
        if self._send(ReplayRequest(epoch=sequence.epoch, after=sequence.complete)):
            self._replay_asked_ns = now_ns

    async def listen(self) -> None:
        """Take answers for ever."""
        while True:
            payload = await self._dealer.recv()
            try:
                self._take_answer(Answer.decode(payload))
            except MessageError as error:
                self._malformed.inc()
                log.warning("malformed answer from the daemon: %s", error)

    def _take_answer(self, answer: Answer) -> None:
        now_ns = self._now_ns()
        if answer.op == "replay":
            self._take_replay(answer, now_ns)
        elif answer.op == "trigger" and not answer.ok:
            gate, trigger = answer.body.get("gate"), answer.body.get("trigger")
            log.warning("trigger %s of gate %s refused: %s", trigger, gate, answer.body.get("error"))
            reason = Reason.__members__.get(str(answer.body.get("reason")), Reason.BAD_TRIGGER)
            if reason in (Reason.OK, Reason.NONE):
                reason = Reason.BAD_TRIGGER
            if isinstance(trigger, int) and isinstance(gate, str) and gate in self._gates:
                self._gates[gate].on_refused(trigger, reason, now_ns)
                self._changed(gate)

    def _take_replay(self, answer: Answer, now_ns: int) -> None:
        self._replay_asked_ns = 0
        if not answer.ok or answer.body.get("epoch") != self._sequence.epoch:
            return  # of an epoch that is over; a new one begins with its first message
        results, lost = answer.body.get("results"), answer.body.get("lost")
        if not isinstance(results, list) or not isinstance(lost, int):
            raise MessageError("a replay without results or count of lost ones")
        for document in results:
            result = decode_result(Answer(True, "", document).encode() if isinstance(document, dict) else b"")
            if result.epoch == self._sequence.epoch and self._sequence.take(result.seq):
                self._recovered.inc()
                self._apply(result, now_ns)
        if lost:
            first = answer.body.get("first")
            up_to = first - 1 if isinstance(first, int) else self._sequence.complete + lost
            gone = self._sequence.give_up(up_to)
            self._lost.inc(gone)
            log.error("%d results are lost: their parts are rejected", gone)
            for name, gate in self._gates.items():
                gate.on_lost(now_ns)
                self._changed(name)
        self._recover(now_ns)

    def trigger(self, request: TriggerRequest) -> None:
        """Pass a trigger on; where nobody takes it, the part is rejected at once."""
        if not self._send(request):
            log.error("trigger %d of gate %s: the daemon cannot be reached", request.trigger, request.gate)
            self._gates[request.gate].on_refused(request.trigger, Reason.LINK, self._now_ns())
            self._changed(request.gate)

    def tick(self, now_ns: int) -> None:
        """Acknowledge what has come; ask again for what has not."""
        self._recover(now_ns)
        sequence = self._sequence
        if sequence.epoch is None or sequence.complete <= self._acknowledged:
            return
        if self._send(AckRequest(epoch=sequence.epoch, seq=sequence.complete)):
            self._acknowledged = sequence.complete

    def _send(self, request: Request) -> bool:
        """Sent now or not at all."""
        sent = cast("asyncio.Future[Any]", self._dealer.send(encode_request(request), flags=zmq.NOBLOCK))
        error = sent.exception() if sent.done() else None
        if error is None:
            return True
        if isinstance(error, zmq.Again):
            return False
        raise error

    def close(self) -> None:
        """Close the sockets; nothing is kept."""
        self._subscriber.close(0)
        self._dealer.close(0)
        self._context.term()
