"""A picture of what synthetic damage looks like on this line's parts, for a person to judge."""

from collections.abc import Sequence
from pathlib import Path

from numpy.random import Generator

from senbetsu.drawing import draw_montage
from train.damage.parts import Picture
from train.damage.table import DAMAGE, damaged

EXAMPLES = 4


def draw_damage(path: Path, pictures: Sequence[Picture], random: Generator, examples: int = EXAMPLES) -> None:
    """Write one PNG: a row for each kind, `examples` of it, each right of the untouched picture.

    Args:
        pictures: of normal parts, each (S, S, 3) BGR uint8 of one size.

    Raises:
        UserError: no picture, or the file cannot be written.
    """
    tiles: list[tuple[Picture, str]] = []
    for kind in DAMAGE:
        for one in damaged(pictures, examples, random, [kind]):
            tiles += [(pictures[one.source], "normal"), (one.picture, kind.replace("_", " "))]
    draw_montage(path, tiles, "Synthetic damage, each beside the normal picture it was made from", 2 * examples)
