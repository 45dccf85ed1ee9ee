"""What `train` leaves behind: head and axes, the moments of the normal parts that it saw, and how statistics are fused.

The file's SHA-256 is the model's identity: every profile and every result carries it.
"""

from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from senbetsu.artifacts import Tensors, load_artifact, save_artifact
from senbetsu.backbone import Backbone, recorded_backbone
from senbetsu.config import ModelSection
from senbetsu.errors import ArtifactError
from senbetsu.moments import Moments
from senbetsu.places import PlaceFrame, PlaceMoments, fit_places
from senbetsu.scoring import Fusion, Head, Scorer
from senbetsu.tuned import Tuned
from senbetsu.whitening import fit_isotropic, fit_whitening

if TYPE_CHECKING:
    from senbetsu.features import Features

WHOLE_RANK, WINDOWS_RANK = 256, 512
"""Directions kept. Half as many cost accuracy on tiles; what a full whitening would gain was not measured."""
NAME = "embedding"
HEAD = tuple(field.name for field in fields(Head))
FRAME = tuple(field.name for field in fields(PlaceFrame))
PLACES = tuple(field.name for field in fields(PlaceMoments) if field.name != "count")


@dataclass(frozen=True, slots=True, eq=False)
class Axes:
    """What was learned of parts before anything is measured against a centroid: the head, and the axes of the places.

    Where the backbone was fine-tuned, `tuned` belongs to the head, which maps the statistics of the tuned maps.
    """

    head: Head
    frame: PlaceFrame
    tuned: Tuned | None = None

    def backbone(self, backbone: Backbone) -> Backbone:
        """The backbone that the head belongs to."""
        return replace(backbone, tuned=self.tuned)


@dataclass(frozen=True, slots=True, eq=False)
class NormalMoments:
    """Moments of normal parts: of their embeddings, their whole-picture statistics, their windows' and their places'."""

    metric: Moments
    whole: Moments
    windows: Moments
    places: PlaceMoments

    @property
    def count(self) -> int:
        """Parts."""
        return self.whole.count

    def merged(self, other: "NormalMoments") -> "NormalMoments":
        """Of both sets together, both along the same axes."""
        return NormalMoments(
            self.metric.merged(other.metric), self.whole.merged(other.whole), self.windows.merged(other.windows),
            self.places.merged(other.places),
        )  # fmt: skip

    def without(self, other: "NormalMoments") -> "NormalMoments":
        """Of what is left when a subset is taken away, both along the same axes."""
        return NormalMoments(
            self.metric.without(other.metric), self.whole.without(other.whole), self.windows.without(other.windows),
            self.places.without(other.places),
        )  # fmt: skip


def normal_moments(axes: Axes, parts: "Features") -> NormalMoments:
    """Of normal parts, measured along `axes`."""
    return NormalMoments(
        Moments.of(axes.head.embed(parts.head_rows)),
        Moments.of(parts.whole),
        Moments.of(parts.windows),
        PlaceMoments.of(axes.frame, parts.context, parts.places),
    )


def fit_scorer(axes: Axes, moments: NormalMoments, fusion: Fusion, rest_weight: float) -> Scorer:
    """Centroid of every statistic, and what distances to it are measured with.

    Args:
        rest_weight: how much of a place is what its leading directions leave over, see senbetsu.places.

    Raises:
        ValueError: fewer than two parts.
    """
    return Scorer(
        axes.head,
        fit_isotropic(moments.metric),
        fit_whitening(moments.whole, WHOLE_RANK),
        fit_whitening(moments.windows, WINDOWS_RANK),
        fit_places(axes.frame, moments.places, rest_weight),
        fusion,
    )


@dataclass(frozen=True, slots=True, eq=False)
class Embedding:
    """The learned model.

    `fold_axes[f]` were learned without the parts of fold f; `folds` tells of each normal part, by content SHA-256,
    which fold it is in: so that a part that was trained on can still be judged by a model that never saw it.
    """

    backbone: Backbone
    """With what was tuned, if anything was."""
    axes: Axes
    fold_axes: tuple[Axes, ...]
    moments: NormalMoments
    fusion: Fusion
    rest_weight: float
    folds: dict[str, int]
    sha256: str = ""

    @property
    def input_size(self) -> int:
        """Side of the square picture that the network sees, pixels."""
        return self.backbone.input_size


