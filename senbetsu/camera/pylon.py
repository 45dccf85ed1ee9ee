"""Basler cameras through pypylon (extra `senbetsu[pylon]`).

With PYLON_CAMEMU=N in the environment pylon offers N emulated cameras; their results are simulated.
"""

import contextlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from senbetsu.camera.features import FeatureError, Nodes, Value
from senbetsu.camera.genapi import first_line
from senbetsu.camera.industrial import Delivery
from senbetsu.camera.interface import CameraFault
from senbetsu.camera.pixels import to_bgr
from senbetsu.config import CameraSection
from senbetsu.errors import UserError

EMULATION, GIGE = "BaslerCamEmu", "BaslerGigE"
NO_BLOCK_ID = 0xFFFF_FFFF_FFFF_FFFF
NANOSECONDS = 1_000_000_000
GONE_AFTER_MS = 1000
"""GigE: a camera that does not answer the control channel's heartbeat for this long is gone. pylon's own is 3 s."""


def connect(section: CameraSection) -> "PylonDevice":
    """The camera of this serial number or user-defined name.

    Raises:
        UserError: pypylon is not installed.
        CameraFault: no such camera is here now, or it is in use.
    """
    try:
        from pypylon import pylon
    except ImportError as error:
        raise UserError(
            f"cameras.{section.name}.kind = 'pylon': pypylon is not installed; pip install 'senbetsu[pylon]'"
        ) from error
    try:
        here = pylon.TlFactory.GetInstance().EnumerateDevices()
        found = [info for info in here if section.source in (info.GetSerialNumber(), info.GetUserDefinedName())]
        if len(found) != 1:
            names = ", ".join(f"{info.GetSerialNumber()} ({info.GetModelName()})" for info in here) or "none"
            raise CameraFault(
                f"cameras.{section.name}.source = {section.source!r}: {len(found)} cameras of that serial number or "
                f"name; here are: {names}; check cable, power and network"
            )
        return PylonDevice(pylon, found[0])
    except pylon.GenericException as error:
        raise CameraFault(f"camera {section.name}: pylon cannot open it: {first_line(error)}") from error


