"""What travels over ZeroMQ: results, heartbeats, states, and the requests that a client may make.

A published message has two frames, the topic and one JSON object (UTF-8; a number that is not finite is null).
Result topics end in a dot after the camera's name, so that a subscription to `cam1` does not match `cam10`.
Decoding checks every field: what does not fit raises `MessageError`, and whoever hears it rejects the part.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Self, TypeVar

from senbetsu.states import State
from senbetsu.verdict import Reason, Verdict

SCHEMA = 1
TOPIC_REJECT = "result.reject."
TOPIC_PASS = "result.pass."
TOPIC_RESULT = "result."
TOPIC_HEARTBEAT = "heartbeat."
TOPIC_STATE = "state."

TRIGGER_MODULUS = 65536
EPOCH_LIMIT = 1 << 53
MAX_ITEMS = 16

_Member = TypeVar("_Member", Verdict, Reason, State)


class MessageError(ValueError):
    """A message is not what the contract says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One look at one part: one camera's view of one item. Field meanings are those of the message contract.

    `*_at_ns` are CLOCK_MONOTONIC nanoseconds of the daemon's machine; across machines only differences mean anything.
    Scores are dimensionless; NaN where nothing was measured.
    """

    schema: int = SCHEMA
    instance: str
    epoch: int
    seq: int
    reject_seq: int
    gate: str
    trigger: int | None
    part_id: int | None
    camera: str
    frame_id: int | None
    item: int = 0
    items: int = 1
    verdict: Verdict
    reason: Reason
    score: float
    threshold: float
    metric_distance: float
    novelty_distance: float
    triggered_at_ns: int | None
    exposed_at_ns: int | None
    decided_at_ns: int
    boot_id: str
    wall_time: str
    recipe: int
    model_sha256: str
    profile_sha256: str
    simulated: bool

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
    """Sent every 100 ms, only while the cameras and the engine are proven; shows a lost last result by its `seq`."""

    schema: int = SCHEMA
    instance: str
    epoch: int
    seq: int
    counter: int
    state: State
    sent_at_ns: int
    boot_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StateChange:
    """Sent when the daemon's state changes."""

    schema: int = SCHEMA
    instance: str
    epoch: int
    seq: int
    state: State
    detail: str
    sent_at_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TriggerRequest:
    """Announce one part: every look that the gate expects of it gets exactly one result."""

    gate: str
    trigger: int
    part_id: int | None
    deadline_ms: float
    run: int = 0
    """The bridge's run; with a hardware trigger pulses and frames are counted anew in each. 0 from who has none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayRequest:
    """Ask again for the results of `epoch` with a `seq` greater than `after`."""

    epoch: int
    after: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AckRequest:
    """Every result of `epoch` up to and including `seq` has been taken over."""

    epoch: int
    seq: int


@dataclass(frozen=True, slots=True)
class StateRequest:
    """Ask for the daemon's state, epoch and newest seq."""


Request = TriggerRequest | ReplayRequest | AckRequest | StateRequest


_ENCODER = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def _json(document: Mapping[str, Any]) -> bytes:
    return _ENCODER.encode(
        {
            key: None if isinstance(value, float) and not math.isfinite(value) else value
            for key, value in document.items()
        }
    ).encode()


def encode(message: Result | Heartbeat | StateChange) -> tuple[bytes, bytes]:
    """The two frames of a published message: topic, JSON. Enumerations travel as their name."""
    # dataclasses.asdict copies every value deeply, which took half the time; these are all immutable.
    document = {name: getattr(message, name) for name in message.__slots__}
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
    return topic.encode(), _json(document)


class _Reader:
    """Takes typed fields out of one JSON object, and says which field does not fit."""

    def __init__(self, payload: bytes) -> None:
        try:
            document = json.loads(payload)
        except (ValueError, RecursionError) as error:
            raise MessageError(f"not JSON: {error}") from error
        if not isinstance(document, dict):
            raise MessageError("not a JSON object")
        self.document: dict[str, Any] = document

    def integer(self, key: str, low: int = 0, high: int = EPOCH_LIMIT - 1) -> int:
        value = self.document.get(key)
        if type(value) is not int or not low <= value <= high:
            raise MessageError(f"{key}: expected an integer from {low} to {high}, found {value!r}")
        return value

    def optional_integer(self, key: str, low: int = 0, high: int = EPOCH_LIMIT - 1) -> int | None:
        return None if self.document.get(key) is None else self.integer(key, low, high)

    def number(self, key: str) -> float:
        value = self.document.get(key)
        if value is None:
            return math.nan
        if type(value) not in (int, float):
            raise MessageError(f"{key}: expected a number or null, found {value!r}")
        return float(value)

    def text(self, key: str) -> str:
        value = self.document.get(key)
        if not isinstance(value, str):
            raise MessageError(f"{key}: expected a text, found {value!r}")
        return value

    def boolean(self, key: str) -> bool:
        value = self.document.get(key)
        if not isinstance(value, bool):
            raise MessageError(f"{key}: expected true or false, found {value!r}")
        return value

    def member(self, key: str, kind: type[_Member]) -> _Member:
        name = self.text(key)
        try:
            return kind[name]
        except KeyError:
            raise MessageError(f"{key}: {name!r} is not one of {', '.join(kind.__members__)}") from None

    def schema(self) -> int:
        return self.integer("schema", SCHEMA, SCHEMA)


