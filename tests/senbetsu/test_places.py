"""Places against slow loops, ridge regression and scikit-learn's shrinkage; their moments' merging as a property."""

from dataclasses import fields

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.covariance import OAS
from sklearn.linear_model import Ridge

from senbetsu.places import (
    CHUNK,
    PLACE_PRIOR,
    RANK,
    PlaceFrame,
    PlaceMoments,
    Places,
    context_width,
    farthest_count,
    fit_places,
)
from senbetsu.whitening import DISTANCE_FLOOR

Array = NDArray[np.float64]
PLACES, VALUES, CHANNELS = 25, 140, 12
"""More values than directions are kept, so that something is left over."""


def parts(seed: int, count: int, places: int = PLACES, values: int = VALUES) -> tuple[Array, Array]:
    """Contexts (N, M) and places (N, L, P) that follow from them in part, float64."""
    world, random = np.random.default_rng(0), np.random.default_rng(seed)
    context = random.normal(size=(count, CHANNELS)) * np.geomspace(2, 0.2, CHANNELS)
    effect = world.normal(size=(places, CHANNELS, values)) * 0.3
    spread = world.uniform(0.5, 2, (places, 1)) * np.geomspace(3, 0.3, values)
    x = world.normal(3, 2, (places, values)) + np.einsum("nm,lmp->nlp", context, effect)
    return context, x + random.normal(size=x.shape) * spread


@pytest.fixture(scope="module")
def normal() -> tuple[Array, Array]:
    return parts(1, 90)


@pytest.fixture(scope="module")
def frame(normal: tuple[Array, Array]) -> PlaceFrame:
    return PlaceFrame.of(*normal)


def test_the_context_is_whitened_along_its_leading_directions(normal: tuple[Array, Array], frame: PlaceFrame) -> None:
    """A quarter of the parts bounds them; here all 12 channels fit. Their variances are scikit-learn's shrunk ones."""
    context, _ = normal
    seen = frame.look(context)
    assert seen.shape == (90, CHANNELS)
    oracle = OAS().fit(context)
    np.testing.assert_allclose(np.square(seen).sum(1), oracle.mahalanobis(context), rtol=1e-3)


@pytest.mark.parametrize(("count", "directions"), [(2, 1), (9, 2), (40, 10), (90, CHANNELS)])
def test_few_parts_have_few_directions_of_context(count: int, directions: int) -> None:
    assert PlaceFrame.of(*parts(2, count)).context_map.shape == (CHANNELS, directions)


def test_the_directions_are_those_in_which_places_vary_from_part_to_part(
    normal: tuple[Array, Array], frame: PlaceFrame
) -> None:
    _, x = normal
    patches = (x - x.mean(0)).reshape(-1, VALUES)
    _, _, axes = np.linalg.svd(patches, full_matrices=False)
    U = frame.directions.astype(np.float64)
    np.testing.assert_allclose(U.T @ U, np.eye(RANK), atol=1e-5)
    np.testing.assert_allclose(U @ U.T, axes[:RANK].T @ axes[:RANK], atol=1e-3)


def assert_equal(a: PlaceMoments, b: PlaceMoments) -> None:
    assert a.count == b.count
    for field in fields(PlaceMoments):
        expected = np.asarray(getattr(b, field.name))
        scale = float(np.abs(expected).max())
        np.testing.assert_allclose(getattr(a, field.name), expected, atol=2e-6 * scale + 1e-7, err_msg=field.name)


def test_moments_are_what_a_slow_loop_finds(frame: PlaceFrame) -> None:
    context, x = parts(3, 5)
    c = (context - frame.context_mean) @ frame.context_map
    along = x @ frame.directions
    R, r = c.shape[1], RANK
    energy, cross, scatter = np.zeros(PLACES), np.zeros((PLACES, R, r)), np.zeros((PLACES, r, r))
    context_scatter = np.zeros((R, R))
    for n in range(5):
        dc = c[n] - c.mean(0)
        context_scatter += np.outer(dc, dc)
        for place in range(PLACES):
            dx, dy = x[n, place] - x[:, place].mean(0), along[n, place] - along[:, place].mean(0)
            energy[place] += dx @ dx
            cross[place] += np.outer(dc, dy)
            scatter[place] += np.outer(dy, dy)
    expected = PlaceMoments(5, c.mean(0), context_scatter, x.mean(0), energy, along.mean(0), cross, scatter)
    assert_equal(PlaceMoments.of(frame, context, x), expected)


