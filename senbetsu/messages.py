"""What the daemon publishes over ZeroMQ: results, heartbeats and states. What it is asked: senbetsu.requests.

A published message has two frames, the topic and one JSON object (UTF-8; a number that is not finite is null).
Result topics end in a dot after the camera's name, so that a subscription to `cam1` does not match `cam10`.
Decoding checks every field: what does not fit raises `MessageError`, and whoever hears it rejects the part.

The types here and there are the contract: docs/contract.md and docs/contract.schema.json are generated from them. Its
version is `SCHEMA.MINOR`. A field that is added raises the minor number: who does not know it ignores it. What would be
read wrongly by who does not know of it raises `SCHEMA`, which is in every published message: another number is refused.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any

from senbetsu.message_fields import (
    EPOCH_LIMIT,
    NANOSECONDS,
    Boolean,
    Integer,
    Member,
    MessageError,
    Number,
    Text,
    fields_of,
    read_fields,
    read_object,
    told,
    write_object,
)
from senbetsu.states import State
from senbetsu.verdict import Reason, Verdict

__all__ = ["EPOCH_LIMIT", "MessageError"]

SCHEMA, MINOR = 1, 2
TOPIC_REJECT = "result.reject."
TOPIC_PASS = "result.pass."
TOPIC_RESULT = "result."
TOPIC_HEARTBEAT = "heartbeat."
TOPIC_STATE = "state."

TRIGGER_MODULUS = 65536
MAX_ITEMS = 16
MAX_RUN = 65535

_SCHEMA = told("major version of this contract; another number is refused", Integer(SCHEMA, SCHEMA))
_INSTANCE = told("the line's name, from its config", Text())
OF_EPOCH = told("one start of the daemon; a later start has a greater number", Integer(1))
_SEQ = told("number of the newest result of this epoch, 0 if there was none", Integer())
_SENT = told("when it was sent: nanoseconds, CLOCK_MONOTONIC", Integer(0, NANOSECONDS))
_BOOT = told("one start of the operating system: monotonic times of another are not to be compared", Text())
OF_GATE = told("the gate that the part goes to", Text())
OF_PART = told("the PLC's own number of the part", Integer(0, 0xFFFF_FFFF, optional=True))
OF_RUN = told(
    "run of the gate in which the trigger was announced; null if the request named none",
    Integer(1, MAX_RUN, optional=True),
    since=1,
)
_RECIPE = told(
    "number of the active recipe: what is triggered now is judged by it", Integer(0, 65535, optional=True), since=2
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One look at one part: one camera's view of one item.

    Scores are dimensionless; NaN, null in JSON, where nothing was measured.
    """

    schema: int = field(default=SCHEMA, metadata=_SCHEMA)
    instance: str = field(metadata=_INSTANCE)
    epoch: int = field(metadata=OF_EPOCH)
    seq: int = field(metadata=told("number of the result, from 1, one more with each result of the epoch", Integer(1)))
    reject_seq: int = field(metadata=told("rejects of the epoch so far, for who hears those alone", Integer()))
    gate: str = field(metadata=OF_GATE)
    run: int | None = field(default=None, metadata=OF_RUN)
    trigger: int | None = field(
        metadata=told("number of the part's trigger; null in free run", Integer(0, TRIGGER_MODULUS - 1, optional=True))
    )
    part_id: int | None = field(
        metadata=told(
            "the PLC's own number of the part; of one that was found on a belt, the daemon's, from 1 at its start",
            Integer(0, 0xFFFF_FFFF, optional=True),
        )
    )
    camera: str = field(metadata=told("the camera that looked", Text()))
    frame_id: int | None = field(
        metadata=told("number of the camera's frame; null without one", Integer(optional=True))
    )
    item: int = field(default=0, metadata=told("which item of the frame, less than `items`", Integer(0, MAX_ITEMS - 1)))
    items: int = field(default=1, metadata=told("how many items the frame held", Integer(1, MAX_ITEMS)))
    verdict: Verdict = field(metadata=told("PASS only with reason OK, and OK only with PASS", Member(Verdict)))
    reason: Reason = field(metadata=told("why; see the table of reasons", Member(Reason)))
    score: float = field(metadata=told("distance from the normal parts; null where nothing was measured", Number()))
    threshold: float = field(metadata=told("largest score that passes", Number()))
    metric_distance: float = field(metadata=told("the learned distance alone", Number()))
    novelty_distance: float = field(metadata=told("the distance of the frozen features alone", Number()))
    triggered_at_ns: int | None = field(
        metadata=told(
            "when the daemon took the trigger: nanoseconds, CLOCK_MONOTONIC", Integer(0, NANOSECONDS, optional=True)
        )
    )
    exposed_at_ns: int | None = field(
        metadata=told(
            "when the frame was exposed: nanoseconds, CLOCK_MONOTONIC", Integer(0, NANOSECONDS, optional=True)
        )
    )
    decided_at_ns: int = field(
        metadata=told("when it was decided: nanoseconds, CLOCK_MONOTONIC", Integer(0, NANOSECONDS))
    )
    boot_id: str = field(metadata=_BOOT)
    wall_time: str = field(metadata=told("date and time of the decision, RFC 3339", Text()))
    recipe: int = field(metadata=told("the recipe it was judged by", Integer(0, 65535)))
    model_sha256: str = field(metadata=told("SHA-256 of the embedding that measured", Text()))
    profile_sha256: str = field(metadata=told("SHA-256 of the profile that judged", Text()))
    simulated: bool = field(metadata=told("the frame came from a file", Boolean()))

    def __post_init__(self) -> None:
        if (self.verdict is Verdict.PASS) != (self.reason is Reason.OK):
            raise MessageError(
                f"only reason OK goes with PASS, and only PASS with OK: {self.verdict} {self.reason.name}"
            )
        if not 1 <= self.items <= MAX_ITEMS or not 0 <= self.item < self.items:
            raise MessageError(f"item {self.item} of {self.items}: 0 <= item < items <= {MAX_ITEMS}")
        if self.trigger is not None and not 0 <= self.trigger < TRIGGER_MODULUS:
            raise MessageError(f"trigger {self.trigger} is not a 16-bit number")

    @property
    def topic(self) -> str:
        """`result.pass.<camera>.` or `result.reject.<camera>.`"""
        return (TOPIC_PASS if self.verdict is Verdict.PASS else TOPIC_REJECT) + self.camera + "."


