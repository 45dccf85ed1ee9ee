"""Which camera a section of the config means."""

from collections.abc import Callable

from senbetsu.camera.folder import FolderCamera
from senbetsu.camera.interface import Camera
from senbetsu.camera.opencv import OpenCVCamera
from senbetsu.camera.pattern import PatternCamera
from senbetsu.config import CameraSection

KINDS: dict[str, Callable[[CameraSection], Camera]] = {
    "folder": FolderCamera,
    "pattern": PatternCamera,
    "opencv": OpenCVCamera,
}


def open_camera(section: CameraSection) -> Camera:
    """A camera, connected. Raises UserError where its source does not exist."""
    camera: Camera = KINDS[section.kind](section)
    camera.open()
    return camera
