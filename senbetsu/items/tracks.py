"""Who is who on a belt: the boxes of one frame, and the things that were followed through the frames before it. Pure.

A thing is looked for where it should be by now, at the speed that it had; one that has just come in, at the belt's, which is
that of the things before it. Before anything has passed the speed is not known, and the nearest of about the same size is
taken: so the first thing may move as far as half of the frame from one frame to the next, however short it is, as long as
the one behind it is farther away than that.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from senbetsu.items.segment import Box

LOST_AFTER_NS = 250_000_000
"""A thing that was not seen for this long is no longer waited for; one that moves on behind what hides it is still known."""
SAME_THING = 0.3
"""Share of the smaller of two boxes that they have in common."""
SAME_AGAIN = 0.6
"""The same, of one that was hidden meanwhile."""
LIKE_SIZE = 2.0
"""Of two boxes that are one thing, neither side of one is longer than the other's by more than this factor."""
MARGIN = 0.01
"""Of the frame's longer side: nearer to the frame's edge than this a thing may go on beyond it."""
FARTHEST = 0.5
"""Of the frame's longer side: so far a thing may move from the first frame that shows it to the next, and half of its length
later on from where it should be."""
STANDS = 0.1
"""Of its length: a thing that moves less than this while it is waited for stands still."""

Velocity = tuple[float, float]
"""Pixels a nanosecond, to the right and down."""
STILL: Velocity = (0.0, 0.0)


@dataclass(slots=True, eq=False)
class Track:
    """One thing. `box` is where it was seen last, or should have been then."""

    box: Box
    seen_at_ns: int
    velocity: Velocity
    """The belt's, until its own is measured."""
    measured: bool = False
    frames: int = 0
    """In which it was seen alone."""
    whole: bool = False
    """When it was seen last."""
    was_whole: bool = False
    missed: int = 0
    """Frames since."""
    hidden: bool = False
    """It was lost, and would still be in the frame."""

    @property
    def is_known(self) -> bool:
        """Whether one can say where it is. Of one that was seen once and then not one cannot: what is there may be the next."""
        return self.measured or self.missed <= 1

    def predicted(self, at_ns: int) -> Box:
        """Where it should be."""
        passed_ns = at_ns - self.seen_at_ns
        return self.box.moved(self.velocity[0] * passed_ns, self.velocity[1] * passed_ns)

    def step(self, box: Box, at_ns: int, belt: Velocity) -> float:
        """How far a box is from where it should be: as it moved, or if it stopped, or moves with the belt again."""
        (x, y), passed_ns = self.box.centre, at_ns - self.seen_at_ns
        speeds = (self.velocity, STILL, belt)
        return min(math.dist(box.centre, (x + right * passed_ns, y + down * passed_ns)) for right, down in speeds)


T = TypeVar("T", bound=Track)


