"""The score in numpy and in the torch graph: one meaning, and the learned distance can only add to it."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from senbetsu.backbone import find_backbone
from senbetsu.config import ModelSection
from senbetsu.embedding import Axes, fit_scorer, normal_moments
from senbetsu.features import Features
from senbetsu.places import PlaceFrame
from senbetsu.scoring import HINGE, Fusion, Head
from senbetsu.scoring_network import ScoringNetwork

FUSION = Fusion((1.0, 2.0, 3.0, 0.5), (0.3, 0.2, 0.1, 0.4), (0.7, 0.3, 0.5, 0.2))
LOGS = st.lists(st.floats(-3, 5), min_size=4, max_size=4)


def random_head(seed: int, features: int) -> Head:
    random = np.random.default_rng(seed)
    return Head(random.normal(size=(64, features)).astype(np.float32), random.normal(size=64).astype(np.float32))


def score_by_hand(fusion: Fusion, logs: list[float]) -> tuple[float, float, float]:
    """Score, metric and novelty distance of one part, as the module's docstring has them."""
    z = [(log - mean) / std for log, mean, std in zip(logs, fusion.log_mean, fusion.log_std, strict=True)]
    sigma = sum(w * s for w, s in zip(fusion.weights[1:], fusion.log_std[1:], strict=True))
    novelty = sum(w * part for w, part in zip(fusion.weights[1:], z[1:], strict=True))
    score = np.exp(sigma * (novelty + fusion.weights[0] * max(z[0] - HINGE, 0)))
    return score, np.exp(logs[0] - fusion.log_mean[0]), np.exp(sigma * novelty)


@given(LOGS)
@settings(deadline=None)
def test_the_score_is_what_its_definition_says(logs: list[float]) -> None:
    np.testing.assert_allclose(FUSION.outputs(np.array([logs]))[0], score_by_hand(FUSION, logs), rtol=1e-9)


def test_a_typical_part_scores_one_and_one_twice_as_far_in_all_novelty_two() -> None:
    equal = Fusion((1.0, 2.0, 3.0, 4.0), (0.2,) * 4, (0.0, 0.2, 0.3, 0.5))
    np.testing.assert_allclose(equal.outputs(np.array([[1.0, 2.0, 3.0, 4.0]])), 1.0)
    twice = np.array([[1.0, 2.0, 3.0, 4.0]]) + np.log(2)
    np.testing.assert_allclose(equal.outputs(twice), 2.0)


@given(LOGS, st.floats(0.01, 5))
@settings(deadline=None)
def test_a_larger_learned_distance_never_lowers_the_score_and_among_typical_parts_it_changes_nothing(
    logs: list[float], step: float
) -> None:
    hinge = FUSION.log_mean[0] + HINGE * FUSION.log_std[0]
    farther = [logs[0] + step, *logs[1:]]
    near, far = FUSION.outputs(np.array([logs, farther]))
    assert far[0] >= near[0] >= near[2] > 0
    assert near[2] == far[2], "the novelty distance is of the frozen statistics alone"
    if farther[0] <= hinge:
        assert far[0] == near[0] == pytest.approx(near[2])
    if logs[0] >= hinge:
        assert far[0] > near[0]


def test_without_a_weight_the_learned_distance_does_not_move_the_score() -> None:
    fusion = Fusion((0.0,) * 4, (0.3, 0.2, 0.1, 0.1), (0.0, 0.5, 0.25, 0.25))
    near, far = fusion.outputs(np.array([[0.0, 0.1, 0.1, 0.2], [9.0, 0.1, 0.1, 0.2]]))
    assert near[0] == far[0] == near[2] == far[2]
    assert far[1] == pytest.approx(np.exp(9.0))


@given(LOGS, st.integers(1, 3), st.floats(0.01, 2))
@settings(deadline=None)
def test_the_score_grows_with_every_novelty_distance(logs: list[float], which: int, step: float) -> None:
    nearer = np.array([logs])
    farther = nearer.copy()
    farther[0, which] += step
    assert FUSION.outputs(farther)[0, 0] > FUSION.outputs(nearer)[0, 0] > 0


