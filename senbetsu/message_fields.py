"""What a field of a message may hold: how it is read, and how JSON Schema says the same. One table makes both.

Reading believes nothing: what does not fit raises `MessageError` with the field's name, what was expected and what came.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from enum import Enum
from functools import cache
from typing import Any, Protocol

import orjson

EPOCH_LIMIT = 1 << 53
"""Integers from here on are not exact in every JSON reader."""
NANOSECONDS = (1 << 63) - 1


class MessageError(ValueError):
    """A message is not what the contract says."""


class Kind(Protocol):
    """What one field may hold."""

    def read(self, key: str, value: object) -> Any:
        """The value, checked. Raises MessageError."""

    def schema(self) -> dict[str, Any]:
        """The same as JSON Schema."""

    def says(self) -> str:
        """The same in words."""


@dataclass(frozen=True, slots=True)
class Integer:
    """`low` to `high`, both included; null where `optional`."""

    low: int = 0
    high: int = EPOCH_LIMIT - 1
    optional: bool = False

    def read(self, key: str, value: object) -> int | None:
        if value is None and self.optional:
            return None
        if type(value) is not int or not self.low <= value <= self.high:
            raise MessageError(f"{key}: expected an {self.says()}, found {_short(value)}")
        return value

    def schema(self) -> dict[str, Any]:
        kind = ["integer", "null"] if self.optional else "integer"
        return {"type": kind, "minimum": self.low, "maximum": self.high}

    def says(self) -> str:
        high = {EPOCH_LIMIT - 1: "2^53 - 1", NANOSECONDS: "2^63 - 1"}.get(self.high, str(self.high))
        return f"integer from {self.low} to {high}" + (" or null" if self.optional else "")


@dataclass(frozen=True, slots=True)
class Number:
    """A finite number. `null` where nothing was measured, if `or_nan`: it is read as NaN."""

    or_nan: bool = True
    over: float | None = None
    most: float | None = None

    def read(self, key: str, value: object) -> float:
        if value is None and self.or_nan:
            return math.nan
        number = math.nan
        if type(value) in (int, float):
            number = float(value)  # type: ignore[arg-type]
        too_low = self.over is not None and not number > self.over
        too_high = self.most is not None and not number <= self.most
        if not math.isfinite(number) or too_low or too_high:
            raise MessageError(f"{key}: expected a {self.says()}, found {_short(value)}")
        return number

    def schema(self) -> dict[str, Any]:
        schema: dict[str, Any] = {"type": ["number", "null"] if self.or_nan else "number"}
        if self.over is not None:
            schema["exclusiveMinimum"] = self.over
        if self.most is not None:
            schema["maximum"] = self.most
        return schema

    def says(self) -> str:
        over = "" if self.over is None else f" over {self.over:g}"
        most = "" if self.most is None else f" up to {self.most:g}"
        return f"number{over}{most}" + (" or null" if self.or_nan else "")


@dataclass(frozen=True, slots=True)
class Text:
    """Any text."""

    optional: bool = False

    def read(self, key: str, value: object) -> str | None:
        if value is None and self.optional:
            return None
        if not isinstance(value, str):
            raise MessageError(f"{key}: expected a text, found {_short(value)}")
        return value

    def schema(self) -> dict[str, Any]:
        return {"type": ["string", "null"] if self.optional else "string"}

    def says(self) -> str:
        return "text or null" if self.optional else "text"


@dataclass(frozen=True, slots=True)
class Boolean:
    """true or false."""

    def read(self, key: str, value: object) -> bool:
        if not isinstance(value, bool):
            raise MessageError(f"{key}: expected true or false, found {_short(value)}")
        return value

    def schema(self) -> dict[str, Any]:
        return {"type": "boolean"}

    def says(self) -> str:
        return "true or false"


@dataclass(frozen=True, slots=True)
class Member:
    """The name of one member of an enumeration."""

    of: type[Enum]

    def read(self, key: str, value: object) -> Enum:
        if not isinstance(value, str) or value not in self.of.__members__:
            raise MessageError(f"{key}: {_short(value)} is not one of {self.says()}")
        return self.of[value]

    def schema(self) -> dict[str, Any]:
        return {"enum": list(self.of.__members__)}

    def says(self) -> str:
        return ", ".join(self.of.__members__)


@dataclass(frozen=True, slots=True)
class Objects:
    """A list of objects; `item` is the schema of each, or the name of a message."""

    item: dict[str, Any] | str

    def read(self, key: str, value: object) -> list[dict[str, Any]]:
        if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
            raise MessageError(f"{key}: expected a list of objects, found {_short(value)}")
        return value

    def schema(self) -> dict[str, Any]:
        return {"type": "array", "items": {"$ref": f"#/$defs/{self.item}"} if isinstance(self.item, str) else self.item}

    def says(self) -> str:
        return f"list of {self.item}" if isinstance(self.item, str) else "list of objects"


def told(meaning: str, kind: Kind, *, since: int = 0) -> dict[str, Any]:
    """The `metadata` of a message's field; `since` is the minor version of the contract that brought it."""
    return {"meaning": meaning, "kind": kind, "since": since}


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a message."""

    name: str
    kind: Kind
    meaning: str
    since: int = 0


@cache
def fields_of(message: type) -> tuple[Field, ...]:
    """A message type's fields, in the order in which they are sent."""
    return tuple(Field(f.name, f.metadata["kind"], f.metadata["meaning"], f.metadata["since"]) for f in fields(message))


def read_fields(message: type, document: Mapping[str, Any], *, may_lack: bool = False) -> dict[str, Any]:
    """The values of a message's fields; others in the document are of a newer minor version, and ignored.

    A field that a minor version brought may be missing: then the message is of an older one.

    Args:
        may_lack: a field that may be null may also be left out (requests, which are written by hand).

    Raises:
        MessageError: a field is missing or does not fit.
    """
    values = {}
    for field in fields_of(message):
        if field.name not in document and not may_lack and not field.since:
            raise MessageError(f"{field.name}: missing; expected {field.kind.says()}")
        values[field.name] = field.kind.read(field.name, document.get(field.name))
    return values


def read_object(payload: bytes) -> dict[str, Any]:
    """One JSON object, UTF-8. Raises MessageError: JSON knows neither NaN nor Infinity, and half a character (a lone
    surrogate), which it can name, could not be sent on.
    """
    try:
        document = orjson.loads(payload)
    except orjson.JSONDecodeError as error:
        raise MessageError(f"not JSON: {error}") from error
    if not isinstance(document, dict):
        raise MessageError("not a JSON object")
    return document


def write_object(document: Mapping[str, Any]) -> bytes:
    """One object's JSON, UTF-8; a number that is not finite is null."""
    return orjson.dumps(document)


def _short(value: object) -> str:
    """What came, for a message that is logged: never pages of it."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:60]}..."
