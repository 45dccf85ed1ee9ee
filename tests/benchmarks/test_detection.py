"""benchmarks/detection: its pure parts against scikit-learn, scipy and counting; its page against the saved runs."""

import importlib
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from scipy.stats import ttest_rel
from sklearn.metrics import recall_score, roc_auc_score

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs/detection.md"
KINDS = ["crack"] * 30 + ["hole"] * 12 + ["burr"] * 5


@pytest.fixture(scope="module")
def of() -> Iterator[Any]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT))

        def load(name: str) -> ModuleType:
            return importlib.import_module(f"benchmarks.detection.{name}")

        yield load


def test_recall_and_auroc_of_each_kind_are_those_of_scikit_learn(of: Any) -> None:
    random = np.random.default_rng(0)
    normal, defect = random.normal(0, 1, 80).round(1), random.normal(1, 1, len(KINDS)).round(1)
    found = of("figures").figures_of(normal[:50], normal, defect, KINDS, 1.3)
    assert set(found["auroc"]) == {"all", *KINDS}
    for kind in found["auroc"]:
        mine = defect[[kind in ("all", one) for one in KINDS]]
        scores, truth = np.r_[normal, mine], np.r_[np.zeros(len(normal)), np.ones(len(mine))]
        assert found["auroc"][kind] == pytest.approx(roc_auc_score(truth, scores), abs=1e-5)
        assert found["recall_calibrated"][kind] == pytest.approx(recall_score(truth, scores > 1.3), abs=1e-5)
        above = scores > np.percentile(normal[:50], 99)
        assert found["recall_quantile"][kind] == pytest.approx(recall_score(truth, above), abs=1e-5)
    assert found["false_rejects_counted"] == sum(score > 1.3 for score in normal)


def test_a_score_that_is_no_number_is_rejected(of: Any) -> None:
    assert of("figures").rejected_share(np.array([np.nan, 0.0, 2.0, np.inf]), 1.0) == 0.75


@pytest.mark.parametrize("count", [1, 14, 99, 100, 286, 452])
def test_the_informed_threshold_rejects_at_most_one_percent_and_a_lower_one_would_not(of: Any, count: int) -> None:
    normal = np.random.default_rng(count).normal(size=count)
    threshold = of("figures").informed_threshold(normal, 0.01)
    assert (normal > threshold).sum() <= 0.01 * count < (normal > threshold - 1e-9).sum()


def test_the_interval_of_paired_differences_is_that_of_scipy(of: Any) -> None:
    random = np.random.default_rng(1)
    one, other = random.normal(0.2, 1, 10), random.normal(0, 1, 10)
    found = of("figures").paired_interval((one - other).tolist())
    expected = ttest_rel(one, other).confidence_interval(0.95)
    assert (found["low"], found["high"]) == pytest.approx((expected.low, expected.high))


def test_softmax_orders_parts_as_one_minus_the_probability_of_normal(of: Any) -> None:
    logits = np.random.default_rng(2).normal(0, 2, (50, 4))
    normal = np.exp(logits[:, 0]) / np.exp(logits).sum(1)
    assert of("rivals").log_odds_against_normal(logits) == pytest.approx(np.log((1 - normal) / normal))


@pytest.mark.parametrize("name", ["cookies", "magnetic_tile"])
def test_in_no_run_is_a_defect_both_shown_and_tested(of: Any, name: str) -> None:
    settings = of("settings")
    for setting in settings.SETTINGS:
        for unit in settings.units(name, setting, list(dict.fromkeys(KINDS)), 500):
            taught, tested = settings.taught_and_tested(unit, KINDS)
            assert not set(taught) & set(tested)
            shown, asked = {KINDS[i] for i in taught}, {KINDS[i] for i in tested}
            if setting == "unseen kind":
                assert asked == {unit.case}
                assert shown == set(KINDS) - asked
            else:
                assert len(taught) + len(tested) == len(KINDS)
            if setting == "seen kinds":
                assert [sum(KINDS[i] == kind for i in taught) for kind in ("crack", "hole", "burr")] == [15, 6, 2]
            if setting == "few":
                assert len(taught) == int(unit.case)


def test_of_one_seed_more_normal_parts_hold_the_fewer(of: Any) -> None:
    settings = of("settings")
    few, more = (
        settings.counted_normals(settings.Unit("tiles", "normals counted", 3, case), 60) for case in ("10", "20")
    )
    assert len(few) == 10
    assert set(few) < set(more)


def test_the_chance_of_false_rejects_is_that_of_drawing_parts(of: Any) -> None:
    # Threshold: the 19th of 20 scores; 40 more of the same kind of part are judged by it.
    random = np.random.default_rng(3)
    scores = random.random((20_000, 60))
    rejected = (scores[:, 20:] > np.sort(scores[:, :20], 1)[:, 18:19]).sum(1)
    run = {"claim": {"n": 20, "k": 19}, "test_normals": 40, "methods": {"fused": {"false_rejects_counted": 6}}}
    assert of("bars").chance_of_so_many(run, "fused") == pytest.approx((rejected >= 6).mean(), abs=0.01)


def a_run(fused: float, novelty: float, softmax: float, **where: Any) -> dict[str, Any]:
    methods = {
        name: {"auroc": {"all": area}, "recall_calibrated": {"all": 0.5}}
        for name, area in (("fused", fused), ("novelty", novelty), ("softmax", softmax))
    }
    return {"set": "magnetic_tile", "setting": "unseen kind", "seed": 0, "case": "crack", **where, "methods": methods}


def test_a_bar_is_missed_when_the_figure_falls_short_of_it(of: Any) -> None:
    bars = of("bars")
    assert [bar["met"] for bar in bars.unseen([a_run(0.90, 0.904, 0.89)])] == [True, True]
    assert [bar["met"] for bar in bars.unseen([a_run(0.90, 0.906, 0.91)])] == [False, False]
    seen = {"setting": "seen kinds", "case": ""}
    assert [bar["met"] for bar in bars.seen([a_run(0.95, 0.94, 0.954, **seen)])] == [True, True]
    assert [bar["met"] for bar in bars.seen([a_run(0.95, 0.95, 0.956, **seen)])] == [False, False]
    few = {"setting": "few", "case": "5"}
    gains = [a_run(0.9 + gain, 0.9, 0.5, seed=seed, **few) for seed, gain in enumerate((0.01, 0.02, 0.015))]
    assert [bar["met"] for bar in bars.few(gains)] == [True]
    assert [bar["met"] for bar in bars.few([*gains, a_run(0.8, 0.9, 0.5, seed=3, **few)])] == [False]


def test_the_bars_that_are_saved_are_those_of_the_saved_runs(of: Any) -> None:
    document = importlib.import_module("benchmarks.readme").result("detection")
    assert document["bars"] == of("bars").bars(document["runs"])


def test_every_figure_of_the_page_is_that_of_the_saved_runs(of: Any) -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert page.count("<!-- measured: ") == page.count("<!-- /measured -->") == len(of("page").BLOCKS)
    assert of("page").with_figures(page) == page, "run python -m benchmarks.detection.page"


def test_outside_of_what_is_written_by_the_script_the_page_has_no_measured_figure() -> None:
    by_hand = re.sub(r"<!-- measured: .*?<!-- /measured -->", "", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL)
    assert not re.findall(r"\d?\.\d\d", by_hand)


def test_its_picture_shows_the_saved_runs(of: Any) -> None:
    picture = (ROOT / "docs/detection_normals.png").read_bytes()
    assert of("page").runs_sha256().encode() in picture, "run python -m benchmarks.detection.page"
