"""Is any frame unaccounted for? The emulated Basler camera and the simulated GenTL producer, as fast as they go, 60 s each.

Every id that a camera gave must be one of: delivered, incomplete, lost (a gap in the camera's own numbers, told with the
next frame). For the Basler, pylon's own count of buffers stands beside ours.

    python -m benchmarks.cameras [--seconds 60]
"""

import argparse
import os
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("PYLON_CAMEMU", "1")

import genicam
import numpy as np

from benchmarks.conditions import save
from senbetsu.camera import open_camera
from senbetsu.config import CameraSection

VIKY = Path(genicam.__file__).with_name("viky.cti")
CAMERAS: dict[str, dict[str, Any]] = {
    "pylon, emulated, 1024 x 1040 Mono8": {"kind": "pylon", "source": "0815-0000", "rate_hz": 5000.0},
    "genicam, simulated, 400 x 400 RGBa8 to BGR": {
        "kind": "genicam", "source": "VikyTL_DEV_red", "producer": str(VIKY), "rate_hz": 200.0,
    },
}  # fmt: skip


def run(settings: dict[str, Any], seconds: float) -> dict[str, Any]:
    """Take every frame for so long, and count what came and what did not."""
    section = {"name": "cam1", "gate": "gate1", "trigger": "free_run", "buffer_frames": 16, **settings}
    camera: Any = open_camera(CameraSection.model_validate(section))
    delivered = incomplete = lost = 0
    taken_ns: list[int] = []
    began = time.monotonic()
    while time.monotonic() - began < seconds:
        asked_ns = time.monotonic_ns()
        frame = camera.grab(0, asked_ns + 1_000_000_000)
        if frame is None:
            continue
        taken_ns.append(time.monotonic_ns() - asked_ns)
        lost += frame.lost_before
        incomplete += frame.image is None
        delivered += frame.image is not None
    took_s = time.monotonic() - began
    industrial = camera._camera
    device_count = industrial._numbers._last - industrial._device.first_number + 1
    found = {
        **{key: value for key, value in settings.items() if key != "producer"},
        "seconds": round(took_s, 1), "frames_by_the_cameras_own_count": device_count,
        "delivered": delivered, "incomplete": incomplete, "lost": lost,
        "unaccounted": device_count - delivered - incomplete - lost, "frames_per_s": round(delivered / took_s, 1),
        "between_frames_ms": {p: round(float(np.percentile(taken_ns, q)) / 1e6, 2) for p, q in (("p50", 50), ("p99", 99))},
        "settings_read_back": camera.settings(),
    }  # fmt: skip
    if settings["kind"] == "pylon":
        nodes = camera._camera._device._camera.GetStreamGrabberNodeMap()
        waiting = camera._camera._device._camera.NumReadyBuffers.Value
        found["pylon_counts"] = {
            "buffers": nodes.GetNode("Statistic_Total_Buffer_Count").Value,
            "failed": nodes.GetNode("Statistic_Failed_Buffer_Count").Value,
            "ready_but_not_taken_at_the_end": waiting,
        }
    camera.close()
    return found


def main() -> None:
    """Both cameras, one after the other."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0)
    seconds = parser.parse_args().seconds
    runs = {name: run(settings, seconds) for name, settings in CAMERAS.items()}
    for name, found in runs.items():
        print(name, found)
        if found["unaccounted"] != 0:
            raise SystemExit(f"{name}: {found['unaccounted']} frames unaccounted for")
    save("cameras", {"runs": runs})


if __name__ == "__main__":
    main()
