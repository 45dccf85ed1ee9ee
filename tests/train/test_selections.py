"""Selections against a slow loop over their definitions, another library, and geometry on a circle."""

from itertools import combinations

import pytest
import torch
from circle import on_circle
from hypothesis import given, settings
from hypothesis import strategies as st
from pytorch_metric_learning.distances import LpDistance
from pytorch_metric_learning.miners import BatchHardMiner
from pytorch_metric_learning.utils.loss_and_miner_utils import get_all_triplets_indices
from slow_rules import differ, second_negative, triplets, valid_pairs
from torch import Tensor

from train import selections
from train.distances import squared_distances
from train.labels import UNKNOWN, alike, negatives, positive_pairs, unlike
from train.selections import SELECTIONS, Quadruplets, Triplets, with_second_negative

LABELS = st.lists(st.integers(-1, 3), min_size=1, max_size=12)
SEEDS = st.integers(0, 10_000)


def random_distances(count: int, seed: int) -> Tensor:
    torch.manual_seed(seed)
    return squared_distances(torch.nn.functional.normalize(torch.randn(count, 4, dtype=torch.float64), dim=1))


def listed(chosen: Triplets | Quadruplets) -> list[tuple[int, ...]]:
    assert all(index.dtype == torch.int64 for index in chosen)
    return list(zip(*(index.tolist() for index in chosen), strict=True))


@pytest.mark.parametrize("rule", SELECTIONS)
@given(LABELS, SEEDS, st.floats(0.05, 2))
@settings(deadline=None, max_examples=60)
def test_a_selection_gives_what_a_slow_loop_over_its_rule_finds_and_each_once(
    rule: str, labels: list[int], seed: int, margin: float
) -> None:
    d, of = random_distances(len(labels), seed), torch.tensor(labels)
    found = listed(SELECTIONS[rule].select(d, of, margin))
    assert sorted(found) == sorted(triplets(rule, d, labels, margin))
    assert len(found) <= SELECTIONS[rule].most(of)


@pytest.mark.parametrize("rule", SELECTIONS)
@given(LABELS, SEEDS)
@settings(deadline=None, max_examples=60)
def test_the_second_negative_is_the_one_that_a_slow_loop_finds(rule: str, labels: list[int], seed: int) -> None:
    d, of = random_distances(len(labels), seed), torch.tensor(labels)
    chosen = SELECTIONS[rule].select(d, of, 0.5)
    expected = [
        (*triple, second) for triple in listed(chosen) if (second := second_negative(d, labels, triple)) is not None
    ]
    assert listed(with_second_negative(chosen, d, of)) == expected


@pytest.mark.parametrize("rule", SELECTIONS)
@given(LABELS, SEEDS)
@settings(deadline=None, max_examples=40)
def test_an_image_of_unknown_kind_is_only_ever_a_negative(rule: str, labels: list[int], seed: int) -> None:
    d, of = random_distances(len(labels), seed), torch.tensor(labels)
    chosen = SELECTIONS[rule].select(d, of, 0.5)
    assert (of[chosen.anchor] != UNKNOWN).all()
    assert (of[chosen.positive] == of[chosen.anchor]).all()
    assert (of[chosen.negative] != of[chosen.anchor]).all()
    four = with_second_negative(chosen, d, of)
    assert (four.negative1 != four.negative2).all()
    assert all(differ(labels, i, j) for i, j in zip(four.negative1.tolist(), four.negative2.tolist(), strict=True))


def test_two_images_of_unknown_kind_serve_as_the_two_negatives_of_a_quadruplet() -> None:
    d, of = squared_distances(on_circle(0, 10, 90, 100)), torch.tensor([0, 0, UNKNOWN, UNKNOWN])
    four = with_second_negative(SELECTIONS["all"].select(d, of, 0.5), d, of)
    assert sorted(listed(four)) == [(0, 1, 2, 3), (0, 1, 3, 2), (1, 0, 2, 3), (1, 0, 3, 2)]


def test_without_a_third_label_no_quadruplet_is_made() -> None:
    d, of = squared_distances(on_circle(0, 10, 90, 100)), torch.tensor([0, 0, 1, 1])
    triples = SELECTIONS["all"].select(d, of, 0.5)
    assert len(triples.anchor) == 8
    assert len(with_second_negative(triples, d, of).anchor) == 0


@given(LABELS)
def test_masks_are_what_their_words_say(labels: list[int]) -> None:
    of = torch.tensor(labels)
    every = range(len(labels))
    pairs = set(valid_pairs(labels))
    assert set(zip(*(i.tolist() for i in positive_pairs(of)), strict=True)) == pairs
    for i in every:
        for j in every:
            assert bool(alike(of)[i, j]) == ((i, j) in pairs)
            assert bool(unlike(of)[i, j]) == differ(labels, i, j)
            assert bool(negatives(of)[i, j]) == (labels[i] != UNKNOWN and labels[i] != labels[j])