class Tracker(Generic[T]):
    """Boxes of one frame after the other in; tracks out."""

    def __init__(self, new: Callable[[Box, int, Velocity], T]) -> None:
        """`new`: a track of this box, time and velocity."""
        self.tracks: list[T] = []
        self._new = new
        self._belt = STILL

    def follow(self, boxes: Sequence[Box], width: int, height: int, at_ns: int) -> list[tuple[T, Box | None]]:
        """Each track that is seen, with its box; None where several are in one box, so that none is seen whole."""
        pieces: dict[T, Box] = {}
        merged: set[T] = set()
        unknown: list[Box] = []
        for box in boxes:
            inside = self._inside(box, at_ns)
            if len(inside) > 1:
                merged.update(inside)
                continue
            track = self._best(box, width, height, at_ns)
            if track is None:
                unknown.append(box)
            else:
                pieces[track] = box if track not in pieces else pieces[track].union(box)
        unseen = [t for t in self.tracks if t not in merged and t not in pieces]
        near = [t for t in unseen if not t.hidden and t.missed == 0]
        for box, track in self._nearest(unknown, near, width, height, at_ns):
            if track is None:
                track = self._new(box, at_ns, self._belt)
                self.tracks.append(track)
            pieces[track] = box
        for track in unseen:
            track.missed += 1
        seen = [(t, None if t in merged else pieces[t]) for t in self.tracks if t in merged or t in pieces]
        for track, where in seen:
            self._see(track, where, width, height, at_ns)
        return seen

    def end_lost(self, width: int, height: int, at_ns: int) -> list[T]:
        """Those that are waited for no longer, each given once."""
        lost = [t for t in self.tracks if not t.hidden and at_ns - t.seen_at_ns > LOST_AFTER_NS]
        self._hide(lost)
        frame = Box(0, 0, width, height)
        self.tracks = [t for t in self.tracks if not t.hidden or frame.overlap(t.predicted(at_ns)) > 0]
        return lost

    def end_all(self) -> list[T]:
        """All that were not yet lost: nothing is seen for a while."""
        lost = [t for t in self.tracks if not t.hidden]
        self._hide(lost)
        return lost

    def _hide(self, tracks: Sequence[T]) -> None:
        """They are known until they should have left the frame. One that stands may not be there any more, and another be."""
        for track in tracks:
            track.hidden = True
        self.tracks = [t for t in self.tracks if not t.hidden or _moves(t.velocity, t.box)]

    def _inside(self, box: Box, at_ns: int) -> list[T]:
        """Tracks that are all in one box. Pieces of one thing that come in one after the other, as prongs do, are made one."""
        inside = [
            track
            for track in self.tracks
            if not track.hidden
            and track.is_known
            and box.overlap(where := track.predicted(at_ns)) >= 0.5 * max(1.0, where.area)
        ]
        if len(inside) > 1 and not any(track.was_whole for track in inside):
            self.tracks = [track for track in self.tracks if track not in inside[1:]]
            inside = inside[:1]
        return inside

    def _best(self, box: Box, width: int, height: int, at_ns: int) -> T | None:
        """Whose box it is, by where they should be; a hidden one's only where it is nobody else's."""
        best, best_share = None, (False, 0.0)
        for track in self.tracks:
            where = track.predicted(at_ns)
            share = box.overlap(where) / max(1.0, min(box.area, where.area))
            if not track.is_known:
                continue
            if track.hidden and not (share >= SAME_AGAIN and _alike(where, box, width, height)):
                continue
            if share >= SAME_THING and (not track.hidden, share) > best_share:
                best, best_share = track, (not track.hidden, share)
        return best

    def _nearest(
        self, boxes: Sequence[Box], tracks: Sequence[T], width: int, height: int, at_ns: int
    ) -> list[tuple[Box, T | None]]:
        """Each box with the nearest of the tracks that may be it, or None; no track twice."""
        pairs = sorted(
            (step, number, index)
            for index, track in enumerate(tracks)
            for number, box in enumerate(boxes)
            if (step := track.step(box, at_ns, self._belt)) <= self._farthest(track, width, height)
            and _alike(track.box, box, width, height)
        )
        whose: dict[int, int] = {}
        for _, number, index in pairs:
            if number not in whose and index not in whose.values():
                whose[number] = index
        return [(box, tracks[whose[n]] if n in whose else None) for n, box in enumerate(boxes)]

    def _farthest(self, track: T, width: int, height: int) -> float:
        return FARTHEST * (max(width, height) if track.frames == 1 else _length(track.box))

    def _see(self, track: T, box: Box | None, width: int, height: int, at_ns: int) -> None:
        track.hidden, track.missed = False, 0
        if box is None:
            track.box, track.seen_at_ns, track.whole = track.predicted(at_ns), at_ns, False
            return
        moved = _moved(track.box, box, width, height) if track.frames else None
        if moved is not None and at_ns > track.seen_at_ns:
            new = moved[0] / (at_ns - track.seen_at_ns), moved[1] / (at_ns - track.seen_at_ns)
            # One frame's edge is a reduced pixel off; the mean over some frames is not.
            old = track.velocity if track.measured else new
            track.velocity, track.measured = (0.8 * old[0] + 0.2 * new[0], 0.8 * old[1] + 0.2 * new[1]), True
            if _moves(new, box):
                self._belt = track.velocity
        track.box, track.seen_at_ns, track.whole = box, at_ns, not _touches_edge(box, width, height)
        track.was_whole |= track.whole
        track.frames += 1


def _moved(was: Box, box: Box, width: int, height: int) -> tuple[float, float] | None:
    """Pixels to the right and down, by the sides that the frame cuts off in neither; None where it cuts both."""
    margin = MARGIN * max(width, height)
    right = _shift((was.left, was.right), (box.left, box.right), margin, width - margin)
    down = _shift((was.top, was.bottom), (box.top, box.bottom), margin, height - margin)
    return None if right is None or down is None else (right, down)


def _shift(was: tuple[float, float], now: tuple[float, float], least: float, most: float) -> float | None:
    shifts = [now[0] - was[0]] if min(was[0], now[0]) >= least else []
    if max(was[1], now[1]) <= most:
        shifts.append(now[1] - was[1])
    return sum(shifts) / len(shifts) if shifts else None


def _touches_edge(box: Box, width: int, height: int) -> bool:
    margin = MARGIN * max(width, height)
    return box.left < margin or box.top < margin or box.right > width - margin or box.bottom > height - margin


def _alike(a: Box, b: Box, width: int, height: int) -> bool:
    """Of about one size; of one that goes on beyond the frame that cannot be said."""
    if _touches_edge(a, width, height) or _touches_edge(b, width, height):
        return True
    sides = ((a.right - a.left, b.right - b.left), (a.bottom - a.top, b.bottom - b.top))
    return all(max(some) <= LIKE_SIZE * min(some) for some in sides)


def _length(box: Box) -> float:
    return max(box.right - box.left, box.bottom - box.top)


def _moves(velocity: Velocity, box: Box) -> bool:
    return math.hypot(*velocity) * LOST_AFTER_NS > STANDS * _length(box)
