"""Heat maps: what lies where, on one scale for every line."""

import math

import cv2
import numpy as np
import pytest

from senbetsu.config import ModelSection
from senbetsu.embedding import load_embedding
from senbetsu.features import features_of
from senbetsu.heat import COLOUR_BGR, FULL_AT, PALE_FROM, STRONGEST, heat_map, lay_over
from senbetsu.profile import load_profile


@pytest.fixture(scope="module")
def judged(line):
    embedding = load_embedding(line.artifacts, ModelSection())
    return embedding, load_profile(line.artifacts, embedding).scorer


def heats(judged, pictures):
    embedding, scorer = judged
    small = [cv2.resize(picture, (embedding.input_size,) * 2, interpolation=cv2.INTER_AREA) for picture in pictures]
    features = features_of(small, embedding.backbone, "features", len(small))
    return heat_map(scorer, features), scorer, features


@pytest.mark.parametrize(("row", "column"), [(40, 48), (84, 60), (64, 86)])
def test_the_hottest_place_is_where_the_damage_is(judged, drawn_part, row: int, column: int) -> None:
    picture = drawn_part(812)
    cv2.circle(picture, (column, row), 7, (10, 10, 10), -1)
    heat = heats(judged, [picture])[0][0]
    hottest = np.unravel_index(heat.argmax(), heat.shape)
    centre = (np.array(hottest) + 0.5) * 128 / len(heat)
    assert np.linalg.norm(centre - (row, column)) < 1.5 * 128 / len(heat)
    assert heat.max() > FULL_AT


def test_a_typical_normal_part_has_farthest_places_of_about_one(judged, drawn_part) -> None:
    heat, scorer, features = heats(judged, [drawn_part(seed) for seed in range(820, 832)])
    assert np.median(heat.max((1, 2))) == pytest.approx(1.0, abs=0.25)
    # The statistic is the root mean square of the farthest 4 % of the places: here of two.
    farthest = np.sqrt(np.square(np.sort(heat.reshape(len(heat), -1), 1)[:, -2:]).mean(1))
    log_distance = scorer.log_distances(*features.statistics)[:, 3]
    np.testing.assert_allclose(np.log(farthest), log_distance - scorer.fusion.log_mean[3], atol=1e-3)


def test_colour_grows_with_heat_and_never_hides_the_part() -> None:
    picture = np.full((64, 64, 3), 100, np.uint8)
    assert np.array_equal(lay_over(picture, np.full((7, 7), PALE_FROM, np.float32)), picture)
    full = lay_over(picture, np.full((7, 7), 10 * FULL_AT, np.float32))
    expected = [100 * (1 - STRONGEST) + STRONGEST * colour for colour in COLOUR_BGR]
    np.testing.assert_allclose(full, np.broadcast_to(expected, full.shape), atol=0.51)
    half = lay_over(picture, np.full((7, 7), (PALE_FROM + FULL_AT) / 2, np.float32))
    assert 100 < int(half[0, 0, 2]) < expected[2]


def test_what_is_not_a_number_is_hot_not_cold() -> None:
    heat = np.zeros((4, 4), np.float32)
    heat[0, 0] = math.nan
    drawn = lay_over(np.zeros((32, 32, 3), np.uint8), heat)
    assert drawn[0, 0, 2] > 100
    assert drawn[-1, -1].tolist() == [0, 0, 0]
