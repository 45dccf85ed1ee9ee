"""Items of a frame: fixed regions, and parts on a belt that is drawn here, each given out once, where it is seen best."""

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from senbetsu.config import RegionSection
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
