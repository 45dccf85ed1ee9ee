"""Which camera a section of the config means."""

from senbetsu.camera.folder import FolderCamera
from senbetsu.camera.interface import Camera
from senbetsu.camera.opencv import OpenCVCamera
from senbetsu.config import CameraSection


def open_camera(section: CameraSection) -> Camera:
    """A camera, connected. Raises UserError where its source does not exist."""
    camera: Camera = FolderCamera(section) if section.kind == "folder" else OpenCVCamera(section)
    camera.open()
    return camera
