"""The cameras, and what of a frame is a part: [[cameras]]."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from senbetsu.config.section import Name, Section


class RegionSection(Section):
    """One item of a frame: a rectangle of it, in pixels."""

    x: Annotated[int, Field(ge=0, le=65535)]
    """Left edge, from the frame's left."""
    y: Annotated[int, Field(ge=0, le=65535)]
    """Upper edge, from the frame's top."""
    width: Annotated[int, Field(ge=8, le=65535)]
    height: Annotated[int, Field(ge=8, le=65535)]


class BeltSection(Section):
    """Parts that move through the picture: each is found, followed, and judged once, where it is seen best."""

    width: Annotated[int, Field(ge=8, le=65535)] = 256
    """Of the picture that is cut out around a part, pixels; a part that is larger is rejected."""
    height: Annotated[int, Field(ge=8, le=65535)] = 256
    difference: Annotated[int, Field(ge=1, le=255)] = 60
    """Grey levels by which a part differs from the empty belt, in the colour where it differs most."""
    least_area: Annotated[int, Field(ge=1, le=100_000_000)] = 2000
    """Square pixels; what is smaller is dirt, not a part."""
    within: tuple[int, int, int, int] | None = None
    """Part of the frame where parts are looked for: x, y, width, height in pixels. Left out: all of it."""
    background: Path | None = None
    """Picture of the empty belt, a whole frame. Left out: it is learned from the first frames, so start with an empty belt."""


class CameraSection(Section):
    """One camera."""

    name: Name
    kind: Literal["folder", "pattern", "opencv", "pylon", "genicam"]
    """folder: replays pictures or a video; its results are marked simulated. opencv: V4L2 device, RTSP, or video file.
    pylon: Basler, takes senbetsu[pylon]. genicam: any camera with a GenTL producer, takes senbetsu[genicam].
    pattern: noise pictures from memory, to measure with."""
    source: Annotated[str, Field(min_length=1)]
    """folder: path of a folder, picture or video. opencv: device number, device path, URL or file. pylon, genicam: serial
    number or user-defined name. pattern: size of the pictures, 1024x1024."""
    gate: Name
    trigger: Literal["software", "hardware", "free_run"] = "software"
    """software: a frame is taken for each trigger request. hardware: the PLC's pulse goes to the camera too. free_run:
    every frame is judged; no gate opens by it."""
    producer: Path | None = None
    """genicam: the camera maker's GenTL producer, a file that ends in .cti."""
    trigger_line: Annotated[str, Field(min_length=1)] = "Line1"
    """hardware: the camera's input that the pulse comes to."""
    trigger_edge: Literal["rising", "falling"] = "rising"
    """hardware: which edge of the pulse exposes."""
    window_ms: Annotated[float, Field(gt=0, le=10_000)] = 20.0
    """hardware: a pulse's frame and the PLC's count of it come within this of each other."""
    exposure_us: Annotated[float, Field(gt=0, le=60_000_000)] | None = None
    """pylon, genicam: exposure time. Left out, as the other settings: what the camera is set to."""
    gain_db: Annotated[float, Field(ge=-60, le=100)] | None = None
    """pylon, genicam."""
    roi: tuple[int, int, int, int] | None = None
    """pylon, genicam: part of the sensor that is read: x, y, width, height in pixels."""
    pixel_format: Annotated[str, Field(min_length=1)] | None = None
    """pylon, genicam: Mono8, BayerRG8, BGR8, ...; Bayer and RGB are made BGR."""
    rate_hz: Annotated[float, Field(gt=0, le=10_000)] | None = None
    """Free run: frames a second. folder: 10 if left out; pylon, genicam: what the camera is set to; opencv: not used."""
    loop: bool = False
    """folder: begin again at the end."""
    buffer_frames: Annotated[int, Field(ge=2, le=1024)] = 16
    """Frames that may wait to be judged; a part beyond them is REJECT/OVERLOAD."""
    silent_ms: Annotated[float, Field(gt=0, le=600_000)] = 1500.0
    """A camera that delivers no frame (and answers no control read) for this long is in fault."""
    frozen_ms: Annotated[float, Field(ge=0, le=600_000)] | None = None
    """A camera that gives the very same picture for this long is in fault; 0: never. Left out: 1000, and 0 for files and
    network streams, which may repeat a still picture to the last bit."""
    regions: tuple[RegionSection, ...] = ()
    """Several parts, or views of one, in a frame: each region is one item. None: the whole frame is one."""
    belt: BeltSection | None = None
    """Free run: parts that move through the picture."""

    @model_validator(mode="after")
    def _settings_go_together(self) -> Self:
        if self.kind == "genicam" and self.producer is None:
            raise ValueError("kind = 'genicam' needs producer: the path of the camera maker's GenTL producer (*.cti)")
        if self.trigger == "hardware" and self.kind not in ("pylon", "genicam"):
            raise ValueError(f"trigger = 'hardware' needs a camera with a trigger input, not kind = {self.kind!r}")
        mine = {"exposure_us", "gain_db", "roi", "pixel_format"} & self.model_fields_set
        unused = sorted(name for name in mine if getattr(self, name) is not None)
        if unused and self.kind not in ("pylon", "genicam"):
            raise ValueError(
                f"{', '.join(unused)}: only pylon and genicam cameras are set, not kind = {self.kind!r}; leave out"
            )
        if self.roi is not None and (min(self.roi) < 0 or min(self.roi[2:]) < 8):
            raise ValueError(f"roi = {list(self.roi)}: x, y >= 0 and width, height >= 8 pixels")
        within = None if self.belt is None else self.belt.within
        if within is not None and (min(within) < 0 or min(within[2:]) < 8):
            raise ValueError(f"belt.within = {list(within)}: x, y >= 0 and width, height >= 8 pixels")
        if self.belt is not None and (self.trigger != "free_run" or self.regions):
            raise ValueError("belt finds its own parts: it takes trigger = 'free_run' and no regions")
        return self

    @property
    def items(self) -> int:
        """How many items a frame holds."""
        return max(1, len(self.regions))
