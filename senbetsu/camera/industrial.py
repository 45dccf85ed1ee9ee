"""What every industrial camera does alike, whatever library connects it: settings, triggers, time stamps, lost frames.

A frame that came too late for its software trigger must never be taken for the next part's. Cameras number their frames
from the start of acquisition, so after a trigger whose frame did not come in time the acquisition is started anew: what
was under way is thrown away, and the numbers begin again.
"""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from senbetsu.camera.device_clock import DeviceClock
from senbetsu.camera.exposure import ExposureClock
from senbetsu.camera.features import (
    EXPOSURE_US,
    FeatureError,
    Nodes,
    apply_settings,
    apply_trigger,
    count_edges,
    interval_ns,
    read_settings,
)
from senbetsu.camera.interface import CameraFault, CameraSettings, Frame
from senbetsu.config import CameraSection

log = logging.getLogger(__name__)

ASK_CLOCK_EVERY_NS = 2_000_000_000
ALIVE_EVERY_NS = 200_000_000
"""A control read takes up to some milliseconds; it is not done more often."""
INTERVAL_IF_UNKNOWN_NS = 100_000_000
LATCHES = (("TimestampLatch", "TimestampLatchValue"), ("GevTimestampControlLatch", "GevTimestampValue"))
"""Command and value by which a camera tells its time: SFNC, and GigE Vision cameras from before it."""


@dataclass(frozen=True, slots=True, eq=False)
class Delivery:
    """One buffer as it came: an image of its own, or an error where it is incomplete."""

    number: int | None
    """The camera's count of frames since acquisition started; None where an incomplete one does not tell."""
    device_ticks: int | None
    """When the exposure began, by the camera's clock."""
    image: NDArray[np.uint8] | None
    error: str | None
    trigger_id: int | None


class FrameNumbers:
    """How many frames further each delivery is, by the camera's own count since acquisition started."""

    WRAP = 0xFFFF
    """GigE Vision 1 counts in 16 bits, 1 to 65 535."""

    def __init__(self, first: int) -> None:
        self._last = first - 1

    def step(self, number: int | None) -> int:
        """1 for the next frame, more where some were lost; 1 where it does not tell (`None`) or starts over."""
        if number is None:
            # Counted, so that the next one that tells does not count it as lost too.
            self._last += 1
            return 1
        step = number - self._last
        if step < -self.WRAP // 2:
            step += self.WRAP
        self._last = number
        return max(1, step)


class Device(Protocol):
    """A connected camera. All raise CameraFault where it is lost."""

    nodes: Nodes
    simulated: bool
    tick_hz: int
    """Of its clock."""
    first_number: int
    """Number of the first frame after `start`."""

    def start(self, buffers: int) -> None: ...

    def stop(self) -> None: ...

    def fire(self, timeout_s: float) -> bool:
        """Software trigger, as soon as the camera is ready for one; False where it was not in time."""

    def fetch(self, timeout_s: float) -> Delivery | None: ...

    def alive(self) -> bool:
        """Ask the camera itself, not a cache."""

    def close(self) -> None: ...


