"""Memory of a calibration against the number of parts: `python -m benchmarks.calibration_memory [most]`.

Two ways, each number of parts in a process of its own, which tells its resident size before there is a part and at its peak:

- program: `calibrate` itself, from the folder to profile and report, with as many picture files, all unlike (8 x 8 pixels, so
  that a million fit on a disk). What the model is, and the engine, are stand-ins of no size; all else is the product's: files
  are found, read, hashed, decoded and fitted, parts are told apart by content and dealt out, scored in batches, ranked.
- moments: feature vectors that are made up on the way, smaller than real ones, stream through the product's own fitting
  (cross-conformal, five folds: every part is fitted with and scored), since the program fits nothing on parts that `train` did
  not see where there are many.
"""

import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

import calibrate.__main__ as program
import calibrate.account
import calibrate.fit
import calibrate.parts
from benchmarks.conditions import resident_mib, save
from calibrate.fit import Calibration
from calibrate.fitted import FittedPictures
from calibrate.flags import flags
from calibrate.lots import hold_out
from calibrate.parts import ALL, Part, Parts
from senbetsu.backbone import Backbone, find_backbone
from senbetsu.config import ModelSection
from senbetsu.distributed import Group
from senbetsu.embedding import Axes, Embedding, normal_moments
from senbetsu.engine import EngineChoice
from senbetsu.engine.interface import Scores
from senbetsu.features import Features
from senbetsu.places import PlaceFrame
from senbetsu.promise import make_claim
from senbetsu.scoring import Fusion, Head, Scorer

COUNTS = (10_000, 100_000, 1_000_000)
CHANNELS, PLACES, DEEP, ROWS, FOLDS, SIDE, FOLDER = 8, 4, 16, 4096, 5, 32, 1000
CHUNK = 1000
"""Of the made-up vectors, which are small."""
WARM = 2000
"""Parts of a run before the one that is measured: what libraries take once."""


class Made:
    """Rows of a fixed table, each scaled by its part's number, so that no two parts are the same."""

    def __init__(self) -> None:
        random = np.random.default_rng(0)
        self.tables = [
            random.normal(size=(ROWS, *shape)).astype(np.float32)
            for shape in ((CHANNELS,), (3 * CHANNELS,), (9, 3 * CHANNELS), (PLACES, DEEP))
        ]

    def features(self, numbers: NDArray[np.int64], paths: Sequence[Path] = ()) -> Features:
        """Of parts by number."""
        scale = 1 + (numbers % 10_007) / 20_000
        rows = (numbers * 7919) % ROWS
        made = [table[rows] * scale.reshape(-1, *[1] * (table.ndim - 1)).astype(np.float32) for table in self.tables]
        names = tuple(paths) or tuple(Path() for _ in numbers)
        return Features(names, ("",) * len(numbers), made[0], made[1], made[2], made[3].astype(np.float16))

    def embedding(self) -> Embedding:
        """A model of these."""
        first = self.features(np.arange(2000))
        head = Head(np.eye(64, 4 * CHANNELS, dtype=np.float32), np.zeros(64, np.float32))
        axes = Axes(head, PlaceFrame.of(first.context, first.places))
        fusion = Fusion((0.0,) * 4, (1.0,) * 4, (0.0, 0.4, 0.3, 0.3))
        backbone = replace(find_backbone(ModelSection()), input_size=SIDE)
        return Embedding(backbone, axes, (axes,) * FOLDS, normal_moments(axes, first), fusion, 1.0, {}, "0" * 64)


class Streamed(Calibration):
    """The product's fitting, with pictures and engine taken away: features are made up, scores by the reference."""

    def __init__(self, embedding: Embedding, group: Group, made: Made) -> None:
        super().__init__(embedding, EngineChoice("torch", "fp32", "cpu"), 1, group, FittedPictures(SIDE, 0))
        self.made = made

    def _measured(self, chunks: Iterable[Sequence[Part]], _: Backbone) -> Iterator[tuple[Sequence[Part], Features]]:
        for chunk in chunks:
            yield chunk, self.made.features(np.array([part.number for part in chunk]))

    def _judged(
        self, scorer: Scorer, backbone: Backbone, chunks: Iterable[Sequence[Part]], _: int, __: str
    ) -> Iterator[list[tuple[int, float]]]:
        for chunk, features in self._measured(chunks, backbone):
            scores = scorer.fusion.outputs(scorer.log_distances(*features.statistics))[:, 0]
            yield [(part.number, float(score)) for part, score in zip(chunk, scores, strict=True)]


class StandIn:
    """An engine of no size: a picture's score is told by its mean."""

    batch_sizes = (calibrate.fit.BATCH,)
    inputs = np.zeros((calibrate.fit.BATCH, SIDE, SIDE, 3), np.uint8)

    def run(self, count: int) -> Scores:
        """Of the first `count` pictures."""
        score = np.exp(self.inputs[:count].mean((1, 2, 3)) / 255)
        return Scores(score, score, score)


