"""What the peers' scores are worth, against counting by hand."""

import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def figures() -> ModuleType:
    spec = importlib.util.spec_from_file_location("peers_figures", ROOT / "benchmarks/peers/figures.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_lowest_threshold_rejects_at_most_the_rate_and_a_lower_one_rejects_more(figures: ModuleType) -> None:
    for seed, count in enumerate((1, 14, 99, 100, 286, 452)):
        normal = np.random.default_rng(seed).normal(size=count)
        threshold = figures.lowest_threshold(normal, 0.01)
        assert sum(score > threshold for score in normal) <= 0.01 * count
        assert sum(score > threshold - 1e-9 for score in normal) > 0.01 * count


def test_auroc_is_the_share_of_pairs_in_the_right_order_over_all_defects_and_each_kind(figures: ModuleType) -> None:
    random = np.random.default_rng(0)
    normal = random.integers(0, 6, 30).astype(float)  # ties count half
    defects = {"crack": random.integers(2, 9, 12).astype(float), "stain": random.integers(0, 7, 7).astype(float)}
    found = figures.auroc(normal, defects)
    for kind, group in {**defects, "all": [*defects["crack"], *defects["stain"]]}.items():
        pairs = [1.0 if bad > good else 0.5 if bad == good else 0.0 for bad in group for good in normal]
        assert found[kind] == pytest.approx(sum(pairs) / len(pairs))


def test_only_held_out_normals_set_the_calibrated_threshold_and_what_equals_it_passes(figures: ModuleType) -> None:
    calib = np.array([1.0, 2.0, 3.0])
    found = figures.as_calibrated(
        calib, np.array([0.0, 3.0, 3.5, 9.0]), {"a": np.array([3.0, 4.0]), "b": np.array([5.0])}
    )
    assert found["calib_maximum"] == {
        "false_rejects": 0.5,
        "recall": {"all": pytest.approx(2 / 3), "a": 0.5, "b": 1.0},
    }
    assert found["calib_quantile"]["false_rejects"] == 0.75  # 2.98


def test_the_summary_keeps_the_shape_and_takes_each_figure_over_the_seeds(figures: ModuleType) -> None:
    trees = [{"auroc": {"all": 0.9}, "recall": 0.2}, {"auroc": {"all": 0.8}, "recall": 0.6}]
    assert figures.summary(trees, np.mean) == {"auroc": {"all": 0.85}, "recall": 0.4}
    assert figures.summary(trees, min) == {"auroc": {"all": 0.8}, "recall": 0.2}
