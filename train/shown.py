"""The parts that `train` is shown: pictures of normal ones, and of defects by kind."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from senbetsu.errors import UserError
from senbetsu.features import Features
from senbetsu.images import find_images, images_by_kind
from train.labels import UNKNOWN

NORMAL = "normal"
UNKNOWN_KIND = "unknown"
"""Folder under --defects of those that nobody has told apart."""


def find_parts(normal: Path, defects: Path | None) -> tuple[list[Path], dict[str, list[Path]]]:
    """Pictures of normal parts, and of defects by kind."""
    kinds = {} if defects is None else images_by_kind(defects)
    if defects is not None and NORMAL in kinds:
        raise UserError(f"{defects / NORMAL}: a kind of defect cannot be called {NORMAL!r}; rename the folder")
    return find_images([normal]), kinds


def gather(
    normals: Features, kinds: dict[str, Features]
) -> tuple[Features | None, np.ndarray[Any, Any], dict[str, int]]:
    """All defects as one, the label of every part (normals first), and how many parts each class has.

    Labels number the classes in their order, normal 0; defects of the kind "unknown" come last, as train.labels.UNKNOWN.

    Raises:
        UserError: the same picture is shown as normal and as a defect.
    """
    labels = [np.zeros(len(normals), np.int64)]
    classes = {NORMAL: len(normals)}
    known = dict(zip(normals.sha256, normals.paths, strict=True))
    kinds = dict(sorted(kinds.items(), key=lambda item: item[0] == UNKNOWN_KIND))
    for number, (kind, features) in enumerate(kinds.items(), 1):
        for sha256, path in zip(features.sha256, features.paths, strict=True):
            if sha256 in known:
                raise UserError(
                    f"{path}: the same picture as {known[sha256]}; a part is normal or of one kind of defect"
                )
            known[sha256] = path
        labels.append(np.full(len(features), UNKNOWN if kind == UNKNOWN_KIND else number, np.int64))
        classes[kind] = len(features)
    if not kinds:
        return None, labels[0], classes
    return Features.joined(list(kinds.values())), np.concatenate(labels), classes


def held_back(normals: Features, count: int, fewest: int) -> NDArray[np.bool_]:
    """Mask (N,) of the normal parts that are kept from learning, so that they may set a threshold: those with the lowest
    content hashes, which is as good as drawn at random, and the same ones whatever the files are called.

    Raises:
        UserError: fewer than `fewest` are left to learn from.
    """
    if len(normals) - count < fewest:
        raise UserError(
            f"--hold-back {count}: of {len(normals)} unlike normal pictures {max(len(normals) - count, 0)} are left to learn "
            f"from; at least {fewest} are needed, and 50 or more are better"
        )
    held = np.zeros(len(normals), bool)
    held[np.argsort(np.array(normals.sha256))[:count]] = True
    return held
