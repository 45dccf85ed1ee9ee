"""TensorBoard is optional: written to where it is asked for, and missed with a clear word."""

import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from senbetsu.config import TrainSection
from senbetsu.errors import UserError
from train.head import learn_head

NAME = "torch.utils.tensorboard"


def run(folder: Path | None) -> None:
    labels = np.array([0] * 8 + [1] * 4)
    whole = np.random.default_rng(0).normal(labels[:, None], 1, (12, 5)).astype(np.float32)
    learn_head(whole, labels, labels == 0, TrainSection(steps=5, tensorboard=folder), "learning without fold 1 of 2")


def test_where_it_is_missing_a_run_that_asks_for_it_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, NAME, None)
    with pytest.raises(UserError, match=r"pip install 'senbetsu\[tensorboard\]'"):
        run(tmp_path)
    run(None)


def test_every_recorded_step_is_written_into_a_folder_of_its_run(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    written: list[tuple[str, str, int]] = []

    class SummaryWriter:
        def __init__(self, folder: str) -> None:
            self.folder = folder

        def add_scalar(self, name: str, value: float, step: int) -> None:
            assert np.isfinite(value)
            written.append((self.folder, name, step))

        def flush(self) -> None:
            pass

    stand_in = ModuleType(NAME)
    stand_in.SummaryWriter = SummaryWriter  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, NAME, stand_in)
    run(tmp_path)
    assert {folder for folder, _, _ in written} == {str(tmp_path / "learning_without_fold_1_of_2")}
    assert [step for _, name, step in written if name == "loss"] == [1, 2, 3, 4, 5]
    assert {name for _, name, _ in written} >= {
        "loss", "active_share", "positive_distance", "negative_distance", "spread_min", "effective_rank",
    }  # fmt: skip
