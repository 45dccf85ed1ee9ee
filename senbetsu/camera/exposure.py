"""When a frame's exposure can have begun, for a camera that only says when the frame arrived. Pure.

A freely running sensor exposes one frame while it reads out the one before, so an exposure may have begun two frame
intervals before its frame arrived. That earliest moment is what is told: it may cost a part a frame or two of waiting,
and never shows it a frame that was exposed before its trigger. In poor light a camera may give fewer frames than it states,
and expose each for longer: the interval is at least as long as those that were just seen.

Drivers keep some frames in a queue, so that an arrival says nothing about a frame which was there already when it was
asked for. It counts as no newer than the one before it, unless the driver's own stamp says so.
"""

from collections import deque

RECENT = 3
"""Gaps between arrivals that count: one frame that came late costs no more than these."""
STAMP_TRUSTED_FOR_NS = 1_000_000_000
"""A driver's stamp that lies further back than this, or ahead, is on another clock."""


class ExposureClock:
    """The earliest exposure of each frame in turn; never falls back."""

    def __init__(self, interval_ns: int) -> None:
        """`interval_ns`: from frame to frame, as the camera states it."""
        self._stated_ns = interval_ns
        self._earliest_ns = 0
        self._arrived_ns: int | None = None
        self._gaps_ns: deque[int] = deque([interval_ns], maxlen=RECENT)

    @property
    def _interval_ns(self) -> int:
        return max(self._stated_ns, *self._gaps_ns)

    def free_running_frame(self, arrived_ns: int) -> None:
        """Of a camera that nothing triggers: from arrival to arrival is at least its interval."""
        if self._arrived_ns is not None:
            self._gaps_ns.append(arrived_ns - self._arrived_ns)
        self._arrived_ns = arrived_ns

    def earliest_ns(self, asked_ns: int, arrived_ns: int, driver_stamp_ns: int) -> int:
        """The earliest moment at which the exposure can have begun, CLOCK_MONOTONIC ns.

        Args:
            asked_ns: when the wait for the frame began.
            arrived_ns: when it was there.
            driver_stamp_ns: the driver's own stamp if it is on the same clock, else anything.
        """
        if driver_stamp_ns > 0 and 0 <= arrived_ns - driver_stamp_ns <= STAMP_TRUSTED_FOR_NS:
            candidate_ns = driver_stamp_ns - 2 * self._interval_ns
        elif arrived_ns - asked_ns >= self._interval_ns // 4:
            candidate_ns = arrived_ns - 2 * self._interval_ns
        else:
            candidate_ns = self._earliest_ns
        self._earliest_ns = max(self._earliest_ns, candidate_ns)
        return self._earliest_ns

    def earliest_after_empty_ns(self, empty_ns: int) -> int:
        """As `earliest_ns`, of a frame that came into a queue which at `empty_ns` was empty."""
        self._earliest_ns = max(self._earliest_ns, empty_ns - 2 * self._interval_ns)
        return self._earliest_ns
