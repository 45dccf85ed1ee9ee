"""Settings of industrial cameras, by the names of GenICam's Standard Features Naming Convention (SFNC).

What the config asks for is written, read back and compared: a camera that rounds, clips or ignores a setting would look
at the parts otherwise than it was calibrated with.
"""

import math
from collections.abc import Sequence
from typing import Protocol

from senbetsu.camera.interface import CameraFault, CameraSettings
from senbetsu.camera.pixels import CONVERSIONS
from senbetsu.camera.settings import TOLERANCE
from senbetsu.config import CameraSection
from senbetsu.errors import UserError

EXPOSURE_US = ("ExposureTime", "ExposureTimeAbs")
GAIN_DB = ("Gain",)
RATE_HZ = ("AcquisitionFrameRate", "AcquisitionFrameRateAbs")
ACTUAL_RATE_HZ = ("ResultingFrameRate", "ResultingFrameRateAbs", "AcquisitionResultingFrameRate", *RATE_HZ)
ROI = ("OffsetX", "OffsetY", "Width", "Height")

Value = str | int | float | bool


class Nodes(Protocol):
    """A camera's node map, whatever library reads it. Errors of the library are FeatureError."""

    def has(self, name: str) -> bool:
        """Whether the feature is there and can be read now."""

    def get(self, name: str) -> Value: ...

    def set(self, name: str, value: Value) -> None: ...

    def execute(self, name: str) -> None: ...

    def allowed(self, name: str) -> str:
        """What may be set, in words."""


class FeatureError(CameraFault):
    """The camera or its library refused to read or write a feature: a fault, where nobody knows better."""


def apply_settings(nodes: Nodes, section: CameraSection) -> None:
    """Write what the section names, and read it back. Raises UserError where the camera cannot or does not."""
    writer = _Writer(nodes, section.name)
    if section.pixel_format is not None:
        writer.write("pixel_format", ("PixelFormat",), section.pixel_format)
    if section.roi is not None:
        for offset in ROI[:2]:
            if nodes.has(offset) and nodes.get(offset) != 0:
                writer.write("roi", (offset,), 0)
        for name, value in zip((*ROI[2:], *ROI[:2]), (*section.roi[2:], *section.roi[:2]), strict=True):
            if value != 0 or nodes.has(name):
                writer.write("roi", (name,), value)
    if section.exposure_us is not None:
        writer.switch("ExposureAuto", "Off")
        writer.write("exposure_us", EXPOSURE_US, section.exposure_us)
    if section.gain_db is not None:
        writer.switch("GainAuto", "Off")
        writer.write("gain_db", GAIN_DB, section.gain_db)
    if section.rate_hz is not None and section.trigger == "free_run":
        writer.switch("AcquisitionFrameRateEnable", value=True)
        writer.write("rate_hz", RATE_HZ, section.rate_hz)
    pixel_format = str(nodes.get("PixelFormat"))
    if pixel_format not in CONVERSIONS:
        raise UserError(
            f"cameras.{section.name}: the camera delivers {pixel_format}, which is not read here; set "
            f"cameras.{section.name}.pixel_format to one that it has of: {', '.join(CONVERSIONS)}"
        )


def apply_trigger(nodes: Nodes, section: CameraSection) -> None:
    """Set what starts an exposure. Raises UserError where the camera cannot."""
    writer = _Writer(nodes, section.name)
    if not nodes.has("TriggerMode"):
        if section.trigger == "free_run":
            return
        raise UserError(
            f"cameras.{section.name}.trigger = {section.trigger!r}: this camera has no trigger; set it to 'free_run'"
        )
    writer.switch("TriggerSelector", "FrameStart")
    if section.trigger == "free_run":
        writer.write("trigger", ("TriggerMode",), "Off")
        return
    writer.write("trigger", ("TriggerMode",), "On")
    if section.trigger == "software":
        writer.write("trigger", ("TriggerSource",), "Software")
        return
    writer.write("trigger_line", ("TriggerSource",), section.trigger_line)
    edge = {"rising": "RisingEdge", "falling": "FallingEdge"}[section.trigger_edge]
    writer.write("trigger_edge", ("TriggerActivation",), edge)


