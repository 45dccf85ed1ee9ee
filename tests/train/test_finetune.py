"""Fine-tuning the last blocks, or all, of a tiny backbone."""

import numpy as np
import pytest
import torch
from tiny import tiny_head, tiny_parts, tiny_statistics

from senbetsu.config import TrainSection
from senbetsu.distributed import Group
from senbetsu.errors import UserError
from train.finetune import fine_tune
from train.health import CollapsedError, require_learned
from train.tunable import learned_tensors, statistics_of, tunable_parameters

ALONE = Group(torch.device("cpu"))
SETTINGS = TrainSection(
    depth="blocks", tuned_blocks=1, tune_steps=40, tune_learning_rate=1e-2, learning_rate=0.1, selection="all", dropout=0.0,
    tune_images_per_label=6, augment_shift=0.05, augment_light=0.05,
)  # fmt: skip


def tuned(settings: TrainSection):
    network, head = tiny_statistics(), tiny_head()
    pictures, labels = tiny_parts()
    curve = fine_tune(network, head, pictures, np.arange(len(labels)), labels, settings, "tuning", ALONE)
    return network, head, curve


def changed(network) -> set[str]:
    before, now = tiny_statistics().stages.state_dict(), network.stages.state_dict()
    return {name for name in now if not torch.equal(before[name], now[name])}


def mean_loss(network, head) -> float:
    """Over every triplet of all parts, by a slow loop."""
    pictures, labels = tiny_parts()
    with torch.no_grad():
        x = head(torch.from_numpy(statistics_of(network, pictures))).numpy()
    terms = [
        max(0.0, ((x[a] - x[p]) ** 2).sum() - ((x[a] - x[n]) ** 2).sum() + SETTINGS.margin)
        for a in range(len(x))
        for p in np.flatnonzero(labels == labels[a])
        for n in np.flatnonzero(labels != labels[a])
        if p != a
    ]
    return float(np.mean(terms))


def test_the_last_block_alone_changes_and_the_loss_falls() -> None:
    network, head, curve = tuned(SETTINGS)
    assert changed(network) == {f"network.stages.2.{name}" for name in ("0.weight", "1.weight", "1.bias")}
    assert mean_loss(network, head) < 0.5 * mean_loss(tiny_statistics(), tiny_head())
    assert curve.steps == 40
    require_learned(curve, SETTINGS, "tuning", tuning=True)


def test_depth_all_changes_every_parameter_that_a_used_map_depends_on_and_no_running_statistic() -> None:
    network, _, _ = tuned(SETTINGS.model_copy(update={"depth": "all"}))
    parameters = {name for name, _ in network.stages.named_parameters() if "unused" not in name}
    assert len(parameters) == 9
    assert changed(network) == parameters


def test_what_changed_is_what_is_kept() -> None:
    network, _, _ = tuned(SETTINGS)
    names = tunable_parameters(network.stages, "blocks", 1, 32)
    assert set(learned_tensors(network.stages, names).tensors) == changed(network)


def test_it_starts_where_the_head_ended() -> None:
    """A folded head gives the embedding that the head gave, and a learning rate of nearly nothing leaves it there."""
    still = SETTINGS.model_copy(update={"tune_learning_rate": 1e-12, "learning_rate": 1e-11})
    network, head, _ = tuned(still)
    pictures, _ = tiny_parts()
    statistics = statistics_of(tiny_statistics(), pictures)
    assert head.folded().embed(statistics) == pytest.approx(tiny_head().folded().embed(statistics), abs=1e-5)
    assert statistics_of(network, pictures) == pytest.approx(statistics, abs=1e-5)
    with torch.no_grad():
        direct = tiny_head()(torch.from_numpy(statistics)).numpy()
    assert tiny_head().folded().embed(statistics) == pytest.approx(direct, abs=1e-5)


def test_the_same_seed_gives_the_same_weights() -> None:
    (one, _, _), (other, _, _) = tuned(SETTINGS), tuned(SETTINGS)
    for name, tensor in one.stages.state_dict().items():
        assert torch.equal(tensor, other.stages.state_dict()[name])


def test_without_defects_it_is_refused() -> None:
    pictures, labels = tiny_parts(8, 0)
    with pytest.raises(UserError, match="--depth blocks learns by contrast, and there are no defects"):
        fine_tune(tiny_statistics(), tiny_head(), pictures, np.arange(len(labels)), labels, SETTINGS, "tuning", ALONE)


def test_more_blocks_than_there_are_are_refused_with_the_number() -> None:
    with pytest.raises(UserError, match=r"tuned_blocks = 3: the backbone has 3 stages"):
        tuned(SETTINGS.model_copy(update={"tuned_blocks": 3}))


def test_a_run_that_blows_up_names_the_setting_of_fine_tuning() -> None:
    with pytest.raises(CollapsedError, match=r"train\.tune_learning_rate = "):
        tuned(SETTINGS.model_copy(update={"depth": "all", "tune_learning_rate": 1e30}))