@given(st.lists(st.integers(0, 7), min_size=1, max_size=6), st.integers(0, 1000))
@settings(max_examples=25, deadline=None)
def test_merging_pieces_gives_the_moments_of_all(sizes: list[int], seed: int) -> None:
    frame = PlaceFrame.of(*parts(1, 20, 4, 10))
    context, x = parts(seed, sum(sizes), 4, 10)
    merged = PlaceMoments.of(frame, context[:0], x[:0])
    for start, size in zip(np.cumsum([0, *sizes[:-1]]), sizes, strict=True):
        merged = merged.merged(PlaceMoments.of(frame, context[start : start + size], x[start : start + size]))
    assert_equal(merged, PlaceMoments.of(frame, context, x))


def test_what_is_taken_away_leaves_the_moments_of_the_rest(frame: PlaceFrame) -> None:
    context, x = parts(21, 60)
    whole, some = PlaceMoments.of(frame, context, x), PlaceMoments.of(frame, context[:13], x[:13])
    assert_equal(whole.without(some), PlaceMoments.of(frame, context[13:], x[13:]))
    assert whole.without(PlaceMoments.of(frame, context[:0], x[:0])) is whole
    assert whole.without(whole).count == 0
    with pytest.raises(ValueError, match="cannot take 60 parts from 13"):
        some.without(whole)


def test_more_parts_than_one_chunk_give_the_moments_and_distances_of_all(frame: PlaceFrame) -> None:
    context, x = parts(4, CHUNK + 3)
    moments = PlaceMoments.of(frame, context, x)
    assert moments.count == CHUNK + 3
    np.testing.assert_allclose(moments.mean, x.mean(0), atol=1e-6)
    np.testing.assert_allclose(moments.energy, np.square(x - x.mean(0)).sum((0, 2)), rtol=1e-5)
    fitted = fit_places(frame, moments, 0.3)
    assert len(fitted.distance(context, x)) == CHUNK + 3
    np.testing.assert_allclose(fitted.distance(context, x)[-3:], fitted.distance(context[-3:], x[-3:]), rtol=1e-6)


@pytest.mark.parametrize("rest_weight", [0.0, 0.3, 1.0])
def test_the_fit_is_ridge_regression_and_shrinkage_of_its_residuals(
    normal: tuple[Array, Array], frame: PlaceFrame, rest_weight: float
) -> None:
    context, x = normal
    count = len(x)
    fitted = fit_places(frame, PlaceMoments.of(frame, context, x), rest_weight)
    c = (context - frame.context_mean) @ frame.context_map
    along = (x - x.mean(0)) @ frame.directions
    residuals = np.zeros_like(along)
    for place in range(PLACES):
        ridge = Ridge(alpha=max(1.0, 0.5 * c.shape[1])).fit(c, along[:, place])
        np.testing.assert_allclose(fitted.regression[place].T, ridge.coef_, atol=1e-4)
        residuals[:, place] = along[:, place] - ridge.predict(c)
    # Residuals of a regression with an intercept have mean 0 at each place.
    oracle = OAS(assume_centered=True).fit(residuals.reshape(-1, RANK))
    precision = fitted.whitening.astype(np.float64) @ fitted.whitening.T
    np.testing.assert_allclose(precision, oracle.precision_, atol=2e-3 * np.abs(oracle.precision_).max())

    left_over = np.square(x - x.mean(0)).sum(-1) - np.square(along).sum(-1)
    variance = left_over.mean() / (VALUES - RANK)
    numerator = (
        np.einsum("nlr,rs,nls->nl", residuals, oracle.precision_, residuals) + rest_weight * left_over / variance
    )
    own, everywhere = numerator.mean(0), numerator.mean()
    scale = (count * own + PLACE_PRIOR * everywhere) / (count + PLACE_PRIOR) / everywhere
    np.testing.assert_allclose(fitted.scale, scale, rtol=5e-3)
    assert fitted.rest == pytest.approx(rest_weight / variance, rel=1e-3)


