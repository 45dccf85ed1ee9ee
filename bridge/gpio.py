"""Two lines of a GPIO chip by libgpiod: sensor and gate of bridge/digital_line.py."""

from datetime import timedelta

import gpiod
from gpiod.line import Clock, Direction, Edge, Value

from senbetsu.config import DigitalSection
from senbetsu.errors import UserError


class GpioLines:
    """The kernel gives the lines back when the process ends, however it ends; a pull-down then means reject."""

    def __init__(self, section: DigitalSection) -> None:
        """Raises UserError where the chip or a line is not to be had."""
        self._sensor, self._gate = section.sensor_line, section.gate_line
        self._debounce_ns = round(section.debounce_ms * 1e6)
        sensor = gpiod.LineSettings(
            direction=Direction.INPUT, edge_detection=Edge.RISING, event_clock=Clock.MONOTONIC,
            debounce_period=timedelta(milliseconds=section.debounce_ms),
        )  # fmt: skip
        gate = gpiod.LineSettings(direction=Direction.OUTPUT, output_value=Value.INACTIVE)
        try:
            self._request = gpiod.request_lines(
                str(section.chip), consumer="senbetsu", config={self._sensor: sensor, self._gate: gate}
            )
        except (OSError, ValueError) as error:
            raise UserError(
                f"bridge.digital.chip = {str(section.chip)!r}, lines {self._sensor} and {self._gate}: not to be had: {error}; "
                "`gpioinfo` lists chips and lines"
            ) from error

    def edges(self) -> list[int]:
        """Rising edges since the last call, CLOCK_MONOTONIC, nanoseconds.

        The kernel stamps an edge when the line has been quiet for the debounce period, so it was earlier by that.
        """
        if not self._request.wait_edge_events(timedelta(0)):
            return []
        return [event.timestamp_ns - self._debounce_ns for event in self._request.read_edge_events()]

    def set_pass(self, on: bool) -> None:
        """Switch the output."""
        self._request.set_value(self._gate, Value.ACTIVE if on else Value.INACTIVE)
