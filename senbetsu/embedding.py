"""What `train` leaves behind: the head, the moments of the normal parts that it saw, and how the statistics are fused.

The file's SHA-256 is the model's identity: every profile and every result carries it.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from senbetsu.artifacts import Tensors, load_artifact, save_artifact
from senbetsu.backbone import Backbone, recorded_backbone
from senbetsu.config import ModelSection
from senbetsu.errors import ArtifactError
from senbetsu.moments import Moments
from senbetsu.scoring import Fusion, Head, Scorer
from senbetsu.whitening import fit_isotropic, fit_whitening

WHOLE_RANK, WINDOWS_RANK = 256, 512
"""Directions kept: measured to cost less than .001 in AUROC for the whole picture and less than .006 for windows."""
NAME = "embedding"


@dataclass(frozen=True, slots=True, eq=False)
class NormalMoments:
    """Moments of normal parts: of their embeddings, their whole-picture statistics, and their windows'."""

    metric: Moments
    whole: Moments
    windows: Moments

    @property
    def count(self) -> int:
        """Parts."""
        return self.whole.count

    def merged(self, other: "NormalMoments") -> "NormalMoments":
        """Of both sets together."""
        return NormalMoments(
            self.metric.merged(other.metric), self.whole.merged(other.whole), self.windows.merged(other.windows)
        )


def normal_moments(head: Head, whole: np.ndarray[Any, Any], windows: np.ndarray[Any, Any]) -> NormalMoments:
    """Of statistics whole (N, F) and windows (N, 9, F), embedded by `head`."""
    return NormalMoments(Moments.of(head.embed(whole)), Moments.of(whole), Moments.of(windows))


def fit_scorer(head: Head, moments: NormalMoments, fusion: Fusion) -> Scorer:
    """Centroid of every statistic, and what distances to it are measured with. Raises ValueError for fewer than two parts."""
    return Scorer(
        head,
        fit_isotropic(moments.metric),
        fit_whitening(moments.whole, WHOLE_RANK),
        fit_whitening(moments.windows, WINDOWS_RANK),
        fusion,
    )


@dataclass(frozen=True, slots=True, eq=False)
class Embedding:
    """The learned model.

    `fold_heads[f]` was learned without the parts of fold f; `folds` tells of each normal part, by content SHA-256,
    which fold it is in: so that a part that was trained on can still be judged by a model that never saw it.
    """

    backbone: Backbone
    head: Head
    fold_heads: tuple[Head, ...]
    moments: NormalMoments
    fusion: Fusion
    folds: dict[str, int]
    sha256: str = ""

    @property
    def input_size(self) -> int:
        """Side of the square picture that the network sees, pixels."""
        return self.backbone.input_size


def save_embedding(folder: Path, embedding: Embedding, details: dict[str, Any]) -> str:
    """Write `embedding.*`; `details` (settings, counts, curves) go into the JSON. Returns the model's SHA-256."""
    tensors: Tensors = {
        "head.weight": embedding.head.weight,
        "head.bias": embedding.head.bias,
        "fold_heads.weight": np.stack([head.weight for head in embedding.fold_heads]),
        "fold_heads.bias": np.stack([head.bias for head in embedding.fold_heads]),
        "fusion": np.array([embedding.fusion.log_mean, embedding.fusion.log_std, embedding.fusion.weights]),
    }
    for name in ("metric", "whole", "windows"):
        moments: Moments = getattr(embedding.moments, name)
        tensors[f"moments.{name}.mean"] = moments.mean
        tensors[f"moments.{name}.scatter"] = moments.scatter.astype(np.float32)
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
        fusion = tensors["fusion"]
        return Embedding(
            backbone=recorded_backbone(document["backbone"], int(document["input_size"]), folder, model),
            head=Head(tensors["head.weight"], tensors["head.bias"]),
            fold_heads=tuple(
                Head(weight, bias)
                for weight, bias in zip(tensors["fold_heads.weight"], tensors["fold_heads.bias"], strict=True)
            ),
            moments=NormalMoments(
                *(
                    Moments(
                        count, tensors[f"moments.{name}.mean"], tensors[f"moments.{name}.scatter"].astype(np.float64)
                    )
                    for name in ("metric", "whole", "windows")
                )
            ),
            fusion=Fusion(*(tuple(float(v) for v in row) for row in fusion)),  # type: ignore[arg-type]
            folds={str(sha256): int(fold) for sha256, fold in document["folds"].items()},
            sha256=document["sha256"],
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ArtifactError(f"{folder}/{NAME}.*: incomplete ({error!r}); run `senbetsu train` again") from error
