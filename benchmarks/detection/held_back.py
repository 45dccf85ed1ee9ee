"""How many normal tiles should set the threshold: `python -m benchmarks.detection.held_back --data DIR`.

The product on normals only (gauges.py), with N of the 666 normal parts held back for the threshold instead of the 133 that the
split file names; the test parts stay the same. Draw 0 holds back those that `train --hold-back N` does, the others are random.
Every run is kept in benchmarks/results/held_back.json as soon as it is done; called again, the script goes on.
"""

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.conditions import RESULTS, save
from benchmarks.detection.bars import chance_of_so_many
from benchmarks.detection.gauges import Bench
from benchmarks.detection.parts import load_parts
from senbetsu.backbone import find_backbone
from senbetsu.config import ModelSection, TrainSection
from train.shown import held_back

SET, NAME = "magnetic_tile", "held_back"
RUNS = tuple((count, draw) for draws in ((0, 1, 2), (3, 4)) for count in (199, 99, 299) for draw in draws)
"""Held back, and the number of the draw."""


def main() -> None:
    """The benchmark."""
    command = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    command.add_argument("--data", type=Path, required=True, help="folder sets and splits/")
    data = command.parse_args().data
    file = RESULTS / f"{NAME}.json"
    rows: list[dict[str, Any]] = json.loads(file.read_text(encoding="utf-8"))["runs"] if file.exists() else []
    backbone = find_backbone(ModelSection())
    parts = load_parts(data, SET, backbone)
    kinds = [parts.kinds[number] for number in parts.kind]
    nobody, everyone = np.zeros(0, np.int64), np.arange(len(kinds))
    for count, draw in RUNS:
        if any((row["held_back"], row["draw"]) == (count, draw) for row in rows):
            continue
        began = time.monotonic()
        held = held_back(parts.train, count, 4)
        if draw:
            held = np.random.default_rng([draw, count]).permutation(held)
        bench = Bench(
            backbone, parts.train.take(~held), parts.train.take(held), parts.test, parts.defects, kinds, TrainSection()
        )
        run = bench.measure(nobody, everyone)
        fused = run["methods"]["fused"]
        rows.append(
            {
                "held_back": count,
                "draw": draw,
                "claim": run["claim"],
                "auroc": fused["auroc"]["all"],
                "recall_calibrated": fused["recall_calibrated"]["all"],
                "recall_informed": fused["recall_informed"]["all"],
                "false_rejects": fused["false_rejects"],
                "chance_of_so_many_false_rejects": round(chance_of_so_many(run, "fused"), 3),
            }
        )
        print(f"{time.monotonic() - began:.0f} s", rows[-1], flush=True)
        save(NAME, {"set": SET, "test_normals": len(parts.test), "defects": len(kinds), "runs": rows})


if __name__ == "__main__":
    main()
