"""Synthetic damage: every kind in the table, on drawn parts, plain pictures and noise."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from senbetsu.errors import UserError
from train.damage import table
from train.damage.drawing import draw_damage
from train.damage.parts import part_of, where_parts_are
from train.damage.table import DAMAGE, damaged

Picture = NDArray[np.uint8]
Draw = Callable[..., Picture]

EVERY_KIND = pytest.mark.parametrize("kind", list(DAMAGE))
ANY = settings(max_examples=12, deadline=None)
THIN_KINDS = ("scar", "crack", "spot")


def sheet(seed: int, size: int) -> Picture:
    """A rolled, grey texture that fills the frame."""
    random = np.random.default_rng(seed)
    lines = cv2.GaussianBlur(random.normal(120, 60, (size, size)).astype(np.float32), (0, 0), 1, sigmaY=size / 10)
    return np.repeat(np.clip(lines, 0, 255).astype(np.uint8)[:, :, None], 3, axis=2)


def plain(level: int, size: int) -> Picture:
    return np.full((size, size, 3), level, np.uint8)


def difference(before: Picture, after: Picture) -> NDArray[np.int64]:
    """Largest change (S, S) of a pixel's three channels, counted without the code under test."""
    return np.abs(before.astype(int) - after.astype(int)).max(axis=2)


def assert_is_damage(before: Picture, after: Picture, kind: str) -> None:
    changed = difference(before, after)
    pixels = changed.size
    assert after.shape == before.shape
    assert after.dtype == np.uint8
    assert np.count_nonzero(changed >= 8) >= pixels / 5000, "nobody could see it"
    assert np.count_nonzero(changed) <= pixels * (0.12 if kind in THIN_KINDS else 0.25), "it is not local"


@EVERY_KIND
@given(seed=st.integers(0, 2**32), size=st.sampled_from([128, 129, 200, 224, 512]), whole=st.booleans())
@ANY
def test_each_kind_changes_a_picture_clearly_locally_and_leaves_its_inputs_alone(
    drawn_part: Draw, kind: str, seed: int, size: int, whole: bool
) -> None:
    picture, donor = (
        (sheet(seed, size), sheet(seed + 1, size))
        if whole
        else (drawn_part(seed, size=size), drawn_part(seed + 1, size=size))
    )
    where = where_parts_are([picture, donor])
    kept = picture.copy(), donor.copy(), where.copy()
    for array in (picture, donor, where):
        array.flags.writeable = False
    after = DAMAGE[kind](picture, donor, np.random.default_rng(seed), where)
    assert_is_damage(picture, after, kind)
    assert not np.shares_memory(after, picture)
    assert not np.shares_memory(after, donor)
    assert all((a == b).all() for a, b in zip((picture, donor, where), kept, strict=True))


@EVERY_KIND
@given(seed=st.integers(0, 2**32), level=st.sampled_from([0, 1, 90, 127, 128, 200, 254, 255]))
@ANY
def test_each_kind_can_be_seen_on_a_plain_picture(kind: str, seed: int, level: int) -> None:
    picture = plain(level, 128)
    after = DAMAGE[kind](picture, picture, np.random.default_rng(seed))
    assert_is_damage(picture, after, kind)


@EVERY_KIND
@given(seed=st.integers(0, 2**32))
@ANY
def test_the_same_generator_state_gives_the_same_damage_and_the_next_state_another(
    drawn_part: Draw, kind: str, seed: int
) -> None:
    picture, donor = drawn_part(1), drawn_part(2)
    random = np.random.default_rng(seed)
    first = DAMAGE[kind](picture, donor, random)
    second = DAMAGE[kind](picture, donor, random)
    again = DAMAGE[kind](picture, donor, np.random.default_rng(seed))
    assert (first == again).all()
    assert (first != second).any()


@EVERY_KIND
def test_each_kind_holds_faint_and_plain_damages(kind: str) -> None:
    pictures = [sheet(seed, 128) for seed in range(8)]
    total = [
        float(difference(pictures[one.source], one.picture).sum())
        for one in damaged(pictures, 60, np.random.default_rng(0), [kind])
    ]
    low, high = np.quantile(total, [0.1, 0.9])
    assert high > 4 * low


@EVERY_KIND
def test_a_grey_picture_stays_grey(kind: str) -> None:
    pictures = [sheet(seed, 128) for seed in range(4)]
    for one in damaged(pictures, 20, np.random.default_rng(3), [kind]):
        assert (one.picture == one.picture[:, :, :1]).all()


@EVERY_KIND
def test_each_kind_lies_on_the_part(drawn_part: Draw, kind: str) -> None:
    pictures = [drawn_part(seed) for seed in range(6)]
    y, x = np.mgrid[:128, :128]
    for one in damaged(pictures, 30, np.random.default_rng(4), [kind]):
        changed = difference(pictures[one.source], one.picture)
        # draw_part's disc: a third of the side about the middle, give or take 3 pixels each way.
        middle = np.hypot((x * changed).sum() / changed.sum() - 64, (y * changed).sum() / changed.sum() - 64)
        assert middle <= 128 // 3 + 3 * 2**0.5 + 8