@given(st.lists(st.integers(0, 3), min_size=2, max_size=12), SEEDS)
@settings(deadline=None, max_examples=60)
def test_all_and_batch_hard_are_those_of_pytorch_metric_learning(labels: list[int], seed: int) -> None:
    torch.manual_seed(seed)
    x = torch.nn.functional.normalize(torch.randn(len(labels), 4, dtype=torch.float64), dim=1)
    d, of = squared_distances(x), torch.tensor(labels)
    theirs = list(zip(*(i.tolist() for i in get_all_triplets_indices(of)), strict=True))
    assert sorted(listed(SELECTIONS["all"].select(d, of, 0.2))) == sorted(theirs)
    hardest = BatchHardMiner(distance=LpDistance(power=2, normalize_embeddings=False))(x, of)
    theirs = list(zip(*(i.tolist() for i in hardest), strict=True))
    assert sorted(listed(SELECTIONS["batch_hard"].select(d, of, 0.2))) == sorted(theirs)


def test_on_a_circle_each_rule_takes_the_negatives_on_its_side_of_the_positive() -> None:
    # Anchor at 0, its positive at 40 degrees (d_p = .468): negatives nearer, just beyond (.586), and far beyond the margin.
    d = squared_distances(on_circle(0, 40, 20, -45, 180))
    of = torch.tensor([0, 0, 1, 1, 1])
    chosen = {
        rule: [n for a, p, n in listed(selection.select(d, of, 0.2)) if (a, p) == (0, 1)]
        for rule, selection in SELECTIONS.items()
    }
    assert chosen == {"all": [2, 3, 4], "semihard": [3], "hard": [2], "batch_hard": [2], "slide": [2]}


def test_the_slides_sentence_keeps_what_facenets_rule_leaves_out_and_the_other_way_round() -> None:
    torch.manual_seed(1)
    d = squared_distances(torch.randn(20, 3, dtype=torch.float64))
    of = torch.arange(20) % 3
    slide, semihard = (set(listed(SELECTIONS[rule].select(d, of, 1e9))) for rule in ("slide", "semihard"))
    assert slide
    assert semihard
    assert not slide & semihard
    assert set(listed(SELECTIONS["hard"].select(d, of, 0.2))) <= slide


def test_more_triplets_than_fit_are_thinned_evenly_and_always_in_the_same_way(monkeypatch: pytest.MonkeyPatch) -> None:
    d, of = random_distances(24, 3), torch.arange(24) % 3
    full = listed(SELECTIONS["all"].select(d, of, 0.2))
    assert len(full) == 24 * 7 * 16
    monkeypatch.setattr(selections, "MAX_TRIPLETS", 600)
    some = SELECTIONS["all"].select(d, of, 0.2)
    assert listed(some) == listed(SELECTIONS["all"].select(d, of, 0.2))
    assert len(listed(some)) == 600 == SELECTIONS["all"].most(of)
    assert len(set(listed(some))) > 590
    assert set(listed(some)) <= set(full)
    for index in some:
        counts = torch.bincount(index, minlength=24)
        assert counts.min() > 0.5 * 25
        assert counts.max() < 1.6 * 25
    # From each stretch of full / 600 triplets comes one.
    assert all(k - 1 < full.index(triple) * 600 / len(full) < k + 1 for k, triple in enumerate(listed(some)))


@given(st.integers(0, 1000))
@settings(deadline=None, max_examples=20)
def test_pairs_worked_on_in_pieces_give_the_same_quadruplets(seed: int) -> None:
    d, of = random_distances(15, seed), torch.arange(15) % 4
    chosen = SELECTIONS["semihard"].select(d, of, 0.5)
    whole = listed(with_second_negative(chosen, d, of))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(selections, "MAX_TRIPLETS", 31)
        assert listed(with_second_negative(chosen, d, of)) == whole


@pytest.mark.parametrize("rule", SELECTIONS)
@pytest.mark.parametrize("labels", [[0], [0, 0, 0], [0, 1, 2], [UNKNOWN, UNKNOWN], [0, UNKNOWN]])
def test_a_batch_without_a_triplet_gives_none(rule: str, labels: list[int]) -> None:
    d, of = random_distances(len(labels), 0), torch.tensor(labels)
    chosen = SELECTIONS[rule].select(d, of, 0.2)
    assert listed(chosen) == []
    assert listed(with_second_negative(chosen, d, of)) == []
    assert SELECTIONS[rule].most(of) == 0


def test_every_pair_of_rules_differs_somewhere() -> None:
    d, of = random_distances(12, 5), torch.arange(12) % 3
    given_by = {rule: listed(selection.select(d, of, 0.3)) for rule, selection in SELECTIONS.items()}
    for one, other in combinations(given_by, 2):
        assert given_by[one] != given_by[other], (one, other)
