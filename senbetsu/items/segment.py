"""What lies on a belt: whatever differs from the empty belt, at a reduced size where a frame takes about a millisecond."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from senbetsu.errors import UserError

LONG_SIDE = 240
"""Pixels of the reduced picture's longer side."""
LEARNED_FROM = 15
"""Frames one after the other in which nothing moved; their median is the background."""
CLOSING = np.ones((5, 5), np.uint8)
"""Gaps of so many reduced pixels, a dark print or a glare, do not divide a part."""
ADAPT_EVERY = 8
"""Frames after which the background moves by one grey level towards what is seen beside the parts (Manzanera's
sigma-delta): it follows lamps and dust, and no part that lies still fades into it."""


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle, pixels: left, top, and the first column and row after it."""

    left: float
    top: float
    right: float
    bottom: float

    @property
    def area(self) -> float:
        return max(0.0, self.right - self.left) * max(0.0, self.bottom - self.top)

    @property
    def centre(self) -> tuple[float, float]:
        return (self.left + self.right) / 2, (self.top + self.bottom) / 2

    def moved(self, x: float, y: float) -> "Box":
        return Box(self.left + x, self.top + y, self.right + x, self.bottom + y)

    def overlap(self, other: "Box") -> float:
        """Area of what both share."""
        return Box(
            max(self.left, other.left), max(self.top, other.top), min(self.right, other.right), min(self.bottom, other.bottom)
        ).area  # fmt: skip

    def union(self, other: "Box") -> "Box":
        """The smallest that holds both."""
        return Box(
            min(self.left, other.left), min(self.top, other.top), max(self.right, other.right), max(self.bottom, other.bottom)
        )  # fmt: skip


class Segmenter:
    """Frames in, boxes of what lies on the belt out. All frames are of one size; grey and colour are compared as colour."""

    def __init__(self, difference: int, least_area: int, background: NDArray[np.uint8] | None = None) -> None:
        """`difference`: grey levels, in the colour where it is largest. `least_area`: square pixels of the frame."""
        self._difference = difference
        self._least_area = least_area
        self._learning: list[NDArray[np.uint8]] = []
        self._frames = 0
        self._size: tuple[int, int] | None = None
        self.covered = 0.0
        """Share of the last frame that differs from the background."""
        self._background = None if background is None else self._reduced(background)

    @property
    def learns(self) -> bool:
        """Whether the background is not known yet."""
        return self._background is None

    def _reduced(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        height, width = image.shape[:2]
        if self._size is None:
            self._size = width, height
        if self._size != (width, height):
            raise UserError(
                f"a picture of {width} x {height} pixels, where the belt's background is one of {self._size[0]} x "
                f"{self._size[1]}: belt.background has to be a whole frame of this camera, and all frames of one size"
            )
        self._scale = max(1.0, max(height, width) / LONG_SIDE)
        size = (max(1, round(width / self._scale)), max(1, round(height / self._scale)))
        small = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
        # A background kept as a colour picture must serve a grey camera, and a folder may hold both kinds.
        return np.asarray(cv2.cvtColor(small, cv2.COLOR_GRAY2BGR), np.uint8) if small.ndim == 2 else small

    def boxes(self, image: NDArray[np.uint8]) -> list[Box]:
        """In pixels of `image`; none while the background is being learned.

        Raises:
            UserError: it is of another size than the background, or the first frame.
        """
        small = self._reduced(image)
        if self._background is None:
            self._learn(small)
            return []
        mask = self._differs(small, self._background)
        self.covered = float(mask.mean())
        found = self._things(mask)
        self._adapt(small, mask)
        return found

    def _learn(self, small: NDArray[np.uint8]) -> None:
        """What moves would be in the background for good, and its place be taken for a part when it has gone."""
        if self._learning and self._things(self._differs(small, self._learning[0])):
            self._learning.clear()
        self._learning.append(small)
        if len(self._learning) == LEARNED_FROM:
            self._background = np.median(np.stack(self._learning), axis=0).astype(np.uint8)
            self._learning.clear()

    def _differs(self, small: NDArray[np.uint8], background: NDArray[np.uint8]) -> NDArray[np.uint8]:
        difference = cv2.absdiff(small, background).reshape(small.shape).max(axis=2)
        mask = (difference > self._difference).astype(np.uint8)
        return np.asarray(cv2.morphologyEx(mask, cv2.MORPH_CLOSE, CLOSING), np.uint8)

    def _things(self, mask: NDArray[np.uint8]) -> list[Box]:
        _, _, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
        scale = self._scale
        return [
            Box(left * scale, top * scale, (left + width) * scale, (top + height) * scale)
            for left, top, width, height, area in stats[1:]
            if area * scale * scale >= self._least_area
        ]

    def _adapt(self, small: NDArray[np.uint8], mask: NDArray[np.uint8]) -> None:
        self._frames += 1
        if self._frames % ADAPT_EVERY or self._background is None:
            return
        beside = cv2.dilate(mask, CLOSING) == 0
        step = np.sign(small.astype(np.int16) - self._background) * beside[:, :, None]
        self._background = (self._background + step).astype(np.uint8)
