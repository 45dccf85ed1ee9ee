"""The book of announced looks: every one is settled exactly once, whatever happens to it on its way.

A trigger announces one look for each item of each camera of its gate. A look is settled by the first of: its score, its
camera's fault, an overload, its deadline. Whatever comes after that for the same look is turned away.
"""

import heapq
import itertools
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field

_NEVER = 1 << 63


@dataclass(frozen=True, slots=True, eq=False)
class JudgedBy:
    """What judges a part, as its result tells it. One that is loaded anew is another, whatever it holds."""

    name: str
    """The recipe's."""
    recipe: int
    """Its number."""
    model_sha256: str
    profile_sha256: str
    threshold: float


@dataclass(frozen=True, slots=True)
class Look:
    """One camera's view of one part. Times are CLOCK_MONOTONIC nanoseconds; `trigger` is None in free run."""

    number: int
    gate: str
    camera: str
    trigger: int | None
    part_id: int | None
    triggered_at_ns: int
    deadline_ns: int
    judged_by: JudgedBy
    """What was active at the trigger, whatever is when the part is judged."""
    item: int = 0
    items: int = 1
    """How many items the frame holds."""
    run: int = 0
    """The gate's run, as the trigger's request named it; 0 if it named none."""


class AlreadyOpenError(ValueError):
    """The trigger's number is still waiting for a result."""


@dataclass(slots=True)
class Book:
    """Thread-safe; a look is open from `announce` until the one `settle` that gets True."""

    active: JudgedBy
    """What judges looks that are announced from now on."""
    _open: dict[int, Look] = field(default_factory=dict)
    _left: dict[tuple[str, int], int] = field(default_factory=dict)
    """Open looks of each open trigger."""
    _deadlines: list[tuple[int, int]] = field(default_factory=list)
    """Heap of (deadline, number); settled ones leave it when they come to the top."""
    _frames: dict[int, tuple[int, int]] = field(default_factory=dict)
    """Of open looks whose frame has come: its id, and when it was exposed."""
    _next: int = 1
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def announce(
        self,
        gate: str,
        cameras: Sequence[str],
        trigger: int | None,
        part_id: int | None,
        now_ns: int,
        deadline_ns: int,
        items: int = 1,
        run: int = 0,
    ) -> list[Look]:
        """Open one look a camera and item: all items of the first camera, then those of the next.

        Raises:
            AlreadyOpenError: this trigger of this gate is still open.
        """
        with self._lock:
            if trigger is not None and cameras:
                key = (gate, trigger)
                if key in self._left:
                    raise AlreadyOpenError(f"trigger {trigger} of gate {gate} is still waiting for its result")
                self._left[key] = len(cameras) * items
            looks: list[Look] = []
            for camera, item in itertools.product(cameras, range(items)):
                look = Look(
                    self._next, gate, camera, trigger, part_id, now_ns, deadline_ns, self.active, item, items, run
                )
                self._open[look.number] = look
                heapq.heappush(self._deadlines, (deadline_ns, look.number))
                self._next += 1
                looks.append(look)
            return looks

    def frame_came(self, look: Look, frame_id: int, exposed_at_ns: int) -> bool:
        """Note that the look has a frame; False if it is settled already."""
        with self._lock:
            if look.number not in self._open:
                return False
            self._frames[look.number] = frame_id, exposed_at_ns
            return True

    def frame_of(self, look: Look) -> tuple[int, int] | None:
        """Of an open look: id and exposure of its frame; None where none has come."""
        with self._lock:
            return self._frames.get(look.number)

    def settle(self, look: Look) -> bool:
        """True for the first who settles it, and only for that one."""
        with self._lock:
            if self._open.pop(look.number, None) is None:
                return False
            self._frames.pop(look.number, None)
            if look.trigger is not None:
                key = (look.gate, look.trigger)
                self._left[key] -= 1
                if self._left[key] == 0:
                    del self._left[key]
            return True

    def overdue(self, now_ns: int) -> list[Look]:
        """Open looks whose deadline has passed, earliest first. Each is given once: whoever asks settles it."""
        with self._lock:
            looks = []
            while self._deadlines and self._deadlines[0][0] <= now_ns:
                _, number = heapq.heappop(self._deadlines)
                if number in self._open:
                    looks.append(self._open[number])
            return looks

    def next_deadline_ns(self) -> int:
        """The earliest deadline of an open look; far away if there is none."""
        with self._lock:
            while self._deadlines and self._deadlines[0][1] not in self._open:
                heapq.heappop(self._deadlines)
            return self._deadlines[0][0] if self._deadlines else _NEVER

    def any_open_of(self, judged_by: JudgedBy) -> bool:
        """Whether a look is open that this has to judge."""
        with self._lock:
            return any(look.judged_by is judged_by for look in self._open.values())

    def still_open(self) -> list[Look]:
        """All open looks, oldest first."""
        with self._lock:
            return list(self._open.values())

    def __len__(self) -> int:
        with self._lock:
            return len(self._open)
