"""Items of a frame: fixed regions, and parts on a belt that is drawn here, each given out once, where it is seen best."""

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from senbetsu.config import RegionSection
from senbetsu.errors import UserError
from senbetsu.items import Belt, BeltPart, cut
from senbetsu.items.segment import Segmenter

WIDTH, HEIGHT = 480, 200
MS = 1_000_000


@dataclass(frozen=True)
class Drawn:
    """A part: it comes in at the right at this time, and moves left."""

    at_frame: int
    size: tuple[int, int]
    grey: int
    top: int = 80


NOISE = np.random.default_rng(0).integers(-12, 13, (4, HEIGHT, WIDTH, 3), np.int8).astype(np.uint8)
"""Added modulo 256; no grey here is so near to 0 or 255 that it turns over."""


def frame(parts: list[Drawn], number: int, speed: int, *, noisy: bool = False) -> NDArray[np.uint8]:
    image = np.full((HEIGHT, WIDTH, 3), 40, np.uint8)
    for part in parts:
        left = WIDTH - speed * (number - part.at_frame)
        if number >= part.at_frame and left + part.size[0] > 0:
            image[part.top : part.top + part.size[1], max(0, left) : left + part.size[0]] = part.grey
    return image + NOISE[number % len(NOISE)] if noisy else image


def run(
    parts: list[Drawn], frames: int, speed: int = 6, *, lost: frozenset[int] = frozenset(), blind: range = range(0)
) -> list[BeltPart]:
    """A belt that is empty for 20 frames. `lost`: frames that never come; `blind`: frames on which no part is seen."""
    belt = Belt(96, 64, difference=60, least_area=200)
    given_out = []
    for number in range(frames):
        if number not in lost:
            seen = [] if number in blind else parts
            given_out += belt.add(frame(seen, number, speed, noisy=True), number, number * 10 * MS)
    return given_out + belt.finish()


