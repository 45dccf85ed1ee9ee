"""Whitened distances against scikit-learn and against geometry."""

import numpy as np
import pytest
from sklearn.covariance import OAS

from senbetsu.moments import Moments
from senbetsu.whitening import DISTANCE_FLOOR, EXACT_UP_TO, Whitening, fit_isotropic, fit_whitening, leading, shrinkage


def correlated(seed: int, count: int, dimensions: int) -> np.ndarray:
    random = np.random.default_rng(seed)
    return random.normal(size=(count, dimensions)) @ random.normal(size=(dimensions, dimensions)) + 5


def test_shrinkage_and_distance_are_those_of_scikit_learn() -> None:
    X = correlated(0, 60, 12)
    oracle = OAS().fit(X)
    moments = Moments.of(X)
    assert shrinkage(moments.scatter / 60, 60) == pytest.approx(oracle.shrinkage_, rel=1e-9)
    query = correlated(1, 20, 12)
    np.testing.assert_allclose(
        np.square(fit_whitening(moments, 12).distance(query[:, None])), oracle.mahalanobis(query), rtol=1e-8
    )


def test_a_truncated_whitening_treats_what_is_left_over_as_one_variance() -> None:
    X = correlated(2, 300, 10)
    whitening = fit_whitening(Moments.of(X), 4)
    covariance = OAS().fit(X).covariance_
    values, vectors = np.linalg.eigh(covariance)
    truncated = vectors @ np.diag(np.r_[np.full(6, values[:6].mean()), values[6:]]) @ vectors.T
    query = correlated(3, 20, 10) - X.mean(0)
    expected = np.einsum("ni,ij,nj->n", query, np.linalg.inv(truncated), query)
    np.testing.assert_allclose(np.square(whitening.distance((query + X.mean(0))[:, None])), expected, rtol=1e-7)


def test_the_farthest_place_counts() -> None:
    X = np.random.default_rng(4).normal(size=(50, 3, 4))
    whitening = fit_whitening(Moments.of(X), 4)
    part = np.broadcast_to(whitening.centroid, (1, 3, 4)).copy()
    assert whitening.distance(part)[0] == DISTANCE_FLOOR
    part[0, 1] += 2.0
    alone = fit_whitening(Moments.of(X), 4).distance(part)[0]
    part[0, 2] += 0.5
    assert whitening.distance(part)[0] == pytest.approx(alone)


def test_fewer_parts_than_dimensions_still_give_a_finite_distance() -> None:
    X = correlated(5, 4, 30)
    distance = fit_whitening(Moments.of(X), 16).distance(correlated(6, 5, 30)[:, None])
    assert np.isfinite(distance).all()
    assert (distance > 0).all()


def test_parts_that_do_not_differ_make_any_departure_a_far_one() -> None:
    whitening = fit_whitening(Moments.of(np.ones((6, 8))), 8)
    assert whitening.distance(np.ones((1, 1, 8)))[0] == DISTANCE_FLOOR
    assert whitening.distance(np.full((1, 1, 8), 1.1))[0] > 1e3


def test_one_part_is_no_distribution() -> None:
    for fit in (lambda m: fit_whitening(m, 2), fit_isotropic):
        with pytest.raises(ValueError, match="at least two parts"):
            fit(Moments.of(np.ones((1, 2))))


def test_isotropic_distance_is_l2_in_units_of_the_parts_spread() -> None:
    X = np.random.default_rng(7).normal(0, 3, (20_000, 5))
    whitening = fit_isotropic(Moments.of(X))
    point = np.array([[[3.0, 4.0, 0.0, 0.0, 0.0]]]) * 3
    assert whitening.distance(point)[0] == pytest.approx(5, rel=0.02)


DIMENSIONS, RANK = 1536, 256


@pytest.fixture(scope="module")
def decaying() -> tuple[np.ndarray, np.ndarray]:
    """Parts whose variances fall with the power of their number, as those of a network's statistics do; 1 536-d."""
    random = np.random.default_rng(8)
    axes, _ = np.linalg.qr(random.normal(size=(DIMENSIONS, DIMENSIONS)))
    deviations = np.arange(1, DIMENSIONS + 1) ** -0.6
    X = (random.normal(size=(800, DIMENSIONS)) * deviations) @ axes.T
    return X[:700], X[700:]


def test_the_leading_directions_of_a_large_matrix_are_those_of_a_full_decomposition(
    decaying: tuple[np.ndarray, np.ndarray],
) -> None:
    """To 2 % in each eigenvalue, and to half a degree in the leading directions. Near the cut, where eigenvalues are
    close, it may take others: there no direction is better than its neighbour."""
    assert DIMENSIONS > EXACT_UP_TO
    covariance = np.cov(decaying[0].T, bias=True)
    values, vectors = leading(covariance, RANK)
    exact_values, exact = np.linalg.eigh(covariance)
    exact_values, exact = exact_values[::-1][:RANK], exact[:, ::-1]
    assert (np.diff(values) <= 0).all()
    np.testing.assert_allclose(vectors.T @ vectors, np.eye(RANK), atol=1e-5)
    np.testing.assert_allclose(values, exact_values, rtol=0.02)
    cosines = np.linalg.svd(exact[:, : RANK // 2].T @ vectors, compute_uv=False)
    assert np.degrees(np.arccos(np.clip(cosines.min(), 0, 1))) < 0.5
    again = leading(covariance.copy(), RANK)
    np.testing.assert_array_equal(again[0], values)
    np.testing.assert_array_equal(again[1], vectors)


def test_distances_by_leading_directions_are_those_by_a_full_decomposition(
    decaying: tuple[np.ndarray, np.ndarray],
) -> None:
    """To half a per cent."""
    X, fresh = decaying
    found = fit_whitening(Moments.of(X), RANK)
    values, vectors = np.linalg.eigh(OAS().fit(X).covariance_)
    oracle = Whitening(X.mean(0)[None], vectors[:, -RANK:], values[-RANK:], float(values[:-RANK].mean()))
    np.testing.assert_allclose(found.distance(fresh[:, None]), oracle.distance(fresh[:, None]), rtol=5e-3)


def test_a_large_matrix_of_few_parts_has_finite_distances() -> None:
    """Its rank is far below the number of directions asked for."""
    X = correlated(9, 12, DIMENSIONS)
    found = fit_whitening(Moments.of(X), RANK)
    oracle = OAS().fit(X)
    query = correlated(10, 5, DIMENSIONS)
    np.testing.assert_allclose(np.square(found.distance(query[:, None])), oracle.mahalanobis(query), rtol=1e-2)
