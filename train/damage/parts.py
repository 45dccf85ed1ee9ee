"""Where the part is in the picture, so that damage is put on the part and not beside it.

The picture's border shows the background, if the part does not fill the frame: a pixel whose colour lies clearly outside
the border's own spread belongs to the part. Where that does not tell the two apart (a texture that fills the frame, a
part that is cut by it), the whole picture counts as part.
"""

from collections.abc import Iterable

import cv2
import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.uint8]
Weights = NDArray[np.float32]

BORDER = 1 / 32
"""Width of the border that is read, of the side."""

LEAST_CONTRAST = 12.0
"""In grey levels: less than this from the background is shade and sensor noise."""

LEAST_SHARE, MOST_SHARE = 0.03, 0.92
"""Of the picture, that a part covers if it can be told from the background."""

MOST_ON_BORDER = 0.1
"""Of the border's pixels that may look like part: a part that runs off the picture cannot be told from background."""

LEAST_TOLD = 0.9
"""Of the pictures, that must tell the part from the background."""


def part_of(picture: Picture) -> NDArray[np.bool_]:
    """The pixels (S, S) of a picture (S, S, 3) BGR that show the part; all of them where it cannot be told."""
    side = picture.shape[0]
    width = max(2, round(side * BORDER))
    on_border = np.ones((side, side), bool)
    on_border[width:-width, width:-width] = False
    smooth = cv2.GaussianBlur(picture, (0, 0), side / 112).astype(np.float32)
    background = np.median(smooth[on_border], axis=0)
    contrast = np.abs(smooth - background).max(2)
    limit = max(LEAST_CONTRAST, 1.5 * float(np.quantile(contrast[on_border], 0.9)))
    if (contrast > limit).any():
        # Smoothing spreads a part of high contrast: its outline is where half of the way to the part's colour is gone.
        limit = max(limit, 0.45 * float(np.median(contrast[contrast > limit])))
    part = _largest_without_holes(contrast > limit)
    share = float(part.mean())
    if not LEAST_SHARE <= share <= MOST_SHARE or part[on_border].mean() > MOST_ON_BORDER:
        return np.ones((side, side), bool)
    return part


def where_parts_are(pictures: Iterable[Picture]) -> Weights:
    """How often a place shows the part, over many pictures (S, S, 3) of one line.

    Returns:
        (S, S) float32 in 0..1, the largest of them 1; 1 everywhere unless nearly every picture tells the part from the
        background: a texture that fills the frame seems to do so now and then.

    Raises:
        ValueError: no picture.
    """
    total: NDArray[np.float32] | None = None
    told = count = 0
    for picture in pictures:
        part = part_of(picture)
        total = np.zeros(part.shape, np.float32) if total is None else total
        count += 1
        if not part.all():
            told += 1
            total += part
    if total is None:
        raise ValueError("no picture to find parts in")
    if told < LEAST_TOLD * count:
        return np.ones_like(total)
    return np.asarray(total / total.max(), np.float32)


def _largest_without_holes(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The largest connected region with its outline filled, since dark spots on a part belong to it."""
    # Joined over small gaps: a dark spot at the part's rim would open a bay in it.
    size = max(3, mask.shape[0] // 24)
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size))
    joined = cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_CLOSE, disc)
    outlines, _ = cv2.findContours(joined, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    filled = np.zeros(mask.shape, np.uint8)
    if outlines:
        cv2.drawContours(filled, [max(outlines, key=cv2.contourArea)], -1, 1, cv2.FILLED)
    return filled > 0
