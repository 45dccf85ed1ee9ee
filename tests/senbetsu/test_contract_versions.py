"""What an older version said is read for ever; what a newer minor one adds is ignored; another major one is refused."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from senbetsu.message_fields import fields_of
from senbetsu.messages import (
    SCHEMA,
    Heartbeat,
    MessageError,
    Result,
    StateChange,
    decode_heartbeat,
    decode_result,
    decode_state,
)
from senbetsu.requests import decode_request, encode_request

DECODE: dict[str, Any] = {
    "result": decode_result,
    "heartbeat": decode_heartbeat,
    "state": decode_state,
    "request": decode_request,
}
OF_1_0 = [json.loads(line) for line in Path(__file__).with_name("contract_1_0.jsonl").read_text().splitlines()]


@pytest.mark.parametrize(("kind", "document"), OF_1_0)
def test_what_version_1_0_said_is_read(kind: str, document: dict[str, Any]) -> None:
    message = DECODE[kind](json.dumps(document).encode())
    if kind == "request":
        assert json.loads(encode_request(message)).items() >= document.items()
        return
    for name, value in document.items():
        read = getattr(message, name)
        assert (None if read != read else getattr(read, "name", read)) == value
    if kind == "result":
        assert message.run is None


@given(st.sampled_from(OF_1_0), st.text(min_size=1), st.none() | st.integers() | st.lists(st.text()))
def test_an_unknown_field_of_a_newer_minor_version_is_ignored(old: list[Any], name: str, value: object) -> None:
    kind, document = old
    if name in document or name == "run":
        return
    plain = DECODE[kind](json.dumps(document).encode())
    assert repr(DECODE[kind](json.dumps({**document, name: value}).encode())) == repr(plain)


@pytest.mark.parametrize("number", [0, SCHEMA + 1, None, "1", 1.0, True])
@pytest.mark.parametrize(("kind", "document"), [old for old in OF_1_0 if old[0] != "request"])
def test_another_schema_number_is_refused(kind: str, document: dict[str, Any], number: object) -> None:
    with pytest.raises(MessageError, match="schema"):
        DECODE[kind](json.dumps({**document, "schema": number}).encode())


@pytest.mark.parametrize(("kind", "message"), [("result", Result), ("heartbeat", Heartbeat), ("state", StateChange)])
def test_a_field_of_the_first_minor_version_may_not_be_missing(kind: str, message: type) -> None:
    document = next(doc for name, doc in OF_1_0 if name == kind)
    for field in fields_of(message):
        if not field.since:
            with pytest.raises(MessageError, match=field.name):
                DECODE[kind](json.dumps({k: v for k, v in document.items() if k != field.name}).encode())


@pytest.mark.parametrize("score", ["NaN", "Infinity", "1" * 400, "1e999", '"0.5"', "true", "[]"])
def test_a_score_that_is_no_finite_number_is_refused(score: str) -> None:
    text = json.dumps(OF_1_0[0][1]).replace('"score": 0.5', f'"score": {score}')
    with pytest.raises(MessageError):
        decode_result(text.encode())


def test_half_a_character_is_refused_since_it_could_not_be_sent_on() -> None:
    with pytest.raises(MessageError, match=r"not JSON: .*surrogate"):
        decode_request(b'{"op":"trigger","gate":"\\ud800","trigger":1,"deadline_ms":5}')
