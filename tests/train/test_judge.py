"""Damage on purpose as the judge: who sees it better weighs more, within bounds; and how the damaged copies are made."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from senbetsu.backbone import Backbone, find_backbone
from senbetsu.config import ModelSection
from senbetsu.features import Features, extract_features
from senbetsu.fitting import fit
from senbetsu.images import read_image
from train.damage.table import DAMAGE
from train.judge import EVEN_REST_WEIGHT, EVEN_SHARE, REST_WEIGHTS, TEMPERATURE, Pictures, damage_parts, even, judge


def logs(seed: int, count: int, *means: float) -> np.ndarray:
    return np.random.default_rng(seed).normal(means, 1.0, (count, len(means)))


def area(good: np.ndarray, bad: np.ndarray) -> float:
    return float(roc_auc_score(np.r_[np.zeros(len(good)), np.ones(len(bad))], np.r_[good, bad]))


def test_a_statistic_that_sees_damage_better_weighs_more() -> None:
    normal, damage = logs(0, 300, 0, 0), logs(1, 300, 1.0, 1.2)
    normal_places, damage_places = logs(2, 300, 0, 0, 0, 0), logs(3, 300, 0.8, 0.8, 0.8, 0.8)
    judgement = judge(normal, damage, normal_places, damage_places)
    whole, windows, places = judgement.weights
    assert windows > whole > places
    column = REST_WEIGHTS.index(judgement.rest_weight)
    areas = {
        "whole": area(normal[:, 0], damage[:, 0]),
        "windows": area(normal[:, 1], damage[:, 1]),
        "places": area(normal_places[:, column], damage_places[:, column]),
    }
    assert judgement.auroc == pytest.approx(areas)
    by_hand = np.exp(np.array(list(areas.values())) / TEMPERATURE)
    np.testing.assert_allclose(
        judgement.weights, EVEN_SHARE / 3 + (1 - EVEN_SHARE) * by_hand / by_hand.sum(), rtol=1e-9
    )


@given(st.lists(st.floats(-4, 4), min_size=6, max_size=6), st.integers(0, 1000))
@settings(max_examples=50, deadline=None)
def test_weights_sum_to_one_and_each_has_its_even_share(shifts: list[float], seed: int) -> None:
    judgement = judge(
        logs(seed, 20, 0, 0), logs(seed + 1, 15, *shifts[:2]), logs(seed + 2, 20, 0, 0, 0, 0),
        logs(seed + 3, 15, *shifts[2:]),
    )  # fmt: skip
    assert sum(judgement.weights) == pytest.approx(1)
    assert min(judgement.weights) >= EVEN_SHARE / 3 - 1e-12


@pytest.mark.parametrize("column", range(len(REST_WEIGHTS)))
def test_what_is_left_over_counts_as_much_as_sees_damage_best(column: int) -> None:
    shifts = np.full(len(REST_WEIGHTS), 0.3)
    shifts[column] = 2.0
    normal_places, damage_places = logs(4, 200, 0, 0, 0, 0), logs(5, 200, *shifts)
    judgement = judge(logs(6, 200, 0, 0), logs(7, 200, 1, 1), normal_places, damage_places)
    assert judgement.rest_weight == REST_WEIGHTS[column]
    for number, weight in enumerate(REST_WEIGHTS):
        expected = area(normal_places[:, number], damage_places[:, number])
        assert judgement.auroc_by_rest_weight[weight] == pytest.approx(expected)


def test_of_equal_rest_weights_the_smallest_is_taken() -> None:
    same, damage = np.repeat(logs(8, 50, 0), 4, 1), np.repeat(logs(9, 50, 1), 4, 1)
    assert judge(logs(10, 50, 0, 0), logs(11, 50, 1, 1), same, damage).rest_weight == REST_WEIGHTS[0]


def test_unjudged_statistics_weigh_the_same() -> None:
    assert even().weights == pytest.approx((1 / 3,) * 3)
    assert even().rest_weight == EVEN_REST_WEIGHT
    assert EVEN_REST_WEIGHT in REST_WEIGHTS
    assert (even().auroc, even().auroc_by_rest_weight) == ({}, {})


@pytest.fixture(scope="module")
def backbone() -> Backbone:
    return find_backbone(ModelSection())


@pytest.fixture(scope="module")
def normals(parts_folder: Path, backbone: Backbone) -> Features:
    return extract_features(sorted((parts_folder / "train").iterdir())[:5], backbone, "normal parts")


def test_pictures_are_read_as_the_network_sees_them(normals: Features) -> None:
    pictures = Pictures(normals.paths, 96)
    assert len(pictures) == 5
    expected = np.zeros((96, 96, 3), np.uint8)
    fit(read_image(normals.paths[3]), expected)
    np.testing.assert_array_equal(pictures[3], expected)


def test_damaged_copies_know_their_source_and_kind_and_are_always_the_same(
    normals: Features, backbone: Backbone
) -> None:
    """Damage is local: of all normal parts a copy is most like the one that it was made from."""
    made = damage_parts(normals, backbone, 18, seed=3)
    assert len(made.features) == len(made.kinds) == len(made.source) == 18
    assert {kind: made.kinds.count(kind) for kind in DAMAGE} == dict.fromkeys(DAMAGE, 2)
    assert set(made.source.tolist()) == set(range(5))
    scale = normals.places.astype(np.float32).std(0) + 1e-3
    difference = (made.features.places[:, None].astype(np.float32) - normals.places[None]) / scale
    nearest = np.median(np.abs(difference), (2, 3)).argmin(1)
    assert (nearest == made.source).mean() > 0.8
    again = damage_parts(normals, backbone, 18, seed=3)
    assert (again.kinds, again.source.tolist()) == (made.kinds, made.source.tolist())
    assert again.features.sha256 == made.features.sha256
    assert damage_parts(normals, backbone, 18, seed=4).features.sha256 != made.features.sha256
    for one, other in zip(made.features.statistics, again.features.statistics, strict=True):
        np.testing.assert_array_equal(one, other)
