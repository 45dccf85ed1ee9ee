"""Area under the ROC curve: scikit-learn's, ties and infinite scores included."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from senbetsu.auroc import auroc

scores = st.lists(st.integers(0, 6).map(float) | st.floats(-1e6, 1e6), min_size=1, max_size=40)


@given(scores, scores)
def test_it_is_scikit_learns(normal: list[float], defect: list[float]) -> None:
    expected = roc_auc_score([0] * len(normal) + [1] * len(defect), normal + defect)
    assert auroc(np.array(normal), np.array(defect)) == pytest.approx(expected, abs=1e-12)


def test_an_infinite_score_is_the_highest() -> None:
    assert auroc(np.array([1.0, 2.0]), np.array([math.inf, math.inf])) == 1
    assert auroc(np.array([1.0, math.inf]), np.array([math.inf])) == 0.75


@pytest.mark.parametrize(("normal", "defect"), [([1.0, math.nan], [2.0]), ([1.0], [2.0, math.nan])])
def test_a_score_that_is_not_a_number_is_not_passed_over(normal: list[float], defect: list[float]) -> None:
    assert math.isnan(auroc(np.array(normal), np.array(defect)))