class IndustrialCamera:
    """See senbetsu.camera.interface.Camera."""

    def __init__(self, section: CameraSection, connect: Callable[[CameraSection], Device]) -> None:
        """`connect` raises UserError where the config or the installation is wrong, CameraFault where no camera is."""
        self.name = section.name
        self.simulated = False
        self.exposes_on_trigger = section.trigger == "software"
        self._section = section
        self._connect = connect
        self._device: Device | None = None
        self._settings: CameraSettings = {}
        self._silent_ns = round(section.silent_ms * 1e6)
        self._alive_every_ns = min(ALIVE_EVERY_NS, self._silent_ns // 4)
        self._awaited_since_ns: int | None = None

    def open(self) -> None:
        """Connect, set it up, and start."""
        device = self._connect(self._section)
        try:
            apply_settings(device.nodes, self._section)
            apply_trigger(device.nodes, self._section)
            self._counts_edges = self._section.trigger == "hardware" and count_edges(device.nodes, self._section)
            self._settings = read_settings(device.nodes)
            self._clock = DeviceClock()
            self._latch = next((pair for pair in LATCHES if all(device.nodes.has(name) for name in pair)), None)
            free_run_ns = interval_ns(device.nodes, INTERVAL_IF_UNKNOWN_NS)
            exposure = next((name for name in EXPOSURE_US if device.nodes.has(name)), None)
            exposure_ns = 0 if exposure is None else round(float(device.nodes.get(exposure)) * 1e3)
            self._arrivals = ExposureClock(max(free_run_ns, exposure_ns))
            self._frame_limit_ns = max(self._silent_ns, 3 * free_run_ns + exposure_ns)
            self._empty_at_ns: int | None = None
            """When the driver's queue was last seen empty, since the frame before."""
            self._awaited_since_ns = None
            self._asked_clock_ns = self._alive_ns = 0
            self._newest_id = 0
            self._numbers = FrameNumbers(device.first_number)
            self.simulated = device.simulated
            device.start(self._section.buffer_frames)
        except FeatureError as error:
            device.close()
            raise CameraFault(f"camera {self.name}: {error}") from error
        except BaseException:
            device.close()
            raise
        self._device = device
        self._ask_clock(time.monotonic_ns())

    def _connected(self) -> Device:
        if self._device is None:
            raise CameraFault(f"camera {self.name}: not connected")
        return self._device

    def grab(self, not_before_ns: int, until_ns: int) -> Frame | None:
        """The frame of a software trigger of its own; else the next one that the camera took."""
        if not self.exposes_on_trigger:
            return self._next_frame(not_before_ns, until_ns, None)
        device = self._connected()
        left_ns = max(0, until_ns - time.monotonic_ns())
        fired_at_ns = time.monotonic_ns()
        if not device.fire(left_ns / 1e9):
            self._raise_if_silent(fired_at_ns)
            return None
        frame = self._next_frame(0, until_ns, fired_at_ns)
        if frame is None:
            self._begin_anew(device)
        return frame

    def _begin_anew(self, device: Device) -> None:
        device.stop()
        # What was under way counts as a frame: the gap shows that it was thrown away.
        self._newest_id += 1
        self._numbers = FrameNumbers(device.first_number)
        device.start(self._section.buffer_frames)

    def _next_frame(self, not_before_ns: int, until_ns: int, fired_at_ns: int | None) -> Frame | None:
        device = self._connected()
        while True:
            asked_ns = time.monotonic_ns()
            delivery = device.fetch(max(0, until_ns - asked_ns) / 1e9)
            if delivery is None:
                if self._section.trigger != "hardware":  # there may be no pulses; see `edges`
                    self._raise_if_silent(asked_ns)
                self._empty_at_ns = asked_ns
                return None
            self._awaited_since_ns = None
            arrived_ns = time.monotonic_ns()
            step = self._numbers.step(delivery.number)
            frame_id = self._newest_id + step
            lost = step - 1
            self._newest_id = frame_id
            exposed_at_ns = self._exposed_at_ns(delivery, asked_ns, arrived_ns) if fired_at_ns is None else fired_at_ns
            if exposed_at_ns >= not_before_ns:
                return Frame(
                    frame_id, exposed_at_ns, delivery.image, delivery.error, delivery.trigger_id, lost_before=lost
                )

    def _raise_if_silent(self, asked_ns: int) -> None:
        """It may answer all control reads and yet deliver nothing of what was asked for."""
        if self._awaited_since_ns is None:
            self._awaited_since_ns = asked_ns
        waited_ns = time.monotonic_ns() - self._awaited_since_ns
        if waited_ns > self._frame_limit_ns:
            raise CameraFault(f"camera {self.name}: silent: no frame for {waited_ns / 1e6:.0f} ms that it should give")

    def _exposed_at_ns(self, delivery: Delivery, asked_ns: int, arrived_ns: int) -> int:
        told_ns = None
        if delivery.device_ticks:
            told_ns = self._clock.earliest_ns(self._ns_of(delivery.device_ticks))
        if told_ns is not None and told_ns <= arrived_ns:
            return told_ns
        empty_at_ns, self._empty_at_ns = self._empty_at_ns, None
        if empty_at_ns is not None:
            return self._arrivals.earliest_after_empty_ns(empty_at_ns)
        return self._arrivals.earliest_ns(asked_ns, arrived_ns, 0)

    def _ns_of(self, ticks: int) -> int:
        return ticks * 1_000_000_000 // self._connected().tick_hz

    def prepare(self) -> None:
        """The camera is ready by itself. Its clock is asked again, also of one that is never idle."""
        now_ns = time.monotonic_ns()
        if now_ns - self._asked_clock_ns > ASK_CLOCK_EVERY_NS:
            self._ask_clock(now_ns)

    def check(self) -> bool:
        """A control read, now and then."""
        device = self._connected()
        now_ns = time.monotonic_ns()
        if now_ns - self._alive_ns < self._alive_every_ns:
            return False
        self._alive_ns = now_ns
        try:
            alive = device.alive()
        except FeatureError as error:
            raise CameraFault(f"camera {self.name}: does not answer a control read: {error}") from error
        self.prepare()
        return alive

    def _ask_clock(self, now_ns: int) -> None:
        if self._latch is None:
            return
        command, value = self._latch
        nodes = self._connected().nodes
        try:
            nodes.execute(command)
            self._clock.ask(now_ns, self._ns_of(int(nodes.get(value))))
        except FeatureError as error:
            raise CameraFault(f"camera {self.name}: does not tell its time: {error}") from error
        self._asked_clock_ns = now_ns

    def edges(self) -> int | None:
        """The counter of its trigger line, asked now: where a pulse has no frame. If none has, it is silent."""
        self._raise_if_silent(time.monotonic_ns())
        if not self._counts_edges:
            return None
        try:
            return int(self._connected().nodes.get("CounterValue"))
        except FeatureError as error:
            raise CameraFault(f"camera {self.name}: its counter cannot be read: {error}") from error

    def settings(self) -> CameraSettings:
        """As read back when it was opened."""
        return dict(self._settings)

    def close(self) -> None:
        """Stop and disconnect."""
        device, self._device = self._device, None
        if device is not None:
            device.close()
