"""Pictures side by side, each with a caption, as one PNG."""

import textwrap
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from senbetsu.drawing import png_of
from senbetsu.files import write_atomically

Picture = NDArray[np.uint8]

DPI = 150
TILE, GAP, CAPTION, TITLE_LINE, MARGIN = 190, 8, 26, 30, 12
"""Pixels: a picture's longer side, what lies between two, a caption's and a title line's height, round about."""
LEAST_WIDTH = 600
TITLE_POINTS, CAPTION_POINTS = 11, 7.5
TITLE_LETTER = 12.5
"""Pixels that a letter of the title takes on average."""
CAPTION_LETTERS = 22


def draw_montage(path: Path, tiles: Sequence[tuple[Picture, str]], title: str, columns: int = 8) -> None:
    """Write pictures (H, W, 3) BGR with a caption each as one PNG. Raises UserError where it cannot be written."""
    columns = max(1, min(columns, len(tiles)))
    rows = max(1, -(-len(tiles) // columns))
    width = max(LEAST_WIDTH, 2 * MARGIN + columns * TILE + (columns - 1) * GAP)
    lines = textwrap.wrap(title, max(1, int((width - 2 * MARGIN) / TITLE_LETTER)))
    top = 2 * MARGIN + TITLE_LINE * len(lines)
    height = top + rows * (CAPTION + TILE + GAP) + MARGIN
    # One picture of all: an axes for each would take several times as long.
    canvas = np.full((height, width, 3), 255, np.uint8)
    figure = Figure(figsize=(width / DPI, height / DPI), dpi=DPI)

    def write(x: float, y: float, text: str, points: float) -> None:
        figure.text(x / width, 1 - y / height, text, fontsize=points, ha="center", va="center")

    for number, line in enumerate(lines):
        write(width / 2, MARGIN + TITLE_LINE * (number + 0.5), line, TITLE_POINTS)
    if not tiles:
        write(width / 2, top + TILE / 2, "none", TITLE_POINTS)
    left = (width - columns * TILE - (columns - 1) * GAP) // 2
    for index, (picture, caption) in enumerate(tiles):
        row, column = divmod(index, columns)
        x, y = left + column * (TILE + GAP), top + row * (CAPTION + TILE + GAP)
        short = caption if len(caption) <= CAPTION_LETTERS else f"{caption[: CAPTION_LETTERS - 1]}…"
        write(x + TILE / 2, y + CAPTION / 2, short, CAPTION_POINTS)
        _lay(canvas[y + CAPTION : y + CAPTION + TILE, x : x + TILE], picture)
    figure.figimage(cv2.cvtColor(canvas, cv2.COLOR_BGR2RGB), origin="upper", zorder=-1)
    write_atomically(path, png_of(figure, DPI))


def _lay(place: Picture, picture: Picture) -> None:
    """The picture into the middle of its place, as large as fits."""
    scale = TILE / max(picture.shape[:2])
    height, width = (max(1, round(side * scale)) for side in picture.shape[:2])
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_NEAREST
    y, x = (TILE - height) // 2, (TILE - width) // 2
    place[y : y + height, x : x + width] = cv2.resize(picture, (width, height), interpolation=how)
