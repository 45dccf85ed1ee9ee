"""A camera's raw pixels -> grey or BGR: one table of the 8-bit formats of the GenICam Pixel Format Naming Convention.

The convention names a Bayer pattern by its first row (BayerRG: red, green); OpenCV names it by the second row's second
and third pixel, so that GenICam's RG is OpenCV's BG.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

CONVERSIONS: dict[str, tuple[int, int | None]] = {
    "Mono8": (1, None),
    "BayerRG8": (1, cv2.COLOR_BayerBG2BGR),
    "BayerBG8": (1, cv2.COLOR_BayerRG2BGR),
    "BayerGR8": (1, cv2.COLOR_BayerGB2BGR),
    "BayerGB8": (1, cv2.COLOR_BayerGR2BGR),
    "RGB8": (3, cv2.COLOR_RGB2BGR),
    "RGB8Packed": (3, cv2.COLOR_RGB2BGR),
    "BGR8": (3, None),
    "BGR8Packed": (3, None),
    "RGBa8": (4, cv2.COLOR_RGBA2BGR),
    "RGBA8Packed": (4, cv2.COLOR_RGBA2BGR),
    "BGRa8": (4, cv2.COLOR_BGRA2BGR),
    "BGRA8Packed": (4, cv2.COLOR_BGRA2BGR),
}
"""Name -> bytes a pixel, and OpenCV's conversion (None: as it is)."""


def to_bgr(pixels: NDArray[np.uint8], width: int, height: int, pixel_format: str) -> NDArray[np.uint8]:
    """A picture of its own, so that the driver's buffer is free again.

    Args:
        pixels: uint8 of any shape, rows one after the other without padding between them; what follows the last is left out.
        pixel_format: a name of CONVERSIONS.

    Returns:
        (H, W) uint8 for Mono8, else (H, W, 3) uint8 BGR.

    Raises:
        ValueError: fewer pixels than the picture has, or a format that is not in the table.
    """
    if pixel_format not in CONVERSIONS:
        raise ValueError(f"pixel format {pixel_format} is not one of {', '.join(CONVERSIONS)}")
    depth, conversion = CONVERSIONS[pixel_format]
    flat = pixels.reshape(-1)
    if width <= 0 or height <= 0 or flat.size < width * height * depth:
        raise ValueError(f"{flat.size} bytes are too few for {width} x {height} pixels of {pixel_format}")
    rows = flat[: width * depth * height].reshape(height, width, depth)
    rows = rows[:, :, 0] if depth == 1 else rows
    return rows.copy() if conversion is None else np.asarray(cv2.cvtColor(rows, conversion), np.uint8)
