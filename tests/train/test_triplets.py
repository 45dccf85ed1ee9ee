"""Selections and loss against a slow loop and against geometry on a circle."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from train.triplets import positive_pairs, semihard, squared_distances, triplet_loss


def on_circle(*degrees: float) -> Tensor:
    angles = torch.tensor(degrees, dtype=torch.float64).deg2rad()
    return torch.stack([angles.cos(), angles.sin()], 1)


def test_distances_are_those_of_chords() -> None:
    d = squared_distances(on_circle(0, 60, 180))
    expected = [[0, 1, 4], [1, 0, 3], [4, 3, 0]]
    torch.testing.assert_close(d, torch.tensor(expected, dtype=torch.float64), atol=1e-12, rtol=0)


@given(st.lists(st.integers(0, 2), min_size=1, max_size=12), st.integers(0, 10_000), st.floats(0.05, 2))
@settings(deadline=None, max_examples=80)
def test_semihard_is_what_a_slow_loop_finds(labels: list[int], seed: int, margin: float) -> None:
    torch.manual_seed(seed)
    d = squared_distances(torch.nn.functional.normalize(torch.randn(len(labels), 4, dtype=torch.float64), dim=1))
    expected = set()
    for a in range(len(labels)):
        for p in range(len(labels)):
            if a == p or labels[a] != labels[p]:
                continue
            fit = [n for n in range(len(labels)) if labels[n] != labels[a] and d[a, p] < d[a, n] < d[a, p] + margin]
            if fit:
                expected.add((a, p, min(fit, key=lambda n: float(d[a, n]))))
    found = semihard(d, torch.tensor(labels), margin)
    assert set(zip(*(t.tolist() for t in found), strict=True)) == expected
    loss = triplet_loss(d, found, margin)
    by_hand = [max(0.0, float(d[a, p] - d[a, n]) + margin) for a, p, n in expected]
    assert float(loss) == pytest.approx(math.fsum(by_hand) / len(by_hand) if by_hand else 0.0)


def test_a_negative_nearer_than_the_positive_is_left_out_and_so_is_one_beyond_the_margin() -> None:
    labels = torch.tensor([0, 0, 1])
    assert semihard(squared_distances(on_circle(0, 40, 20)), labels, 0.2).anchor.numel() == 0
    assert semihard(squared_distances(on_circle(0, 40, 180)), labels, 0.2).anchor.numel() == 0
    found = semihard(squared_distances(on_circle(0, 40, -45)), labels, 0.2)
    assert [t.tolist() for t in found] == [[0], [1], [2]]


def test_no_triplet_gives_a_zero_loss_with_a_gradient() -> None:
    x = on_circle(0, 90).requires_grad_()
    d = squared_distances(x)
    loss = triplet_loss(d, semihard(d, torch.tensor([0, 1]), 0.2), 0.2)
    loss.backward()
    assert float(loss) == 0
    assert x.grad is not None
    assert x.grad.abs().sum() == 0


def test_a_part_is_no_positive_of_itself() -> None:
    anchor, positive = positive_pairs(torch.tensor([0, 1, 0]))
    assert list(zip(anchor.tolist(), positive.tolist(), strict=True)) == [(0, 2), (2, 0)]


def test_the_gradient_is_that_of_finite_differences() -> None:
    torch.manual_seed(0)
    x = torch.randn(6, 3, dtype=torch.float64, requires_grad=True)
    labels = torch.tensor([0, 0, 0, 1, 1, 2])
    found = semihard(squared_distances(x).detach(), labels, 2.0)
    assert found.anchor.numel() > 0
    assert torch.autograd.gradcheck(lambda x: triplet_loss(squared_distances(x), found, 2.0), (x,))
