"""The weight of the learned distance follows the evidence, and never goes against kinds that were hidden."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from senbetsu.auroc import auroc
from senbetsu.scoring import Fusion
from train.share import (
    LARGEST,
    MIN_DEFECTS,
    NEAR_THE_BEST,
    TOLERANCE,
    WEIGHTS,
    Evidence,
    choose_metric_weight,
)


def logs(seed: int, count: int, *means: float) -> np.ndarray:
    return np.random.default_rng(seed).normal(means, 0.3, (count, 4))


NORMAL = logs(0, 400, 0, 0, 0, 0)
FUSION = Fusion.of(NORMAL, (0.0, 0.4, 0.3, 0.3))


def evidence(seed: int, metric: float, novelty: float = 0.1, count: int = 120) -> Evidence:
    """Defects whose learned distance is `metric` above the normals' (in log), and whose novelty distances `novelty`."""
    return Evidence(f"kind {seed}", NORMAL, logs(seed, count, metric, novelty, novelty, novelty))


def area(weight: float, one: Evidence) -> float:
    """Of the fused score, by scikit-learn."""
    fusion = replace(FUSION, weights=(weight, *FUSION.weights[1:]))
    scores = [fusion.outputs(of)[:, 0] for of in (one.normal, one.defect)]
    return float(roc_auc_score(np.r_[np.zeros(len(scores[0])), np.ones(len(scores[1]))], np.r_[scores[0], scores[1]]))


def test_auroc_is_that_of_scikit_learn_with_ties() -> None:
    random = np.random.default_rng(0)
    good, bad = random.integers(0, 10, 50) / 2, random.integers(3, 14, 30) / 2
    expected = roc_auc_score(np.r_[np.zeros(50), np.ones(30)], np.r_[good, bad])
    assert auroc(good, bad) == pytest.approx(expected)


def test_too_few_defects_prove_nothing() -> None:
    few = choose_metric_weight(FUSION, evidence(1, 5, count=MIN_DEFECTS - 1), [evidence(2, 5)])
    assert (few.weight, few.seen, few.hidden) == (0.0, {}, {})


def test_a_learned_distance_that_tells_nothing_gets_a_weight_that_costs_next_to_nothing() -> None:
    seen, hidden = evidence(1, -0.5, 0.2), evidence(2, -0.5, 0.2)
    share = choose_metric_weight(FUSION, seen, [hidden])
    assert share.seen[0.0] == max(share.seen.values())
    at = WEIGHTS.index(share.weight)
    lost = [area(0.0, seen) + area(0.0, hidden) - area(weight, seen) - area(weight, hidden) for weight in WEIGHTS]
    assert lost[at] <= 2 * NEAR_THE_BEST < lost[at + 1]


def test_one_that_tells_seen_and_hidden_kinds_gets_a_weight_at_which_both_are_told_nearly_best() -> None:
    seen, hidden = evidence(1, 0.6), [evidence(2, 0.5), evidence(3, 0.4)]
    share = choose_metric_weight(FUSION, seen, hidden)
    assert tuple(share.seen) == WEIGHTS
    for weight in WEIGHTS:
        assert share.seen[weight] == pytest.approx(area(weight, seen))
        assert share.hidden[weight] == pytest.approx(np.mean([area(weight, one) for one in hidden]), abs=2e-3)
    assert share.seen[share.weight] + share.hidden[share.weight] >= max(
        share.seen[weight] + share.hidden[weight] - 2 * NEAR_THE_BEST for weight in WEIGHTS
    )
    assert share.weight == LARGEST
    assert share.seen[share.weight] > share.seen[0.0] + 0.05


def test_one_that_hides_a_kind_nobody_has_shown_gets_only_the_weight_that_this_kind_bears() -> None:
    """The hidden kind lies nearer than normal parts: what is added to these drowns it."""
    against = evidence(4, -1.5, 0.2)
    free = choose_metric_weight(FUSION, evidence(1, 2.0), [evidence(2, 2.0)])
    held = choose_metric_weight(FUSION, evidence(1, 2.0), [evidence(2, 2.0), against])
    least = area(0.0, against) - 2 * TOLERANCE
    assert held.weight < free.weight
    assert area(held.weight, against) >= least
    assert area(WEIGHTS[WEIGHTS.index(held.weight) + 1], against) < least
    assert max(held.seen.values()) > held.seen[held.weight]


def test_several_hidden_kinds_bear_half_as_much_on_average_as_one_of_them_alone() -> None:
    against = [evidence(seed, -1.5, 0.3) for seed in (4, 5, 6)]
    held = choose_metric_weight(FUSION, evidence(1, 2.0), against)
    harm = [np.mean([area(0.0, one) - area(weight, one) for one in against]) for weight in WEIGHTS]
    at = WEIGHTS.index(held.weight)
    assert harm[at] <= TOLERANCE < harm[at + 1]


def test_with_one_kind_of_defect_the_kind_that_was_shown_decides_up_to_the_limit() -> None:
    helped, hurt = (choose_metric_weight(FUSION, one, []) for one in (evidence(5, 1.0, -0.2), evidence(6, -1.0, 0.1)))
    assert helped.weight == LARGEST
    assert hurt.weight < LARGEST
    assert helped.hidden == hurt.hidden == {}


def test_of_equals_the_largest_weight_is_taken() -> None:
    """All defects are told from all normals without any help, and at every weight with it."""
    share = choose_metric_weight(FUSION, evidence(6, 9, 9), [evidence(7, 9, 9)])
    assert set(share.seen.values()) == {1.0}
    assert share.weight == LARGEST


def test_a_head_that_has_not_seen_a_kind_is_judged_on_its_own_scale() -> None:
    """It measures in other units: the same evidence, all metric distances ten times as large, changes nothing."""
    plain = evidence(2, 0.5)
    step = np.array([np.log(10), 0, 0, 0])
    shifted = Evidence(plain.name, plain.normal + step, plain.defect + step)
    expected = choose_metric_weight(FUSION, evidence(1, 0.6), [plain])
    found = choose_metric_weight(FUSION, evidence(1, 0.6), [shifted])
    assert found.weight == expected.weight
    assert found.hidden == pytest.approx(expected.hidden)
