"""From a camera's own clock to the host's: the earliest moment at which an exposure can have begun. Pure.

A camera that can be asked for its time tells what it was at some moment between question and answer. Counting from the
*question* gives a moment that is never too late, whatever the way there took. Crystals differ by up to some 50 ppm each,
so that much is given for the time since the last question.
"""

DRIFT = 1e-4
"""By how much two crystals may run apart, as a share of the time that passed."""


class DeviceClock:
    """Times are nanoseconds: the host's CLOCK_MONOTONIC and the camera's own."""

    def __init__(self) -> None:
        self._asked_ns: int | None = None
        self._device_ns = 0

    def ask(self, asked_ns: int, device_ns: int) -> None:
        """At `asked_ns` the camera was asked for its time, and answered `device_ns`."""
        self._asked_ns, self._device_ns = asked_ns, device_ns

    def earliest_ns(self, device_ns: int) -> int | None:
        """The earliest that the camera's `device_ns` can have been; None while it was never asked."""
        if self._asked_ns is None:
            return None
        passed_ns = device_ns - self._device_ns
        return self._asked_ns + passed_ns - round(abs(passed_ns) * DRIFT)
