"""Losses against a slow loop, against another library, and their gradients against finite differences."""

import math

import pytest
import torch
from circle import on_circle
from hypothesis import given, settings
from hypothesis import strategies as st
from pytorch_metric_learning.distances import LpDistance
from pytorch_metric_learning.losses import TripletMarginLoss
from pytorch_metric_learning.reducers import MeanReducer
from slow_rules import loss as slow_loss
from torch import Tensor

from train.distances import squared_distances
from train.losses import LOSSES, triplet_loss
from train.selections import SELECTIONS, Quadruplets, Triplets, with_second_negative

BOTH = [(loss, rule) for loss in LOSSES for rule in SELECTIONS]


def chosen_by(rule: str, loss: str, d: Tensor, of: Tensor, margin: float) -> Triplets | Quadruplets:
    chosen = SELECTIONS[rule].select(d.detach(), of, margin)
    return with_second_negative(chosen, d.detach(), of) if LOSSES[loss].needs_quadruplets else chosen


@pytest.mark.parametrize(("loss", "rule"), BOTH)
@given(st.lists(st.integers(-1, 3), min_size=1, max_size=10), st.integers(0, 10_000), st.floats(0.1, 2))
@settings(deadline=None, max_examples=20)
def test_every_loss_of_every_selection_is_that_of_a_slow_loop(
    loss: str, rule: str, labels: list[int], seed: int, margin: float
) -> None:
    torch.manual_seed(seed)
    d, of = squared_distances(torch.randn(len(labels), 3, dtype=torch.float64)), torch.tensor(labels)
    chosen = chosen_by(rule, loss, d, of, margin)
    expected = slow_loss(loss, d, list(zip(*(i.tolist() for i in chosen), strict=True)), margin, margin / 2)
    assert float(LOSSES[loss].of(d, chosen, margin, margin / 2)) == pytest.approx(expected)


@given(st.lists(st.integers(0, 2), min_size=3, max_size=10), st.integers(0, 10_000), st.floats(0.1, 2))
@settings(deadline=None, max_examples=40)
def test_the_triplet_losses_are_those_of_pytorch_metric_learning(labels: list[int], seed: int, margin: float) -> None:
    torch.manual_seed(seed)
    x, of = torch.randn(len(labels), 3, dtype=torch.float64), torch.tensor(labels)
    d = squared_distances(x)
    chosen = SELECTIONS["all"].select(d, of, margin)
    for loss, smooth in (("triplet", False), ("soft_margin", True)):
        theirs = TripletMarginLoss(
            margin=0.0 if smooth else margin, smooth_loss=smooth, reducer=MeanReducer(),
            distance=LpDistance(power=2, normalize_embeddings=False),
        )(x, of, tuple(chosen))  # fmt: skip
        assert float(LOSSES[loss].of(d, chosen, margin, 0.1)) == pytest.approx(float(theirs))


def test_on_a_circle_the_losses_are_what_geometry_says() -> None:
    # d_p = 1 (60 degrees), d_n1 = 2 (90), d_n2 = 3 (120), and n1 and n2 lie 1 apart from each other (150 - 90 = 60).
    d = squared_distances(on_circle(0, 60, 90, 120))
    index = [torch.tensor([i]) for i in range(4)]
    three, four = Triplets(*index[:3]), Quadruplets(*index)
    d_n12 = 2 - math.sqrt(3)
    assert float(LOSSES["triplet"].of(d, three, 1.5, 0.5)) == pytest.approx(0.5)
    assert float(LOSSES["triplet"].of(d, four, 1.5, 0.5)) == pytest.approx(0.5)
    assert float(LOSSES["triplet"].of(d, three, 0.9, 0.5)) == pytest.approx(0)
    assert float(LOSSES["soft_margin"].of(d, three, 1.5, 0.5)) == pytest.approx(math.log(1 + math.exp(-1)))
    assert float(LOSSES["quadruplet"].of(d, four, 2.5, 0.5)) == pytest.approx(1.5 + 0.5)
    assert float(LOSSES["quadruplet_chen"].of(d, four, 1.5, 0.5)) == pytest.approx(0.5 + 1 - d_n12 + 0.5)


@pytest.mark.parametrize(("loss", "rule"), BOTH)
def test_the_gradient_is_that_of_finite_differences(loss: str, rule: str) -> None:
    torch.manual_seed(0)
    x = torch.randn(8, 3, dtype=torch.float64, requires_grad=True)
    chosen = chosen_by(rule, loss, squared_distances(x), torch.tensor([0, 0, 0, 1, 1, 2, 2, -1]), 2.0)
    assert chosen.anchor.numel() > 0
    assert torch.autograd.gradcheck(lambda x: LOSSES[loss].of(squared_distances(x), chosen, 2.0, 1.0), (x,))


@pytest.mark.parametrize(("loss", "rule"), BOTH)
def test_no_triplet_gives_a_zero_loss_with_a_gradient(loss: str, rule: str) -> None:
    x = on_circle(0, 90).requires_grad_()
    d = squared_distances(x)
    value = LOSSES[loss].of(d, chosen_by(rule, loss, d, torch.tensor([0, 1]), 0.2), 0.2, 0.1)
    value.backward()
    assert value.item() == 0
    assert x.grad is not None
    assert x.grad.abs().sum() == 0


@pytest.mark.parametrize("loss", LOSSES)
def test_the_loss_of_a_point_is_what_a_point_gives(loss: str) -> None:
    d, of = squared_distances(torch.ones(6, 2, dtype=torch.float64)), torch.tensor([0, 0, 1, 1, 2, 2])
    chosen = chosen_by("all", loss, d, of, 0.3)
    assert chosen.anchor.numel() > 0
    assert float(LOSSES[loss].of(d, chosen, 0.3, 0.1)) == pytest.approx(LOSSES[loss].of_a_point(0.3, 0.1))


def test_a_loss_of_quadruplets_refuses_triplets() -> None:
    index = torch.tensor([0])
    for name, loss in LOSSES.items():
        if loss.needs_quadruplets:
            with pytest.raises(TypeError, match="with_second_negative"):
                loss.of(torch.zeros(1, 1), Triplets(index, index, index), 0.2, 0.1)
        else:
            assert float(loss.of(torch.zeros(1, 1), Triplets(index, index, index), 0.2, 0.1)) > 0, name


def test_the_margin_is_what_is_kept_between_the_squared_distances() -> None:
    d = squared_distances(on_circle(0, 60, 90))
    done = Triplets(torch.tensor([0]), torch.tensor([1]), torch.tensor([2]))
    assert float(triplet_loss(d, done, 1.0)) == pytest.approx(0)
    assert float(triplet_loss(d, done, 1.01)) == pytest.approx(0.01)
