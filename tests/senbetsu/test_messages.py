"""Messages survive the wire, and what is no message is never believed."""

import contextlib
import json
import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from senbetsu.messages import (
    Heartbeat,
    MessageError,
    Result,
    StateChange,
    decode_heartbeat,
    decode_result,
    decode_state,
    encode,
)
from senbetsu.requests import (
    AckRequest,
    Answer,
    ReplayRequest,
    StateRequest,
    TriggerRequest,
    decode_request,
    encode_request,
)
from senbetsu.states import State
from senbetsu.verdict import Reason, Verdict

numbers = st.floats(0, 1e9) | st.just(math.nan)
maybe_ns = st.none() | st.integers(0, 2**62)


@st.composite
def results(draw: st.DrawFn) -> Result:
    reason = draw(st.sampled_from(list(Reason)))
    items = draw(st.integers(1, 16))
    return Result(
        instance="line1", epoch=draw(st.integers(1, 2**53 - 1)), seq=draw(st.integers(1, 2**40)),
        reject_seq=draw(st.integers(0, 2**40)), gate="gate1", trigger=draw(st.none() | st.integers(0, 65535)),
        part_id=draw(st.none() | st.integers(0, 2**32 - 1)), camera=draw(st.sampled_from(["cam1", "cam10"])),
        frame_id=draw(st.none() | st.integers(0, 2**40)), item=draw(st.integers(0, items - 1)), items=items,
        verdict=Verdict.PASS if reason is Reason.OK else Verdict.REJECT, reason=reason, score=draw(numbers),
        threshold=draw(numbers), metric_distance=draw(numbers), novelty_distance=draw(numbers),
        triggered_at_ns=draw(maybe_ns), exposed_at_ns=draw(maybe_ns), decided_at_ns=draw(st.integers(0, 2**62)),
        boot_id="b", wall_time="2026-01-01T00:00:00Z", recipe=draw(st.integers(0, 65535)), model_sha256="m",
        profile_sha256="p", simulated=draw(st.booleans()),
    )  # fmt: skip


@given(results())
def test_a_result_comes_back_as_it_was_sent(result: Result) -> None:
    topic, payload = encode(result)
    back = decode_result(payload)
    assert repr(back) == repr(result)  # repr, since NaN is not equal to itself
    assert topic.decode() == f"result.{result.verdict.value.lower()}.{result.camera}."


@given(results(), st.sampled_from(sorted(Result.__dataclass_fields__)), st.sampled_from([[], {}, "x", -1, 2.5, True]))
def test_a_field_that_does_not_fit_is_refused_or_leaves_the_verdict_alone(
    result: Result, key: str, value: object
) -> None:
    document = json.loads(encode(result)[1])
    document[key] = value
    try:
        back = decode_result(json.dumps(document).encode())
    except MessageError:
        return
    assert (back.verdict is Verdict.PASS) == (back.reason is Reason.OK)


scalars = st.none() | st.booleans() | st.floats() | st.text(max_size=5)
documents = st.recursive(scalars, lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=5), inner))


@given(st.binary(max_size=200) | st.text(max_size=50).map(str.encode) | documents.map(lambda x: json.dumps(x).encode()))
def test_noise_is_refused_and_never_raises_anything_else(payload: bytes) -> None:
    for decode in (decode_result, decode_heartbeat, decode_state, decode_request, Answer.decode):
        with contextlib.suppress(MessageError):
            decode(payload)  # type: ignore[operator]


@given(results())
def test_pass_with_any_reason_but_ok_cannot_even_be_made(good: Result) -> None:
    with pytest.raises(MessageError, match="only reason OK"):
        replace(good, verdict=Verdict.PASS, reason=Reason.ANOMALY)
    with pytest.raises(MessageError, match="only reason OK"):
        replace(good, verdict=Verdict.REJECT, reason=Reason.OK)


def test_heartbeats_and_states_come_back() -> None:
    beat = Heartbeat(instance="a", epoch=3, seq=0, counter=9, state=State.IDLE, sent_at_ns=5, boot_id="b")
    assert encode(beat)[0] == b"heartbeat."
    assert decode_heartbeat(encode(beat)[1]) == beat
    change = StateChange(instance="a", epoch=3, seq=7, state=State.ABORTED, detail="camera cam1 is dead", sent_at_ns=5)
    assert encode(change)[0] == b"state."
    assert decode_state(encode(change)[1]) == change


@pytest.mark.parametrize(
    "request_",
    [
        TriggerRequest(gate="g", trigger=65535, part_id=None, deadline_ms=50.0),
        ReplayRequest(epoch=1, after=0),
        AckRequest(epoch=1, seq=2),
        StateRequest(),
    ],
)
def test_requests_come_back(request_: object) -> None:
    assert decode_request(encode_request(request_)) == request_  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("payload", "said"),
    [
        (b'{"op":"open_the_gate"}', "not one of trigger, replay, ack, state, recipe"),
        (b'{"op":"trigger","gate":"g","trigger":65536,"part_id":null,"deadline_ms":5}', "trigger"),
        (b'{"op":"trigger","gate":"g","trigger":1,"part_id":null,"deadline_ms":0}', "deadline_ms"),
        (b'{"op":"trigger","gate":"g","trigger":true,"part_id":null,"deadline_ms":5}', "trigger"),
        (b"[]", "not a JSON object"),
        (b"{", "not JSON"),
    ],
)
def test_a_request_that_does_not_fit_is_refused_with_the_field_named(payload: bytes, said: str) -> None:
    with pytest.raises(MessageError, match=said):
        decode_request(payload)
