"""What the folds share between learnings changes nothing of what comes out."""

from pathlib import Path

import numpy as np

from senbetsu.config import TrainSection
from senbetsu.features import Features
from train.crossfit import Ground, cross_fit
from train.judge import DamagedParts

NORMALS, CHANNELS, PATCH = 24, 6, 5


def parts(count: int, seed: int, shift: float, name: str) -> Features:
    random = np.random.default_rng(seed)

    def values(*shape: int) -> np.ndarray:
        return (random.normal(0, 1, (count, *shape)) + shift).astype(np.float32)

    names = tuple(f"{name}{number}" for number in range(count))
    return Features(
        tuple(map(Path, names)), names, values(CHANNELS), values(3 * CHANNELS), values(9, 3 * CHANNELS),
        values(4, PATCH).astype(np.float16),
    )  # fmt: skip


def test_a_ground_that_has_served_other_defects_gives_the_same_as_a_fresh_one() -> None:
    normals, settings = parts(NORMALS, 0, 0.0, "good"), TrainSection(steps=5, folds=3)
    damage = DamagedParts(parts(12, 1, 0.6, "damaged"), ("scar",) * 12, np.arange(12))
    defects, labels = parts(10, 2, 0.8, "bad"), np.r_[np.zeros(NORMALS, int), np.repeat([1, 2], 5)]
    ground = Ground(normals, settings)
    cross_fit(
        normals,
        defects.take(np.arange(3)),
        np.r_[np.zeros(NORMALS, int), np.ones(3, int)],
        damage,
        settings,
        ground=ground,
    )
    cross_fit(normals, None, np.zeros(NORMALS, np.int64), damage, settings, ground=ground)
    shared, fresh = (cross_fit(normals, defects, labels, damage, settings, ground=given) for given in (ground, None))
    assert shared.fusion == fresh.fusion
    assert shared.judgement == fresh.judgement
    assert shared.share == fresh.share
    assert shared.share.seen
    assert shared.share.hidden
    for one, other in zip(shared.axes, fresh.axes, strict=True):
        assert (one.head.weight == other.head.weight).all()
        assert (one.frame.directions == other.frame.directions).all()


def test_a_part_is_measured_by_its_fold_as_the_scorers_themselves_measure_it() -> None:
    normals, settings = parts(NORMALS, 3, 0.0, "good"), TrainSection(steps=5, folds=3)
    head = cross_fit(normals, None, np.zeros(NORMALS, np.int64), None, settings).axes[0].head
    ground, some = Ground(normals, settings), parts(7, 4, 0.5, "bad")
    ground.measure(0, ground.scorers(0, head, normals), some.take(np.array([2, 5])))
    scorers = ground.scorers(0, head, normals)
    measured = ground.measure(0, scorers, some)
    for column, scorer in enumerate(scorers):
        expected = scorer.log_distances(*some.statistics)
        np.testing.assert_allclose(measured[:, [0, 1, 2, 3 + column]], expected, rtol=1e-6)
