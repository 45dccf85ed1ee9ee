"""benchmarks/peers/speed.py: two processes that take turns over pipes, and ratios by round."""

import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
WORKER = """
import time
import numpy as np
from benchmarks.peers.turns import answers_alone, serve

answers = answers_alone()
print("a library that talks")
def slow(frame):
    time.sleep(0.02)
    print("and talks")
    return frame.mean()
frames = np.stack([np.full((2, 2, 3), value, np.uint8) for value in (3, 5)])
serve(answers, {"mean": lambda frame: float(frame.mean()), "slow": slow}, frames, {"made_of": "numbers"})
"""


@pytest.fixture
def module() -> Iterator[Any]:
    """A module of benchmarks.peers by name."""
    sys.path.insert(0, str(ROOT))
    yield lambda name: import_module(f"benchmarks.peers.{name}")
    sys.path.remove(str(ROOT))


def test_a_worker_answers_and_what_its_libraries_print_does_not_disturb(module: Any, tmp_path: Path) -> None:
    (tmp_path / "talking_worker.py").write_text(WORKER)
    worker = module("turns").Worker(sys.executable, "talking_worker", [], tmp_path, [ROOT, tmp_path])
    assert (worker.ways, worker.about) == (["mean", "slow"], {"made_of": "numbers"})
    assert worker.scores("mean") == [3.0, 5.0]
    times = worker.times("slow", 4)
    assert len(times) == 4
    assert min(times) >= 20  # milliseconds
    worker.close()


def test_a_worker_that_ends_is_an_error_and_not_a_wait(module: Any, tmp_path: Path) -> None:
    (tmp_path / "ending_worker.py").write_text("raise SystemExit(3)")
    with pytest.raises(RuntimeError, match="ended with 3"):
        module("turns").Worker(sys.executable, "ending_worker", [], tmp_path, [ROOT, tmp_path])


def test_a_ratio_is_that_of_the_rounds(module: Any) -> None:
    # The machine was three times as slow in the second round: for both.
    times = {
        "slow": [[8.0, 8.0, 90.0], [24.0, 24.0, 24.0], [8.0, 8.0, 8.0]],
        "fast": [[2.0, 2.0], [6.0, 6.0], [2.0, 50.0, 2.0]],
    }
    found = module("speed").ratio(times, "slow", "fast")
    assert found["ratio"] == 4.0
    assert found["p10_p90"] == [4.0, 4.0]
    assert module("speed").summary(times)["slow"] == {"p50_ms": 8.0, "p99_ms": pytest.approx(84.72), "calls": 9}
