"""P x K batches: P labels, K images each (Hermans, Beyer & Leibe 2017, arXiv 1703.07737), so that none lacks a positive.

The normals are in every batch: they are what is learned. Beside the P labels come up to K defects of unknown kind, which
are negatives only.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from senbetsu.errors import UserError
from train.labels import NORMAL, UNKNOWN


def pk_batches(
    labels: NDArray[np.int64], labels_per_batch: int, images_per_label: int, seed: int
) -> Iterator[NDArray[np.int64]]:
    """Indices of one batch after another, for ever, the same for a seed.

    A batch holds label 0 wherever there is one, other labels drawn at random, P in all, and K of the UNKNOWN images beside
    them. A label with fewer than K images gives all it has, and one with a single image takes part as a negative only. At
    least one of the labels drawn has two images or more. Each pass over a label's images is shuffled anew.

    Args:
        labels: (N,) of every image.
        labels_per_batch: P, or as many as there are.
        images_per_label: K, or as many as the label has; also the most UNKNOWN images in a batch.

    Raises:
        UserError: no label has two images, so that there is no positive.
    """
    random = np.random.default_rng(seed)
    members = {int(label): np.flatnonzero(labels == label) for label in np.unique(labels)}
    with_positives = {label for label, images in members.items() if label != UNKNOWN and len(images) >= 2}
    if not with_positives:
        raise UserError("no label has two pictures or more, so there are none to be drawn together; show more pictures")
    waiting: dict[int, list[int]] = {label: [] for label in members}
    while True:
        batch: list[int] = []
        for label in _drawn(set(members), with_positives, labels_per_batch, random):
            count = min(images_per_label, len(members[label]))
            if len(waiting[label]) < count:
                fresh = random.permutation(members[label]).tolist()
                left = set(waiting[label])
                waiting[label] += [i for i in fresh if i not in left]
            batch += waiting[label][:count]
            waiting[label] = waiting[label][count:]
        yield np.array(batch)


def _drawn(labels: set[int], with_positives: set[int], count: int, random: np.random.Generator) -> list[int]:
    """The labels of one batch, in ascending order: UNKNOWN and NORMAL where there are any, and others by chance."""
    chosen = {NORMAL} & labels
    others: list[int] = random.permutation(sorted(labels - {NORMAL, UNKNOWN})).tolist()
    if not chosen & with_positives:
        first = next(label for label in others if label in with_positives)
        chosen.add(first)
        others.remove(first)
    chosen |= set(others[: max(count - len(chosen), 0)])
    return sorted(chosen | ({UNKNOWN} & labels))