@EVERY_KIND
def test_no_kind_needs_the_plain_spot_on_a_part_that_has_texture(
    drawn_part: Draw, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stand_in(*_: object) -> Picture:
        raise AssertionError(f"{kind} cannot be seen")

    monkeypatch.setattr(table, "_plain_spot", stand_in)
    for pictures in ([sheet(seed, 128) for seed in range(3)], [drawn_part(seed) for seed in range(3)]):
        assert len(list(damaged(pictures, 30, np.random.default_rng(2), [kind]))) == 30


def test_a_blur_takes_detail_away_and_shifts_no_level() -> None:
    pictures = [sheet(seed, 128) for seed in range(3)]
    for one in damaged(pictures, 20, np.random.default_rng(7), ["blur"]):
        before = pictures[one.source]
        changed = cv2.erode((difference(before, one.picture) > 0).astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
        detail = [np.abs(cv2.Laplacian(picture, cv2.CV_32F))[changed].mean() for picture in (before, one.picture)]
        assert detail[1] < detail[0]
        assert abs(before[changed].mean() - one.picture[changed].mean()) < 12


def test_a_warp_moves_levels_and_makes_no_new_ones() -> None:
    y, x = np.mgrid[:128, :128]
    board = np.repeat(np.where((x // 8 + y // 8) % 2, 200, 60).astype(np.uint8)[:, :, None], 3, axis=2)
    for one in damaged([board], 20, np.random.default_rng(8), ["warp"]):
        assert one.picture.min() == 60
        assert one.picture.max() == 200
        # Squares stay squares with edges in between: most pixels still have one of the two levels.
        assert np.isin(one.picture, (60, 200)).mean() > 0.85


def test_a_crack_and_a_scar_are_thin() -> None:
    pictures = [sheet(seed, 224) for seed in range(3)]
    for one in damaged(pictures, 40, np.random.default_rng(9), ["crack", "scar"]):
        changed = (difference(pictures[one.source], one.picture) > 0).astype(np.uint8)
        thickness = 2 * cv2.distanceTransform(changed, cv2.DIST_L2, 5).max()
        assert thickness <= 224 * 0.09
        rows, columns = np.nonzero(changed)
        assert np.hypot(np.ptp(rows), np.ptp(columns)) > thickness


def test_a_missing_piece_shows_the_background(drawn_part: Draw) -> None:
    pictures = [drawn_part(seed) for seed in range(6)]
    for one in damaged(pictures, 30, np.random.default_rng(5), ["missing_piece"]):
        gone = difference(pictures[one.source], one.picture) > 60
        assert gone.any()
        # The belt of draw_part is of level 40 with a grain of 6; smooth edges of the piece lie in between.
        assert abs(np.median(one.picture[gone]) - 40) < 12


def test_a_crack_ends_where_the_part_ends(drawn_part: Draw) -> None:
    pictures = [drawn_part(seed) for seed in range(6)]
    for one in damaged(pictures, 30, np.random.default_rng(6), ["crack"]):
        changed = difference(pictures[one.source], one.picture) > 0
        assert not (changed & ~part_of(pictures[one.source])).any()


@given(st.integers(1, 7), st.integers(0, 40), st.lists(st.sampled_from(list(DAMAGE)), min_size=1, unique=True))
@ANY
def test_a_set_is_even_over_kinds_and_over_pictures(drawn_part: Draw, n: int, count: int, kinds: list[str]) -> None:
    pictures = [drawn_part(seed, size=128) for seed in range(n)]
    made = list(damaged(pictures, count, np.random.default_rng(n), kinds))
    assert len(made) == count
    of_kind, of_picture = Counter(one.kind for one in made), Counter(one.source for one in made)
    assert {of_kind[kind] for kind in kinds} <= {count // len(kinds), -(-count // len(kinds))}
    assert {of_picture[i] for i in range(n)} <= {count // n, -(-count // n)}
    for one in made:
        assert_is_damage(pictures[one.source], one.picture, one.kind)


def test_a_set_is_the_same_for_a_seed_and_is_made_one_by_one(drawn_part: Draw) -> None:
    pictures = [drawn_part(seed) for seed in range(3)]
    one, two = (damaged(pictures, 10**9, np.random.default_rng(8)) for _ in range(2))
    for _ in range(12):
        a, b = next(one), next(two)
        assert (a.kind, a.source) == (b.kind, b.source)
        assert (a.picture == b.picture).all()


def test_an_unknown_kind_is_refused_with_the_known_ones(drawn_part: Draw) -> None:
    with pytest.raises(UserError, match=r"dent.*cut_paste, scar"):
        damaged([drawn_part(0)], 1, np.random.default_rng(0), ["dent"])


@pytest.mark.parametrize("kinds", [None, ["spot"]])
def test_no_picture_to_damage_is_an_error(kinds: list[str] | None) -> None:
    with pytest.raises(UserError, match="no picture"):
        damaged([], 1, np.random.default_rng(0), kinds)


def test_the_drawing_has_a_row_for_each_kind(drawn_part: Draw, tmp_path: Path) -> None:
    path = tmp_path / "damage.png"
    draw_damage(path, [drawn_part(seed) for seed in range(3)], np.random.default_rng(0), examples=2)
    drawn = cv2.imread(str(path))
    assert drawn is not None
    inked = (drawn < 200).all(axis=2).any(axis=1)
    # Rows of pictures are bands of dark belt, as high as a picture; captions are lower.
    edges = np.flatnonzero(np.diff(np.concatenate([[0], inked.astype(int), [0]])))
    bands = edges[1::2] - edges[::2]
    assert (bands > 100).sum() == len(DAMAGE)


def test_the_drawing_is_the_same_for_a_seed(drawn_part: Draw, tmp_path: Path) -> None:
    pictures = [drawn_part(seed) for seed in range(3)]
    paths = [tmp_path / "one.png", tmp_path / "two.png"]
    for path in paths:
        draw_damage(path, pictures, np.random.default_rng(1), examples=1)
    assert paths[0].read_bytes() == paths[1].read_bytes()
