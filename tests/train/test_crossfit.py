"""Fold by fold: who judges whom, what is hidden where, and that damage and defects decide the weights."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from senbetsu.config import TrainSection
from senbetsu.features import Features
from train import crossfit, depth
from train.crossfit import CrossFit, Ground, cross_fit, deal, deal_lots, hidden_kinds
from train.judge import EVEN_REST_WEIGHT, DamagedParts
from train.labels import NORMAL, UNKNOWN

CHANNELS, PLACES, VALUES = 6, 9, 20
SETTINGS = TrainSection(steps=30, folds=3, images_per_label=8, dropout=0.0)


def parts(
    seed: int, count: int, context: float = 0, whole: float = 0, windows: float = 0, places: float = 0
) -> Features:
    """Random statistics, each moved so far in its first number (of one window, of one place)."""
    random = np.random.default_rng(seed)
    c, w, x, p = (
        random.normal(size=(count, *shape)).astype(np.float32)
        for shape in ((CHANNELS,), (3 * CHANNELS,), (9, 3 * CHANNELS), (PLACES, VALUES))
    )
    c[:, 0] += context
    w[:, 0] += whole
    x[:, 4, 0] += windows
    p[:, 4, 0] += places
    names = tuple(f"{seed}-{number}" for number in range(count))
    return Features(tuple(map(Path, names)), names, c, w, x, p.astype(np.float16))


NORMALS = parts(1, 60)


def damage(**shift: float) -> DamagedParts:
    source = np.arange(45) % len(NORMALS)
    return DamagedParts(parts(2, 45, **shift), ("spot",) * 45, source)


def crossed(defects: Features | None, labels: list[int], made: DamagedParts | None, **changed: object) -> CrossFit:
    all_labels = np.array([NORMAL] * len(NORMALS) + labels)
    return cross_fit(NORMALS, defects, all_labels, made, SETTINGS.model_copy(update=changed))


def test_parts_are_dealt_evenly_and_always_the_same_way() -> None:
    folds = deal(23, 5, seed=3)
    assert sorted(np.bincount(folds).tolist()) == [4, 4, 5, 5, 5]
    assert (folds == deal(23, 5, seed=3)).all()
    assert len(deal(0, 5, seed=3)) == 0


@given(st.lists(st.sampled_from("abcdefgh"), min_size=2, max_size=80), st.integers(2, 6), st.integers(0, 9))
@settings(deadline=None)
def test_a_lot_is_left_out_whole_and_no_fold_is_empty(lots: list[str], folds: int, seed: int) -> None:
    dealt = deal_lots(lots, folds, seed)
    assert all(len(set(dealt[np.array(lots) == lot])) == 1 for lot in lots)
    sizes = np.bincount(dealt)
    assert len(sizes) == min(folds, len(set(lots)))
    # The fullest fold is no fuller than the emptiest and the largest lot together: else a lot would have gone elsewhere.
    assert sizes.max() - sizes.min() <= max(Counter(lots).values())
    assert (dealt == deal_lots(lots, folds, seed)).all()


def test_the_parts_of_a_lot_are_judged_by_what_never_saw_any_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    lots = [str(number % 4) for number in range(len(NORMALS))]
    ground = Ground(NORMALS, SETTINGS, lots)
    fitted: list[set[str]] = []
    real = crossfit._fit

    def fit(head, normals, inside, total):
        fitted.append({lot for lot, out in zip(lots, inside, strict=True) if not out})
        return real(head, normals, inside, total)

    monkeypatch.setattr(crossfit, "_fit", fit)
    found = cross_fit(NORMALS, None, np.full(len(NORMALS), NORMAL), None, SETTINGS, ground=ground)
    assert len(found.axes) == SETTINGS.folds == 3
    for fold, seen in enumerate(fitted):
        left_out = {lot for lot, own in zip(lots, found.normal_fold, strict=True) if own == fold}
        assert left_out
        assert not left_out & seen


def test_fewer_lots_than_folds_make_fewer_folds() -> None:
    lots = ["a"] * 20 + ["b"] * 40
    found = cross_fit(
        NORMALS, None, np.full(len(NORMALS), NORMAL), None, SETTINGS, ground=Ground(NORMALS, SETTINGS, lots)
    )
    assert len(found.axes) == 2
    assert set(found.normal_fold[:20]) != set(found.normal_fold[20:])


@given(st.sets(st.integers(1, 12), max_size=9), st.booleans(), st.integers(2, 6))
@settings(deadline=None)
def test_every_known_kind_is_hidden_exactly_once_where_there_are_two(
    kinds: set[int], unknown: bool, folds: int
) -> None:
    labels = np.array([NORMAL, NORMAL, *(UNKNOWN,) * unknown, *(kind for kind in kinds for _ in range(3))])
    hidden = hidden_kinds(labels, folds)
    assert set(hidden) <= set(range(folds))
    counted = Counter(kind for of_fold in hidden.values() for kind in of_fold)
    assert counted == ({} if len(kinds) < 2 else dict.fromkeys(kinds, 1))
    assert max(map(len, hidden.values()), default=0) <= -(-len(kinds) // folds)


@pytest.mark.parametrize(("statistic", "number"), [("whole", 0), ("windows", 1), ("places", 2)])
def test_the_statistic_in_which_damage_shows_weighs_most(statistic: str, number: int) -> None:
    found = crossed(None, [], damage(**{statistic: 8.0}))
    assert np.argmax(found.fusion.weights[1:]) == number
    assert found.judgement.auroc[statistic] > 0.95
    assert found.fusion.weights[0] == 0
    assert found.share.seen == {}


def test_without_damage_the_statistics_weigh_the_same() -> None:
    found = crossed(None, [], None)
    assert found.fusion.weights == pytest.approx((0, 1 / 3, 1 / 3, 1 / 3))
    assert found.judgement.rest_weight == EVEN_REST_WEIGHT


def test_damaged_copies_and_parts_are_measured_by_models_that_never_saw_the_part(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each row tells by its context which part it is of; what a scorer was fitted on, its centroids tell."""
    context = np.tile(np.arange(60, dtype=np.float32)[:, None], CHANNELS)
    normals = replace(NORMALS, context=context)
    made = damage()
    made = replace(made, features=replace(made.features, context=context[made.source]))
    learned_on: list[int] = []
    measured = 0
    learn, measure = depth.learn_head, crossfit._measure

    def recorded_learn(rows, labels, *rest):  # type: ignore[no-untyped-def]
        learned_on[:] = rows[labels == NORMAL, 0].astype(int).tolist()
        return learn(rows, labels, *rest)

    def checked_measure(scorers, rows):  # type: ignore[no-untyped-def]
        nonlocal measured
        measured += len(rows)
        assert not set(learned_on) & set(rows.context[:, 0].astype(int).tolist())
        for scorer in scorers:
            for name in ("whole", "windows"):
                expected = getattr(normals, name)[learned_on].mean(0)
                np.testing.assert_allclose(np.squeeze(getattr(scorer, name).centroid), expected, atol=1e-5)
            np.testing.assert_allclose(scorer.places.mean, NORMALS.places[learned_on].mean(0, np.float64), atol=1e-5)
        return measure(scorers, rows)

    monkeypatch.setattr(depth, "learn_head", recorded_learn)
    monkeypatch.setattr(crossfit, "_measure", checked_measure)
    found = cross_fit(normals, None, np.zeros(60, np.int64), made, SETTINGS)
    assert measured == 60 + 45
    assert len(found.axes) == 3


