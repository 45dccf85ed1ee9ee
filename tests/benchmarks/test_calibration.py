"""benchmarks/calibration: its whitenings are the product's, its theory is scipy's, its page the saved runs'."""

import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import betabinom

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/calibration.md"


@pytest.fixture(scope="module")
def of() -> Iterator[Any]:
    """A module of benchmarks.calibration by name."""
    sys.path.insert(0, str(ROOT))
    yield lambda name: import_module(f"benchmarks.calibration.{name}")
    sys.path.remove(str(ROOT))


@pytest.mark.parametrize(("count", "places", "rank"), [(12, 1, 6), (12, 3, 30), (30, 1, 50), (90, 1, 20)])
def test_the_quick_whitening_is_the_products(of: Any, count: int, places: int, rank: int) -> None:
    from senbetsu.moments import Moments
    from senbetsu.whitening import fit_whitening

    random = np.random.default_rng(0)
    scales = np.geomspace(5, 0.2, 60).astype(np.float32)
    fitted, others = (random.normal(size=(n, places, 60)).astype(np.float32) * scales for n in (count, 40))
    found = of("refit").whitening_of(fitted, rank)
    expected = fit_whitening(Moments.of(fitted), rank).distance(others)
    np.testing.assert_allclose(found.distance(others), expected, rtol=1e-4)
    np.testing.assert_allclose(of("refit").distance_in_fp32(found, others), expected, rtol=1e-3)


def test_parts_with_one_key_share_a_fold_and_folds_are_even(of: Any) -> None:
    keys = ["a"] * 10 + ["b"] * 6 + ["c"] * 4
    fold = of("refit").deal(keys, 2, np.random.default_rng(0))
    assert [len(set(fold[:10])), len(set(fold[10:16])), len(set(fold[16:]))] == [1, 1, 1]
    assert np.bincount(fold).tolist() == [10, 10]


def test_random_splits_of_any_scores_are_beta_binomial(of: Any) -> None:
    """The law that the page compares with, from nothing but shuffling."""
    random = np.random.default_rng(1)
    population, n, k = random.lognormal(size=90), 40, 38
    rejected = []
    for _ in range(4000):
        order = random.permutation(90)
        rejected.append(int((population[order[n:]] > np.sort(population[order[:n]])[k - 1]).sum()))
    block = {"rest": 50, "splits": 4000}
    rule = {"rate": 0.1, "n": n, "k": k, "rejected": rejected}
    page = of("page")
    assert page.theory(block, rule).mean() == pytest.approx(betabinom(50, 3, 38).mean())
    seen, predicted, excess = page.over_promise(block, rule)
    assert predicted == pytest.approx(betabinom(50, 3, 38).sf(5))
    assert seen == np.mean(np.array(rejected) > 5)
    assert abs(excess) < 3.5
    assert page.fit_p(block, rule) > 1e-3
    assert page.fit_p(block, {**rule, "k": 36}) < 1e-6


def test_every_figure_of_the_page_is_that_of_the_saved_runs(of: Any) -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert page.count("<!-- measured: ") == page.count("<!-- /measured -->") == len(of("page").BLOCKS)
    assert of("page").with_figures(page) == page, "run python -m benchmarks.calibration.page"


def test_its_picture_shows_the_saved_runs(of: Any) -> None:
    picture = (ROOT / "docs/calibration_coverage.png").read_bytes()
    assert of("page").runs_sha256().encode() in picture, "run python -m benchmarks.calibration.page"


def test_rules_of_folds_reject_what_a_slow_loop_rejects(of: Any) -> None:
    random = np.random.default_rng(3)
    fold = np.arange(600) % 3
    scores = np.round(random.normal(size=600), 1)  # with ties
    by_fold = np.round(random.normal(2.8, 1, size=(200, 3)), 1)
    rules = of("rules").fold_rules(scores, fold)
    rate = of("rules").RATE
    for name in ("average 3", "prefix 3", "least of 3"):
        rejects = rules[name][1](np.zeros(len(by_fold)), by_fold)
        for part, is_rejected in zip(by_fold, rejects, strict=True):
            p = [
                (1 + sum(s >= part[number] for s in scores[fold == number])) / (1 + sum(fold == number))
                for number in range(3)
            ]
            expected = {
                "average 3": 2 * sum(p) / 3 <= rate,
                "prefix 3": any(2 * sum(p[:count]) / count <= rate for count in (1, 2, 3)),
                "least of 3": min(part) > sorted(scores)[int(np.ceil(601 * (1 - rate))) - 1],
            }[name]
            assert bool(is_rejected) == expected, name
    assert rules["prefix 3"][1](np.zeros(200), by_fold).sum() >= rules["average 3"][1](np.zeros(200), by_fold).sum() > 0


def test_no_rule_rejects_more_good_parts_than_is_proved(of: Any) -> None:
    """Scores that no model made: every rule of folds, over many draws."""
    random = np.random.default_rng(4)
    draws, fold = 400, np.arange(400) % 2
    rejected: dict[str, list[float]] = {}
    proved = {}
    for _ in range(draws):
        good = random.exponential(size=200)
        for name, (most, rejects) in of("rules").fold_rules(random.exponential(size=400), fold).items():
            proved[name] = most
            rejected.setdefault(name, []).append(float(rejects(good, np.stack([good, good], 1)).mean()))
    for name, rates in rejected.items():
        assert np.mean(rates) <= proved[name] + 3 * np.std(rates) / np.sqrt(draws), name
    assert 0.004 < np.mean(rejected["cross 2, rank of the whole rate"]) < 0.016  # not vacuous
