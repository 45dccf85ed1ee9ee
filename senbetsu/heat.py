"""Where on a part the novelty gauge sees something: per-place distances as a map, and the map laid over the picture.

    h_l = sqrt(q_l) / d_0

with q_l the squared distance of place l (see senbetsu.places) and d_0 the distance that places give a typical normal part,
which its farthest places make. So 1 is as far as the farthest places of a typical normal part lie, whatever the line.
"""

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from senbetsu.features import Features
from senbetsu.scoring import STATISTICS, Scorer

PALE_FROM, FULL_AT = 1.0, 2.5
"""In units of h: what is drawn as nothing, and as full colour."""
COLOUR_BGR = (0, 30, 255)
STRONGEST = 0.65
"""The share of colour at most, so that the part still shows through."""

Picture = NDArray[np.uint8]


def heat_map(scorer: Scorer, parts: Features) -> NDArray[np.float32]:
    """h of N parts: (N, rows, columns) float32, >= 0, dimensionless, 1 = the farthest places of a typical normal part."""
    squared = scorer.places.squared(parts.context, parts.places)
    side = math.isqrt(squared.shape[1])
    typical = math.exp(scorer.fusion.log_mean[STATISTICS.index("places")])
    heat: NDArray[np.float32] = (np.sqrt(np.maximum(squared, 0)) / typical).astype(np.float32).reshape(-1, side, side)
    return heat


def lay_over(picture: Picture, heat: NDArray[np.float32]) -> Picture:
    """A picture (H, W, 3) BGR with one part's map (rows, columns) laid over it; a place that is not finite is hot."""
    known = np.nan_to_num(heat, nan=np.inf, posinf=np.inf).clip(0, FULL_AT).astype(np.float32)
    height, width = picture.shape[:2]
    fine = cv2.resize(known, (width, height), interpolation=cv2.INTER_LINEAR)
    share = STRONGEST * np.clip((fine - PALE_FROM) / (FULL_AT - PALE_FROM), 0, 1)[:, :, None]
    mixed: Picture = np.rint(picture * (1 - share) + np.array(COLOUR_BGR) * share).astype(np.uint8)
    return mixed
