"""Synthetic damage as a judge: which statistic of the frozen features sees damage best on *these* parts.

Held-out normal parts stand against copies of the same parts that were damaged on purpose (train.damage), all measured by
models that were fitted without them. The judge decides two things: how much of a place counts that its leading directions
leave over (senbetsu.places), and how much each statistic weighs,

    w_s = E / 3 + (1 - E) softmax(AUROC_s / T)_s

two thirds of it (E) spread evenly, since real damage is not ours. Nothing learns from the damage here.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from senbetsu.auroc import auroc
from senbetsu.backbone import Backbone
from senbetsu.features import Features, features_of
from senbetsu.fitting import fit
from senbetsu.images import read_image
from senbetsu.scoring import NOVELTY
from train.damage.table import damaged

REST_WEIGHTS = (0.0, 0.1, 0.3, 1.0)
"""Candidates for what is left over at a place."""
EVEN_REST_WEIGHT = 0.3
EVEN_SHARE = 2 / 3
TEMPERATURE = 0.03
"""A statistic whose AUROC is higher by this weighs e times as much in the judged share."""

Picture = NDArray[np.uint8]


@dataclass(frozen=True, slots=True, eq=False)
class DamagedParts:
    """Statistics of damaged copies, what was done to each, and the number of the normal part that it was made from."""

    features: Features
    kinds: tuple[str, ...]
    source: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Judgement:
    """Weights of NOVELTY, that of what is left over, and the AUROC that they rest on (empty where nothing was judged)."""

    weights: tuple[float, ...]
    rest_weight: float
    auroc: dict[str, float]
    auroc_by_rest_weight: dict[float, float]


class Pictures(Sequence[Picture]):
    """Picture files, each read and fitted to (S, S, 3) when it is asked for."""

    def __init__(self, paths: Sequence[Path], size: int) -> None:
        self._paths, self._size = paths, size

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, index: int) -> Picture:  # type: ignore[override]
        """The picture of that number."""
        picture = np.zeros((self._size, self._size, 3), np.uint8)
        fit(read_image(self._paths[index]), picture)
        return picture


def damage_parts(normals: Features, backbone: Backbone, count: int, seed: int) -> DamagedParts:
    """`count` damaged copies of normal parts, and their statistics."""
    kinds: list[str] = []
    source: list[int] = []

    def pictures() -> Iterator[Picture]:
        made = damaged(Pictures(normals.paths, backbone.input_size), count, np.random.default_rng(seed))
        for one in made:
            kinds.append(one.kind)
            source.append(one.source)
            yield one.picture

    features = features_of(pictures(), backbone, "damaged on purpose", count)
    return DamagedParts(features, tuple(kinds), np.array(source, np.int64))


def even() -> Judgement:
    """What holds where nothing was judged."""
    return Judgement((1 / len(NOVELTY),) * len(NOVELTY), EVEN_REST_WEIGHT, {}, {})


def judge(
    normal: NDArray[np.float64], damage: NDArray[np.float64], normal_places: NDArray[np.float64],
    damage_places: NDArray[np.float64],
) -> Judgement:  # fmt: skip
    """Weights by how well each statistic tells damage from normal parts.

    Args:
        normal, damage: log distances (N, 2) and (K, 2) of whole and windows.
        normal_places, damage_places: (N, R) and (K, R) of the places, a column for each of REST_WEIGHTS.
    """
    by_rest = {
        weight: auroc(normal_places[:, column], damage_places[:, column]) for column, weight in enumerate(REST_WEIGHTS)
    }
    rest = max(by_rest, key=lambda weight: (by_rest[weight], -weight))
    column = REST_WEIGHTS.index(rest)
    sees = [auroc(normal[:, s], damage[:, s]) for s in range(normal.shape[1])]
    sees.append(auroc(normal_places[:, column], damage_places[:, column]))
    judged = np.exp((np.array(sees) - max(sees)) / TEMPERATURE)
    weights = EVEN_SHARE / len(sees) + (1 - EVEN_SHARE) * judged / judged.sum()
    return Judgement(tuple(map(float, weights)), rest, dict(zip(NOVELTY, sees, strict=True)), by_rest)
