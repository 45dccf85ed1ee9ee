"""The score in numpy, in the torch graph and in the engines: one meaning."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from senbetsu.backbone import find_backbone
from senbetsu.config import ModelSection
from senbetsu.embedding import fit_scorer, normal_moments
from senbetsu.scoring import Fusion, Head, ScoringNetwork


def random_head(seed: int, features: int) -> Head:
    random = np.random.default_rng(seed)
    return Head(random.normal(size=(64, features)).astype(np.float32), random.normal(size=64).astype(np.float32))


FUSION = Fusion((1.0, 2.0, 3.0), (0.3, 0.2, 0.1), (0.2, 0.4, 0.4))


def test_a_part_at_the_typical_distance_scores_one_and_one_twice_as_far_everywhere_scores_two() -> None:
    equal = Fusion((1.0, 2.0, 3.0), (0.2, 0.2, 0.2), (0.2, 0.4, 0.4))
    np.testing.assert_allclose(equal.outputs(np.array([[1.0, 2.0, 3.0]])), 1.0)
    np.testing.assert_allclose(equal.outputs(np.array([[1.0, 2.0, 3.0]]) + np.log(2)), 2.0)


def test_without_a_share_the_learned_distance_does_not_move_the_score() -> None:
    fusion = Fusion((0.0, 0.0, 0.0), (0.3, 0.2, 0.1), (0.0, 0.5, 0.5))
    near, far = fusion.outputs(np.array([[0.0, 0.1, 0.1], [9.0, 0.1, 0.1]]))
    assert near[0] == far[0] == near[2] == far[2]
    assert far[1] == pytest.approx(np.exp(9.0))


@given(st.lists(st.floats(-3, 5), min_size=3, max_size=3), st.integers(0, 2), st.floats(0.01, 2))
@settings(deadline=None)
def test_the_score_grows_with_every_distance(log_distances: list[float], which: int, step: float) -> None:
    nearer = np.array([log_distances])
    farther = nearer.copy()
    farther[0, which] += step
    assert FUSION.outputs(farther)[0, 0] > FUSION.outputs(nearer)[0, 0] >= 0


def test_the_graph_computes_what_numpy_does_and_the_statistics_what_a_slow_loop_does() -> None:
    random = np.random.default_rng(0)
    images = torch.from_numpy(random.integers(0, 256, (3, 128, 128, 3), dtype=np.uint8))
    network = ScoringNetwork(find_backbone(ModelSection(input_size=128))).eval()
    with torch.inference_mode():
        whole, windows = (t.numpy() for t in network.features(images))
    count = 40
    spread = random.normal(0, 0.05, (count, 10, whole.shape[1]))
    normals = np.concatenate([whole[:1, None], windows[:1]], 1) + spread
    head = random_head(1, whole.shape[1])
    scorer = fit_scorer(head, normal_moments(head, normals[:, 0], normals[:, 1:]), FUSION)
    expected = FUSION.outputs(scorer.log_distances(whole, windows))
    with torch.inference_mode():
        found = network(images, *scorer.constants()).numpy()
    np.testing.assert_allclose(found[:, :3], expected, rtol=2e-4)
    assert np.isfinite(found[:, 3]).all()


def test_the_statistics_are_means_and_deviations_of_windows() -> None:
    from senbetsu.network import pyramid_statistics

    x = torch.randn(2, 4, 8, 8, dtype=torch.float64)
    whole, windows = pyramid_statistics([x])
    torch.testing.assert_close(whole[:, :4], x.mean((2, 3)))
    torch.testing.assert_close(whole[:, 4:], (x.var((2, 3), correction=0) + 1e-6).sqrt())
    for row in range(3):
        for column in range(3):
            window = x[:, :, 2 * row : 2 * row + 4, 2 * column : 2 * column + 4]
            statistics = windows[:, 3 * row + column]
            torch.testing.assert_close(statistics[:, :4], window.mean((2, 3)))
            torch.testing.assert_close(statistics[:, 4:], (window.var((2, 3), correction=0) + 1e-6).sqrt())