def slow_distance(p: Places, context: Array, x: Array) -> Array:
    distances = []
    for n in range(len(x)):
        c = (context[n] - p.frame.context_mean) @ p.frame.context_map - p.context_mean
        q = []
        for place in range(x.shape[1]):
            d = x[n, place] - p.mean[place]
            y = d @ p.frame.directions
            e = p.whitening.T @ (y - c @ p.regression[place])
            q.append((e @ e + p.rest * (d @ d - y @ y)) / p.scale[place])
        farthest = sorted(q)[-max(1, round(0.04 * len(q))) :]
        distances.append(np.sqrt(sum(farthest) / len(farthest)))
    return np.array(distances)


@pytest.mark.parametrize("places", [16, 49, 64])
def test_the_distance_is_what_a_slow_loop_finds(places: int) -> None:
    normal = parts(5, 30, places)
    frame = PlaceFrame.of(*normal)
    fitted = fit_places(frame, PlaceMoments.of(frame, *normal), 0.3)
    context, x = parts(6, 8, places)
    np.testing.assert_allclose(fitted.distance(context, x), slow_distance(fitted, context, x), rtol=1e-3)


def test_contexts_of_like_width_share_a_graph() -> None:
    assert [context_width(rank) for rank in (1, 16, 17, 60, 129, 192)] == [16, 16, 32, 64, 192, 192]


def test_so_many_of_the_places_count() -> None:
    assert [farthest_count(places) for places in (1, 16, 49, 64)] == [1, 1, 2, 3]


def test_what_the_context_explains_is_not_far_and_the_same_change_without_it_is(
    normal: tuple[Array, Array], frame: PlaceFrame
) -> None:
    fitted = fit_places(frame, PlaceMoments.of(frame, *normal), 0.0)
    context, x = parts(7, 20)
    brighter = context.copy()
    brighter[:, 0] += 4
    effect = np.random.default_rng(0).normal(size=(PLACES, CHANNELS, VALUES))[:, 0] * 0.3
    explained = fitted.distance(brighter, x + 4 * effect)
    alone = fitted.distance(context, x + 4 * effect)
    assert np.median(explained) < 1.15 * np.median(fitted.distance(context, x))
    assert (alone > explained).all()


def test_a_part_on_the_centroid_is_at_the_floor(normal: tuple[Array, Array], frame: PlaceFrame) -> None:
    context, x = normal
    fitted = fit_places(frame, PlaceMoments.of(frame, *normal), 0.3)
    found = fitted.distance(context.mean(0)[None], fitted.mean[None])
    assert DISTANCE_FLOOR <= found[0] < 1e-3
    assert fitted.distance(context[:0], x[:0]).shape == (0,)


@pytest.mark.parametrize("values", [6, RANK])
def test_where_all_directions_are_kept_nothing_is_left_over_and_its_weight_changes_nothing(values: int) -> None:
    normal = parts(8, 40, 16, values)
    frame = PlaceFrame.of(*normal)
    moments = PlaceMoments.of(frame, *normal)
    context, x = parts(9, 20, 16, values)
    none, much = (fit_places(frame, moments, weight).distance(context, x) for weight in (0.0, 1.0))
    np.testing.assert_allclose(much, none, rtol=1e-3)


@pytest.mark.parametrize("count", [2, 3, 5])
def test_so_few_parts_that_nothing_is_left_over_do_not_make_what_is_left_over_count_alone(count: int) -> None:
    """Its variance came out as that of rounding, and normal parts a thousand times as far away as they should be."""
    normal = parts(10, count)
    frame = PlaceFrame.of(*normal)
    moments = PlaceMoments.of(frame, *normal)
    none, much = (fit_places(frame, moments, weight).distance(*parts(11, 10)) for weight in (0.0, 1.0))
    assert np.isfinite(none).all()
    assert (none > 0).all()
    assert (much < 10 * none).all()


def test_parts_that_do_not_differ_make_any_departure_a_far_one() -> None:
    same = np.ones((6, CHANNELS)), np.ones((6, PLACES, VALUES))
    frame = PlaceFrame.of(*same)
    fitted = fit_places(frame, PlaceMoments.of(frame, *same), 0.3)
    assert fitted.distance(*same).max() == DISTANCE_FLOOR
    assert fitted.distance(same[0], same[1] * 1.1).min() > 1e3


def test_one_part_is_no_distribution(frame: PlaceFrame) -> None:
    with pytest.raises(ValueError, match="at least two parts, found 1"):
        fit_places(frame, PlaceMoments.of(frame, *parts(12, 1)), 0.3)
