"""Fixed regions of a frame: several parts on a tray or in lanes, or several views of one."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from senbetsu.config import RegionSection


def cut(image: NDArray[np.uint8], regions: Sequence[RegionSection]) -> list[NDArray[np.uint8] | None]:
    """A view (no copy) of each region of an (H, W) or (H, W, 3) image; the whole image where there are no regions.

    None for a region that is not wholly inside: half a part is not looked at.
    """
    if not regions:
        return [image]
    height, width = image.shape[:2]
    return [
        image[r.y : r.y + r.height, r.x : r.x + r.width]
        if r.x + r.width <= width and r.y + r.height <= height
        else None
        for r in regions
    ]
