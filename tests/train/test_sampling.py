"""P x K batches."""

from itertools import islice

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from train.sampling import pk_batches


@given(st.lists(st.integers(1, 9), min_size=1, max_size=5), st.integers(1, 6), st.integers(2, 5), st.integers(0, 99))
@settings(deadline=None)
def test_each_drawn_label_gives_k_unlike_images_or_all_it_has(sizes: list[int], p: int, k: int, seed: int) -> None:
    labels = np.repeat(np.arange(len(sizes)), sizes)
    for batch in islice(pk_batches(labels, p, k, seed), 20):
        assert len(set(batch.tolist())) == len(batch)
        drawn, counts = np.unique(labels[batch], return_counts=True)
        assert len(drawn) == min(p, len(sizes))
        assert counts.tolist() == [min(k, sizes[label]) for label in drawn]


def test_every_image_is_seen_before_any_is_seen_a_third_time() -> None:
    batches = islice(pk_batches(np.zeros(10, np.int64), 1, 4, 0), 5)
    counts = np.bincount(np.concatenate(list(batches)), minlength=10)
    assert counts.min() >= 1
    assert counts.max() <= 3


def test_the_same_seed_gives_the_same_batches() -> None:
    labels = np.array([0] * 9 + [1] * 7)
    one, two = (list(islice(pk_batches(labels, 2, 4, 5), 6)) for _ in range(2))
    assert all((a == b).all() for a, b in zip(one, two, strict=True))
