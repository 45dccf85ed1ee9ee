"""What the daemon's state says, by what cameras and parts have shown."""

import pytest

from daemon.condition import EXECUTE_FOR_NS, CameraStanding, condition
from senbetsu.states import State

WELL, LOST, OVER = CameraStanding(None, False), CameraStanding("unplugged", False), CameraStanding(None, True)


@pytest.mark.parametrize(
    ("cameras", "parts_open", "since_part_ns", "state", "detail"),
    [
        ({"a": WELL, "b": WELL}, False, None, State.IDLE, "no parts"),
        ({"a": WELL, "b": WELL}, True, EXECUTE_FOR_NS, State.EXECUTE, "parts"),
        ({"a": WELL, "b": WELL}, True, EXECUTE_FOR_NS + 1, State.IDLE, "no parts"),
        ({"a": WELL, "b": LOST}, False, 0, State.EXECUTE, "parts; camera b: unplugged"),
        ({"a": LOST, "b": LOST}, False, 0, State.HELD, "no camera delivers; camera a: unplugged; camera b: unplugged"),
        ({"a": OVER, "b": OVER}, True, 0, State.EXECUTE, "parts"),
        ({"a": OVER, "b": OVER}, False, 0, State.SUSPENDED, "no parts: all recordings are over"),
        ({"a": OVER, "b": WELL}, False, None, State.IDLE, "no parts"),
    ],
)
def test_the_state_follows_cameras_and_parts(
    cameras: dict[str, CameraStanding], parts_open: bool, since_part_ns: int | None, state: State, detail: str
) -> None:
    assert condition(cameras, parts_open, since_part_ns, "") == (state, detail)
    assert condition(cameras, parts_open, since_part_ns, "; more") == (state, f"{detail}; more")
