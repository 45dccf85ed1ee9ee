"""Which label is what, and whether the labels at hand suffice for a loss.

Normal parts are label 0, kinds of defect 1, 2, ..., and a defect of unknown kind is UNKNOWN. Nobody knows which of the
unknown ones are alike, so each is only ever a negative: never an anchor, never a positive, not even of another one; and
two of them count as unlike labels where two different ones are asked for.
"""

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from senbetsu.errors import UserError

NORMAL = 0
UNKNOWN = -1


def alike(labels: Tensor) -> Tensor:
    """(B,) int64 labels -> (B, B) bool: may j be a positive of anchor i? An image is none of itself."""
    same = (labels[:, None] == labels[None, :]) & (labels != UNKNOWN)[:, None]
    return same.fill_diagonal_(False)


def unlike(labels: Tensor) -> Tensor:
    """(B,) int64 labels -> (B, B) bool: do i and j count as of two different labels? Symmetric."""
    different = (labels[:, None] != labels[None, :]) | (labels == UNKNOWN)[:, None]
    return different.fill_diagonal_(False)


def negatives(labels: Tensor) -> Tensor:
    """(B,) int64 labels -> (B, B) bool: may j be a negative of anchor i? An UNKNOWN image is no anchor: its row is False."""
    return unlike(labels) & (labels != UNKNOWN)[:, None]


def positive_pairs(labels: Tensor) -> tuple[Tensor, Tensor]:
    """All (anchor, positive), sorted by anchor, then positive; labels (B,) int64, two index tensors int64."""
    anchor, positive = alike(labels).nonzero(as_tuple=True)
    return anchor, positive


def other_labels(labels: NDArray[np.int64] | Tensor) -> int:
    """How many labels there are beside the normals' own; each UNKNOWN image counts as one."""
    values = np.asarray(labels)
    kinds = np.unique(values[(values != NORMAL) & (values != UNKNOWN)])
    return len(kinds) + int((values == UNKNOWN).sum())


def require_two_other_labels(labels: NDArray[np.int64], labels_per_batch: int, what: str) -> None:
    """A quadruplet takes two negatives of two different labels, both other than the anchor's.

    Args:
        labels: (N,) of all images, normals label 0.
        labels_per_batch: P of P x K batches, which the normals' label is one of; UNKNOWN images come beside them.
        what: the setting and the run that ask for it, for the message.

    Raises:
        UserError: there are fewer than two labels beside the normals', or fewer than two in a batch.
    """
    found = other_labels(labels)
    if found < 2:
        raise UserError(
            f"{what}: a quadruplet needs two labels beside {NORMAL} (normal), found {found}; show a second kind of defect "
            "(one folder a kind under --defects), or defects of unknown kind (the folder unknown), or let damage made on "
            "purpose be the other label (--teach-damage), or choose --loss triplet"
        )
    unknown = int((np.asarray(labels) == UNKNOWN).sum())
    if labels_per_batch - 1 + unknown < 2:
        raise UserError(
            f"{what}: a quadruplet needs three labels in each batch; train.labels_per_batch = {labels_per_batch}, set it to "
            "3 or more"
        )