def test_the_scale_is_that_of_the_normals_and_never_infinitely_sharp() -> None:
    logs = np.random.default_rng(0).normal((1, 2, 3, 4), (0.5, 0.1, 0.3, 0.0), (50, 4))
    fusion = Fusion.of(logs, (0.5, 0.4, 0.3, 0.3))
    np.testing.assert_allclose(fusion.log_mean, logs.mean(0))
    np.testing.assert_allclose(fusion.log_std[:3], logs.std(0)[:3])
    assert fusion.log_std[3] == 0.02
    assert fusion.weights == (0.5, 0.4, 0.3, 0.3)


def normal_parts(statistics: tuple[np.ndarray, ...], count: int, seed: int) -> Features:
    """Parts whose statistics lie around those of one picture."""
    random = np.random.default_rng(seed)
    light = random.normal(0, 0.3, count)
    context, whole, windows, places = (
        (s[:1] + 0.2 * s.std() * random.normal(size=(count, *s.shape[1:]))).astype(np.float32) for s in statistics
    )
    context += 0.2 * light[:, None]
    places = (places + 0.2 * light[:, None, None]).astype(np.float16)
    names = tuple(str(number) for number in range(count))
    return Features(tuple(map(Path, names)), names, context, whole, windows, places)


@pytest.mark.parametrize("rest_weight", [0.0, 0.3])
def test_the_graph_computes_what_numpy_does(rest_weight: float) -> None:
    random = np.random.default_rng(0)
    images = torch.from_numpy(random.integers(0, 256, (3, 128, 128, 3), dtype=np.uint8))
    network = ScoringNetwork(find_backbone(ModelSection(input_size=128))).eval()
    with torch.inference_mode():
        statistics = tuple(t.numpy() for t in network.features(images))
    normals = normal_parts(statistics, 40, 1)
    axes = Axes(random_head(1, normals.head_rows.shape[1]), PlaceFrame.of(normals.context, normals.places))
    scorer = fit_scorer(axes, normal_moments(axes, normals), FUSION, rest_weight)
    logs = scorer.log_distances(*statistics)
    # A fusion at whose scale these pictures lie, some on this side of the hinge, some beyond it.
    scale = np.median(logs, 0) - (HINGE * FUSION.log_std[0], 0, 0, 0)
    fusion = Fusion(tuple(scale), FUSION.log_std, FUSION.weights)
    scorer = fit_scorer(axes, normal_moments(axes, normals), fusion, rest_weight)
    expected = fusion.outputs(logs)
    hinge = np.exp(HINGE * FUSION.log_std[0])
    assert (expected[:, 1] < 0.9999 * hinge).any()
    assert (expected[:, 1] > 1.0001 * hinge).any()
    with torch.inference_mode():
        found = network(images, *map(torch.from_numpy, scorer.constants())).numpy()
    np.testing.assert_allclose(found[:, :3], expected, rtol=5e-4)
    squared = np.exp(2 * logs)
    # Evidence: the squared distances to every window and place, not to the farthest alone.
    assert (found[:, 3] > squared[:, :3].sum(1)).all()
    assert np.isfinite(found[:, 3]).all()


def test_a_graph_serves_profiles_of_more_and_of_fewer_parts() -> None:
    """Converting it takes long; its shapes must not follow the number of parts."""
    random = np.random.default_rng(2)
    one = tuple(random.normal(size=(1, *shape)) for shape in ((80,), (240,), (9, 240), (16, 50)))
    shapes = []
    for count in (8, 30, 63):
        parts = normal_parts(one, count, 3)
        axes = Axes(random_head(1, 320), PlaceFrame.of(parts.context, parts.places))
        constants = fit_scorer(axes, normal_moments(axes, parts), FUSION, 0.3).constants()
        shapes.append([tuple(constant.shape) for constant in constants])
    assert shapes[0] == shapes[1] == shapes[2]
