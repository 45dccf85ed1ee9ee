"""Lots: told apart by name, list or time, held out whole, and what they say of a lot that nobody has seen."""

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy.stats import f_oneway, kruskal

from calibrate.lots import Spread, hold_out, name_lots
from calibrate.lots import spread_of as spread_of_sorted
from calibrate.parts import Part, Parts
from senbetsu.errors import UserError
from senbetsu.lots import LotRule

FOLDER = Path("/parts")
TILES = [FOLDER / name for name in ("exp1_num_7.jpg", "exp1_num_8.jpg", "night/exp2_num_7.jpg")]


def lots_of(paths: list[Path], group: str, folder: Path) -> list[str]:
    return LotRule.of(group, folder).lots_of(paths)


def test_the_first_group_of_a_pattern_names_the_lot_and_the_whole_match_where_there_is_none() -> None:
    assert lots_of(TILES, "(exp[0-9]+)_num", FOLDER) == ["exp1", "exp1", "exp2"]
    assert lots_of(TILES, "num_[0-9]", FOLDER) == ["num_7", "num_8", "num_7"]
    assert lots_of([FOLDER / "a/1.png", FOLDER / "b/1.png"], "^([^/]+)/", FOLDER) == ["a", "b"]


def test_a_list_names_lots_by_path_below_the_folder_or_by_name(tmp_path: Path) -> None:
    table = tmp_path / "lots.csv"
    table.write_text("exp1_num_7.jpg,monday\nexp1_num_8.jpg, tuesday\nnight/exp2_num_7.jpg,monday\n")
    assert lots_of(TILES, str(table), FOLDER) == ["monday", "tuesday", "monday"]


def test_a_long_gap_between_pictures_begins_a_lot_whatever_their_names(tmp_path: Path) -> None:
    minutes = {"a.png": 60, "b.png": 0, "c.png": 4, "d.png": 63, "e.png": 68}
    paths = []
    for name, minute in minutes.items():
        paths.append(tmp_path / name)
        paths[-1].write_bytes(b"no picture")
        os.utime(paths[-1], (1e9 + 60 * minute,) * 2)
    lots = lots_of(paths, "gap:5", tmp_path)
    assert [lots.index(lot) for lot in lots] == [0, 1, 1, 0, 0]
    assert len(set(lots_of(paths, "gap:3.5", tmp_path))) == 4


def test_exif_tells_the_time_before_the_file_does(tmp_path: Path) -> None:
    paths = []
    for name, taken in (("a.jpg", "2026:03:01 08:00:00"), ("b.jpg", "2026:03:01 14:00:00"), ("c.jpg", None)):
        exif = Image.Exif()
        if taken:
            exif[0x0132] = taken
        paths.append(tmp_path / name)
        Image.new("RGB", (8, 8)).save(paths[-1], exif=exif)
        os.utime(paths[-1], (1e9, 1e9))
    assert len(set(lots_of(paths, "gap:60", tmp_path))) == 3
    assert lots_of(paths, "gap:60", tmp_path)[:2] == ["2026-03-01 08:00:00", "2026-03-01 14:00:00"]


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ("exp[", "no regular expression"),
        ("exp3", r"names no lot in 'exp1_num_7\.jpg'"),
        ("(lot[0-9])?", "names no lot"),
        ("gap:soon", "expected gap:MINUTES"),
        ("gap:-1", "expected gap:MINUTES"),
        ("gap:nan", "expected gap:MINUTES"),
        ("nowhere.csv", "cannot be read"),
    ],
)
def test_a_rule_that_does_not_work_is_refused(rule: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        lots_of(TILES, rule, FOLDER)


@pytest.mark.parametrize(
    ("text", "message"),
    [("exp1_num_7.jpg,a\n", r"no line for 'exp1_num_8\.jpg'"), ("a,b,c\n", "line 1: expected path,lot")],
)
def test_a_list_with_a_fault_is_refused(tmp_path: Path, text: str, message: str) -> None:
    table = tmp_path / "lots.csv"
    table.write_text(text)
    with pytest.raises(UserError, match=message):
        lots_of(TILES, str(table), FOLDER)


def folds_of(trained: list[int | None], lots: list[str] | None, count: int) -> tuple[list[int], list[str]]:
    """Of parts by number, the fold that each was trained in; the product's way from names to folds."""
    parts = Parts()
    names = [Path(f"{n}.png" if lots is None else f"{lots[n]}/{n}.png") for n in range(len(trained))]
    parts.add([Part(name, f"{n:064x}", fold, n) for n, (name, fold) in enumerate(zip(names, trained, strict=True))])
    if lots is not None:
        name_lots(parts, LotRule.of("^([^/]+)/", FOLDER))
    warnings = hold_out(parts, count, by_lot=lots is not None)
    return [-1 if part.hold is None else part.hold for part in parts.every()], warnings


@given(st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=60), st.integers(2, 6))
@settings(deadline=None)
def test_parts_of_one_lot_are_held_out_together(lots: list[str], count: int) -> None:
    folds, warnings = folds_of([None] * len(lots), lots, count)
    assert all(len({f for f, lot in zip(folds, lots, strict=True) if lot == one}) == 1 for one in set(lots))
    assert len(set(folds)) == min(count, len(set(lots)))
    assert warnings == []


def test_a_lot_stays_in_the_fold_that_all_of_it_was_trained_in() -> None:
    folds, warnings = folds_of([1, 1, None, 0, None], ["a", "a", "a", "b", "c"], 3)
    assert folds == [1, 1, 1, 0, 2]
    assert warnings == []


