"""What the pictures show, read back from the figures and from the files. scikit-learn projects a second time."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.decomposition import PCA

from senbetsu.drawing import (
    draw_feature_space,
    draw_score_histogram,
    feature_space,
    principal_plane,
    score_histogram,
    svg_of,
)


def vectors(count: int = 60, width: int = 20, seed: int = 0) -> NDArray[np.float64]:
    random = np.random.default_rng(seed)
    return random.normal(size=(count, width)) * np.linspace(5, 0.1, width)


def labels(normal: int = 40, scratch: int = 20) -> list[str]:
    return ["normal"] * normal + ["scratch"] * scratch


def read(path: Path) -> NDArray[np.uint8]:
    image = cv2.imread(str(path))
    assert image is not None
    return np.asarray(image, np.uint8)


def test_the_plane_is_that_of_principal_component_analysis() -> None:
    X = vectors()
    points, _, shares = principal_plane(X, np.ones(len(X), bool))
    oracle = PCA(2).fit(X)
    np.testing.assert_allclose(np.abs(points), np.abs(oracle.transform(X)), rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(shares, oracle.explained_variance_ratio_, rtol=1e-9)


def test_the_marked_mean_is_that_of_the_reference_parts_only() -> None:
    X = vectors()
    reference = np.arange(len(X)) < 40
    points, mean, _ = principal_plane(X, reference)
    np.testing.assert_allclose(mean, sum(points[:40]) / 40)


def test_the_plane_does_not_depend_on_the_order_of_the_parts() -> None:
    X = vectors()
    order = np.random.default_rng(1).permutation(len(X))
    points, _, _ = principal_plane(X, np.ones(len(X), bool))
    shuffled, _, _ = principal_plane(X[order], np.ones(len(X), bool))
    np.testing.assert_allclose(shuffled, points[order], atol=1e-9)


@pytest.mark.parametrize("X", [np.zeros((5, 8)), np.ones((1, 8)), np.arange(6.0)[:, None], np.ones((2, 3))])
def test_parts_that_hardly_differ_still_give_a_picture(X: NDArray[np.float64], tmp_path: Path) -> None:
    points, mean, shares = principal_plane(X, np.ones(len(X), bool))
    assert points.shape == (len(X), 2)
    assert np.isfinite(points).all()
    assert np.isfinite(mean).all()
    assert np.isfinite(shares).all()
    draw_feature_space(tmp_path / "space.png", X, None, ["normal"] * len(X))
    assert read(tmp_path / "space.png").std() > 0


def test_both_panels_show_every_part_and_say_which_is_which() -> None:
    figure = feature_space(vectors(), vectors(60, 64, 1), labels(), "normal")
    assert [axes.get_title() for axes in figure.axes] == [
        "before learning: features of the frozen backbone",
        "after learning: the 64-d embedding",
    ]
    for axes in figure.axes:
        assert sum(len(np.asarray(group.get_offsets())) for group in axes.collections) == 60 + 1
    words = [text.get_text() for text in figure.legends[0].get_texts()]
    assert words == ["normal (40)", "scratch (20)", "mean of normal"]


def test_where_nothing_was_learned_there_is_one_panel() -> None:
    assert len(feature_space(vectors(), None, labels(), "normal").axes) == 1


def test_no_two_of_many_classes_look_alike() -> None:
    names = ["normal"] * 4 + [f"kind {i % 20}" for i in range(56)]
    groups = feature_space(vectors(), None, names, "normal").axes[0].collections
    looks = {(tuple(np.asarray(g.get_facecolor())[0]), g.get_paths()[0].vertices.tobytes()) for g in groups}
    assert len(looks) == 22


def test_the_same_vectors_give_the_same_file(tmp_path: Path) -> None:
    for name in ("first.png", "second.png"):
        draw_feature_space(tmp_path / name, vectors(), vectors(60, 64, 1), labels())
    assert (tmp_path / "first.png").read_bytes() == (tmp_path / "second.png").read_bytes()


def bars(scores: NDArray[np.float64], threshold: float, defects: NDArray[np.float64] | None = None) -> list[float]:
    axes = score_histogram(scores, threshold, defects).axes[0]
    return [sum(bar.get_height() for bar in group) for group in axes.containers]  # type: ignore[attr-defined]


def test_every_part_is_in_a_bar_and_the_threshold_is_a_line() -> None:
    scores = np.random.default_rng(0).lognormal(0, 0.3, 400)
    defects = np.array([3.0, 4.0, 0.0])
    assert bars(scores, 1.5, defects) == [400, 3]
    figure = score_histogram(scores, 1.5, defects)
    assert [line.get_xdata() for line in figure.axes[0].lines] == [[1.5, 1.5]]
    words = [text.get_text() for text in figure.legends[0].get_texts()]
    rejected = int((scores > 1.5).sum())
    assert words == [f"400 normal parts, {rejected} rejected", "3 defects, 2 rejected", "threshold 1.500"]


def test_a_score_that_is_no_number_is_counted_as_rejected() -> None:
    figure = score_histogram(np.array([0.5, np.nan, np.inf]), 1.0)
    assert figure.legends[0].get_texts()[0].get_text() == "3 normal parts, 2 rejected"


@pytest.mark.parametrize("scores", [[], [1.0], [1.0] * 8, [np.nan], [0.0], [1e-6, 1e6]])
def test_few_or_odd_scores_still_give_a_picture(scores: list[float], tmp_path: Path) -> None:
    draw_score_histogram(tmp_path / "histogram.png", np.array(scores), 1.0)
    assert read(tmp_path / "histogram.png").std() > 0


@pytest.mark.parametrize("highest", [1.05, 1.7, 6.0, 90.0, 1e4])
def test_a_short_and_a_long_axis_have_a_few_round_ticks_each(highest: float) -> None:
    axes = score_histogram(np.array([0.9, highest]), 1.0).axes[0]
    low, high = axes.get_xlim()
    assert 3 <= len(axes.get_xticks()) <= 16
    assert all(low <= tick <= high for tick in axes.get_xticks())


def test_the_histogram_can_be_put_into_a_page() -> None:
    svg = svg_of(score_histogram(np.array([0.9, 1.1]), 1.0))
    assert svg.startswith("<svg")
    assert svg.rstrip().endswith("</svg>")
    assert svg == svg_of(score_histogram(np.array([0.9, 1.1]), 1.0))
