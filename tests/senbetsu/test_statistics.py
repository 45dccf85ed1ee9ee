"""What is measured of feature maps, against a slow analysis of variance, window by window and place by place."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from senbetsu.statistics import PART_FLOOR, VARIANCE_FLOOR, Measure, Statistics, deeper, learnable

Array = NDArray[np.float64]
SIZES = [4, 5, 7, 8, 9, 17, 33]


def measure(maps: list[torch.Tensor]) -> Statistics:
    measured: Statistics = Measure([(x.shape[2], x.shape[3]) for x in maps]).to(maps[0].dtype)(maps)
    return measured


def random_maps(seed: int, *shapes: tuple[int, int, int], batch: int = 2) -> list[torch.Tensor]:
    """Float64 maps (B, C, H, W) whose rows and columns differ, as made parts' do."""
    random = np.random.default_rng(seed)
    maps = []
    for channels, height, width in shapes:
        x = random.normal(1, 2, (batch, channels, height, width))
        x += random.normal(0, 1, (batch, channels, height, 1)) + random.normal(0, 2, (batch, channels, 1, width))
        maps.append(torch.from_numpy(x))
    return maps


def analysis_of_variance(x: Array) -> tuple[float, float, float]:
    """Of one channel (H, W): sums of squares of the row effects, the column effects and the residuals, divided by H W."""
    grand = x.mean()
    rows, columns, residuals = 0.0, 0.0, 0.0
    for i, j in np.ndindex(x.shape):
        row, column = x[i].mean() - grand, x[:, j].mean() - grand
        rows += row**2
        columns += column**2
        residuals += (x[i, j] - grand - row - column) ** 2
    return rows / x.size, columns / x.size, residuals / x.size


def log_spreads(x: Array) -> list[float]:
    """Of one channel (H, W), with the floor that keeps a logarithm from running away."""
    parts = analysis_of_variance(x)
    assert sum(parts) == pytest.approx(x.var()), "the parts of a two-way analysis of variance add up"
    return [0.5 * np.log(max(part, PART_FLOOR * x.var() + VARIANCE_FLOOR)) for part in parts]


def windows_of(side: int) -> list[slice]:
    """Three windows, each but for rounding half as long as the side, that start a quarter apart and end with it."""
    step = side // 4
    return [slice(start, start + side - 2 * step) for start in (0, step, 2 * step)]


def by_part(channels_of_maps: list[list[list[float]]]) -> list[float]:
    """[map][channel][part] -> all channels' first part, all second parts, all third parts."""
    channels = [channel for of_map in channels_of_maps for channel in of_map]
    return [channel[part] for part in range(3) for channel in channels]


