"""P x K batches."""

from itertools import islice

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from senbetsu.errors import UserError
from train.labels import NORMAL, UNKNOWN
from train.sampling import pk_batches

SIZES = st.lists(st.integers(0, 9), min_size=1, max_size=5)


@given(SIZES, st.integers(0, 9), st.integers(2, 6), st.integers(2, 5), st.integers(0, 99))
@settings(deadline=None)
def test_a_batch_has_the_normals_p_labels_with_k_unlike_images_or_all_they_have_and_k_unknown_ones(
    sizes: list[int], unknown: int, p: int, k: int, seed: int
) -> None:
    assume(max(sizes) >= 2)
    labels = np.concatenate([np.repeat(np.arange(len(sizes)), sizes), np.full(unknown, UNKNOWN)])
    for batch in islice(pk_batches(labels, p, k, seed), 20):
        assert len(set(batch.tolist())) == len(batch)
        of = labels[batch]
        assert (of == UNKNOWN).sum() == min(k, unknown)
        drawn, counts = np.unique(of[of != UNKNOWN], return_counts=True)
        assert len(drawn) == min(p, sum(size > 0 for size in sizes))
        assert counts.tolist() == [min(k, sizes[label]) for label in drawn]
        assert counts.max() >= 2, "a batch without a positive"
        assert NORMAL in drawn or sizes[NORMAL] == 0


def test_every_other_label_has_its_turn() -> None:
    labels = np.repeat(np.arange(6), 4)
    counts = np.bincount(np.concatenate([labels[batch] for batch in islice(pk_batches(labels, 3, 4, 0), 100)]))
    assert counts[NORMAL] == 400
    assert counts[1:].sum() == 800
    assert counts[1:].min() > 100


def test_a_label_of_one_image_comes_as_a_negative_beside_one_that_has_a_positive() -> None:
    labels = np.array([1, 2, 3, 4, 4])
    batches = [set(labels[batch].tolist()) for batch in islice(pk_batches(labels, 2, 4, 0), 50)]
    assert all(4 in batch for batch in batches)
    assert {1, 2, 3} <= set().union(*batches)


@pytest.mark.parametrize("labels", [[0, 1, 2], [UNKNOWN, UNKNOWN, UNKNOWN], [0, UNKNOWN, UNKNOWN]])
def test_without_two_images_of_one_label_there_is_no_batch(labels: list[int]) -> None:
    with pytest.raises(UserError, match="no label has two pictures"):
        next(pk_batches(np.array(labels), 2, 4, 0))


def test_every_image_is_seen_before_any_is_seen_a_third_time() -> None:
    for label in (0, 3):
        labels = np.concatenate([np.full(10, label), np.full(10, UNKNOWN)])
        batches = islice(pk_batches(labels, 1, 4, 0), 5)
        counts = np.bincount(np.concatenate(list(batches)), minlength=20)
        assert counts.min() >= 1
        assert counts.max() <= 3


def test_the_same_seed_gives_the_same_batches() -> None:
    labels = np.array([0] * 9 + [1] * 7)
    one, two = (list(islice(pk_batches(labels, 2, 4, 5), 6)) for _ in range(2))
    assert all((a == b).all() for a, b in zip(one, two, strict=True))
