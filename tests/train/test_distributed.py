"""Two processes under torchrun (gloo, on the CPU) learn what one learns."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny import tiny_statistics
from two_processes import JOBS, ODD

from senbetsu.distributed import Group

SCRIPT = Path(__file__).parent / "two_processes.py"
ROOT = Path(__file__).parents[2]
ALONE = Group(torch.device("cpu"))


def torchrun(folder: Path, *jobs: str) -> subprocess.CompletedProcess[str]:
    command = [
        sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", str(SCRIPT), str(folder),
        *jobs,
    ]  # fmt: skip
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{SCRIPT.parent}", "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=200, check=False)


@pytest.fixture(scope="module")
def together(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("together")
    done = torchrun(folder, "even", "odd", "learned")
    assert done.returncode == 0, done.stderr
    return folder


def relative_error(found: torch.Tensor, expected: torch.Tensor) -> float:
    return float((found - expected).norm() / expected.norm().clamp_min(1e-12))


@pytest.mark.parametrize("job", ["even", "odd"])
def test_loss_and_gradients_are_those_of_one_process_with_the_whole_batch(together: Path, job: str) -> None:
    found, expected = torch.load(together / f"{job}.pt"), JOBS[job](ALONE)
    assert found["triplets"] == expected["triplets"] > 0
    for name, tensor in expected.items():
        assert relative_error(found[name].double(), tensor.double()) < 1e-4, name
    assert expected["network.stages.0.0.weight"].norm() > 0


def test_all_of_those_triplets_reach_from_one_process_into_the_other() -> None:
    """The batch of the test above: neither share holds two labels, so that on its own it has no triplet."""
    labels = np.array([0] * 4 + [1] * 4)
    shares = [Group(torch.device("cpu"), rank, 2).share(8) for rank in (0, 1)]
    assert [set(labels[share]) for share in shares] == [{0}, {1}]


def test_several_steps_with_dropout_and_augmentation_lead_to_the_same_weights(together: Path) -> None:
    found, expected = torch.load(together / "learned.pt"), JOBS["learned"](ALONE)
    start = tiny_statistics().stages.state_dict()
    assert found["curve"].numpy() == pytest.approx(expected["curve"].numpy(), rel=1e-4)
    for name in ("network.stages.0.0.weight", "network.stages.1.1.bias", "network.stages.2.0.weight"):
        step = expected[name] - start[name]
        assert float(step.abs().max()) > 1e-3
        assert relative_error(found[name] - start[name], step) < 0.02, name


def test_only_the_first_process_writes(together: Path) -> None:
    assert {path.name for path in together.iterdir()} == {"even.pt", "odd.pt", "learned.pt", "done-0", "done-1"}


def test_where_one_process_has_a_user_error_the_others_end_with_it(tmp_path: Path) -> None:
    done = torchrun(tmp_path, "failing")
    assert done.returncode != 0
    assert (tmp_path / "failing-1.txt").read_text() == "a picture is gone"
    assert (tmp_path / "failing-0.txt").read_text() == "process 1 of 2 failed: a picture is gone"


def test_where_one_process_dies_the_others_do_not_go_on(tmp_path: Path) -> None:
    done = torchrun(tmp_path, "dying")
    assert done.returncode != 0
    assert "out of memory, say" in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("size", "count"), [(1, 5), (2, 8), (2, ODD), (3, 7), (4, 2)])
def test_shares_cover_every_row_once_and_are_equally_large(size: int, count: int) -> None:
    shares = [Group(torch.device("cpu"), rank, size).share(count) for rank in range(size)]
    assert len({len(share) for share in shares}) == 1
    assert np.concatenate(shares)[:count].tolist() == list(range(count))
    assert (np.concatenate(shares)[count:] == 0).all()
