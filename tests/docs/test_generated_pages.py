"""The generated pages are those of the code, and the JSON Schema says what the code does."""

import contextlib
import json
import math
import re
import runpy
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from faults.table import FAULTS
from hypothesis import given
from hypothesis import strategies as st

from senbetsu.messages import MessageError, Result, decode_heartbeat, decode_result, decode_state, encode
from senbetsu.requests import TriggerRequest, decode_request, encode_request
from senbetsu.sockets import SOCKETS
from senbetsu.verdict import Reason, Verdict

DOCS = Path(__file__).parents[2] / "docs"
GENERATE = runpy.run_path(str(DOCS / "generate.py"))
SCHEMA = json.loads((DOCS / "contract.schema.json").read_text(encoding="utf-8"))
OLD = (Path(__file__).parents[1] / "senbetsu/contract_1_0.jsonl").read_text().splitlines()


def validator(name: str) -> jsonschema.Draft202012Validator:
    return jsonschema.Draft202012Validator({**SCHEMA, "anyOf": [{"$ref": f"#/$defs/{name}"}]})


@pytest.mark.parametrize("path", sorted(GENERATE["pages"]()), ids=lambda path: path.name)
def test_a_generated_file_is_what_the_code_says(path: Path) -> None:
    assert path.read_text(encoding="utf-8") == GENERATE["pages"]()[path], "run python docs/generate.py"


def test_the_page_on_real_time_is_what_was_measured() -> None:
    for path, text in runpy.run_path(str(DOCS / "generate_realtime.py"))["pages"]().items():
        assert path.read_text(encoding="utf-8") == text, "run python docs/generate_realtime.py"


def test_the_picture_of_the_load_shows_the_saved_runs() -> None:
    digest = runpy.run_path(str(DOCS / "draw_load.py"))["runs_sha256"]()
    assert digest.encode() in (DOCS / "realtime_load.png").read_bytes(), "run python docs/draw_load.py"


def test_the_fault_page_is_what_was_measured_and_lacks_no_fault() -> None:
    pages = runpy.run_path(str(DOCS / "generate_faults.py"))["pages"]()
    for path, text in pages.items():
        assert path.read_text(encoding="utf-8") == text, "run make test-faults, or python docs/generate_faults.py"
        assert all(f"| {fault.name} |" in text for fault in FAULTS), "run make test-faults"


def test_the_page_names_every_socket_and_reason_and_links_to_files_that_are_there() -> None:
    page = (DOCS / "contract.md").read_text(encoding="utf-8")
    assert all(f"| `{name}` |" in page for name in SOCKETS)
    assert all(f"| {reason.value} | {reason.name} |" in page for reason in Reason)
    for link in re.findall(r"\]\(([^)#]+)\)", page):
        assert (DOCS / link).is_file(), link


def test_the_schema_is_a_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


def result(**changes: Any) -> Result:
    values: dict[str, Any] = {
        "instance": "line1", "epoch": 1, "seq": 1, "reject_seq": 0, "gate": "g", "run": 3, "trigger": 1, "part_id": None,
        "camera": "c", "frame_id": 1, "verdict": Verdict.PASS, "reason": Reason.OK, "score": math.nan, "threshold": 1.0,
        "metric_distance": 0.0, "novelty_distance": 0.5, "triggered_at_ns": None, "exposed_at_ns": 2, "decided_at_ns": 3,
        "boot_id": "b", "wall_time": "t", "recipe": 1, "model_sha256": "m", "profile_sha256": "p", "simulated": False,
        **changes,
    }  # fmt: skip
    return Result(**values)


anything = (
    st.none()
    | st.booleans()
    | st.integers(-2, 2**64)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from(["PASS", "REJECT", "OK", "ANOMALY", "LOST", "x"])
    | st.lists(st.integers(), max_size=1)
)


@given(st.sampled_from(sorted(Result.__dataclass_fields__)), anything, st.booleans())
def test_schema_and_code_agree_on_what_a_result_is(key: str, value: object, is_missing: bool) -> None:
    document = json.loads(encode(result())[1])
    if is_missing:
        del document[key]
    else:
        document[key] = value
    try:
        decode_result(json.dumps(document).encode())
        read = True
    except MessageError as error:
        if "item" in str(error) and "0 <= item < items" in str(error):
            return  # that one field is less than another, JSON Schema cannot say
        read = False
    if read is False and isinstance(document.get(key), float) and document[key] == int(document[key]):
        return  # 1.0 is an integer to JSON Schema, and no integer to the code
    assert read == validator("Result").is_valid(document)


def test_what_is_sent_and_asked_is_valid_and_so_is_what_version_1_0_said() -> None:
    validator("Result").validate(json.loads(encode(result())[1]))
    asked = TriggerRequest(gate="g", run=None, trigger=1, part_id=None, deadline_ms=5.0)
    validator("TriggerRequest").validate(json.loads(encode_request(asked)))
    decode = {"result": decode_result, "heartbeat": decode_heartbeat, "state": decode_state, "request": decode_request}
    for line in OLD:
        kind, document = json.loads(line)
        name = type(decode[kind](json.dumps(document).encode())).__name__
        validator(name).validate(document)


@pytest.mark.parametrize(
    ("name", "document"),
    [
        ("TriggerRequest", {"op": "trigger", "gate": "g", "trigger": 65536, "deadline_ms": 5}),
        ("TriggerRequest", {"op": "trigger", "gate": "g", "trigger": 1, "deadline_ms": 0}),
        ("ReplayRequest", {"op": "replay", "epoch": 1}),
        ("AckRequest", {"op": "replay", "epoch": 1, "seq": 1}),
    ],
)
def test_what_the_code_refuses_the_schema_refuses_too(name: str, document: dict[str, Any]) -> None:
    assert not validator(name).is_valid(document)
    with contextlib.suppress(MessageError):
        assert type(decode_request(json.dumps(document).encode())).__name__ != name
