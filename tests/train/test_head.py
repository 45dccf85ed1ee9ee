"""The head: what it learns from which labels, and what it needs."""

from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from senbetsu.config import Config, TrainSection
from senbetsu.errors import ConfigError, UserError
from train.head import learn_head, principal_head
from train.labels import UNKNOWN
from train.losses import LOSSES
from train.selections import SELECTIONS

Vectors = np.ndarray[Any, Any]


def parts(*labels_and_counts: tuple[int, int], seed: int = 0) -> tuple[Vectors, Vectors]:
    """Statistics (N, 40) and labels: each label is off in a direction of its own, those of unknown kind each in another."""
    random = np.random.default_rng(seed)
    labels = np.concatenate([np.full(count, label, np.int64) for label, count in labels_and_counts])
    whole = random.normal(0, 1, (len(labels), 40))
    for row, label in enumerate(labels):
        if label:
            whole[row, label if label > 0 else random.integers(20, 40)] += 8
    return whole.astype(np.float32), labels


def learn(whole: Vectors, labels: Vectors, **settings: Any) -> Any:
    section = TrainSection.model_validate({"steps": 60, "images_per_label": 12, "learning_rate": 3e-3, **settings})
    return learn_head(whole, labels, labels == 0, section, "learning")


def held_out_auroc(head: Any, whole: Vectors, labels: Vectors, kind: int) -> float:
    """Of fresh parts of a kind against fresh normal ones, by the distance to the mean of the learned normals."""
    centroid = head.embed(whole[labels == 0]).mean(0)
    fresh, of = parts((0, 100), (kind, 100), seed=1)
    return float(roc_auc_score(of != 0, np.square(head.embed(fresh) - centroid).sum(1)))


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("rule", SELECTIONS)
def test_every_loss_and_selection_puts_known_and_unknown_kinds_beyond_the_normal_parts(loss: str, rule: str) -> None:
    whole, labels = parts((0, 60), (1, 15), (2, 15), (UNKNOWN, 10))
    head, curve = learn(whole, labels, loss=loss, selection=rule)
    hardest_only = rule in ("hard", "batch_hard")
    assert min(held_out_auroc(head, whole, labels, kind) for kind in (1, 2)) > (0.7 if hardest_only else 0.85)
    assert held_out_auroc(head, whole, labels, UNKNOWN) > 0.9
    assert len(curve.step) == len(curve.loss) == len(curve.spread_min) == 60


def test_defects_of_unknown_kind_alone_are_enough_for_triplets_and_for_quadruplets() -> None:
    whole, labels = parts((0, 60), (UNKNOWN, 12))
    for loss in ("triplet", "quadruplet"):
        head, _ = learn(whole, labels, loss=loss)
        assert held_out_auroc(head, whole, labels, UNKNOWN) > 0.9


@pytest.mark.parametrize("loss", ["quadruplet", "quadruplet_chen"])
def test_a_quadruplet_without_a_second_other_label_is_an_error_that_says_what_to_do(loss: str) -> None:
    whole, labels = parts((0, 30), (1, 15))
    with pytest.raises(UserError, match="needs two labels beside 0") as error:
        learn(whole, labels, loss=loss)
    for said in ("second kind of defect", "unknown kind", "--teach-damage", "--loss triplet", "found 1"):
        assert said in str(error.value)
    whole, labels = parts((0, 30), (1, 15), (2, 15))
    with pytest.raises(UserError, match=r"train\.labels_per_batch = 2, set it to 3 or more"):
        learn(whole, labels, loss=loss, labels_per_batch=2)
    whole, labels = parts((0, 30), (1, 15), (UNKNOWN, 1))
    learn(whole, labels, loss=loss, labels_per_batch=2)


def test_without_any_defect_the_head_is_the_normals_own_directions() -> None:
    whole, labels = parts((0, 30))
    head, curve = learn(whole, labels)
    assert curve is None
    assert (head.weight == principal_head(whole).weight).all()


def test_the_same_seed_gives_the_same_head_and_leaves_the_random_numbers_of_others_alone() -> None:
    whole, labels = parts((0, 30), (1, 15), (UNKNOWN, 5))
    torch.manual_seed(7)
    expected = torch.rand(1)
    torch.manual_seed(7)
    one, curve = learn(whole, labels)
    assert torch.rand(1) == expected
    torch.manual_seed(8)
    two, again = learn(whole, labels)
    assert (one.weight == two.weight).all()
    assert curve == again
    other, _ = learn(whole, labels, seed=1)
    assert (one.weight != other.weight).any()


def test_the_second_margin_of_the_papers_quadruplets_is_the_smaller_one() -> None:
    TrainSection(loss="quadruplet_chen", margin=0.2, second_margin=0.1)
    TrainSection(loss="quadruplet", margin=0.05)
    with pytest.raises(ValueError, match=r"second_margin = 0\.1 has to be smaller than margin = 0\.05"):
        TrainSection(loss="quadruplet_chen", margin=0.05)


def test_the_tables_are_what_the_config_takes() -> None:
    fields = Config.model_fields["train"].annotation.model_fields
    assert set(fields["loss"].annotation.__args__) == set(LOSSES)
    assert set(fields["selection"].annotation.__args__) == set(SELECTIONS)
    assert issubclass(ConfigError, UserError)
