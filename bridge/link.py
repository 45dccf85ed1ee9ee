"""The bridge's side of ZeroMQ: hears the daemon, asks it for what was missed, passes triggers on.

Every result is recorded and given to its gate's contract, once. After a restart of the bridge, results of the same epoch that
came meanwhile are asked for as well, but only to be recorded: their parts belong to a run that is over.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol, cast

import zmq
import zmq.asyncio

from bridge.changeover import Changeover
from bridge.contract import GateContract
from bridge.sequence import Sequence
from senbetsu.config import BridgeSection
from senbetsu.curve import Curve
from senbetsu.messages import (
    TOPIC_HEARTBEAT,
    TOPIC_RESULT,
    TOPIC_STATE,
    MessageError,
    Result,
    decode_heartbeat,
    decode_result,
    decode_state,
)
from senbetsu.metrics import Metrics
from senbetsu.requests import AckRequest, Answer, RecipeRequest, ReplayRequest, Request, TriggerRequest, encode_request
from senbetsu.seldom import Seldom
from senbetsu.sockets import connect
from senbetsu.verdict import Reason

log = logging.getLogger("bridge")

REPLAY_AGAIN_NS = 200_000_000
RECORD_PACE_NS = 50_000_000
"""Between two answers with results that are only to be recorded: they are many, and a verdict must not wait for them."""

CONNECT_AGAIN_NS = 5_000_000_000
"""A daemon that is not heard for so long is connected to anew. libzmq gives a peer up for good that refuses a handshake once,
as a daemon does that does not know the bridge's key yet.
"""


class Record(Protocol):
    """Where every result goes."""

    def result(self, result: Result) -> None:
        """One that came, in whatever order, once."""

    def lost(self, epoch: int, first: int, last: int) -> None:
        """Of these numbers some came never."""


class NoRecord:
    """Nowhere."""

    def result(self, result: Result) -> None:
        """Forgotten."""

    def lost(self, epoch: int, first: int, last: int) -> None:
        """Forgotten."""


class DaemonLink:
    """One daemon. `changed(gate)` is called when a gate's registers may have changed."""

    def __init__(
        self,
        section: BridgeSection,
        gates: Mapping[str, GateContract],
        metrics: Metrics,
        changed: Callable[[str], None],
        clock_ns: Callable[[], int] = time.monotonic_ns,
        *,
        curve: Curve | None = None,
        record: Record | None = None,
        known: tuple[int, int] | None = None,
    ) -> None:
        """`known`: epoch and seq of the newest result that was recorded before a restart."""
        self._record = record or NoRecord()
        self._known = known
        self._record_only = 0
        """Of this epoch and run of the bridge: results up to here are nobody's any more."""
        self._gates = gates
        self._changed = changed
        self._now_ns = clock_ns
        self._sequence = Sequence()
        self._replay_asked_ns = 0
        self._acknowledged = 0
        self._recovered, self._lost = metrics.counter("results_recovered_total"), metrics.counter("results_lost_total")
        self._malformed = metrics.counter("messages_malformed_total")
        self._seldom = Seldom(log)
        self._context = zmq.asyncio.Context()
        self._subscriber = self._context.socket(zmq.SUB)
        for topic in (TOPIC_RESULT, TOPIC_HEARTBEAT, TOPIC_STATE):
            self._subscriber.subscribe(topic.encode())
        connect(self._subscriber, "subscriber", section.subscribe, curve)
        self._changeover = Changeover()
        self._dealer = self._context.socket(zmq.DEALER)
        connect(self._dealer, "requester", section.request, curve)
        self._endpoints = ((self._subscriber, section.subscribe), (self._dealer, section.request))
        self._connected_ns = self._now_ns()
        """When it last was, or the daemon was last here."""

    async def hear(self) -> None:
        """Take messages for ever."""
        while True:
            frames = await self._subscriber.recv_multipart()
            try:
                self._take(frames)
            except MessageError as error:
                # Not believed. Should it have been a result, its number is missing and will be asked for again.
                self._malformed.inc()
                self._seldom.warning("message", "malformed message from the daemon: %s", error)

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
            gone = not any(gate.daemon_is_here for gate in self._gates.values())
            self._begin(beat.epoch, beat.seq, now_ns, older_too=gone)
            if beat.epoch == self._sequence.epoch:
                self._sequence.announce(beat.seq)
                for name, gate in self._gates.items():
                    gate.on_heartbeat(beat.epoch, beat.counter, beat.state, now_ns, beat.recipe)
                    self._changed(name)
        elif topic == TOPIC_STATE.encode():
            change = decode_state(payload)
            self._begin(change.epoch, change.seq, now_ns)
            log.info("daemon: %s (%s)", change.state.name, change.detail)
            for name, gate in self._gates.items():
                gate.on_state(change.epoch, change.state, now_ns, change.recipe)
                self._changed(name)
        self._recover(now_ns)

    def _begin(self, epoch: int, newest: int, now_ns: int, *, older_too: bool = False) -> None:
        known = self._known[1] if self._known is not None and self._known[0] == epoch else None
        first_contact = self._sequence.epoch is None
        if self._sequence.begin(epoch, newest, known, older_too=older_too):
            log.info("daemon's epoch is %d", epoch)
            self._record_only = newest if first_contact else 0
            self._acknowledged = self._sequence.complete
            self._replay_asked_ns = 0
            for name, gate in self._gates.items():
                gate.on_epoch(epoch, now_ns, older_too=older_too)
                self._changed(name)

    def _apply(self, result: Result, now_ns: int) -> None:
        if result.epoch != self._sequence.epoch:
            return  # of a daemon that is no more
        if self._sequence.take(result.seq):
            self._record.result(result)
        # One that came already goes to the contract too: it looks itself whether it is the same, or contradicts.
        gate = self._gates.get(result.gate)
        if gate is not None and result.seq > self._record_only:
            gate.on_result(result, now_ns)
            self._changed(result.gate)

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
                self._seldom.warning("answer", "malformed answer from the daemon: %s", error)

    def _take_answer(self, answer: Answer) -> None:
        now_ns = self._now_ns()
        if answer.op == "recipe":
            self._changeover.answered(ok=answer.ok, now_ns=now_ns)
            if not answer.ok:
                self._seldom.warning("recipe", "the daemon does not change the recipe: %s", answer.body.get("error"))
        elif answer.op == "replay":
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
        if not answer.ok or answer.body.get("epoch") != self._sequence.epoch:
            self._replay_asked_ns = 0
            return  # of an epoch that is over; a new one begins with its first message
        sequence = self._sequence
        lost, first = answer.field("lost"), answer.field("first")
        for document in answer.field("results"):
            result = decode_result(document)
            if result.epoch == sequence.epoch and sequence.lacks(result.seq):
                self._recovered.inc()
                self._apply(result, now_ns)
        if lost:
            self._give_up(first - 1 if first is not None else answer.field("newest"), now_ns)
        only_recorded = sequence.complete < self._record_only
        self._replay_asked_ns = now_ns - REPLAY_AGAIN_NS + RECORD_PACE_NS if only_recorded else 0
        self._recover(now_ns)

    def _give_up(self, up_to: int, now_ns: int) -> None:
        sequence = self._sequence
        before = sequence.complete
        gone = sequence.give_up(up_to)
        if not gone or sequence.epoch is None:
            return
        self._lost.inc(gone)
        self._record.lost(sequence.epoch, before + 1, up_to)
        if up_to <= self._record_only:
            log.warning("%d results from before the bridge's start are no longer kept: the journal lacks them", gone)
            return
        log.error("%d results are lost: their parts are rejected", gone)
        for name, gate in self._gates.items():
            gate.on_lost(now_ns)
            self._changed(name)

    def trigger(self, request: TriggerRequest) -> None:
        """Pass a trigger on; where nobody takes it, the part is rejected at once."""
        if not self._send(request):
            log.error("trigger %d of gate %s: the daemon cannot be reached", request.trigger, request.gate)
            self._gates[request.gate].on_refused(request.trigger, Reason.LINK, self._now_ns())
            self._changed(request.gate)

    def tick(self, now_ns: int) -> None:
        """Acknowledge what has come; ask again for what has not, for the recipe that the PLC wants, and for the daemon."""
        self._connect_again(now_ns)
        self._recover(now_ns)
        sequence = self._sequence
        asked_for = [(gate.recipe_asked_for, gate.recipe) for gate in self._gates.values()]
        number = self._changeover.due(asked_for, sequence.epoch, now_ns)
        if number is not None and self._send(RecipeRequest(number=number)):
            log.info("the PLC asks for recipe %d", number)
            self._changeover.asked(now_ns)
        if sequence.epoch is None or sequence.complete <= self._acknowledged:
            return
        if self._send(AckRequest(epoch=sequence.epoch, seq=sequence.complete)):
            self._acknowledged = sequence.complete

    def _connect_again(self, now_ns: int) -> None:
        if any(gate.daemon_is_here for gate in self._gates.values()):
            self._connected_ns = now_ns
        elif now_ns - self._connected_ns >= CONNECT_AGAIN_NS:
            self._connected_ns = now_ns
            for socket, endpoint in self._endpoints:
                socket.disconnect(endpoint)
                socket.connect(endpoint)

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
