"""What a client may ask of the daemon over ZeroMQ, and what it is answered: one JSON object each.

A request has its name in `op`; the answer repeats it and says `ok`. Part of the contract of senbetsu.messages.
"""

from dataclasses import asdict, dataclass, field
from typing import Any, Self

from senbetsu.message_fields import (
    Boolean,
    Field,
    Integer,
    Member,
    MessageError,
    Number,
    Objects,
    Text,
    read_fields,
    read_object,
    told,
    write_object,
)
from senbetsu.messages import OF_EPOCH, OF_GATE, OF_PART, OF_RUN, SCHEMA, TRIGGER_MODULUS
from senbetsu.states import State
from senbetsu.verdict import Reason


@dataclass(frozen=True, slots=True, kw_only=True)
class TriggerRequest:
    """Announce one part: every look that the gate expects of it gets exactly one result."""

    gate: str = field(metadata=OF_GATE)
    run: int | None = field(default=None, metadata=OF_RUN)
    trigger: int = field(metadata=told("number of the part's trigger", Integer(0, TRIGGER_MODULUS - 1)))
    part_id: int | None = field(metadata=OF_PART)
    deadline_ms: float = field(
        metadata=told("from now to the verdict, milliseconds", Number(or_nan=False, over=0, most=60_000))
    )
    recipe: int | None = field(
        default=None,
        metadata=told(
            "number of the recipe that has to judge it: if another is active, the trigger is refused with RECIPE; null: "
            "whichever is active",
            Integer(1, 65535, optional=True),
            since=2,
        ),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayRequest:
    """Ask again for the results of `epoch` with a `seq` greater than `after`."""

    epoch: int = field(metadata=OF_EPOCH)
    after: int = field(metadata=told("the newest result that is not asked for", Integer()))


@dataclass(frozen=True, slots=True, kw_only=True)
class AckRequest:
    """Every result of `epoch` up to and including `seq` has been taken over."""

    epoch: int = field(metadata=OF_EPOCH)
    seq: int = field(metadata=told("the newest result that was taken over, with all before it", Integer()))


@dataclass(frozen=True, slots=True)
class StateRequest:
    """Ask for a snapshot of the daemon: what who comes late has to know."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecipeRequest:
    """Change the active recipe, by name or by number (since 1.2). The answer comes when it judges, or could not be loaded."""

    name: str | None = field(default=None, metadata=told("the recipe's name", Text(optional=True)))
    number: int | None = field(default=None, metadata=told("the recipe's number", Integer(1, 65535, optional=True)))

    def __post_init__(self) -> None:
        if (self.name is None) == (self.number is None):
            raise MessageError("expected either name or number of a recipe")


Request = TriggerRequest | ReplayRequest | AckRequest | StateRequest | RecipeRequest


OPERATIONS: dict[str, type[Request]] = {
    "trigger": TriggerRequest,
    "replay": ReplayRequest,
    "ack": AckRequest,
    "state": StateRequest,
    "recipe": RecipeRequest,
}
_NAMES = {kind: name for name, kind in OPERATIONS.items()}


def decode_request(payload: bytes) -> Request:
    """Read one request. Raises MessageError, whose text is the answer's `error`."""
    document = read_object(payload)
    name = str(Text().read("op", document.get("op")))
    if name not in OPERATIONS:
        raise MessageError(f"op: {name[:60]!r} is not one of {', '.join(OPERATIONS)}")
    kind = OPERATIONS[name]
    return kind(**read_fields(kind, document, may_lack=True))


def unreadable(payload: bytes, error: MessageError) -> "Answer":
    """What is answered to a request that `decode_request` does not take: with as much of it as can be read."""
    try:
        document = read_object(payload)
    except MessageError:
        return Answer(False, "unknown", {"error": str(error)})
    op = document.get("op")
    body: dict[str, Any] = {}
    if op == "trigger":
        gate, trigger = document.get("gate"), document.get("trigger")
        body = {
            "gate": gate if isinstance(gate, str) else None,
            "trigger": trigger if isinstance(trigger, int) else None,
            "reason": Reason.BAD_TRIGGER.name,
        }
    return Answer(False, op if op in OPERATIONS else "unknown", {**body, "error": str(error)})


def encode_request(request: Request) -> bytes:
    """The JSON of one request."""
    return write_object({"op": _NAMES[type(request)], **asdict(request)})


ANSWERS: dict[str, tuple[Field, ...]] = {
    "trigger": (
        Field("gate", Text(), "as asked"),
        Field("trigger", Integer(0, TRIGGER_MODULUS - 1), "as asked"),
        Field("epoch", Integer(1), "the daemon's epoch"),
        Field(
            "looks",
            Objects(
                {
                    "type": "object",
                    "properties": {"camera": {"type": "string"}, "items": {"type": "integer"}},
                    "required": ["camera", "items"],
                }
            ),
            "the looks to expect: `camera` and how many `items` each",
        ),
    ),
    "replay": (
        Field("epoch", Integer(1), "as asked"),
        Field("first", Integer(1, optional=True), "seq of the first result in `results`; null if there is none"),
        Field("last", Integer(1, optional=True), "seq of the last one"),
        Field("newest", Integer(), "seq of the newest result there is: if `last` is less, ask again after `last`"),
        Field("lost", Integer(), "results after `after` that are kept no longer"),
        Field("results", Objects("Result"), "as they were published, in order, at most 256"),
    ),
    "ack": (
        Field("epoch", Integer(1), "as asked"),
        Field("seq", Integer(), "the newest result that was acknowledged"),
    ),
    "state": (
        Field("schema", Integer(SCHEMA, SCHEMA), "major version of this contract"),
        Field("minor", Integer(), "minor version of this contract"),
        Field("instance", Text(), "the line's name"),
        Field("epoch", Integer(1), "the daemon's epoch"),
        Field("seq", Integer(), "newest result"),
        Field("oldest", Integer(optional=True), "oldest result that a replay can bring; null if there is none"),
        Field("reject_seq", Integer(), "rejects so far"),
        Field("acknowledged", Integer(), "newest result that was acknowledged"),
        Field("state", Member(State), "the daemon's state"),
        Field("detail", Text(), "why, for people"),
        Field("recipe", Integer(0, 65535), "the active recipe"),
        Field("model_sha256", Text(), "what measures"),
        Field("profile_sha256", Text(), "what judges"),
    ),
    "recipe": (
        Field("name", Text(), "the active recipe's name"),
        Field("recipe", Integer(0, 65535), "its number"),
        Field("model_sha256", Text(), "what measures"),
        Field("profile_sha256", Text(), "what judges"),
    ),
}
"""Beside `ok` true and `op`. Not ok: `error` for people; for a trigger also gate, trigger and the reason's name."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the daemon says to a request: `ok`, the `op` it answers, and what belongs to it in `body` (see ANSWERS)."""

    ok: bool
    op: str
    body: dict[str, Any]

    def encode(self) -> bytes:
        """One JSON object, `ok` and `op` first."""
        return write_object({"ok": self.ok, "op": self.op, **self.body})

    @classmethod
    def decode(cls, payload: bytes) -> Self:
        """Raises MessageError where `ok` or `op` is missing, or what belongs to an `ok` does not fit."""
        document = read_object(payload)
        ok = Boolean().read("ok", document.pop("ok", None))
        op = str(Text().read("op", document.pop("op", None)))
        return cls(ok, op, document)

    def field(self, name: str) -> Any:
        """One field of the body of an answer that is ok. Raises MessageError where it is missing or does not fit."""
        kind = next(field.kind for field in ANSWERS[self.op] if field.name == name)
        return kind.read(name, self.body.get(name))


@dataclass(frozen=True, slots=True)
class ReplayAnswer:
    """The answer to a replay, made of results as they were published: nothing is read or written anew."""

    epoch: int
    first: int
    lost: int
    newest: int
    payloads: list[bytes]

    def encode(self) -> bytes:
        """As `Answer.encode`."""
        count = len(self.payloads)
        head = write_object(
            {
                "ok": True, "op": "replay", "epoch": self.epoch, "first": self.first if count else None,
                "last": self.first + count - 1 if count else None, "newest": self.newest, "lost": self.lost,
            }
        )  # fmt: skip
        return head[:-1] + b',"results":[' + b",".join(self.payloads) + b"]}"
