"""A collapse is caught, and a run that is done is never taken for one."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from circle import on_circle
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from senbetsu.config import TrainSection
from train.distances import squared_distances
from train.health import (
    CollapsedError,
    Curve,
    Look,
    Record,
    active_share,
    effective_rank,
    is_shrunk,
    look_at,
    require_finite,
    require_learned,
)
from train.labels import UNKNOWN
from train.learning import learn
from train.losses import LOSSES, triplet_loss
from train.selections import SELECTIONS


def curve_of(look: Look, *, active: float = 0.5, loss: float = 0.1, empty_steps: int = 0) -> Curve:
    return Curve.of([Record(step, loss, active, look) for step in (1, 2, 3)], 3, empty_steps, 0.2, look)


def look_of(embeddings: Tensor, labels: Tensor) -> Look:
    return look_at(embeddings, squared_distances(embeddings), labels)


class Deep(nn.Module):
    """Layers enough to shrink everything to a point."""

    def __init__(self, features: int) -> None:
        super().__init__()
        torch.manual_seed(0)
        layers: list[nn.Module] = []
        for inside in (features, 64, 64):
            layers += [nn.Linear(inside, 64), nn.ReLU()]
        self.layers = nn.Sequential(*layers, nn.Linear(64, 16))

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.normalize(self.layers(x), dim=1)


def clusters(apart: float) -> tuple[Tensor, np.ndarray[Any, Any]]:
    random = np.random.default_rng(0)
    labels = np.repeat([0, 1, 2], 30)
    centres = random.normal(0, apart, (3, 20))
    return torch.tensor(centres[labels] + random.normal(0, 1, (90, 20)), dtype=torch.float32), labels


def test_hardest_negatives_that_a_deep_network_cannot_tell_apart_collapse_it_and_that_is_an_error_with_advice() -> None:
    inputs, labels = clusters(apart=0.0)
    chosen = TrainSection(selection="batch_hard", steps=150, learning_rate=1e-2)
    curve = learn(Deep(20), inputs, labels, chosen, "learning")
    assert curve.loss[-1] == pytest.approx(curve.point_loss, abs=0.01)
    assert curve.final.negative_distance < 0.01
    with pytest.raises(CollapsedError, match="the embedding has collapsed") as error:
        require_learned(curve, chosen, "learning")
    for said in ("--selection semihard", "train.learning_rate = 0.001", "--steps 600", "of 150 steps"):
        assert said in str(error.value)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("rule", SELECTIONS)
def test_a_run_that_is_done_is_healthy_by_every_rule_and_loss(rule: str, loss: str) -> None:
    inputs, labels = clusters(apart=5.0)
    chosen = TrainSection.model_validate({"selection": rule, "loss": loss, "steps": 60, "learning_rate": 1e-2})
    curve = learn(nn.Sequential(nn.Linear(20, 16)), inputs, labels, chosen, "learning")
    require_learned(curve, chosen, "learning")
    assert curve.final.inverted_share == 0
    if loss != "soft_margin":
        assert curve.active_share[-1] == 0
        assert curve.loss[-1] == 0


def test_a_run_that_had_nothing_to_do_from_the_start_is_healthy() -> None:
    look = look_of(on_circle(0, 1, 180, 181), torch.tensor([0, 0, 1, 1]))
    require_learned(curve_of(look, active=0.0, loss=0.0, empty_steps=3), TrainSection(), "learning")


@pytest.mark.parametrize("rule", SELECTIONS)
def test_a_selection_that_finds_nothing_while_the_labels_are_mixed_is_an_error(rule: str) -> None:
    look = look_of(on_circle(0, 180, 1, 181), torch.tensor([0, 0, 1, 1]))
    assert look.inverted_share == 1  # by geometry: both positives lie opposite
    look = look._replace(inverted_share=0.3)
    stuck = curve_of(look, active=0.0, loss=0.0, empty_steps=3)
    chosen = TrainSection.model_validate({"selection": rule})
    with pytest.raises(CollapsedError, match="nothing was learned"):
        require_learned(stuck, chosen, "learning")
    require_learned(replace(stuck, active_share=[0.0, 0.0, 0.2]), chosen, "learning")


@given(st.integers(0, 10_000), st.floats(0.05, 1), st.floats(0.001, 3), st.integers(2, 4))
@settings(deadline=None, max_examples=80)
def test_what_is_called_a_point_has_nine_tenths_of_its_loss_and_what_has_no_loss_is_never_called_one(
    seed: int, margin: float, size: float, kinds: int
) -> None:
    torch.manual_seed(seed)
    labels = torch.arange(12) % kinds
    x = size * torch.nn.functional.normalize(
        torch.randn(12, 5, dtype=torch.float64) + 3 * torch.randn(kinds, 5)[labels]
    )
    distances = squared_distances(x)
    loss = float(triplet_loss(distances, SELECTIONS["all"].select(distances, labels, margin), margin))
    look, chosen = look_of(x, labels), TrainSection(margin=margin)
    assert not (is_shrunk(curve_of(look), chosen) and loss < 0.9 * margin)
    if loss == 0:
        require_learned(curve_of(look), chosen, "learning")


def test_parts_in_a_very_small_space_that_are_in_order_are_not_called_a_point_and_those_in_disorder_are() -> None:
    chosen, labels = TrainSection(), torch.tensor([0, 0, 1, 1])
    ordered = curve_of(look_of(on_circle(0, 0.1, 1, 1.1), labels))
    assert is_shrunk(ordered, chosen)
    require_learned(ordered, chosen, "learning")
    with pytest.raises(CollapsedError, match="has collapsed"):
        require_learned(curve_of(look_of(on_circle(0, 1, 0.1, 1.1), labels)), chosen, "learning")


def test_a_run_that_ends_no_better_than_chance_is_an_error_whatever_its_distances() -> None:
    look = look_of(on_circle(0, 180, 1, 181), torch.tensor([0, 0, 1, 1]))
    with pytest.raises(CollapsedError, match="nothing was learned: in 100% of all triplets"):
        require_learned(curve_of(look), TrainSection(), "learning")


def test_the_figures_of_a_point_are_those_of_a_point() -> None:
    look = look_of(torch.ones(6, 4), torch.tensor([0, 0, 1, 1, UNKNOWN, UNKNOWN]))
    assert look == Look(0.0, 0.0, 1.0, 0.0, 0.0, 0.0)
    with pytest.raises(CollapsedError):
        require_learned(curve_of(look), TrainSection(), "learning")


@pytest.mark.parametrize("directions", [1, 3, 8])
def test_the_effective_rank_counts_directions_of_equal_spread(directions: int) -> None:
    axes = torch.eye(8)[:directions]
    assert effective_rank(torch.cat([axes, -axes])) == pytest.approx(directions)
    # Ever thinner directions beside them hardly count.
    assert effective_rank(torch.cat([axes, -axes, 1e-6 * torch.eye(8)])) == pytest.approx(directions, abs=0.01)


def test_the_look_is_that_of_geometry() -> None:
    # d_ap: 1 (60 degrees) for label 0, 2 (90) for label 1; each to the other label's and to the unknown one.
    look = look_of(on_circle(0, 60, 180, 270, 120), torch.tensor([0, 0, 1, 1, UNKNOWN]))
    chord = lambda degrees: 4 * math.sin(math.radians(degrees) / 2) ** 2  # noqa: E731
    assert look.positive_distance == pytest.approx((1 + 1 + 2 + 2) / 4)
    across = [chord(a) for a in (180, 90, 120, 150)] * 2
    to_unknown = [chord(a) for a in (120, 60, 60, 150)]
    assert look.negative_distance == pytest.approx(sum(across + to_unknown) / 12)
    points = np.array([(math.cos(a), math.sin(a)) for a in np.deg2rad([0, 60, 180, 270, 120])])
    assert look.spread_min == pytest.approx(points.std(0).min())
    assert look.spread_median == pytest.approx(points.std(0).min())  # of an even number, the lower one


@pytest.mark.parametrize("rule", SELECTIONS)
def test_the_active_share_is_one_where_all_is_wrong_and_zero_where_all_is_done(rule: str) -> None:
    labels, chosen_by = torch.tensor([0, 0, 1, 1]), TrainSection.model_validate({"selection": rule})
    wrong, done = squared_distances(on_circle(0, 180, 90, 270)), squared_distances(on_circle(0, 1, 180, 181))
    if rule == "semihard":
        wrong = squared_distances(on_circle(0, 88, 180, 268))  # each negative just beyond the positive
    for distances, expected in ((wrong, 1.0), (done, 0.0)):
        found = SELECTIONS[rule].select(distances, labels, chosen_by.margin)
        share = active_share(distances, labels, found, chosen_by)
        assert share == pytest.approx(expected, abs=0.55 if rule == "semihard" and expected else 0)
        assert (share > 0) == (expected > 0)


class Blown(nn.Module):
    """Turns to NaN at its third step."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(20, 4))
        self.calls = 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return x @ self.weight * (math.nan if self.calls > 2 else 1.0)


@pytest.mark.parametrize("rule", SELECTIONS)
def test_an_embedding_that_is_not_finite_ends_the_run_at_once(rule: str) -> None:
    inputs, labels = clusters(apart=1.0)
    network = Blown()
    with pytest.raises(CollapsedError, match=r"not finite after 2 steps, with train\.learning_rate = 0\.001"):
        learn(network, inputs, labels, TrainSection.model_validate({"selection": rule}), "learning")
    assert network.calls == 3


def test_finite_values_pass() -> None:
    require_finite(1, torch.zeros(3), TrainSection(), "learning")
