"""Moments against a slow loop, and their merging as a property."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from senbetsu.moments import Moments


def vectors(seed: int, count: int, places: int = 3, dimensions: int = 5) -> np.ndarray:
    return np.random.default_rng(seed).normal(3, 2, (count, places, dimensions))


def assert_equal(a: Moments, b: Moments) -> None:
    assert a.count == b.count
    np.testing.assert_allclose(a.mean, b.mean, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(a.scatter, b.scatter, rtol=1e-8, atol=1e-8)


def test_they_are_what_a_slow_loop_finds() -> None:
    X = vectors(0, 7)
    mean = sum(X) / 7
    scatter = np.zeros((5, 5))
    for part in X:
        for place in range(3):
            d = part[place] - mean[place]
            scatter += np.outer(d, d)
    assert_equal(Moments.of(X), Moments(7, mean, scatter))


@given(st.lists(st.integers(0, 6), min_size=1, max_size=6), st.integers(0, 1000))
@settings(max_examples=50, deadline=None)
def test_merging_pieces_gives_the_moments_of_all(sizes: list[int], seed: int) -> None:
    X = vectors(seed, sum(sizes))
    pieces = np.split(X, np.cumsum(sizes)[:-1])
    merged = Moments.of(X[:0])
    for piece in pieces:
        merged = merged.merged(Moments.of(piece))
    assert_equal(merged, Moments.of(X))


@given(st.integers(0, 8), st.integers(0, 8), st.integers(0, 1000))
@settings(max_examples=50, deadline=None)
def test_taking_a_subset_away_leaves_the_rest(kept: int, taken: int, seed: int) -> None:
    X = vectors(seed, kept + taken)
    assert_equal(Moments.of(X).without(Moments.of(X[kept:])), Moments.of(X[:kept]))


def test_more_cannot_be_taken_away_than_is_there() -> None:
    with pytest.raises(ValueError, match="cannot take 3 parts from 2"):
        Moments.of(vectors(0, 2)).without(Moments.of(vectors(1, 3)))
