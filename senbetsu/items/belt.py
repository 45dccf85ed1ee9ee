"""Parts on a moving belt: each is found, followed by its position, and given out once, as it was seen best. Pure.

A part is followed from frame to frame by where it should be by now, at the speed that it had. It is seen best where it
lies wholly inside the frame and nearest to its middle, so that it is given out as soon as it has passed there; one that
leaves, or is lost, before that is given out then. One that was never seen whole is given out without a picture.
"""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from senbetsu.items.segment import Box, Segmenter

LOST_AFTER_NS = 250_000_000
"""A part that was not seen for this long is gone."""
CONFIRMED_BY = 3
"""Frames in which a part is seen before it counts as one."""
SAME_PART = 0.3
"""Share of the smaller of two boxes that they have in common."""
PASSED = 0.02
"""Of the frame's longer side: a part that is farther from the middle by this than at its best has passed it."""
MARGIN = 0.01
"""Of the frame's longer side: nearer to the frame's edge than this a part may go on beyond it."""


@dataclass(frozen=True, slots=True, eq=False)
class BeltPart:
    """One part, given out once. `image` is (height, width, 3) or (height, width) uint8, its middle the part's."""

    number: int
    """From 1, in the order in which they came into sight."""
    image: NDArray[np.uint8] | None
    error: str | None
    frame_id: int
    exposed_at_ns: int
    box: Box


@dataclass(slots=True, eq=False)
class _Track:
    box: Box
    seen_at_ns: int
    frame_id: int
    frames: int = 1
    number: int = 0
    velocity: tuple[float, float] = (0.0, 0.0)
    """Pixels a nanosecond, while it was seen whole."""
    whole_before: bool = False
    best: BeltPart | None = None
    best_distance: float = math.inf
    given: bool = False
    too_large: bool = False

    def predicted(self, at_ns: int) -> Box:
        passed_ns = at_ns - self.seen_at_ns
        return self.box.moved(self.velocity[0] * passed_ns, self.velocity[1] * passed_ns)


