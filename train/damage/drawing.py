"""A picture of what synthetic damage looks like on this line's parts, for a person to judge."""

from collections.abc import Sequence
from pathlib import Path

import cv2
from numpy.random import Generator

from senbetsu.montage import draw_montage
from train.damage.parts import Picture
from train.damage.table import DAMAGE, damaged

EXAMPLES = 4
TITLE = "Synthetic damage, each right of the normal picture it was made from; from faint to plain"


def draw_damage(path: Path, pictures: Sequence[Picture], random: Generator, examples: int = EXAMPLES) -> None:
    """Write one PNG: a row for each kind, `examples` of it from faint to plain, each right of the untouched picture.

    Args:
        pictures: of normal parts, each (S, S, 3) BGR uint8 of one size.

    Raises:
        UserError: no picture, or the file cannot be written.
    """
    tiles: list[tuple[Picture, str]] = []
    pairs = [(one.kind, pictures[one.source], one.picture) for one in damaged(pictures, examples * len(DAMAGE), random)]
    for kind in DAMAGE:
        of_kind = [(normal, spoilt) for name, normal, spoilt in pairs if name == kind]
        for normal, spoilt in sorted(of_kind, key=lambda pair: cv2.norm(*pair)):
            tiles += [(normal, "normal"), (spoilt, kind.replace("_", " "))]
    draw_montage(path, tiles, TITLE, 2 * examples)
