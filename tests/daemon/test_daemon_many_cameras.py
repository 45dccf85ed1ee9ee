"""Eight cameras of unlike rate before one engine: batches are shared, every frame has its result, nobody is starved.

The fast one may have more frames waiting than the engine can look at before a deadline: in one line for all, nobody else
would be looked at either.
"""

from collections import Counter
from pathlib import Path
from typing import Any

from senbetsu.requests import StateRequest
from senbetsu.verdict import Reason

RATES_HZ = (4, 7, 11, 16, 22, 29, 37, 2000)
"""The last is faster than the engine."""
CALM = [f"cam{number}" for number in range(1, len(RATES_HZ))]
WILD = f"cam{len(RATES_HZ)}"
WARM_UP = 6
LOOKED_AT = {Reason.OK, Reason.ANOMALY}


def eight_cameras(parts: Path) -> str:
    """Each at a gate of its own, all in free run."""
    tables = []
    for number, rate_hz in enumerate(RATES_HZ, 1):
        tables.append(
            f'[[cameras]]\nname = "cam{number}"\nkind = "folder"\nsource = "{parts}"\ngate = "gate{number}"\nloop = true\n'
            f'trigger = "free_run"\nrate_hz = {rate_hz}\n'
            f"buffer_frames = 1024\n"
            f'[[gates]]\nname = "gate{number}"\nunit_id = {number}\ndeadline_ms = 1000.0\n'
        )
    return "".join(tables)


def test_eight_cameras_of_unlike_rate_share_one_engine(start_line: Any) -> None:
    line = start_line([50, 150], config_of=eight_cameras, max_batch=8, delay_ms=20.0)
    line.until_ready()
    line.hear(lambda heard: sum(r.camera == "cam1" for r in heard.results()) >= 12)
    ids = {camera: [r.frame_id for r in line.results() if r.camera == camera] for camera in (*CALM, WILD)}
    for camera, some in ids.items():
        # From a little after the subscription, to the newest: those that waited meanwhile come out as well.
        frames = set(range(min(some) + (WARM_UP if camera in CALM else 100 * WARM_UP), max(some) + 1))
        line.hear(lambda heard, c=camera, f=frames: f <= {r.frame_id for r in heard.results() if r.camera == c})
    results = line.results()
    by_camera = {camera: [r for r in results if r.camera == camera] for camera in ids}
    for camera, of_camera in by_camera.items():
        assert max(Counter(r.frame_id for r in of_camera).values()) == 1, f"{camera}: one result a frame"
    for camera in CALM:
        assert {r.reason for r in by_camera[camera]} <= LOOKED_AT, (
            f"{camera} waits no longer for a camera that is too fast"
        )
    reasons = Counter(r.reason for r in by_camera[WILD])
    assert reasons[Reason.OVERLOAD] > 0, "what could not be looked at is named"
    assert sum(reasons[reason] for reason in LOOKED_AT) > 0
    counts = [len(by_camera[camera]) for camera in CALM]
    assert counts == sorted(counts), "each as often as it shows frames"
    assert line.ask(StateRequest()).ok
