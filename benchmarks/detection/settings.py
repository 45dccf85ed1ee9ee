"""What is taught and what is tested: one unit of work for each set, setting, seed and case. Pure."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

SETTINGS = ("normals only", "seen kinds", "unseen kind", "few", "whole", "normals counted")
SEEDS = 5
FEW = {1: 5, 5: 10, 20: 5}
"""Labelled defects, and over how many seeds."""
COUNTS = (10, 20, 50, 100)
COUNT_SEEDS = 3

Indices = NDArray[np.int64]


class Unit(NamedTuple):
    """One run. `case` is the kind left out, the number of labelled defects, or that of normal parts; else empty."""

    set: str
    setting: str
    seed: int
    case: str = ""


def units(name: str, setting: str, kinds: Sequence[str], normals: int) -> Iterator[Unit]:
    """All runs of one setting on one set, seed by seed."""
    if setting in ("normals only", "seen kinds", "whole"):
        yield from (Unit(name, setting, seed) for seed in range(SEEDS))
    elif setting == "unseen kind" and len(kinds) > 1:
        yield from (Unit(name, setting, seed, kind) for seed in range(SEEDS) for kind in kinds)
    elif setting == "few":
        yield from (Unit(name, setting, seed, str(few)) for few in (5, 20, 1) for seed in range(FEW[few]))
    elif setting == "normals counted":
        yield from (
            Unit(name, setting, seed, str(count)) for seed in range(COUNT_SEEDS) for count in COUNTS if count < normals
        )


def fit_seed(unit: Unit) -> int:
    """Of head, folds and damage: beyond the first seeds only the draw of defects is another."""
    return unit.seed % SEEDS


def taught_and_tested(unit: Unit, kind: Sequence[str]) -> tuple[Indices, Indices]:
    """Indices of defects (sorted) to teach and to test with; `kind` (D,) names that of each."""
    of = np.array(kind)
    everyone = np.arange(len(of))
    random = np.random.default_rng([unit.seed, 1])
    if unit.setting == "seen kinds":
        drawn = [random.permutation(np.flatnonzero(of == one)) for one in dict.fromkeys(kind)]
        taught = np.concatenate([some[: len(some) // 2] for some in drawn])
    elif unit.setting == "unseen kind":
        return np.flatnonzero(of != unit.case), np.flatnonzero(of == unit.case)
    elif unit.setting == "few":
        taught = random.permutation(everyone)[: int(unit.case)]
    else:
        taught = everyone[:0]
    return np.sort(taught), np.setdiff1d(everyone, taught)


def counted_normals(unit: Unit, normals: int) -> Indices:
    """Which of the normal parts a run with fewer of them has: of one seed, the larger choice holds the smaller."""
    return np.sort(np.random.default_rng([unit.seed, 2]).permutation(normals)[: int(unit.case)])
