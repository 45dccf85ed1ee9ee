"""Cameras behind one protocol: `folder` replays pictures or a video, `opencv` reads V4L2, RTSP and files, `pylon` Basler's
cameras, and `genicam` those of any maker with a GenTL producer."""

from senbetsu.camera.interface import Camera, CameraFault, CameraSettings, EndOfFrames, Frame
from senbetsu.camera.open import open_camera

__all__ = ["Camera", "CameraFault", "CameraSettings", "EndOfFrames", "Frame", "open_camera"]
