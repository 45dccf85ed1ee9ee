"""Pictures and artefacts that several tests use: parts that are drawn here, so that no test needs a data set."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest
from filelock import FileLock
from numpy.typing import NDArray

Picture = NDArray[np.uint8]


LONGEST = (
    "train/test_train_program.py", "train/test_depth.py", "train/test_distributed.py", "calibrate/test_calibrate_program.py",
    "line/test_line.py", "calibrate/test_suspects.py", "senbetsu/test_engine.py", "bench/test_bench_program.py",
    "score/test_score_program.py", "calibrate/test_live.py", "daemon/test_daemon_process.py", "senbetsu/test_fitting.py",
)  # fmt: skip
"""Files, the first of which makes `line`, while those beside it go without."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes longest goes first, so that all workers end at about the same time."""
    rank = {Path(__file__).parent / name: number for number, name in enumerate(LONGEST)}
    items.sort(key=lambda item: rank.get(item.path, len(rank)))


def draw_part(seed: int, *, defect: str | None = None, size: int = 128) -> Picture:
    """A round, grained part on a dark belt; `scratch` or `hole` spoils it."""
    random = np.random.default_rng(seed)
    picture = np.full((size, size, 3), 40, np.uint8)
    centre = (size // 2 + int(random.integers(-3, 4)), size // 2 + int(random.integers(-3, 4)))
    cv2.circle(picture, centre, size // 3, (150, 170, 180), -1, cv2.LINE_AA)
    if defect == "scratch":
        start = random.integers(size // 3, 2 * size // 3, 2)
        end = start + random.integers(15, 40, 2) * random.choice([-1, 1], 2)
        cv2.line(picture, start.tolist(), end.tolist(), (20, 20, 30), 4, cv2.LINE_AA)
    elif defect == "hole":
        cv2.circle(
            picture, random.integers(size // 3, 2 * size // 3, 2).tolist(), size // 10, (10, 10, 10), -1, cv2.LINE_AA
        )
    noisy = picture.astype(np.float32) + random.normal(0, 6, picture.shape)
    return np.clip(noisy, 0, 255).astype(np.uint8)


def write_parts(folder: Path, seeds: range, *, defect: str | None = None) -> list[Path]:
    """Pictures `part-0007.png` of these seeds."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for seed in seeds:
        path = folder / f"part-{seed:04d}.png"
        assert cv2.imwrite(str(path), draw_part(seed, defect=defect))
        paths.append(path)
    return paths


@pytest.fixture(scope="session")
def drawn_part() -> Callable[..., Picture]:
    """`draw_part`, for tests that need pictures and no files."""
    return draw_part


@dataclass(frozen=True)
class Outcome:
    """How a program ended."""

    status: int
    stdout: str
    stderr: str


Run = Callable[..., Outcome]


@pytest.fixture(scope="session")
def shared_folder(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """One folder for the whole run, whichever of pytest-xdist's workers asks."""
    own = tmp_path_factory.getbasetemp()
    return own if worker_id == "master" else own.parent


@pytest.fixture(scope="session")
def cache_folder(shared_folder: Path) -> Path:
    """One cache for the whole run: the network is converted once."""
    folder = shared_folder / "cache"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture(scope="session", autouse=True)
def _own_cache(cache_folder: Path) -> Iterator[None]:
    before = {name: os.environ.pop(name, None) for name in ("XDG_CACHE_HOME", "CACHE_DIRECTORY")}
    os.environ["XDG_CACHE_HOME"] = str(cache_folder)
    yield
    for name, value in before.items():
        os.environ.pop(name, None)
        if value is not None:
            os.environ[name] = value


@pytest.fixture(scope="session")
def senbetsu(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """Runs a program to its end, as a user would: `senbetsu("train", "--normal", folder)`, in an empty folder."""
    empty, kept = tmp_path_factory.mktemp("elsewhere"), tmp_path_factory.mktemp("output")
    server = subprocess.Popen(
        [sys.executable, "-P", str(Path(__file__).with_name("program_server.py"))],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1,
    )  # fmt: skip
    assert server.stdin is not None
    assert server.stdout is not None

    def run(program: str, *arguments: str | Path | float, cwd: Path | None = None) -> Outcome:
        assert server.stdin is not None
        assert server.stdout is not None
        request = {
            "program": program.replace("-", "_"), "arguments": [str(one) for one in arguments], "cwd": str(cwd or empty),
            "environment": dict(os.environ), "stdout": str(kept / "stdout"), "stderr": str(kept / "stderr"),
        }  # fmt: skip
        server.stdin.write(json.dumps(request) + "\n")
        child = int(server.stdout.readline())
        timer = threading.Timer(280, os.kill, (child, signal.SIGKILL))
        timer.start()
        status = int(server.stdout.readline())
        timer.cancel()
        return Outcome(status, (kept / "stdout").read_text(), (kept / "stderr").read_text())

    yield run
    server.kill()
    server.wait()


@pytest.fixture(scope="session")
def quick() -> tuple[str, ...]:
    """Flags of `train` where it does not matter how surely the statistics are weighed."""
    return ("--set", "train.folds=3", "--set", "train.judge_pictures=36")


@pytest.fixture(scope="session")
def quickest() -> tuple[str, ...]:
    """Flags of `train` where it does not matter how the statistics are weighed either."""
    return ("--set", "train.folds=2", "--set", "train.judge_pictures=0")


@dataclass(frozen=True)
class Line:
    """Trained and calibrated artefacts, and the pictures behind them."""

    artifacts: Path
    train_normal: Path
    train_defects: Path
    calibrate_normal: Path
    test_normal: Path
    test_defects: Path


@pytest.fixture(scope="session")
def parts_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Drawn parts: train/, calibrate/, test/ and defects by kind."""
    return draw_parts(tmp_path_factory.mktemp("parts"))


def draw_parts(root: Path) -> Path:
    """See `parts_folder`."""
    write_parts(root / "train", range(60))
    write_parts(root / "calibrate", range(100, 210))
    write_parts(root / "test", range(300, 330))
    write_parts(root / "defects/scratch", range(400, 415), defect="scratch")
    write_parts(root / "defects/hole", range(500, 515), defect="hole")
    write_parts(root / "test-defects/scratch", range(600, 610), defect="scratch")
    write_parts(root / "test-defects/hole", range(700, 710), defect="hole")
    return root


@pytest.fixture(scope="session")
def line(senbetsu: Run, quick: tuple[str, ...], shared_folder: Path) -> Line:
    """Trained with defects and calibrated, by the programs themselves; once for all workers. Not to be written to."""
    root = shared_folder / "line"
    parts, artifacts = root / "parts", root / "artifacts"
    with FileLock(shared_folder / "line.lock"):
        if not (root / "made").exists():
            shutil.rmtree(root, ignore_errors=True)
            draw_parts(parts)
            train = senbetsu(
                "train", "--normal", parts / "train", "--defects", parts / "defects", "--artifacts", artifacts, "--steps",
                100, *quick,
            )  # fmt: skip
            assert train.status == 0, train.stderr
            calibrate = senbetsu("calibrate", "--normal", parts / "calibrate", "--artifacts", artifacts)
            assert calibrate.status == 0, calibrate.stderr
            (root / "made").touch()
    return Line(
        artifacts,
        parts / "train",
        parts / "defects",
        parts / "calibrate",
        parts / "test",
        parts / "test-defects",
    )
