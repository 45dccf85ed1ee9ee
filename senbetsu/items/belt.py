"""Parts on a moving belt: each is found, followed by its position, and given out once, as it was seen best. Pure.

A part is seen best where it lies wholly inside the frame and nearest to its middle, so that it is given out as soon as it has
passed there; one that leaves, or is lost, before that is given out then. One that was never seen whole, or too seldom to be
told from a shadow, is given out without a picture: nothing as large as a part passes in silence.
"""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from senbetsu.errors import UserError
from senbetsu.items.segment import Box, Segmenter
from senbetsu.items.tracks import Track, Tracker

CONFIRMED_BY = 3
"""Frames in which a part is seen before it counts as one."""
PASSED = 0.02
"""Of the frame's longer side: a part that is farther from the middle by this than at its best has passed it."""
COVERED = 0.6
"""Of the picture: where more differs from the empty belt, and no part is so large, that is no part but another light."""
BLIND_AFTER_NS = 1_000_000_000
"""So long it may do so, as when a hand reaches in."""


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
class _Part(Track):
    number: int = 0
    frame_id: int = 0
    best: BeltPart | None = None
    best_distance: float = math.inf
    given: bool = False
    too_large: bool = False


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
        self._within = within
        self._segmenter = Segmenter(
            difference, least_area, background if background is None else self._part_of(background)
        )
        self._tracker: Tracker[_Part] = Tracker(_Part)
        self._numbers = itertools.count(1)
        self._keep_looks = keep_looks
        self._looks: dict[int, list[BeltPart]] = {}
        self._blind_since_ns: int | None = None
        self._now_ns = 0

    @property
    def trouble(self) -> str | None:
        """Why no part would be seen now."""
        if self._segmenter.learns:
            return "learns what the belt looks like: leave it empty or standing for a moment, or name a belt.background"
        if self._blind_since_ns is not None and self._now_ns - self._blind_since_ns >= BLIND_AFTER_NS:
            return (
                f"{self._segmenter.covered:.0%} of the picture differ from the empty belt: the light has changed, the camera "
                "was moved, or something lies before it; if it is to stay so, start anew with an empty belt"
            )
        return None

    def add(self, image: NDArray[np.uint8], frame_id: int, exposed_at_ns: int) -> list[BeltPart]:
        """The next frame. Returns the parts that are given out by it.

        Raises:
            UserError: the frame is of another size than the background, or does not hold `within`.
        """
        image = self._part_of(image)
        height, width = image.shape[:2]
        boxes = self._segmenter.boxes(image)
        self._now_ns = exposed_at_ns
        if self._segmenter.covered > max(COVERED, 1.25 * self._size[0] * self._size[1] / (width * height)):
            self._blind_since_ns = exposed_at_ns if self._blind_since_ns is None else self._blind_since_ns
            boxes = []
        else:
            self._blind_since_ns = None
        given = []
        for part, box in self._tracker.follow(boxes, width, height, exposed_at_ns):
            part.frame_id = frame_id
            if part.number == 0 and part.was_whole and part.frames >= CONFIRMED_BY:
                part.number = next(self._numbers)
            if box is not None and part.whole and not (part.given and not self._keep_looks):
                self._look(part, box, image, exposed_at_ns)
            if self._has_passed(part, image.shape):
                given.append(self._give(part))
        return given + self._give_all(self._tracker.end_lost(width, height, exposed_at_ns))

    def finish(self) -> list[BeltPart]:
        """No more frames, or none for a while: those that were not given out yet. They are known if they are seen again."""
        return self._give_all(self._tracker.end_all())

    def looks_at(self, number: int) -> list[BeltPart]:
        """Every whole view of a part so far, in order."""
        return self._looks.get(number, [])

    def _part_of(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        if self._within is None:
            return image
        x, y, width, height = self._within
        if x + width > image.shape[1] or y + height > image.shape[0]:
            raise UserError(
                f"belt.within = {list(self._within)} (x, y, width, height) reaches beyond a picture of "
                f"{image.shape[1]} x {image.shape[0]} pixels"
            )
        return image[y : y + height, x : x + width]

    def _give_all(self, parts: Sequence[_Part]) -> list[BeltPart]:
        return [self._give(part) for part in parts if not part.given]

    def _look(self, part: _Part, box: Box, image: NDArray[np.uint8], at_ns: int) -> None:
        if box.right - box.left > self._size[0] or box.bottom - box.top > self._size[1]:
            part.too_large = True
            return
        distance = self._distance(box, image.shape)
        if distance >= part.best_distance and not self._keep_looks:
            return
        look = BeltPart(part.number, self._crop(image, box), None, part.frame_id, at_ns, self._in_frame(box))
        if distance < part.best_distance and not part.given:
            part.best, part.best_distance = look, distance
        if self._keep_looks and part.number:
            self._looks.setdefault(part.number, []).append(look)

    def _has_passed(self, part: _Part, shape: tuple[int, ...]) -> bool:
        if part.given or part.best is None or part.frames < CONFIRMED_BY:
            return False
        return self._distance(part.box, shape) > part.best_distance + PASSED * max(shape[:2])

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

    def _in_frame(self, box: Box) -> Box:
        return box if self._within is None else box.moved(self._within[0], self._within[1])

    def _give(self, part: _Part) -> BeltPart:
        part.given = True
        part.number = part.number or next(self._numbers)
        best = part.best
        if part.too_large:
            error = "is larger than the picture that is cut out of it"
        elif part.frames < CONFIRMED_BY:
            error = (
                f"was seen alone in {part.frames} frames only: it was hidden, or the belt is too fast for the camera"
            )
        elif best is None:
            error = "was never seen whole"
        else:
            return BeltPart(part.number, best.image, None, best.frame_id, best.exposed_at_ns, best.box)
        return BeltPart(part.number, None, error, part.frame_id, part.seen_at_ns, self._in_frame(part.box))
