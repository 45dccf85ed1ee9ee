"""The kinds of damage by name, and sets of damaged pictures.

A damage that cannot be seen judges nothing, one that spoils the whole picture judges as little. So every kind is drawn
anew until enough pixels, and not too many, have changed clearly; on a picture that hides a kind altogether (a blur on a
plain surface) a plain spot stands in for it.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, Protocol

import numpy as np
from numpy.random import Generator

from senbetsu.errors import UserError
from train.damage.altered import blur, light, warp
from train.damage.marks import crack, spot
from train.damage.parts import Picture, Weights, part_of, where_parts_are
from train.damage.pasted import cut_paste, foreign_texture, missing_piece, scar
from train.damage.shapes import blend, blob, draw_centre

SEEN_LEVELS = 8
"""Grey levels by which a pixel must differ to count as clearly changed."""

LEAST_SEEN = 0.0002
"""Share of the picture's pixels that must have changed clearly."""

MOST_CHANGED = 0.25
"""Share of the picture's pixels that may have changed at all: twice the largest damage and its soft edge."""

TRIES = 8
PICTURES_FOR_PLACES = 64

Kind = Callable[[Picture, Picture, Generator, Weights], Picture]


class Damage(Protocol):
    """`where` (S, S) float32 weights the places, 0 where the picture shows background; if not given, all is part."""

    def __call__(self, picture: Picture, donor: Picture, random: Generator, where: Weights | None = None) -> Picture:
        """A new picture (S, S, 3) uint8, with the picture, the donor of the same shape and `where` left as they are."""


class Damaged(NamedTuple):
    """One damaged picture (S, S, 3) uint8, the name of its kind, and the index of the picture it was made from."""

    picture: Picture
    kind: str
    source: int


def is_seen(before: Picture, after: Picture) -> bool:
    """Whether enough pixels of (S, S, 3) differ clearly, and not too many differ at all."""
    difference = np.abs(before.astype(np.int16) - after).max(2)
    return bool((difference >= SEEN_LEVELS).mean() >= LEAST_SEEN and (difference > 0).mean() <= MOST_CHANGED)


def _surely(kind: Kind) -> Damage:
    """The kind, drawn until it is seen."""

    def damage(picture: Picture, donor: Picture, random: Generator, where: Weights | None = None) -> Picture:
        places = np.ones(picture.shape[:2], np.float32) if where is None else where
        for _ in range(TRIES):
            after = kind(picture, donor, random, places)
            if is_seen(picture, after):
                return after
        return _plain_spot(picture, random, places)

    return damage


def _plain_spot(picture: Picture, random: Generator, where: Weights) -> Picture:
    """A spot as far from the colour below it as it takes to be seen on any picture."""
    mask = blob(random, picture.shape[0], draw_centre(random, where), 0.005, soft=0.2)
    below = float((picture.mean(2) * mask).sum() / mask.sum())
    return blend(picture, np.full(3, 0.0 if below > 127 else 255.0), mask * np.float32(random.uniform(0.15, 0.5)))


DAMAGE: dict[str, Damage] = {
    kind.__name__: _surely(kind)
    for kind in (cut_paste, scar, foreign_texture, light, blur, warp, missing_piece, crack, spot)
}


def damaged(
    pictures: Sequence[Picture], count: int, random: Generator, kinds: Sequence[str] | None = None
) -> Iterator[Damaged]:
    """Damaged pictures one by one, evenly over the kinds and over the pictures they are made from.

    Args:
        pictures: of normal parts, each (S, S, 3) BGR uint8 of one size; a sequence that reads them when asked will do.
        count: how many.
        kinds: names in DAMAGE; all of them if not given.

    Raises:
        UserError: an unknown kind, or no picture.
    """
    names = list(DAMAGE) if kinds is None else list(kinds)
    if not names or not set(names) <= set(DAMAGE):
        raise UserError(f"kinds of damage {names}: there are {', '.join(DAMAGE)}")
    if len(pictures) == 0:
        raise UserError("no picture to damage: give pictures of normal parts")
    return _damaged(pictures, count, random, names)


def _damaged(pictures: Sequence[Picture], count: int, random: Generator, names: list[str]) -> Iterator[Damaged]:
    some = np.unique(np.linspace(0, len(pictures) - 1, PICTURES_FOR_PLACES).astype(int))
    where = where_parts_are(pictures[i] for i in some)
    order: list[int] = []
    for number in range(count):
        # A new order each time round, so that a picture does not meet the same kind again and again.
        order = order or random.permutation(len(pictures)).tolist()
        source = order.pop()
        donor = (source + int(random.integers(1, len(pictures)))) % len(pictures) if len(pictures) > 1 else source
        name = names[number % len(names)]
        picture = pictures[source]
        yield Damaged(DAMAGE[name](picture, pictures[donor], random, _places(picture, where)), name, source)


def _places(picture: Picture, where: Weights) -> Weights:
    """Where parts usually are and this one is, since parts may lie anywhere."""
    if where.all():
        return where
    here = np.asarray(where * part_of(picture), np.float32)
    return here if here.any() else where