@given(
    st.integers(4, 9),
    st.lists(
        st.tuples(st.integers(90, 200), st.integers(24, 90), st.integers(16, 60), st.sampled_from([150, 200, 240])),
        max_size=4,
    ),
    st.frozensets(st.integers(20, 600), max_size=40),
)
@settings(max_examples=8, deadline=None)
def test_each_part_is_given_out_once_in_order_whole_and_near_the_middle(
    speed: int, drawn: list[tuple[int, int, int, int]], lost: frozenset[int]
) -> None:
    """Parts of any size and brightness, 90 to 200 pixels apart, at any speed, with single frames lost."""
    at, parts = 20 * speed, []
    for gap, width, height, grey in drawn:
        parts.append(Drawn(at // speed + 1, (width, height), grey))
        at += width + gap
    frames = (at + WIDTH + 200) // speed + 20
    lost = frozenset(number for number in lost if not lost & {number - 1, number - 2, number - 3})
    found = run(parts, frames, speed, lost=lost)
    assert [part.number for part in found] == list(range(1, len(parts) + 1))
    for part, was in zip(found, parts, strict=True):
        assert part.image is not None
        assert part.image.shape == (64, 96, 3)
        left = WIDTH - speed * (part.frame_id - was.at_frame)
        assert (
            abs(left + was.size[0] / 2 - WIDTH / 2) <= 2 * speed + 4
        )  # the best frame itself may be one that was lost
        bright = (part.image.max(axis=2) > 100).sum()
        assert bright == pytest.approx(was.size[0] * was.size[1], rel=0.05)


@given(st.integers(4, 90), st.integers(24, 60), st.integers(1, 4), st.floats(2.2, 4.0), st.integers(0, 40))
@settings(max_examples=40, deadline=None)
def test_a_part_may_move_by_more_than_its_length_from_frame_to_frame(
    speed: int, width: int, count: int, apart: float, gap: int
) -> None:
    """As long as the next is more than twice as far away, and three frames show it: each is given out once, and whole."""
    steps = int(max(apart * speed, width + 30) + gap) // speed + 1
    parts = [Drawn(25 + number * steps, (width, 30), 220) for number in range(count)]
    found = run(parts, 25 + count * steps + WIDTH // speed + 10, speed)
    assert [(part.number, part.error) for part in found] == [(number, None) for number in range(1, count + 1)]
    for part, was in zip(found, parts, strict=True):
        left = WIDTH - speed * (part.frame_id - was.at_frame)
        assert abs(left + width / 2 - WIDTH / 2) <= speed / 2 + 4


@given(st.data(), st.integers(3, 80), st.lists(st.integers(1, 4), min_size=1, max_size=2))
@settings(max_examples=25, deadline=None)
def test_in_two_lanes_and_with_frames_lost_in_a_row_each_part_is_given_out_once(
    data: st.DataObject, speed: int, counts: list[int]
) -> None:
    parts = []
    for top, count in zip((20, 120), counts, strict=False):
        at = 22 * speed
        for _ in range(count):
            width, height = data.draw(st.integers(24, 60)), data.draw(st.integers(16, 50))
            parts.append(Drawn(at // speed + 1, (width, height), data.draw(st.sampled_from([150, 200, 240])), top))
            at += int(max(2.3 * speed, width + 32)) + data.draw(st.integers(0, 150))
    frames = max(part.at_frame for part in parts) + WIDTH // speed + 12
    lost: set[int] = set()
    if speed < 30:  # a part that is faster is seen too seldom then
        bursts = data.draw(st.lists(st.tuples(st.integers(25, frames), st.integers(1, 3)), max_size=3))
        lost = {first + number for first, length in bursts for number in range(length)}
    found = run(parts, frames, speed, lost=frozenset(lost))
    assert sorted(part.number for part in found) == list(range(1, len(parts) + 1))
    assert [part.error for part in found] == [None] * len(parts)


@given(st.integers(91, 400), st.integers(1, 3))
@settings(max_examples=20, deadline=None)
def test_on_a_belt_that_is_too_fast_to_be_followed_no_part_passes_in_silence(speed: int, count: int) -> None:
    parts = [Drawn(25 + 8 * number, (40, 30), 220) for number in range(count)]
    found = run(parts, 60, speed)
    assert len(found) >= count
    if sum(WIDTH - speed * step > -40 for step in range(1, 8)) < 3:
        assert all(part.image is None and part.error is not None and "too fast" in part.error for part in found)


@pytest.mark.parametrize("speed", [6, 20, 31])
@pytest.mark.parametrize("shown", [1, 2, 3])
def test_frames_that_are_lost_just_after_a_part_came_in_neither_lose_nor_double_it(speed: int, shown: int) -> None:
    missing = frozenset(range(26 + shown, 26 + shown + 5))
    found = run([Drawn(25, (40, 30), 220), Drawn(50, (40, 30), 220)], 150, speed, lost=missing)
    assert [(part.number, part.error) for part in found] == [(1, None), (2, None)]


def test_a_belt_that_stops_and_goes_on_shows_each_part_once() -> None:
    """31 pixels a frame, and then none: a part that is looked for where it would have been by now is nearer."""
    belt, found = Belt(96, 64, difference=60, least_area=200), []
    parts = [Drawn(25, (40, 30), 220), Drawn(31, (40, 30), 200)]
    moved = 0
    for number in range(100):
        moved += not 33 <= number < 45
        found += belt.add(frame(parts, moved, 31, noisy=True), number, number * 10 * MS)
    assert [(part.number, part.error) for part in found + belt.finish()] == [(1, None), (2, None)]


def test_a_part_that_comes_in_with_two_prongs_is_one() -> None:
    belt, found = Belt(120, 120, difference=60, least_area=200), []
    for number in range(140):
        image = np.full((HEIGHT, WIDTH, 3), 40, np.uint8)
        left = WIDTH - 6 * (number - 25)
        if number >= 25 and left + 90 > 0:
            image[40:60, max(0, left) : max(0, left + 60)] = 220
            image[100:120, max(0, left) : max(0, left + 60)] = 220
            image[40:120, max(0, left + 60) : max(0, left + 90)] = 220
        found += belt.add(image, number, number * 10 * MS)
    (part,) = found + belt.finish()
    assert part.error is None
    assert part.box.centre == pytest.approx((240, 80), abs=14)


def test_the_background_is_learned_only_where_nothing_moves_and_leaves_no_ghost() -> None:
    """A part is on the belt from the first frame: slow enough to be in most of the frames that are learned from."""
    belt, found, troubles = Belt(96, 64, difference=60, least_area=200), [], []
    parts = [Drawn(-60, (40, 30), 220), Drawn(120, (40, 30), 220)]
    for number in range(320):
        found += belt.add(frame(parts, number, 4, noisy=True), number, number * 10 * MS)
        troubles.append(belt.trouble)
    assert [(part.number, part.error) for part in found + belt.finish()] == [(1, None)]
    assert troubles[0] is not None
    assert "learns" in troubles[0]
    gone = -60 + (WIDTH + 40) // 4
    assert {trouble is not None for trouble in troubles[: gone + 12]} == {True}
    assert set(troubles[gone + 20 :]) == {None}


def test_another_light_is_told_as_long_as_it_lasts_and_what_is_seen_after_it_is_judged() -> None:
    belt, found, troubles = Belt(96, 64, difference=60, least_area=200), [], []
    for number in range(500):
        image = frame([Drawn(25, (40, 30), 220), Drawn(360, (40, 30), 220)], number, 6)
        if 150 <= number < 340:
            image = image + np.uint8(70)  # nothing here is so bright that it turns over
        found += belt.add(image, number, number * 10 * MS)
        troubles.append(belt.trouble)
    assert [(part.number, part.error) for part in found + belt.finish()] == [(1, None), (2, None)]
    assert set(troubles[20:250]) == {None}
    assert all(trouble is not None and "the light has changed" in trouble for trouble in troubles[251:340])
    assert set(troubles[340:]) == {None}


def test_a_part_that_was_given_out_is_known_when_the_camera_is_back() -> None:
    """One part was given up for a fault of two thirds of a second; another came in sight meanwhile."""
    parts = [Drawn(25, (40, 30), 220), Drawn(80, (40, 30), 220)]
    belt, before, after = Belt(96, 64, difference=60, least_area=200), [], []
    for number in range(50):
        before += belt.add(frame(parts, number, 3, noisy=True), number, number * 10 * MS)
    before += belt.finish()
    for number in range(106, 300):
        after += belt.add(frame(parts, number, 3, noisy=True), number, number * 10 * MS)
    after += belt.finish()
    assert [(part.number, part.error) for part in before] == [(1, None)]
    assert [(part.number, part.error) for part in after] == [(2, None)]


def test_where_something_stood_another_part_may_stand_when_the_camera_is_back() -> None:
    belt, found = Belt(96, 64, difference=60, least_area=200), []
    standing = [Drawn(0, (40, 30), 220)]
    for number in range(40):
        found += belt.add(frame(standing if number > 20 else [], 40, 6), number, number * 10 * MS)
    found += belt.finish()
    for number in range(200, 240):
        found += belt.add(frame(standing, 40, 6), number, number * 10 * MS)
    assert [part.number for part in found + belt.finish()] == [1, 2]


def test_a_part_that_is_hidden_for_long_is_still_the_same() -> None:
    """Lost when it was a quarter of a second away, and judged by what was seen of it."""
    assert [part.number for part in run([Drawn(25, (40, 30), 220)], 140, blind=range(40, 72))] == [1]


def test_frames_that_the_settings_do_not_fit_are_told_by_the_setting() -> None:
    with pytest.raises(UserError, match=r"belt\.within = \[0, 0, 500, 100\].*480 x 200"):
        Belt(96, 64, 60, 200, within=(0, 0, 500, 100)).add(frame([], 0, 6), 1, 0)
    with pytest.raises(UserError, match=r"240 x 200 pixels.*480 x 200.*belt\.background"):
        Belt(96, 64, 60, 200, background=frame([], 0, 6)).add(frame([], 0, 6)[:, :240], 1, 0)
    belt = Belt(96, 64, 60, 200)
    belt.add(frame([], 0, 6), 1, 0)
    with pytest.raises(UserError, match="all frames of one size"):
        belt.add(frame([], 0, 6)[:, :240], 2, 10 * MS)


def test_a_part_that_is_hidden_for_a_moment_is_still_the_same() -> None:
    assert [part.number for part in run([Drawn(25, (40, 30), 220)], 140, blind=range(50, 60))] == [1]


def test_two_parts_that_touch_for_a_while_stay_two() -> None:
    """One in each lane; a third thing between the lanes bridges them in some frames."""
    upper, lower = Drawn(25, (40, 30), 220, top=20), Drawn(25, (40, 30), 220, top=120)
    belt = Belt(96, 64, difference=60, least_area=200)
    found = []
    for number in range(140):
        image = frame([upper, lower], number, 6)
        if 45 <= number < 55:
            left = WIDTH - 6 * (number - 25)
            image[20:150, left : left + 8] = 220
        found += belt.add(image, number, number * 10 * MS)
    assert sorted(part.number for part in found + belt.finish()) == [1, 2]


def test_a_part_longer_than_the_frame_is_told_never_to_have_been_whole() -> None:
    (part,) = run([Drawn(25, (600, 40), 220)], 250)
    assert (part.image, part.error) == (None, "was never seen whole")


def test_a_part_larger_than_what_is_cut_out_is_not_given_by_half() -> None:
    (part,) = run([Drawn(25, (150, 40), 220)], 150)
    assert (part.image, part.error) == (None, "is larger than the picture that is cut out of it")


def test_what_is_still_there_at_the_end_is_given_out_at_its_best() -> None:
    (part,) = run([Drawn(25, (40, 30), 220)], 45)
    assert part.image is not None
    assert part.frame_id == 44


def test_dirt_is_no_part() -> None:
    assert run([Drawn(25, (10, 12), 240)], 140) == []


def test_a_lamp_that_fades_slowly_is_followed_and_a_part_that_lies_still_does_not_vanish() -> None:
    belt = Belt(96, 64, difference=60, least_area=200)
    for number in range(1200):
        image = np.full((HEIGHT, WIDTH, 3), 140 - number // 12, np.uint8)
        if number >= 100:
            image[80:110, 220:260] = 250
        assert belt.add(image, number, number * 10 * MS) == []
    (part,) = belt.finish()
    assert part.error is None


def test_with_a_known_background_a_part_may_be_there_from_the_first_frame() -> None:
    belt = Belt(96, 64, difference=60, least_area=200, background=frame([], 0, 6))
    found = [part for n in range(30, 140) for part in belt.add(frame([Drawn(0, (40, 30), 220)], n, 6), n, n * 10 * MS)]
    assert [part.number for part in found] == [1]


def test_only_within_a_part_of_the_frame_is_looked_and_pixels_are_of_the_whole_frame() -> None:
    belt = Belt(96, 64, difference=60, least_area=200, within=(40, 60, 400, 100))
    found = []
    for number in range(160):
        image = frame([Drawn(25, (40, 30), 220, top=90)], number, 6)
        image[:40, number : number + 40] = 255  # something moves beside the belt
        found += belt.add(image, number, number * 10 * MS)
    (part,) = found + belt.finish()
    assert part.box.centre == pytest.approx((240, 105), abs=8)


def test_every_whole_view_can_be_kept_for_training() -> None:
    belt = Belt(96, 64, difference=60, least_area=200, keep_looks=True)
    for number in range(140):
        belt.add(frame([Drawn(25, (40, 30), 220)], number, 6), number, number * 10 * MS)
    views = belt.looks_at(1)
    assert len(views) > 60
    assert all(
        abs(float(view.image.mean()) - float(views[0].image.mean())) < 3 for view in views if view.image is not None
    )


def test_regions_are_views_and_the_whole_frame_is_one_without_them() -> None:
    image = np.arange(20 * 30 * 3, dtype=np.uint8).reshape(20, 30, 3)
    first, second = cut(
        image, [RegionSection(x=0, y=2, width=8, height=9), RegionSection(x=22, y=11, width=8, height=9)]
    )
    assert first is not None
    assert second is not None
    assert np.shares_memory(first, image)
    assert (second == image[11:20, 22:30]).all()
    assert cut(image, []) == [image]
    assert cut(image, [RegionSection(x=23, y=0, width=8, height=8)]) == [None]


@pytest.mark.parametrize("background_is_grey", [True, False])
@pytest.mark.parametrize("frame_is_grey", [True, False])
def test_grey_and_colour_serve_each_other(frame_is_grey: bool, background_is_grey: bool) -> None:
    background, image = np.full((HEIGHT, WIDTH), 40, np.uint8), np.full((HEIGHT, WIDTH), 40, np.uint8)
    image[20:60, 30:90] = 200
    segmenter = Segmenter(30, 100, background if background_is_grey else np.dstack([background] * 3))
    (box,) = segmenter.boxes(image if frame_is_grey else np.dstack([image] * 3)) or ()
    assert (box.left, box.top, box.right, box.bottom) == pytest.approx((30, 20, 90, 60), abs=4)
