"""Memory of a calibration against the number of parts: `PYTHONPATH=. python benchmarks/calibration_memory.py`.

Feature vectors that are made up on the way, smaller than real ones, stream through the product's own calibration
(cross-conformal, five folds: every part is fitted with and scored). Each number of parts runs in a process of its own, which
tells its resident size before there is a part, with the list of parts (name, content hash, fold), and at its peak.
"""

import json
import resource
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.conditions import save
from calibrate.fit import Calibration, folds_of
from calibrate.parts import Part
from senbetsu.backbone import Backbone, find_backbone
from senbetsu.config import ModelSection
from senbetsu.conformal import threshold_at
from senbetsu.distributed import Group
from senbetsu.embedding import Axes, Embedding, normal_moments
from senbetsu.engine import EngineChoice
from senbetsu.features import Features
from senbetsu.places import PlaceFrame
from senbetsu.promise import make_claim
from senbetsu.scoring import Fusion, Head, Scorer

COUNTS = (10_000, 100_000, 1_000_000)
CHANNELS, PLACES, DEEP, ROWS, FOLDS, CHUNK = 16, 16, 32, 4096, 5, 1000


class Made:
    """Rows of a fixed table, each scaled by its part's number, so that no two parts are the same."""

    def __init__(self) -> None:
        random = np.random.default_rng(0)
        self.tables = [
            random.normal(size=(ROWS, *shape)).astype(np.float32)
            for shape in ((CHANNELS,), (3 * CHANNELS,), (9, 3 * CHANNELS), (PLACES, DEEP))
        ]

    def features(self, numbers: NDArray[np.int64]) -> Features:
        """Of parts by number."""
        scale = 1 + (numbers % 10_007) / 20_000
        rows = (numbers * 7919) % ROWS
        made = [table[rows] * scale.reshape(-1, *[1] * (table.ndim - 1)).astype(np.float32) for table in self.tables]
        names = tuple(Path() for _ in numbers)
        return Features(names, ("",) * len(numbers), made[0], made[1], made[2], made[3].astype(np.float16))


class Streamed(Calibration):
    """The product's calibration, with pictures and engine taken away: features are made up, scores by the reference."""

    def __init__(self, embedding: Embedding, group: Group, made: Made) -> None:
        super().__init__(embedding, EngineChoice("torch", "fp32", "cpu"), 1, group)
        self.made = made

    def _chunks(self, parts: Sequence[Part]) -> Iterator[tuple[NDArray[np.int64], Features]]:
        for start in range(0, len(parts), CHUNK):
            numbers = np.arange(start, min(start + CHUNK, len(parts)))
            yield numbers, self.made.features(np.array([int(parts[i].sha256, 16) for i in numbers]))

    def _stream(self, parts: Sequence[Part], _: Backbone) -> Iterator[tuple[NDArray[np.int64], Features]]:
        return self._chunks(parts)

    def _scores(self, scorer: Scorer, _: Backbone, parts: Sequence[Part], __: str) -> NDArray[np.float64]:
        scores = np.zeros(len(parts))
        for numbers, features in self._chunks(parts):
            scores[numbers] = scorer.fusion.outputs(scorer.log_distances(*features.statistics))[:, 0]
        return scores


def resident_mib() -> float:
    """Now."""
    pages = int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[1])
    return pages * resource.getpagesize() / 2**20


def calibrate(count: int) -> dict[str, Any]:
    """One calibration with `count` parts."""
    made = Made()
    first = made.features(np.arange(2000))
    head = Head(np.eye(64, 4 * CHANNELS, dtype=np.float32), np.zeros(64, np.float32))
    axes = Axes(head, PlaceFrame.of(first.context, first.places))
    fusion = Fusion((0.0,) * 4, (1.0,) * 4, (0.0, 0.4, 0.3, 0.3))
    backbone = find_backbone(ModelSection())
    none = normal_moments(axes, first.take(np.arange(0)))
    embedding = Embedding(backbone, axes, (axes,) * FOLDS, none, fusion, 1.0, {})
    calibration = Streamed(embedding, Group(torch.device("cpu")), made)
    calibration.fit_and_score(*_task(2000))  # what libraries take once
    before = resident_mib()
    claim, parts, *rest = _task(count)
    with_list = resident_mib()
    began = time.monotonic()
    fitted = calibration.fit_and_score(claim, parts, *rest)
    threshold = threshold_at(fitted.scores, claim.k)
    return {
        "parts": count, "before_mib": round(before, 1), "list_of_parts_mib": round(with_list - before, 1),
        "peak_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10, 1),
        "with_list_mib": round(with_list, 1), "seconds": round(time.monotonic() - began, 1),
        "n": claim.n, "k": claim.k, "threshold": round(threshold, 6),
    }  # fmt: skip


def _task(count: int) -> Any:
    # Every second part was trained on, so to say: cross-conformal, with the moments of all found here.
    parts = [Part(Path(f"archive/day/part-{number:08d}.png"), f"{number:064x}", None) for number in range(count)]
    claim, _ = make_claim(0, count, 0.02, None)
    folds, _ = folds_of(parts, None, FOLDS)
    return claim, parts, folds, [], 0.0


def main() -> None:
    """The benchmark."""
    if len(sys.argv) > 1:
        print(json.dumps(calibrate(int(sys.argv[1]))))
        return
    runs = []
    for count in COUNTS:
        done = subprocess.run([sys.executable, __file__, str(count)], capture_output=True, text=True, check=True)
        runs.append(json.loads(done.stdout.splitlines()[-1]))
        print(runs[-1], flush=True)
    few, many = runs[0], runs[-1]
    own = {run["parts"]: run["peak_mib"] - run["with_list_mib"] for run in runs}
    save("calibration_memory", {
        "runs": runs,
        "bytes_a_part_of_the_list": round(many["list_of_parts_mib"] * 2**20 / many["parts"]),
        "bytes_a_part_beyond_the_list": round((own[many["parts"]] - own[few["parts"]]) * 2**20 / many["parts"], 1),
    })  # fmt: skip


if __name__ == "__main__":
    main()