def decode_result(payload: bytes) -> Result:
    """Read one result's JSON frame.

    Raises:
        MessageError: a field is missing or does not fit, or PASS comes with a reason other than OK.
    """
    read = _Reader(payload)
    return Result(
        schema=read.schema(),
        instance=read.text("instance"),
        epoch=read.integer("epoch", 1),
        seq=read.integer("seq", 1),
        reject_seq=read.integer("reject_seq"),
        gate=read.text("gate"),
        trigger=read.optional_integer("trigger", 0, TRIGGER_MODULUS - 1),
        part_id=read.optional_integer("part_id", 0, 0xFFFF_FFFF),
        camera=read.text("camera"),
        frame_id=read.optional_integer("frame_id"),
        item=read.integer("item", 0, MAX_ITEMS - 1),
        items=read.integer("items", 1, MAX_ITEMS),
        verdict=read.member("verdict", Verdict),
        reason=read.member("reason", Reason),
        score=read.number("score"),
        threshold=read.number("threshold"),
        metric_distance=read.number("metric_distance"),
        novelty_distance=read.number("novelty_distance"),
        triggered_at_ns=read.optional_integer("triggered_at_ns", 0, 1 << 63),
        exposed_at_ns=read.optional_integer("exposed_at_ns", 0, 1 << 63),
        decided_at_ns=read.integer("decided_at_ns", 0, 1 << 63),
        boot_id=read.text("boot_id"),
        wall_time=read.text("wall_time"),
        recipe=read.integer("recipe", 0, 65535),
        model_sha256=read.text("model_sha256"),
        profile_sha256=read.text("profile_sha256"),
        simulated=read.boolean("simulated"),
    )


def decode_heartbeat(payload: bytes) -> Heartbeat:
    """Read one heartbeat's JSON frame. Raises MessageError where it does not fit."""
    read = _Reader(payload)
    return Heartbeat(
        schema=read.schema(),
        instance=read.text("instance"),
        epoch=read.integer("epoch", 1),
        seq=read.integer("seq"),
        counter=read.integer("counter"),
        state=read.member("state", State),
        sent_at_ns=read.integer("sent_at_ns", 0, 1 << 63),
        boot_id=read.text("boot_id"),
    )


def decode_state(payload: bytes) -> StateChange:
    """Read one state change's JSON frame. Raises MessageError where it does not fit."""
    read = _Reader(payload)
    return StateChange(
        schema=read.schema(),
        instance=read.text("instance"),
        epoch=read.integer("epoch", 1),
        seq=read.integer("seq"),
        state=read.member("state", State),
        detail=read.text("detail"),
        sent_at_ns=read.integer("sent_at_ns", 0, 1 << 63),
    )


def decode_request(payload: bytes) -> Request:
    """Read one request. Raises MessageError, whose text is the answer's `error`."""
    read = _Reader(payload)
    match read.text("op"):
        case "trigger":
            deadline_ms = read.number("deadline_ms")
            if not 0 < deadline_ms <= 60_000:
                raise MessageError(f"deadline_ms: expected 0 < deadline_ms <= 60000, found {deadline_ms}")
            return TriggerRequest(
                gate=read.text("gate"),
                trigger=read.integer("trigger", 0, TRIGGER_MODULUS - 1),
                part_id=read.optional_integer("part_id", 0, 0xFFFF_FFFF),
                deadline_ms=deadline_ms,
                run=read.integer("run", 0, 0xFFFF) if "run" in read.document else 0,
            )
        case "replay":
            return ReplayRequest(epoch=read.integer("epoch", 1), after=read.integer("after"))
        case "ack":
            return AckRequest(epoch=read.integer("epoch", 1), seq=read.integer("seq"))
        case "state":
            return StateRequest()
        case other:
            raise MessageError(f"op: {other!r} is not one of trigger, replay, ack, state")


_OPERATIONS = {TriggerRequest: "trigger", ReplayRequest: "replay", AckRequest: "ack", StateRequest: "state"}


def encode_request(request: Request) -> bytes:
    """The JSON of one request."""
    return _json({"op": _OPERATIONS[type(request)], **asdict(request)})


@dataclass(frozen=True, slots=True)
class Answer:
    """What the daemon says to a request: `ok`, the `op` it answers, and what belongs to it in `body`.

    Bodies: trigger {gate, trigger, epoch, looks: [{camera, items}]}; replay {epoch, first, last, lost, results};
    ack {epoch, seq}; state {instance, epoch, seq, state, recipe, model_sha256, profile_sha256}; not ok
    {error}, for a trigger with its {gate, trigger} and the name of the {reason}.
    """

    ok: bool
    op: str
    body: dict[str, Any]

    def encode(self) -> bytes:
        """One JSON object, `ok` and `op` first."""
        return _json({"ok": self.ok, "op": self.op, **self.body})

    @classmethod
    def decode(cls, payload: bytes) -> Self:
        """Raises MessageError where `ok` or `op` is missing."""
        read = _Reader(payload)
        return cls(
            read.boolean("ok"), read.text("op"), {k: v for k, v in read.document.items() if k not in ("ok", "op")}
        )


RESULT_FIELDS: tuple[str, ...] = tuple(field.name for field in fields(Result))
