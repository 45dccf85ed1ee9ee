"""What a camera is to the daemon."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

CameraSettings = dict[str, str | int | float | list[int]]
"""What a camera says of itself, by name: model, serial, exposure_us, gain_db, roi, pixel_format; what it does not know
is left out."""


class CameraFault(RuntimeError):
    """The camera is gone or does not answer. It may come back; its parts are rejected meanwhile."""


class EndOfFrames(Exception):
    """A recording has been played to its end."""


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One exposure. `image` is (H, W) or (H, W, 3) uint8 BGR, or None with an `error` where it came incomplete.

    The image belongs to whoever grabbed the frame; the camera does not write to it again.
    `exposed_at_ns` (CLOCK_MONOTONIC) is the earliest moment at which the exposure may have begun.
    """

    frame_id: int
    """Counts the camera's exposures; a gap means frames that nobody was given."""
    exposed_at_ns: int
    image: NDArray[np.uint8] | None
    error: str | None = None
    trigger_id: int | None = None
    """The camera's own count of trigger edges when this one was exposed; None where it does not count them."""
    lost_before: int = 0
    """Of the ids left out right before this one, how many were lost on the way; the others gave way to newer ones."""


class Camera(Protocol):
    """Used by one capture thread alone."""

    name: str

    @property
    def simulated(self) -> bool:
        """Its frames are not of parts that are on the line now; results are marked so."""

    @property
    def exposes_on_trigger(self) -> bool:
        """Each `grab` causes an exposure of its own. Else the camera runs freely, and a frame may be exposed after several
        triggers: it shows the part of the newest."""

    def open(self) -> None:
        """Connect; again after `close`.

        Raises UserError where the source does not exist or a setting is wrong, CameraFault where it is not there now.
        """

    def grab(self, not_before_ns: int, until_ns: int) -> Frame | None:
        """The next frame exposed at or after `not_before_ns`; None if there is none until `until_ns`.

        Raises:
            CameraFault: the camera is lost.
            EndOfFrames: a recording is over.
        """

    def prepare(self) -> None:
        """Do ahead what the next `grab` would have to do. Called when a frame has been handed on."""

    def check(self) -> bool:
        """A control read while idle: whether it has shown, since the last call, that it lives. Raises CameraFault."""

    def edges(self) -> int | None:
        """Trigger edges that the camera has counted, unexposed ones included; None where it has no such counter."""

    def settings(self) -> CameraSettings:
        """The settings it runs with, as it reads them back itself."""

    def close(self) -> None:
        """Disconnect."""