def measured(run: Callable[[int], dict[str, Any]], count: int) -> dict[str, Any]:
    """A small run first, then the one with `count` parts."""
    run(WARM)
    before = resident_mib("self")
    began = time.monotonic()
    told = run(count)
    return {
        "parts": count, "before_mib": round(before, 1),
        "peak_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10, 1),
        "seconds": round(time.monotonic() - began, 1), **told,
    }  # fmt: skip


def moments(count: int) -> dict[str, Any]:
    """Fitting and scoring, every part twice."""
    calibrate.parts.CHUNK = CHUNK
    made = Made()
    embedding = made.embedding()
    none = embedding.moments.without(embedding.moments)
    calibration = Streamed(replace(embedding, moments=none), Group(torch.device("cpu")), made)
    parts = Parts()
    for start in range(0, count, 1000):
        numbers = range(start, min(start + 1000, count))
        parts.add([Part(Path(f"archive/day/part-{n:08d}.png"), f"{n * 2654435761:064x}", None, n) for n in numbers])
    claim, _ = make_claim(0, count, 0.02, None)
    hold_out(parts, FOLDS, by_lot=False)
    calibration.fit_and_score(claim, parts, [], 0.0)
    (threshold,) = parts.scores_at(ALL, [claim.k])
    parts.close()
    return {"n": claim.n, "k": claim.k, "threshold": round(threshold, 6)}


def write_pictures(root: Path, count: int) -> None:
    """So many, a thousand a folder."""
    for number in range(count):
        folder = root / f"{number // FOLDER:04d}"
        if number % FOLDER == 0:
            folder.mkdir(parents=True)
        pixels = np.random.default_rng(number).integers(0, 256, 64, np.uint8).tobytes()
        (folder / f"{number:08d}.pgm").write_bytes(b"P5 8 8 255\n" + pixels)


def whole_program(root: Path) -> Callable[[int], dict[str, Any]]:
    """`calibrate` on the first so many of the pictures."""
    made = Made()
    embedding = made.embedding()

    def extract(paths: Sequence[Path], *_: object) -> Features:
        return made.features(np.array([int(path.stem) for path in paths]), paths)

    stand_ins: dict[Any, dict[str, Any]] = {
        program: {"load_embedding": lambda *_: embedding},
        calibrate.fit: {"build_engine": lambda *_: StandIn()},
        calibrate.account: {"extract_features": extract},
    }
    for module, replaced in stand_ins.items():
        for name, by in replaced.items():
            setattr(module, name, by)

    def run(count: int) -> dict[str, Any]:
        with tempfile.TemporaryDirectory() as temporary:
            shown, artifacts = Path(temporary) / "shown", Path(temporary) / "artifacts"
            shown.mkdir()
            for folder in range(-(-count // FOLDER)):
                (shown / f"{folder:04d}").symlink_to(root / f"{folder:04d}")
            line = ["--normal", str(shown), "--artifacts", str(artifacts), "--set", "engine.precision=fp32"]
            program.main(flags().parse_args(line))
            claim = json.loads((artifacts / "profile.json").read_text())["claim"]
        return {"method": claim["method"], "n": claim["n"], "k": claim["k"]}

    return run


def main() -> None:
    """The benchmark."""
    if sys.argv[1:2] == ["program"]:
        print(json.dumps(measured(whole_program(Path(sys.argv[2])), int(sys.argv[3]))))
        return
    if sys.argv[1:2] == ["moments"]:
        print(json.dumps(measured(moments, int(sys.argv[2]))))
        return
    counts = [count for count in COUNTS if count <= int(sys.argv[1])] if sys.argv[1:] else list(COUNTS)
    figures: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as temporary:
        pictures = Path(temporary) / "pictures"
        write_pictures(pictures, counts[-1])
        for way in ("program", "moments"):
            runs = []
            for count in counts:
                which = [way, str(pictures)] if way == "program" else [way]
                command = [sys.executable, "-m", "benchmarks.calibration_memory", *which, str(count)]
                done = subprocess.run(command, capture_output=True, text=True, check=False)
                if done.returncode:
                    raise SystemExit(done.stderr)
                runs.append(json.loads(done.stdout.splitlines()[-1]))
                print(way, runs[-1], flush=True)
            own = [run["peak_mib"] - run["before_mib"] for run in runs]
            grown = round((own[-1] - own[0]) * 2**20 / counts[-1], 2)
            figures[way] = {"runs": runs, "bytes_a_part": grown}
    save("calibration_memory", figures)


if __name__ == "__main__":
    main()
