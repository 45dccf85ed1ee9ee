"""P x K batches: P labels, K images each (Hermans, Beyer & Leibe 2017, arXiv 1703.07737), so that none lacks a positive."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray


def pk_batches(
    labels: NDArray[np.int64], labels_per_batch: int, images_per_label: int, seed: int
) -> Iterator[NDArray[np.int64]]:
    """Indices of one batch after another, for ever, the same for a seed.

    Every label that has two images or more may be drawn; a label with fewer than K gives all it has, and a label of one
    image takes part as a negative only. Each pass over a label's images is shuffled anew.

    Args:
        labels: (N,) of every image.
        labels_per_batch: P, or as many as there are.
        images_per_label: K, or as many as the label has.
    """
    random = np.random.default_rng(seed)
    members = {int(label): np.flatnonzero(labels == label) for label in np.unique(labels)}
    waiting: dict[int, list[int]] = {label: [] for label in members}
    names = np.array(sorted(members))
    while True:
        drawn = random.permutation(names)[:labels_per_batch]
        batch: list[int] = []
        for label in sorted(drawn.tolist()):
            count = min(images_per_label, len(members[label]))
            if len(waiting[label]) < count:
                fresh = random.permutation(members[label]).tolist()
                left = set(waiting[label])
                waiting[label] += [i for i in fresh if i not in left]
            batch += waiting[label][:count]
            waiting[label] = waiting[label][count:]
        yield np.array(batch)