def test_what_defects_show_the_learned_distance_is_weighed_by() -> None:
    """Both kinds lie out in one direction that only the context has, so that one teaches the other."""
    found = crossed(parts(3, 24, context=5.0), [1] * 12 + [2] * 12, damage(whole=3.0))
    assert found.share.weight > 0
    assert found.fusion.weights[0] == found.share.weight
    assert found.share.seen[found.share.weight] > found.share.seen[0.0] + 0.02
    assert set(found.share.hidden) == set(found.share.seen)


@pytest.mark.parametrize(
    ("labels", "loss", "proven"),
    [
        ([1] * 12, "triplet", False),
        ([1] * 6 + [2] * 6, "triplet", True),
        ([1] * 6 + [2] * 6, "quadruplet", False),
        ([1] * 4 + [2] * 4 + [3] * 4, "quadruplet", True),
        ([1] * 4 + [2] * 4 + [UNKNOWN] * 4, "quadruplet", True),
    ],
)
def test_a_kind_is_hidden_where_the_others_are_enough_to_learn_from(labels: list[int], loss: str, proven: bool) -> None:
    """A quadruplet takes two other labels: with two kinds, hiding one stopped the training."""
    found = crossed(parts(4, 12, context=6.0), labels, None, loss=loss)
    assert bool(found.share.hidden) is proven


def test_damage_that_teaches_is_one_more_label_made_of_no_part_that_the_fold_leaves_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each row tells by its context which part it is of; damaged copies have that of their source."""
    context = np.tile(np.arange(60, dtype=np.float32)[:, None], CHANNELS)
    made = damage()
    made = replace(made, features=replace(made.features, context=context[made.source]))
    taught: list[tuple[set[int], set[int], int]] = []
    learn = depth.learn_head

    def recorded_learn(rows, labels, *rest):  # type: ignore[no-untyped-def]
        of = [rows[labels == label, 0].astype(int).tolist() for label in (NORMAL, 2)]
        taught.append((set(of[0]), set(of[1]), int((labels == 1).sum())))
        return learn(rows, labels, *rest)

    monkeypatch.setattr(depth, "learn_head", recorded_learn)
    normals = replace(NORMALS, context=context)
    labels = np.array([NORMAL] * 60 + [1] * 12)
    quadruplets = SETTINGS.model_copy(update={"teach_damage": True, "loss": "quadruplet"})
    cross_fit(normals, parts(3, 12, context=5.0), labels, made, quadruplets)
    assert len(taught) == 3, "one real kind cannot be hidden, and damage is none that is"
    for normal, damaged, defects in taught:
        assert damaged == normal & set(made.source.tolist())
        assert defects == 8


def test_no_more_folds_than_parts() -> None:
    few = NORMALS.take(range(4))
    found = cross_fit(few, None, np.zeros(4, np.int64), None, SETTINGS.model_copy(update={"folds": 9}))
    assert sorted(found.normal_fold.tolist()) == [0, 1, 2, 3]
    assert np.isfinite(found.fusion.log_mean).all()
