"""Pictures and artefacts that several tests use: parts that are drawn here, so that no test needs a data set."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

Picture = NDArray[np.uint8]


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
def cache_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One cache for the whole run: the network is converted once."""
    return tmp_path_factory.mktemp("cache")


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
def senbetsu(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Runs a program to its end, as a user would: `senbetsu("train", "--normal", folder)`, in an empty folder."""
    empty = tmp_path_factory.mktemp("elsewhere")

    def run(*arguments: str | Path | float, cwd: Path | None = None) -> Outcome:
        command = [sys.executable, "-P", "-m", "senbetsu.cli", *map(str, arguments)]
        done = subprocess.run(command, cwd=cwd or empty, capture_output=True, text=True, timeout=280, check=False)
        return Outcome(done.returncode, done.stdout, done.stderr)

    return run


@pytest.fixture(scope="session")
def quick() -> tuple[str, ...]:
    """Flags of `train` where it does not matter how surely the statistics are weighed."""
    return ("--set", "train.folds=3", "--set", "train.judge_pictures=36")


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
    root = tmp_path_factory.mktemp("parts")
    write_parts(root / "train", range(60))
    write_parts(root / "calibrate", range(100, 210))
    write_parts(root / "test", range(300, 330))
    write_parts(root / "defects/scratch", range(400, 415), defect="scratch")
    write_parts(root / "defects/hole", range(500, 515), defect="hole")
    write_parts(root / "test-defects/scratch", range(600, 610), defect="scratch")
    write_parts(root / "test-defects/hole", range(700, 710), defect="hole")
    return root


@pytest.fixture(scope="session")
def line(senbetsu: Run, quick: tuple[str, ...], parts_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Line:
    """Trained with defects and calibrated, by the programs themselves."""
    artifacts = tmp_path_factory.mktemp("artifacts")
    train = senbetsu(
        "train", "--normal", parts_folder / "train", "--defects", parts_folder / "defects", "--artifacts", artifacts,
        "--steps", 100, *quick,
    )  # fmt: skip
    assert train.status == 0, train.stderr
    calibrate = senbetsu("calibrate", "--normal", parts_folder / "calibrate", "--artifacts", artifacts)
    assert calibrate.status == 0, calibrate.stderr
    return Line(
        artifacts,
        parts_folder / "train",
        parts_folder / "defects",
        parts_folder / "calibrate",
        parts_folder / "test",
        parts_folder / "test-defects",
    )
