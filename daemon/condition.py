"""What the daemon's state says while it runs: pure, from what cameras and parts have shown."""

from collections.abc import Mapping
from typing import NamedTuple

from senbetsu.states import State

EXECUTE_FOR_NS = 3_000_000_000
"""Without a part for this long the line counts as idle."""


class CameraStanding(NamedTuple):
    """Of one camera, now."""

    lost: str | None
    """Why it does not deliver, or shows no parts; None while it does."""
    ended: bool
    """Its recording is over."""


def condition(
    cameras: Mapping[str, CameraStanding], parts_open: bool, since_part_ns: int | None, more: str
) -> tuple[State, str]:
    """State and detail. With one camera lost the others go on, with none left the line needs attention.

    Args:
        since_part_ns: since the newest result; None: there was none yet.
        more: what else the detail ends with, each after a semicolon.
    """
    lost = {name: camera.lost for name, camera in cameras.items() if camera.lost is not None}
    detail = "".join(f"; camera {name}: {why}" for name, why in lost.items()) + more
    if len(lost) == len(cameras):
        return State.HELD, f"no camera delivers{detail}"
    if all(camera.ended for camera in cameras.values()) and not parts_open:
        return State.SUSPENDED, f"no parts: all recordings are over{detail}"
    if since_part_ns is not None and since_part_ns <= EXECUTE_FOR_NS:
        return State.EXECUTE, f"parts{detail}"
    return State.IDLE, f"no parts{detail}"