@dataclass(frozen=True, slots=True, kw_only=True)
class Heartbeat:
    """Sent every 100 ms, only while the engine and a camera are proven; shows a lost last result by its `seq`."""

    schema: int = field(default=SCHEMA, metadata=_SCHEMA)
    instance: str = field(metadata=_INSTANCE)
    epoch: int = field(metadata=OF_EPOCH)
    seq: int = field(metadata=_SEQ)
    counter: int = field(metadata=told("one more with each heartbeat", Integer()))
    state: State = field(metadata=told("the daemon's state", Member(State)))
    recipe: int | None = field(default=None, metadata=_RECIPE)
    sent_at_ns: int = field(metadata=_SENT)
    boot_id: str = field(metadata=_BOOT)


@dataclass(frozen=True, slots=True, kw_only=True)
class StateChange:
    """Sent when the daemon's state, its detail or the active recipe changes."""

    schema: int = field(default=SCHEMA, metadata=_SCHEMA)
    instance: str = field(metadata=_INSTANCE)
    epoch: int = field(metadata=OF_EPOCH)
    seq: int = field(metadata=_SEQ)
    state: State = field(metadata=told("the daemon's state", Member(State)))
    detail: str = field(metadata=told("why, for people", Text()))
    recipe: int | None = field(default=None, metadata=_RECIPE)
    sent_at_ns: int = field(metadata=_SENT)


Published = Result | Heartbeat | StateChange


_VALUES = {
    kind: (names := tuple(field.name for field in fields_of(kind)), attrgetter(*names))
    for kind in (Result, Heartbeat, StateChange)
}


def encode(message: Published) -> tuple[bytes, bytes]:
    """The two frames of a published message: topic, JSON. Enumerations travel as their name."""
    # dataclasses.asdict copies every value deeply, which took half the time; these are all immutable.
    names, values_of = _VALUES[type(message)]
    document = dict(zip(names, values_of(message), strict=True))
    match message:
        case Result():
            topic = message.topic
            document["verdict"] = message.verdict.value
            document["reason"] = message.reason.name
        case Heartbeat():
            topic = TOPIC_HEARTBEAT
            document["state"] = message.state.name
        case StateChange():
            topic = TOPIC_STATE
            document["state"] = message.state.name
    return topic.encode(), write_object(document)


def decode_result(payload: bytes | Mapping[str, Any]) -> Result:
    """Read one result: its JSON frame, or the object that a replay brought.

    Raises:
        MessageError: a field is missing or does not fit, or PASS comes with a reason other than OK.
    """
    document = payload if isinstance(payload, Mapping) else read_object(payload)
    return Result(**read_fields(Result, document))


def decode_heartbeat(payload: bytes) -> Heartbeat:
    """Read one heartbeat's JSON frame. Raises MessageError where it does not fit."""
    return Heartbeat(**read_fields(Heartbeat, read_object(payload)))


def decode_state(payload: bytes) -> StateChange:
    """Read one state change's JSON frame. Raises MessageError where it does not fit."""
    return StateChange(**read_fields(StateChange, read_object(payload)))


RESULT_FIELDS: tuple[str, ...] = tuple(field.name for field in fields_of(Result))
