"""Pictures changed as a line changes them."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from senbetsu.config import TrainSection
from train.augmentation import Changes, change, draw_changes

SIDE = 16
OFF = {"augment_flips": False, "augment_shift": 0.0, "augment_light": 0.0}


def pictures(count: int = 6) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).integers(0, 256, (count, SIDE, SIDE, 3), np.uint8))


def drawn(count: int, **settings: object) -> Changes:
    return draw_changes(count, SIDE, TrainSection(**{**OFF, **settings}), np.random.default_rng(7))


def one(
    *, mirrored: bool = False, upside_down: bool = False, right: int = 0, down: int = 0, gain: float = 1.0
) -> Changes:
    return Changes(*(np.array([v]) for v in (mirrored, upside_down, right, down, gain)))


def test_all_switched_off_changes_nothing() -> None:
    assert torch.equal(change(pictures(), drawn(6)), pictures())


def test_the_same_seed_gives_the_same_pictures_and_another_one_others() -> None:
    settings = TrainSection(augment_shift=0.2, augment_light=0.3)
    again = [change(pictures(), draw_changes(6, SIDE, settings, np.random.default_rng(s))) for s in (1, 1, 2)]
    assert torch.equal(again[0], again[1])
    assert not torch.equal(again[0], again[2])


@given(st.booleans(), st.booleans(), st.integers(-SIDE, SIDE), st.integers(-SIDE, SIDE), st.floats(0.5, 1.5))
def test_every_change_is_what_a_slow_loop_makes_of_it(
    mirrored: bool, upside_down: bool, right: int, down: int, gain: float
) -> None:
    source = pictures(1)
    changes = one(mirrored=mirrored, upside_down=upside_down, right=right, down=down, gain=gain)
    result = change(source, changes)
    assert result.dtype == torch.uint8
    assert result.shape == source.shape
    for y in range(0, SIDE, 3):
        for x in range(0, SIDE, 3):
            from_y, from_x = (min(max(v, 0), SIDE - 1) for v in (y - down, x - right))
            from_y = SIDE - 1 - from_y if upside_down else from_y
            from_x = SIDE - 1 - from_x if mirrored else from_x
            for channel in range(3):
                expected = min(255.0, gain * int(source[0, from_y, from_x, channel]))
                assert abs(int(result[0, y, x, channel]) - expected) <= 1


def test_shifts_and_light_keep_to_their_settings_and_use_them_fully() -> None:
    changes = drawn(2000, augment_shift=0.25, augment_light=0.2)
    for shift in (changes.right, changes.down):
        assert (shift.min(), shift.max()) == (-4, 4)
    assert changes.gain.min() == pytest.approx(0.8, abs=0.002)
    assert changes.gain.max() == pytest.approx(1.2, abs=0.002)
    assert not changes.mirrored.any()
    assert not changes.upside_down.any()


def test_flips_both_ways_are_independent_of_each_other() -> None:
    changes = drawn(4000, augment_flips=True)
    for x in (False, True):
        for y in (False, True):
            assert ((changes.mirrored == x) & (changes.upside_down == y)).mean() == pytest.approx(0.25, abs=0.03)


def test_a_share_of_a_batch_is_changed_as_in_the_whole_batch() -> None:
    changes = drawn(6, augment_flips=True, augment_shift=0.2, augment_light=0.2)
    rows = np.array([4, 1])
    assert torch.equal(change(pictures()[rows], changes.of(rows)), change(pictures(), changes)[rows])


def test_what_is_switched_off_does_not_change_what_the_others_do() -> None:
    everything = drawn(50, augment_flips=True, augment_shift=0.2, augment_light=0.2)
    assert np.array_equal(drawn(50, augment_light=0.2).gain, everything.gain)
    assert np.array_equal(drawn(50, augment_shift=0.2).down, everything.down)
