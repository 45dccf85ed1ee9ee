"""Large matrices as integers: how near they stay, and what is never made smaller."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from senbetsu.engine.compact import LARGE, compact_columns, constant_of

ROWS = 400


def matrix(seed: int) -> np.ndarray:
    """Columns of very unlike size, one of them zero."""
    random = np.random.default_rng(seed)
    columns = random.normal(size=(ROWS, LARGE // ROWS)) * 10.0 ** random.uniform(-6, 6, LARGE // ROWS)
    columns[:, 0] = 0
    return columns.astype(np.float32)


@given(st.integers(0, 2**32 - 1))
@settings(deadline=None, max_examples=20)
def test_every_number_stays_within_a_254th_of_the_largest_in_its_column(seed: int) -> None:
    exact = matrix(seed)
    integers, scales = compact_columns(exact)
    assert integers.dtype == np.int8
    error = np.abs(integers * scales - exact)
    assert (error <= np.abs(exact).max(0) / 254 * (1 + 1e-4)).all()
    assert (integers[:, 0] == 0).all()


def test_only_large_matrices_become_integers_and_only_where_it_is_asked_for() -> None:
    large = matrix(1)
    assert constant_of(large, compact=True).get_type_name() == "Multiply"
    for kept in (constant_of(large, compact=False), constant_of(large[:, 1:], True), constant_of(large.ravel(), True)):
        assert kept.get_type_name() == "Constant"


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_matrix_that_is_not_finite_keeps_what_makes_it_so(value: float) -> None:
    broken = matrix(2)
    broken[3, 4] = value
    kept = constant_of(broken, compact=True)
    assert kept.get_type_name() == "Constant"
    np.testing.assert_array_equal(kept.data, broken)
