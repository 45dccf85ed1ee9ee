"""How well a picture is exposed and focused: what a person would look at before trusting a camera.

Sharpness is the variance of the Laplacian (Pech-Pacheco et al. 2000) over the mean grey, squared: a change of light scales
both alike. It depends on the scene and on the size of the picture, so it is only ever compared among pictures of one
camera.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

DARK_UP_TO, BRIGHT_FROM = 4, 251
"""Grey values, 0 to 255, that count as under- and over-exposed."""


@dataclass(frozen=True, slots=True)
class PictureQuality:
    """`mean_grey` 0 to 255; `under` and `over` are shares of pixels; `sharpness` >= 0, dimensionless."""

    mean_grey: float
    under: float
    over: float
    sharpness: float


def quality_of(picture: NDArray[np.uint8]) -> PictureQuality:
    """Of a picture (H, W), (H, W, 1), (H, W, 3) BGR or (H, W, 4) BGRA, uint8."""
    grey = picture
    if picture.ndim == 3:
        channels = picture.shape[2]
        code = cv2.COLOR_BGRA2GRAY if channels == 4 else cv2.COLOR_BGR2GRAY
        grey = picture[:, :, 0] if channels == 1 else np.asarray(cv2.cvtColor(picture, code), np.uint8)
    mean = float(grey.mean())
    laplacian = cv2.Laplacian(grey, cv2.CV_32F)
    return PictureQuality(
        mean,
        float((grey <= DARK_UP_TO).mean()),
        float((grey >= BRIGHT_FROM).mean()),
        float(laplacian.var()) / max(mean, 1.0) ** 2,
    )