def count_edges(nodes: Nodes, section: CameraSection) -> bool:
    """Have the camera count the edges of its trigger line, exposed or not, and put the count into every frame.

    False where it has no such counter (SFNC CounterEventSource, chunk CounterValue).
    """
    edge = {"rising": "RisingEdge", "falling": "FallingEdge"}[section.trigger_edge]
    try:
        nodes.set("CounterSelector", "Counter1")
        nodes.set("CounterEventSource", section.trigger_line)
        if nodes.has("CounterEventActivation"):
            nodes.set("CounterEventActivation", edge)
        if nodes.has("CounterResetSource"):
            nodes.set("CounterResetSource", "Off")
        nodes.set("ChunkModeActive", True)
        nodes.set("ChunkSelector", "CounterValue")
        nodes.set("ChunkEnable", True)
        nodes.get("CounterValue")
    except FeatureError:
        return False
    return True


def read_settings(nodes: Nodes) -> CameraSettings:
    """What the camera runs with: what of model, serial, pixel_format, roi, exposure_us and gain_db it tells."""
    found: CameraSettings = {}
    for setting, names in {
        "vendor": ("DeviceVendorName",),
        "model": ("DeviceModelName",),
        "serial": ("DeviceSerialNumber", "DeviceID"),
        "pixel_format": ("PixelFormat",),
        "exposure_us": EXPOSURE_US,
        "gain_db": GAIN_DB,
    }.items():
        name = _first(nodes, names)
        if name is not None:
            found[setting] = nodes.get(name)
    for setting, auto in (("exposure_us", "ExposureAuto"), ("gain_db", "GainAuto")):
        if nodes.has(auto) and nodes.get(auto) != "Off":
            found[setting] = "automatic"  # the number is of this moment
    if all(nodes.has(name) for name in ROI[2:]):
        found["roi"] = [int(nodes.get(name)) if nodes.has(name) else 0 for name in ROI]
    return found


def interval_ns(nodes: Nodes, fallback_ns: int) -> int:
    """From frame to frame in free run, as the camera states it."""
    name = _first(nodes, ACTUAL_RATE_HZ)
    rate_hz = float(nodes.get(name)) if name is not None else 0.0
    return round(1e9 / rate_hz) if 0.001 <= rate_hz <= 1e6 else fallback_ns


def _first(nodes: Nodes, names: Sequence[str]) -> str | None:
    return next((name for name in names if nodes.has(name)), None)


class _Writer:
    def __init__(self, nodes: Nodes, camera: str) -> None:
        self._nodes = nodes
        self._camera = camera

    def switch(self, name: str, value: Value) -> None:
        """Where there is such a feature; what then matters is read back elsewhere."""
        if self._nodes.has(name):
            self.write(name, (name,), value)

    def write(self, setting: str, names: Sequence[str], value: Value) -> None:
        where = f"cameras.{self._camera}.{setting} = {value!r}"
        name = _first(self._nodes, names)
        if name is None:
            raise UserError(f"{where}: this camera has no {' or '.join(names)}; leave the setting out")
        try:
            self._nodes.set(name, value)
        except FeatureError as error:
            allowed = self._nodes.allowed(name)
            raise UserError(f"{where}: the camera refuses it for {name} ({error}); allowed: {allowed}") from error
        found = self._nodes.get(name)
        same = found == value
        if isinstance(value, float) and isinstance(found, int | float):
            same = math.isclose(found, value, rel_tol=TOLERANCE, abs_tol=1e-6)
        if not same:
            allowed = self._nodes.allowed(name)
            raise UserError(f"{where}: the camera made {found!r} of it; set what it can do: {name} takes {allowed}")
