"""Does damage made on purpose teach? `python -m benchmarks.damage_teacher --data DIR`.

Magnetic tiles. The same runs as benchmarks/detection, each with and without damaged copies of normal parts as one more label
for the head to learn (train.teacher), paired by seed: half of every kind of defect shown, each kind left out in turn, five
labelled defects. Folds, head and damage are of one seed; the seed of a run draws which defects are shown. Every run is kept in
benchmarks/results/damage_teacher.json as soon as it is done; called again, the script goes on with those missing (delete the
file to start anew).
"""

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.conditions import RESULTS, save
from benchmarks.detection.gauges import Bench
from benchmarks.detection.parts import load_parts
from benchmarks.detection.settings import Unit, taught_and_tested
from senbetsu.backbone import find_backbone
from senbetsu.config import ModelSection, TrainSection
from train.health import CollapsedError

SET = "magnetic_tile"
METHODS = ("metric", "fused")
FIGURES = ("auroc", "recall_calibrated", "recall_informed")
SEEDS = 3
NAME = "damage_teacher"


def main() -> None:
    """The benchmark."""
    command = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    command.add_argument("--data", type=Path, required=True, help="folder sets and splits/")
    data = command.parse_args().data
    file = RESULTS / f"{NAME}.json"
    rows: list[dict[str, Any]] = json.loads(file.read_text(encoding="utf-8"))["runs"] if file.exists() else []
    done = {tuple(row[field] for field in Unit._fields) for row in rows}
    backbone = find_backbone(ModelSection())
    parts = load_parts(data, SET, backbone)
    kinds = [parts.kinds[number] for number in parts.kind]
    fit, calibration = parts.train.take(~parts.is_calibration), parts.train.take(parts.is_calibration)
    bench = Bench(backbone, fit, calibration, parts.test, parts.defects, kinds, TrainSection())
    for unit in units(parts.kinds):
        if tuple(unit) in done:
            continue
        began = time.monotonic()
        row: dict[str, Any] = unit._asdict()
        for name, teach in (("without", False), ("with", True)):
            bench.settings = TrainSection(teach_damage=teach)
            try:
                row[name] = kept(bench.measure(*taught_and_tested(unit, kinds)))
            except CollapsedError as error:
                row["collapsed"] = f"{name}: {error}"
        print(f"{time.monotonic() - began:.0f} s", row, flush=True)
        rows.append(row)
        save(NAME, {"set": SET, "gains": gains(rows), "runs": rows})


def units(kinds: tuple[str, ...]) -> list[Unit]:
    """Each setting's first run first, so that a run that is cut off has something of all."""
    return [
        Unit(SET, "seen kinds", 0),
        *(Unit(SET, "few", seed, "5") for seed in range(2)),
        *(Unit(SET, "unseen kind", 0, kind) for kind in kinds),
        *(
            unit
            for seed in range(1, SEEDS)
            for unit in (Unit(SET, "seen kinds", seed), Unit(SET, "few", seed + 1, "5"))
        ),
    ]


def kept(run: dict[str, Any]) -> dict[str, Any]:
    """Of a run's figures, those that are compared."""
    return {
        "metric_weight": run["weights"][0],
        **{method: {figure: run["methods"][method][figure]["all"] for figure in FIGURES} for method in METHODS},
    }


def gains(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """With less without, paired: mean, lowest and highest, by setting, method and figure."""
    found: dict[str, Any] = {}
    for setting in dict.fromkeys(row["setting"] for row in rows):
        for method in METHODS:
            for figure in FIGURES:
                paired = [
                    row["with"][method][figure] - row["without"][method][figure]
                    for row in rows
                    if row["setting"] == setting and "collapsed" not in row
                ]
                found.setdefault(setting, {}).setdefault(method, {})[figure] = {
                    "mean": round(float(np.mean(paired)), 4), "lowest": round(min(paired), 4),
                    "highest": round(max(paired), 4), "runs": len(paired),
                }  # fmt: skip
    return found


if __name__ == "__main__":
    main()
