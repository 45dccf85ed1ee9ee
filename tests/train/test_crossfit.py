"""The share of the learned distance follows the evidence."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from senbetsu.auroc import auroc
from train.crossfit import choose_metric_share, deal


def logs(seed: int, count: int, means: tuple[float, float, float]) -> np.ndarray:
    return np.random.default_rng(seed).normal(means, 0.3, (count, 3))


def test_auroc_is_that_of_scikit_learn_with_ties() -> None:
    random = np.random.default_rng(0)
    good, bad = random.integers(0, 10, 50) / 2, random.integers(3, 14, 30) / 2
    expected = roc_auc_score(np.r_[np.zeros(50), np.ones(30)], np.r_[good, bad])
    assert auroc(good, bad) == pytest.approx(expected)


def test_a_learned_distance_that_tells_nothing_gets_no_share() -> None:
    share, curve = choose_metric_share(logs(0, 400, (0, 0, 0)), logs(1, 100, (-0.5, 1, 1)))
    assert share == 0
    assert curve[0.0] == max(curve.values())


def test_one_that_tells_more_than_the_frozen_features_gets_the_most_it_may() -> None:
    share, curve = choose_metric_share(logs(2, 400, (0, 0, 0)), logs(3, 100, (2, 0, 0)))
    assert share == 0.5
    assert curve[0.5] > curve[0.0]


def test_too_few_defects_prove_nothing() -> None:
    assert choose_metric_share(logs(4, 40, (0, 0, 0)), logs(5, 3, (5, 0, 0))) == (0.0, {})


def test_parts_are_dealt_evenly_and_always_the_same_way() -> None:
    folds = deal(23, 5, seed=3)
    assert sorted(np.bincount(folds).tolist()) == [4, 4, 5, 5, 5]
    assert (folds == deal(23, 5, seed=3)).all()
    assert len(deal(0, 5, seed=3)) == 0