@pytest.mark.parametrize("size", SIZES)
def test_the_spread_is_that_of_an_analysis_of_variance_of_the_picture_and_of_every_window(size: int) -> None:
    maps = random_maps(size, (3, size, size), (2, size + 4, size + 1), (1, size, size))
    found = measure(maps)
    grouped = [np.concatenate([maps[0], maps[2]], 1), maps[1].numpy()]  # maps of one size lie together
    assert found.context.shape == (2, 6)
    assert found.whole.shape == (2, 18)
    assert found.windows.shape == (2, 9, 18)
    for picture in range(2):
        context = [channel.mean() for x in grouped for channel in x[picture]]
        np.testing.assert_allclose(found.context[picture], context, rtol=1e-9)
        whole = by_part([[log_spreads(channel) for channel in x[picture]] for x in grouped])
        np.testing.assert_allclose(found.whole[picture], whole, rtol=1e-7, atol=1e-9)
        for window, (i, j) in enumerate(np.ndindex(3, 3)):
            expected = by_part(
                [
                    [log_spreads(c[windows_of(c.shape[0])[i], windows_of(c.shape[1])[j]]) for c in x[picture]]
                    for x in grouped
                ]
            )
            np.testing.assert_allclose(found.windows[picture, window], expected, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("size", [4, 5, 7, 8, 9, 15, 17, 33, 65])
def test_every_pixel_of_a_map_of_any_size_is_in_a_window(size: int) -> None:
    """240 and 260 px leave maps of odd sizes."""
    measured = Measure([(size, size)]).float()
    still = measured([torch.zeros(1, 1, size, size)]).windows
    covered = [
        (measured([pixels.reshape(-1, 1, size, size)]).windows > still + 0.1).flatten(1).any(1)
        for pixels in torch.eye(size * size).split(256)
    ]
    assert torch.cat(covered).all()


@given(st.integers(0, 1000), st.floats(0.3, 30), st.floats(-20, 20))
@settings(max_examples=40, deadline=None)
def test_gain_shifts_every_spread_by_its_logarithm_and_an_offset_none(seed: int, gain: float, offset: float) -> None:
    """What a change of light does to a map; the floor of a variance of noise aside."""
    maps = random_maps(seed, (2, 9, 7), (3, 8, 8))
    before, after = measure(maps), measure([gain * x + offset for x in maps])
    floor = np.log1p(VARIANCE_FLOOR / (PART_FLOOR * min(gain, 1) ** 2))
    for name in ("whole", "windows"):
        shift = getattr(after, name) - getattr(before, name)
        np.testing.assert_allclose(shift, np.log(gain), atol=floor)
    np.testing.assert_allclose(after.context, gain * before.context + offset, rtol=1e-9, atol=1e-9)


def test_stripes_go_into_the_part_of_their_direction_alone() -> None:
    stripes = torch.zeros(1, 1, 8, 8, dtype=torch.float64)
    stripes[0, 0, ::2] = 4
    rows, columns, rest = measure([stripes]).whole[0].exp().square()
    assert rows == pytest.approx(4)
    assert columns == rest == pytest.approx(4 * PART_FLOOR + VARIANCE_FLOOR)


def test_the_logarithm_is_one_over_ten_decades_and_hides_no_nan() -> None:
    spreads = torch.logspace(-2, 3, 200, dtype=torch.float64)
    base = torch.tensor([[-1.0, 1.0], [1.0, -1.0]], dtype=torch.float64).repeat(2, 2)  # of variance 1, all in the rest
    measured = measure([spreads[:, None, None, None] * base]).whole[:, 2]
    np.testing.assert_allclose(measured, spreads.log(), atol=2e-5)
    broken = measure([torch.full((1, 1, 4, 4), torch.nan)])
    assert broken.whole.isnan().all()


def test_a_plain_map_has_a_finite_spread() -> None:
    found = measure([torch.full((1, 2, 8, 8), 5.0), torch.zeros(1, 2, 4, 4)])
    assert all(torch.isfinite(statistic).all() for statistic in found)


def smoothed(x: Array) -> Array:
    """(H, W) averaged over the up to nine neighbours that there are."""
    return np.array(
        [[x[max(i - 1, 0) : i + 2, max(j - 1, 0) : j + 2].mean() for j in range(x.shape[1])] for i in range(x.shape[0])]
    )


def on_grid(x: Array, height: int, width: int) -> Array:
    """Means of (H, W) over cells; where the sides do not divide, cells overlap, each from floor to ceiling."""
    H, W = x.shape
    return np.array(
        [
            [
                x[i * H // height : -(-(i + 1) * H // height), j * W // width : -(-(j + 1) * W // width)].mean()
                for j in range(width)
            ]
            for i in range(height)
        ]
    )


@pytest.mark.parametrize(
    ("sides", "used", "grid"),
    [
        ((56, 28, 14, 14, 7), (14, 14, 7), 7),
        ((17, 9), (17, 9), 8),
        ((33, 17, 9, 5), (9, 5), 5),
        ((16, 8), (16, 8), 8),
        ((14, 14, 14), (14, 14, 14), 8),
        ((24, 12), (24, 12), 8),
    ],
)  # fmt: skip
def test_places_are_the_smoothed_deeper_maps_on_the_last_ones_grid(
    sides: tuple[int, ...], used: tuple[int, ...], grid: int
) -> None:
    assert tuple(sides[number] for number in deeper(list(sides))) == used
    maps = random_maps(1, *((2, side, side) for side in sides), batch=1)
    found = measure(maps).places
    deep = maps[len(sides) - len(used) :]
    assert found.shape == (1, grid**2, 2 * len(used))
    expected = [on_grid(smoothed(channel), grid, grid).ravel() for x in deep for channel in x[0].numpy()]
    np.testing.assert_allclose(found[0].T, np.array(expected), rtol=1e-9, atol=1e-9)


def test_what_a_head_learns_from_is_context_and_whole() -> None:
    maps = random_maps(5, (3, 14, 14), (2, 14, 14), (4, 7, 7))
    measured = measure(maps)
    np.testing.assert_allclose(learnable(maps), np.concatenate([measured.context, measured.whole], 1), rtol=1e-9)
