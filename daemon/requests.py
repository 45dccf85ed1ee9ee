"""The socket that takes requests: every one is answered, and a trigger becomes looks that are announced and ordered."""

import time
from collections.abc import Callable, Iterable
from typing import Any

import zmq

from daemon.book import AlreadyOpenError, Book
from daemon.capture import Capture
from daemon.publishing import Identity, Publisher
from daemon.recipes import Envelope, Recipes
from senbetsu.config import Config
from senbetsu.messages import MINOR, SCHEMA, MessageError
from senbetsu.metrics import Metrics
from senbetsu.requests import (
    AckRequest,
    Answer,
    RecipeRequest,
    ReplayAnswer,
    ReplayRequest,
    StateRequest,
    TriggerRequest,
    decode_request,
    unreadable,
)
from senbetsu.sockets import has_message
from senbetsu.states import ACCEPTS_TRIGGERS, State
from senbetsu.verdict import Reason

REQUESTS_A_TURN = 32
"""Between two looks at what else is due: a flood of requests must not hold back results and heartbeats."""


class Requests:
    """The ROUTER socket; used by one thread."""

    def __init__(
        self,
        router: "zmq.Socket[bytes]",
        config: Config,
        identity: Identity,
        book: Book,
        captures: dict[str, Capture],
        publisher: Publisher,
        recipes: Recipes,
        metrics: Metrics,
        standing: Callable[[], tuple[State, str, bool]],
    ) -> None:
        """`standing`: the daemon's state, its detail, and whether it is stopping."""
        self._router = router
        self._config = config
        self._identity = identity
        self._book = book
        self._captures = captures
        self._publisher = publisher
        self._recipes = recipes
        self._standing = standing
        self._triggers = {name: metrics.counter("triggers_total", name) for name in captures}

    def answer_some(self) -> bool:
        """Some that wait; True if there may be more. A REQ client's empty delimiter comes back, a DEALER has none.

        First all are taken, then their frames are ordered, then the answers go: each message that comes or goes lets other
        threads run, and no frame should wait for that of the answer to another part's trigger.
        """
        taken = list[list[bytes]]()
        while len(taken) < REQUESTS_A_TURN and has_message(self._router):
            taken.append(self._router.recv_multipart(zmq.NOBLOCK))
        answers = [(envelope, self._answer(payload, tuple(envelope))) for *envelope, payload in taken]
        for envelope, answer in answers:
            if answer is not None:
                self._router.send_multipart([*envelope, answer.encode()])
        return len(taken) == REQUESTS_A_TURN

    def send(self, answers: Iterable[tuple[Envelope, Answer]]) -> None:
        """Those that were not known at once."""
        for envelope, answer in answers:
            self._router.send_multipart([*envelope, answer.encode()])

    def _answer(self, payload: bytes, envelope: Envelope) -> Answer | ReplayAnswer | None:
        """None: the answer comes later."""
        try:
            request = decode_request(payload)
        except MessageError as error:
            return unreadable(payload, error)
        match request:
            case TriggerRequest():
                return self._trigger(request)
            case ReplayRequest():
                return self._publisher.replay(request.epoch, request.after)
            case AckRequest():
                return self._acknowledge(request)
            case RecipeRequest():
                return self._recipes.ask(request, envelope)
            case StateRequest():
                return Answer(True, "state", self._state_body())

    def _acknowledge(self, request: AckRequest) -> Answer:
        epoch = self._identity.epoch
        if request.epoch != epoch:
            return Answer(False, "ack", {"error": f"this is epoch {epoch}", "epoch": epoch})
        self._publisher.acknowledge(request.seq)
        return Answer(True, "ack", {"epoch": epoch, "seq": self._publisher.acknowledged})

    def _state_body(self) -> dict[str, Any]:
        identity, active = self._identity, self._book.active
        state, detail, _ = self._standing()
        return {
            "schema": SCHEMA, "minor": MINOR, "instance": identity.instance, "epoch": identity.epoch,
            **self._publisher.counts(), "state": state.name, "detail": detail, "recipe": active.recipe,
            "model_sha256": active.model_sha256, "profile_sha256": active.profile_sha256,
        }  # fmt: skip

    def _trigger(self, request: TriggerRequest) -> Answer:
        def refuse(reason: Reason, why: str) -> Answer:
            body = {"gate": request.gate, "trigger": request.trigger, "reason": reason.name, "error": why}
            return Answer(False, "trigger", body)

        state, _, stopping = self._standing()
        if stopping or state not in ACCEPTS_TRIGGERS:
            return refuse(Reason.NOT_READY, f"the daemon is in state {state.name}")
        cameras = [c for c in self._config.cameras_of(request.gate) if c.trigger != "free_run"]
        if not cameras:
            return refuse(Reason.BAD_TRIGGER, f"gate {request.gate!r} has no camera with a trigger")
        active = self._book.active.recipe
        if request.recipe not in (None, active):
            return refuse(Reason.RECIPE, f"recipe {request.recipe} is asked for, {active} is active")
        now_ns = time.monotonic_ns()
        deadline_ns = now_ns + round(request.deadline_ms * 1e6)
        names = [camera.name for camera in cameras]
        try:
            items = self._config.gate(request.gate).items
            looks = self._book.announce(
                request.gate, names, request.trigger, request.part_id, now_ns, deadline_ns, items, request.run or 0
            )
        except AlreadyOpenError as error:
            return refuse(Reason.BAD_TRIGGER, str(error))
        for camera in names:
            self._triggers[camera].inc()
            self._captures[camera].order([look for look in looks if look.camera == camera])
        body = {
            "gate": request.gate, "trigger": request.trigger, "epoch": self._identity.epoch,
            "looks": [{"camera": name, "items": items} for name in names],
        }  # fmt: skip
        return Answer(True, "trigger", body)