class Belt:
    """Frames in, parts out; all frames of one size."""

    def __init__(
        self,
        width: int,
        height: int,
        difference: int,
        least_area: int,
        background: NDArray[np.uint8] | None = None,
        within: tuple[int, int, int, int] | None = None,
        *,
        keep_looks: bool = False,
    ) -> None:
        """`width`, `height`: of the picture that is cut out. `within`: x, y, width, height of the part of the frame where
        parts are looked for; all that is given out is in pixels of the whole frame's. For the others see Segmenter.

        `keep_looks`: `looks_at` gives every whole view of a part, for training.
        """
        self._size = width, height
        x, y, w, h = within or (0, 0, None, None)
        self._rows, self._columns = slice(y, h and y + h), slice(x, w and x + w)
        self._origin = x, y
        self._segmenter = Segmenter(
            difference, least_area, background if background is None else self._within(background)
        )
        self._tracks: list[_Track] = []
        self._numbers = itertools.count(1)
        self._keep_looks = keep_looks
        self._looks: dict[int, list[BeltPart]] = {}

    def add(self, image: NDArray[np.uint8], frame_id: int, exposed_at_ns: int) -> list[BeltPart]:
        """The next frame. Returns the parts that are given out by it."""
        image = self._within(image)
        boxes = self._segmenter.boxes(image)
        if boxes is None:
            return []
        given = []
        for track, box in self._followed(boxes, exposed_at_ns):
            self._see(track, box, image, frame_id, exposed_at_ns)
            if self._has_passed(track, image.shape):
                given.append(self._give(track))
        left = [track for track in self._tracks if exposed_at_ns - track.seen_at_ns > LOST_AFTER_NS]
        return given + self._end(left)

    def _within(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        return image[self._rows, self._columns]

    def finish(self) -> list[BeltPart]:
        """No more frames: those that were not given out yet."""
        return self._end(list(self._tracks))

    def looks_at(self, number: int) -> list[BeltPart]:
        """Every whole view of a part so far, in order."""
        return self._looks.get(number, [])

    def _end(self, tracks: Sequence[_Track]) -> list[BeltPart]:
        self._tracks = [track for track in self._tracks if track not in tracks]
        return [self._give(track) for track in tracks if not track.given and track.number]

    def _followed(self, boxes: Sequence[Box], at_ns: int) -> list[tuple[_Track, Box | None]]:
        """Each track that is seen, with its box; None where several are in one box, so that none is seen whole."""
        predicted = [(track, track.predicted(at_ns)) for track in self._tracks]
        pieces: dict[int, Box] = {}
        merged: set[int] = set()
        for box in boxes:
            near = [
                (box.overlap(where) / max(1.0, min(box.area, where.area)), index)
                for index, (_, where) in enumerate(predicted)
            ]
            mine = [index for share, index in near if share >= SAME_PART]
            inside = [index for index in mine if box.overlap(predicted[index][1]) >= 0.5 * predicted[index][1].area]
            if len(inside) > 1:
                merged.update(inside)
            elif mine:
                index = max(near)[1]
                pieces[index] = box if index not in pieces else pieces[index].union(box)
            else:
                self._tracks.append(_Track(box, at_ns, 0, frames=0))
                pieces[len(self._tracks) - 1] = box
        return [(self._tracks[i], None if i in merged else pieces[i]) for i in sorted(merged | pieces.keys())]

    def _see(self, track: _Track, box: Box | None, image: NDArray[np.uint8], frame_id: int, at_ns: int) -> None:
        if box is None:
            track.box, track.seen_at_ns, track.whole_before = track.predicted(at_ns), at_ns, False
            return
        height, width = image.shape[:2]
        margin = MARGIN * max(height, width)
        whole = (
            box.left >= margin and box.top >= margin and box.right <= width - margin and box.bottom <= height - margin
        )
        passed_ns = at_ns - track.seen_at_ns
        if whole and track.whole_before and passed_ns > 0:
            (x, y), (was_x, was_y) = box.centre, track.box.centre
            new = (x - was_x) / passed_ns, (y - was_y) / passed_ns
            # One frame's edge is a reduced pixel off; the mean over some frames is not.
            track.velocity = 0.8 * track.velocity[0] + 0.2 * new[0], 0.8 * track.velocity[1] + 0.2 * new[1]
        track.box, track.seen_at_ns, track.frame_id, track.whole_before = box, at_ns, frame_id, whole
        track.frames += 1
        if track.frames == CONFIRMED_BY:
            track.number = next(self._numbers)
        if whole and not (track.given and not self._keep_looks):
            self._look(track, box, image, frame_id, at_ns)

    def _look(self, track: _Track, box: Box, image: NDArray[np.uint8], frame_id: int, at_ns: int) -> None:
        if box.right - box.left > self._size[0] or box.bottom - box.top > self._size[1]:
            track.too_large = True
            return
        distance = self._distance(box, image.shape)
        if distance >= track.best_distance and not self._keep_looks:
            return
        look = BeltPart(track.number, self._crop(image, box), None, frame_id, at_ns, box.moved(*self._origin))
        if distance < track.best_distance and not track.given:
            track.best, track.best_distance = look, distance
        if self._keep_looks and track.number:
            self._looks.setdefault(track.number, []).append(look)

    def _has_passed(self, track: _Track, shape: tuple[int, ...]) -> bool:
        if track.given or track.best is None or not track.number:
            return False
        return self._distance(track.box, shape) > track.best_distance + PASSED * max(shape[:2])

    def _distance(self, box: Box, shape: tuple[int, ...]) -> float:
        x, y = box.centre
        return math.hypot(x - shape[1] / 2, y - shape[0] / 2)

    def _crop(self, image: NDArray[np.uint8], box: Box) -> NDArray[np.uint8]:
        """A copy, `width` x `height`; what lies beyond the frame repeats its edge."""
        width, height = self._size
        left, top = round(box.centre[0] - width / 2), round(box.centre[1] - height / 2)
        right, bottom = left + width, top + height
        inside = image[max(0, top) : bottom, max(0, left) : right]
        beyond = (max(0, -top), max(0, bottom - image.shape[0]), max(0, -left), max(0, right - image.shape[1]))
        if not any(beyond):
            return inside.copy()
        return np.asarray(cv2.copyMakeBorder(inside, *beyond, cv2.BORDER_REPLICATE), np.uint8)

    def _give(self, track: _Track) -> BeltPart:
        track.given = True
        if track.best is not None and not track.too_large:
            best = track.best
            return BeltPart(track.number, best.image, None, best.frame_id, best.exposed_at_ns, best.box)
        error = "is larger than the picture that is cut out of it" if track.too_large else "was never seen whole"
        box = track.box.moved(*self._origin)
        return BeltPart(track.number, None, error, track.frame_id, track.seen_at_ns, box)