class PylonDevice:
    """See senbetsu.camera.industrial.Device."""

    def __init__(self, pylon: Any, info: Any) -> None:
        self._pylon = pylon
        self._camera = pylon.InstantCamera(pylon.TlFactory.GetInstance().CreateDevice(info))
        self._camera.Open()
        self.simulated = info.GetDeviceClass() == EMULATION
        self.first_number = 1 if info.GetDeviceClass() == GIGE else 0
        self.nodes: Nodes = PylonNodes(pylon, self._camera)
        transport = self._camera.GetTLNodeMap()
        with contextlib.suppress(pylon.GenericException):
            transport.GetNode("HeartbeatTimeout").SetValue(GONE_AFTER_MS)
        self.tick_hz = NANOSECONDS
        if self.nodes.has("GevTimestampTickFrequency"):
            self.tick_hz = int(self.nodes.get("GevTimestampTickFrequency"))
        self._has_ready = self.nodes.has("AcquisitionStatus")

    @contextlib.contextmanager
    def _asking(self) -> Iterator[None]:
        try:
            yield
        except self._pylon.GenericException as error:
            raise CameraFault(f"pylon: {first_line(error)}") from error

    def start(self, buffers: int) -> None:
        """Every frame is kept, in order, as long as there are buffers."""
        # It cannot change while the camera delivers; asking at each frame would be a register read each.
        self._pixel_format = str(self.nodes.get("PixelFormat"))
        with self._asking():
            self._camera.MaxNumBuffer.SetValue(buffers)
            self._camera.StartGrabbing(self._pylon.GrabStrategy_OneByOne)

    def stop(self) -> None:
        with self._asking():
            self._camera.StopGrabbing()

    def fire(self, timeout_s: float) -> bool:
        """A trigger that comes while the camera is not ready is ignored by it, so it is asked first."""
        with self._asking():
            wait = self._pylon.TimeoutHandling_Return
            if self._has_ready and not self._camera.WaitForFrameTriggerReady(_milliseconds(timeout_s), wait):
                return False
            self._camera.TriggerSoftware.Execute()
            return True

    def fetch(self, timeout_s: float) -> Delivery | None:
        pylon = self._pylon
        with self._asking():
            # Asked before: what the driver still holds of a camera that is gone is of the past, or worse.
            if self._camera.IsCameraDeviceRemoved():
                raise CameraFault("pylon: the camera is gone")
            result = self._camera.RetrieveResult(_milliseconds(timeout_s), pylon.TimeoutHandling_Return)
            if not result.IsValid():
                if not self._camera.IsGrabbing():
                    raise CameraFault("pylon: the camera stopped delivering")
                return None
            try:
                return self._delivery(result)
            finally:
                result.Release()

    def _delivery(self, result: Any) -> Delivery:
        block_id = int(result.BlockID)
        number = None if block_id == NO_BLOCK_ID else block_id
        ticks, trigger_id = int(result.TimeStamp), self._trigger_id(result)
        if not result.GrabSucceeded():
            return Delivery(number, ticks, None, str(result.ErrorDescription), trigger_id)
        pixels = np.frombuffer(result.GetImageMemoryView(), np.uint8)
        try:
            image = to_bgr(pixels, int(result.Width), int(result.Height), self._pixel_format)
        except ValueError as error:
            return Delivery(number, ticks, None, str(error), trigger_id)
        return Delivery(number, ticks, image, None, trigger_id)

    def _trigger_id(self, result: Any) -> int | None:
        if not result.IsChunkDataAvailable():
            return None
        node = result.ChunkDataNodeMap.GetNode("ChunkCounterValue")
        return None if node is None else int(node.Value)

    def alive(self) -> bool:
        """Width is read from the camera, not from a cache."""
        with self._asking():
            if self._camera.IsCameraDeviceRemoved():
                raise CameraFault("pylon: the camera is gone")
            self._camera.GetNodeMap().InvalidateNodes()
            self.nodes.get("Width")
            return True

    def close(self) -> None:
        with contextlib.suppress(self._pylon.GenericException):
            self._camera.StopGrabbing()
        with contextlib.suppress(self._pylon.GenericException):
            self._camera.DestroyDevice()


class PylonNodes(Nodes):
    """See senbetsu.camera.features.Nodes."""

    def __init__(self, pylon: Any, camera: Any) -> None:
        self._errors = (pylon.GenericException, AttributeError)
        self._map = camera.GetNodeMap()

    def _node(self, name: str) -> Any:
        try:
            node = self._map.GetNode(name)
        except self._errors as error:
            raise FeatureError(f"{name}: {first_line(error)}") from error
        if not node.IsValid():
            raise FeatureError(f"there is no {name}")
        return node

    def has(self, name: str) -> bool:
        try:
            node = self._node(name)
            return bool(node.IsReadable() or node.IsWritable())
        except (FeatureError, *self._errors):
            return False

    def get(self, name: str) -> Value:
        try:
            value: Value = self._node(name).Value
        except self._errors as error:
            raise FeatureError(f"{name} cannot be read: {first_line(error)}") from error
        return value

    def set(self, name: str, value: Value) -> None:
        try:
            self._node(name).Value = value
        except (*self._errors, TypeError) as error:
            raise FeatureError(first_line(error)) from error

    def execute(self, name: str) -> None:
        try:
            self._node(name).Execute()
        except self._errors as error:
            raise FeatureError(first_line(error)) from error

    def allowed(self, name: str) -> str:
        node = self._node(name)
        try:
            return ", ".join(node.Symbolics) if hasattr(node, "Symbolics") else f"{node.Min} to {node.Max}"
        except self._errors:
            return "unknown"


def _milliseconds(seconds: float) -> int:
    return max(0, round(seconds * 1000))