def save_embedding(folder: Path, embedding: Embedding, details: dict[str, Any]) -> str:
    """Write `embedding.*`; `details` (settings, counts, curves) go into the JSON. Returns the model's SHA-256."""
    tensors: Tensors = {
        "fusion": np.array([embedding.fusion.log_mean, embedding.fusion.log_std, embedding.fusion.weights]),
        "rest_weight": np.array([embedding.rest_weight]),
    }
    for number, axes in enumerate((embedding.axes, *embedding.fold_axes)):
        where = "axes" if number == 0 else f"fold_axes.{number - 1}"
        tensors |= {f"{where}.head.{name}": getattr(axes.head, name) for name in HEAD}
        tensors |= {f"{where}.frame.{name}": getattr(axes.frame, name) for name in FRAME}
        if axes.tuned is not None:
            tensors |= {f"{where}.tuned.{name}": values for name, values in axes.tuned.tensors.items()}
    for name in ("metric", "whole", "windows"):
        moments: Moments = getattr(embedding.moments, name)
        tensors[f"moments.{name}.mean"] = moments.mean
        tensors[f"moments.{name}.scatter"] = moments.scatter.astype(np.float32)
    for name in PLACES:
        tensors[f"moments.places.{name}"] = getattr(embedding.moments.places, name).astype(np.float32)
    document = {
        "backbone": embedding.backbone.record(),
        "input_size": embedding.input_size,
        "normals": embedding.moments.count,
        "folds": embedding.folds,
        **details,
    }
    return save_artifact(folder, NAME, tensors, document)


def load_embedding(folder: Path, model: ModelSection = ModelSection()) -> Embedding:  # noqa: B008  (frozen)
    """Read `embedding.*`, and find the backbone that it was made with; `model` says where, if need be.

    Raises:
        ArtifactError: they are missing or damaged, or the backbone is not here, or is not the one that `model` names.
        ConfigError: the package with the backbone's weights is not installed.
    """
    tensors, document = load_artifact(folder, NAME, "train")
    try:
        count = int(document["normals"])
        numbers = sorted({int(name.split(".")[1]) for name in tensors if name.startswith("fold_axes.")})
        axes = _axes(tensors, "axes")
        recorded = recorded_backbone(document["backbone"], int(document["input_size"]), folder, model)
        return Embedding(
            backbone=axes.backbone(recorded),
            axes=axes,
            fold_axes=tuple(_axes(tensors, f"fold_axes.{number}") for number in numbers),
            moments=_moments(tensors, count),
            fusion=Fusion(*(tuple(float(v) for v in row) for row in tensors["fusion"])),
            rest_weight=float(tensors["rest_weight"][0]),
            folds={str(sha256): int(fold) for sha256, fold in document["folds"].items()},
            sha256=document["sha256"],
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ArtifactError(f"{folder}/{NAME}.*: incomplete ({error!r}); run `senbetsu train` again") from error


def _axes(tensors: Tensors, where: str) -> Axes:
    prefix = f"{where}.tuned."
    tuned = {name.removeprefix(prefix): values for name, values in tensors.items() if name.startswith(prefix)}
    return Axes(
        Head(*(tensors[f"{where}.head.{name}"] for name in HEAD)),
        PlaceFrame(*(tensors[f"{where}.frame.{name}"] for name in FRAME)),
        Tuned(tuned) if tuned else None,
    )


def _moments(tensors: Tensors, count: int) -> NormalMoments:
    metric, whole, windows = (
        Moments(count, tensors[f"moments.{name}.mean"], tensors[f"moments.{name}.scatter"].astype(np.float64))
        for name in ("metric", "whole", "windows")
    )
    places = PlaceMoments(count, *(tensors[f"moments.places.{name}"].astype(np.float64) for name in PLACES))
    return NormalMoments(metric, whole, windows, places)
