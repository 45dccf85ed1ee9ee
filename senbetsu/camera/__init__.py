"""Cameras behind one protocol: `folder` replays pictures or a video, `opencv` reads V4L2, RTSP and files."""

from senbetsu.camera.interface import Camera, CameraFault, EndOfFrames, Frame
from senbetsu.camera.open import open_camera

__all__ = ["Camera", "CameraFault", "EndOfFrames", "Frame", "open_camera"]
