"""The distance matrix, its means, and its count of triplets, against geometry and a slow loop."""

import math

import pytest
import torch
from circle import on_circle
from hypothesis import given, settings
from hypothesis import strategies as st
from slow_rules import negatives_of, valid_pairs

from train.distances import mean_over, share_below, squared_distances
from train.labels import alike, negatives


def test_distances_are_those_of_chords() -> None:
    d = squared_distances(on_circle(0, 60, 180))
    expected = [[0, 1, 4], [1, 0, 3], [4, 3, 0]]
    torch.testing.assert_close(d, torch.tensor(expected, dtype=torch.float64), atol=1e-12, rtol=0)


def test_rounding_makes_no_distance_negative() -> None:
    torch.manual_seed(0)
    one = 100 + torch.randn(1, 64)
    assert squared_distances(one.repeat(5, 1)).min() >= 0


@given(st.lists(st.integers(-1, 2), min_size=1, max_size=10), st.integers(0, 10_000), st.sampled_from([0.0, 0.3, 2.0]))
@settings(deadline=None)
def test_the_share_of_triplets_below_the_margin_is_what_a_slow_loop_counts(
    labels: list[int], seed: int, margin: float
) -> None:
    torch.manual_seed(seed)
    d = squared_distances(torch.randn(len(labels), 3, dtype=torch.float64))
    broken = [bool(d[a, n] <= d[a, p] + margin) for a, p in valid_pairs(labels) for n in negatives_of(labels, a)]
    of = torch.tensor(labels)
    share = share_below(d, alike(of), negatives(of), margin)
    assert share == pytest.approx(sum(broken) / len(broken)) if broken else math.isnan(share)


def test_a_mean_over_nothing_is_no_number() -> None:
    d = squared_distances(on_circle(0, 60, 180))
    assert math.isnan(mean_over(d, torch.zeros(3, 3, dtype=torch.bool)))
    assert mean_over(d, torch.tensor([[False, True, True], [False] * 3, [False] * 3])) == pytest.approx(2.5)