def test_lots_that_were_trained_across_folds_are_dealt_out_and_warned_of() -> None:
    folds, warnings = folds_of([0, 1, 0, 1], ["a", "a", "b", "b"], 2)
    assert folds == [0, 0, 1, 1]
    assert "optimistic" in warnings[0]
    assert "train --group" in warnings[0]


def test_without_lots_a_part_that_was_trained_on_keeps_its_fold() -> None:
    folds, _ = folds_of([None, 2, None, None], None, 3)
    assert folds == [0, 2, 1, 2]


@pytest.mark.parametrize("rule", ["gap:5", "gap:3.5"])
def test_lots_by_time_are_the_same_one_by_one_and_all_at_once(tmp_path: Path, rule: str) -> None:
    minutes = [60, 0, 4, 63, 68, 0]
    parts, paths = Parts(), [tmp_path / f"{n}.png" for n in range(len(minutes))]
    for path, minute in zip(paths, minutes, strict=True):
        path.write_bytes(b"no picture")
        os.utime(path, (1e9 + 60 * minute,) * 2)
    parts.add([Part(path, f"{n:064x}", None, n) for n, path in enumerate(paths)])
    name_lots(parts, LotRule.of(rule, tmp_path))
    parts.set_scores((n, float(n)) for n in range(len(minutes)))
    assert [lot for lot, _ in parts.scores_of_lots("1")] == lots_of(paths, rule, tmp_path)


def spread_of(lots: list[str], scores: np.ndarray, threshold: float) -> Spread:
    order = np.argsort(scores, kind="stable")
    return spread_of_sorted(((lots[i], float(scores[i])) for i in order), threshold)


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from([0.5, 1.0, 1.5]) | st.floats(0.1, 9)), min_size=4),
)
def test_the_difference_between_lots_is_that_of_kruskal_and_wallis(parts: list[tuple[str, float]]) -> None:
    groups = [[score for lot, score in parts if lot == one] for one in sorted({lot for lot, _ in parts})]
    found = spread_of([lot for lot, _ in parts], np.array([score for _, score in parts]), 1.0).difference_p
    if len(groups) < 2 or len({score for _, score in parts}) < 2:
        assert found is None
    else:
        assert found == pytest.approx(kruskal(*groups).pvalue, rel=1e-9, abs=1e-12)


def test_the_spread_counts_each_lot_and_weighs_all_alike() -> None:
    scores = np.array([1.0, 2.0, 3.0, 4.0, 1.0, 1.5])
    spread = spread_of(["a", "a", "a", "a", "b", "b"], scores, 2.5)
    assert [(lot.lot, lot.parts, lot.rejected, lot.rate) for lot in spread.lots] == [("a", 4, 2, 0.5), ("b", 2, 0, 0.0)]
    assert spread.new_lot_rate == pytest.approx((1 + 0.5 + 0) / 3)
    assert spread.lots[0].low < 0.5 < spread.lots[0].high


def test_one_lot_says_nothing_of_another() -> None:
    spread = spread_of(["a"] * 50, np.linspace(1, 2, 50), 3.0)
    assert (spread.new_lot_rate, spread.difference_p) == (0.5, None)
    assert "one lot" in spread.warnings(0.02)[0]


def test_the_likeness_within_lots_is_that_of_an_analysis_of_variance() -> None:
    random = np.random.default_rng(0)
    logs = random.normal(size=(12, 1)) + random.normal(size=(12, 20))
    F = f_oneway(*logs).statistic
    spread = spread_of([f"{i:02d}" for i in range(12) for _ in range(20)], np.exp(logs).ravel(), 1e9)
    assert spread.intraclass_correlation == pytest.approx((F - 1) / (F - 1 + 20))
    assert spread.effective_parts == pytest.approx(240 / (1 + 19 * spread.intraclass_correlation))
    assert spread.difference_p is not None
    assert spread.difference_p < 1e-6
    assert any("the lots differ" in warning for warning in spread.warnings(1.0))


def test_lots_that_do_not_differ_are_worth_their_parts() -> None:
    scores = np.exp(np.random.default_rng(1).normal(size=400))
    spread = spread_of([str(i % 8) for i in range(400)], scores, 1e9)
    assert spread.effective_parts > 300
    assert spread.warnings(0.2) == []


def test_equal_scores_have_no_difference_between_lots() -> None:
    spread = spread_of(["a", "a", "b", "b"], np.ones(4), 1.0)
    assert (spread.difference_p, spread.intraclass_correlation) == (None, 0.0)


def test_simulated_new_lots_are_rejected_no_more_than_was_said() -> None:
    """Lots with levels of their own; a threshold at the k-th of all, as without lots."""
    random = np.random.default_rng(2)
    said, seen, pooled = [], [], []
    for _ in range(1500):
        level = random.normal(size=9)
        scores = np.exp(level[:8, None] + random.normal(size=(8, 25)))
        threshold = float(np.sort(scores.ravel())[189])
        said.append(spread_of([str(i) for i in range(8) for _ in range(25)], scores.ravel(), threshold).new_lot_rate)
        seen.append((np.exp(level[8] + random.normal(size=200)) > threshold).mean())
        pooled.append(11 / 201)
    assert np.mean(seen) > np.mean(pooled)  # what takes the parts for independent is too low
    assert np.mean(seen) <= np.mean(said)
