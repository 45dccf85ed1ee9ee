"""What `calibrate` fits, refitted hundreds of times on other choices of the same normal parts, and what it then scores.

Centroids, whitenings and the axes of the places are fitted on the parts that are given, by the product's own functions on
fp32 features. Frozen statistics, all or some, weigh the same and there is no learned head, so that nothing of a split's rest
leaks into a score by way of `train`. Where there are fewer vectors than dimensions the whitening is found from their Gram
matrix: the same whitening, ten times as fast (tests/benchmarks/test_calibration.py holds the two together).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.linalg import eigh

from benchmarks.detection.parts import load_parts
from senbetsu.backbone import find_backbone
from senbetsu.config import ModelSection
from senbetsu.embedding import WHOLE_RANK, WINDOWS_RANK
from senbetsu.features import Features
from senbetsu.moments import Moments
from senbetsu.places import PlaceFrame, PlaceMoments, Places, fit_places
from senbetsu.scoring import NOVELTY
from senbetsu.whitening import Whitening, fit_whitening, oas_weight

FOLDS = 5
REST_WEIGHT = 1.0
Scores = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Set:
    """All normal parts of a set, the lot of each, and its defects."""

    folder: Path
    """Of all sets."""
    name: str
    normal: Features
    lot: NDArray[np.str_]
    defects: Features


def load_set(data: Path, name: str) -> Set:
    """Lots: the exposure `expN` of a magnetic tile, the type of a solar cell; cookies are one lot."""
    parts = load_parts(data, name, find_backbone(ModelSection()))
    normal = Features.joined([parts.train, parts.test])
    return Set(data, name, normal, np.array([_lot(name, path) for path in normal.paths]), parts.defects)


def _lot(name: str, path: Path) -> str:
    if name == "magnetic_tile":
        return path.name.split("_")[0]
    return elpv_types()[path.name] if name == "elpv" else "all"


def elpv_types() -> dict[str, str]:
    """mono or poly, by file name, of every solar cell."""
    import elpv_dataset

    labels = Path(elpv_dataset.__file__).parent / "data/labels.csv"
    rows = (line.split() for line in labels.read_text(encoding="utf-8").splitlines())
    return {Path(row[0]).name: row[2] for row in rows}


@dataclass(frozen=True, slots=True, eq=False)
class Model:
    """Fitted on some normal parts."""

    whole: Whitening
    windows: Whitening | None
    places: Places | None

    @classmethod
    def of(cls, parts: Features, statistics: Sequence[str] = NOVELTY) -> "Model":
        """Of two parts or more. whole, places, windows take about .1, .4 and 1.5 s for 400 tiles."""
        windows = whitening_of(parts.windows, WINDOWS_RANK) if "windows" in statistics else None
        places = None
        if "places" in statistics:
            frame = PlaceFrame.of(parts.context, parts.places)
            places = fit_places(frame, PlaceMoments.of(frame, parts.context, parts.places), REST_WEIGHT)
        return cls(whitening_of(parts.whole[:, None], WHOLE_RANK), windows, places)

    def scores(self, parts: Features) -> Scores:
        """(N,): the geometric mean of the distances."""
        logs = [np.log(distance_in_fp32(self.whole, parts.whole[:, None]))]
        if self.places is not None:
            logs.append(np.log(self.places.distance(parts.context, parts.places)))
        if self.windows is not None:
            logs.append(np.log(distance_in_fp32(self.windows, parts.windows)))
        fused: Scores = np.exp(np.mean(logs, 0))
        return fused


def whitening_of(vectors: NDArray[np.float32], rank: int) -> Whitening:
    """`fit_whitening` of vectors (N, G, D)."""
    N, _, D = vectors.shape
    mean = vectors.mean(0, dtype=np.float64)
    X = (vectors - mean.astype(np.float32)).reshape(-1, D)
    rows = torch.from_numpy(X)
    if len(X) >= D:
        return fit_whitening(Moments(N, mean, (rows.T @ rows).double().numpy()), rank)
    gram = (rows @ rows.T).double().numpy() / len(X)
    values, vectors_ = eigh(gram)
    weight = oas_weight(float(np.trace(gram)), float(np.square(gram).sum()), D, len(X))
    keep = values[::-1] > 1e-7 * values[-1]
    keep[rank:] = False
    leading = values[::-1][keep]
    directions = X.T.astype(np.float64) @ vectors_[:, ::-1][:, keep] / np.sqrt(leading * len(X))
    scale = float(np.trace(gram)) / D
    shrunk = (1 - weight) * leading + weight * scale
    rest = (float(np.trace(gram)) - float(shrunk.sum())) / (D - len(leading))
    return Whitening(mean, directions, shrunk, max(rest, 1e-9 * scale))


def distance_in_fp32(whitening: Whitening, vectors: NDArray[np.float32]) -> Scores:
    """`Whitening.distance` of (N, G, D), in half the time."""
    Y = torch.from_numpy(vectors - whitening.centroid.astype(np.float32))
    along = (Y @ torch.from_numpy(whitening.directions.astype(np.float32))).square()
    scaled = along @ torch.from_numpy((1 / whitening.variances).astype(np.float32))
    left_over = (Y.square().sum(-1) - along.sum(-1)).clamp_min(0) / whitening.rest_variance
    distance: Scores = (scaled + left_over).amax(-1).sqrt().double().numpy()
    return distance


def deal(keys: Sequence[str], folds: int, random: np.random.Generator) -> NDArray[np.int64]:
    """A fold for each part. Parts with the same key stay together; folds are filled as evenly as can be."""
    names, of, counts = np.unique(np.array(keys), return_inverse=True, return_counts=True)
    order = random.permutation(len(names))
    order = order[np.argsort(-counts[order], kind="stable")]
    filled = np.zeros(min(folds, len(names)), np.int64)
    fold = np.zeros(len(names), np.int64)
    for name in order:
        fold[name] = int(np.argmin(filled))
        filled[fold[name]] += counts[name]
    return np.asarray(fold[of], np.int64)


def held_out_scores(parts: Features, fold: NDArray[np.int64], statistics: Sequence[str] = NOVELTY) -> Scores:
    """Each part's score by a model that was fitted without its fold."""
    scores = np.zeros(len(parts))
    for number in np.unique(fold):
        inside = fold == number
        scores[inside] = Model.of(parts.take(~inside), statistics).scores(parts.take(inside))
    return scores
