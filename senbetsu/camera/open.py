"""Which camera a section of the config means."""

from collections.abc import Callable

from senbetsu.camera import genicam, pylon
from senbetsu.camera.folder import FolderCamera
from senbetsu.camera.guard import GuardedCamera
from senbetsu.camera.industrial import IndustrialCamera
from senbetsu.camera.interface import Camera, CameraSettings
from senbetsu.camera.opencv import OpenCVCamera
from senbetsu.camera.pattern import PatternCamera
from senbetsu.config import CameraSection

FROZEN_MS = 1000.0
KINDS: dict[str, Callable[[CameraSection], Camera]] = {
    "folder": FolderCamera,
    "pattern": PatternCamera,
    "opencv": OpenCVCamera,
    "pylon": lambda section: IndustrialCamera(section, pylon.connect),
    "genicam": lambda section: IndustrialCamera(section, genicam.connect),
}


def open_camera(section: CameraSection, expected: CameraSettings | None = None) -> Camera:
    """A camera, connected or being waited for; `expected`: the settings that it has to read back.

    Raises UserError where its source does not exist or a setting is wrong.
    """
    frozen_ms = section.frozen_ms
    if frozen_ms is None:
        # A stream's compression leaves out what did not change, so that a still picture comes back to the last bit.
        frozen_ms = 0.0 if "://" in section.source else FROZEN_MS
    camera = GuardedCamera(
        KINDS[section.kind](section),
        round(section.silent_ms * 1e6),
        round(frozen_ms * 1e6),
        may_repeat_simulated=section.frozen_ms is None,
        expected=expected,
    )
    camera.open()
    return camera
