"""Does damage made on purpose teach? `PYTHONPATH=. python benchmarks/damage_teacher.py --data DIR`.

Magnetic tiles. The same runs as benchmarks/detection, each with and without damaged copies of normal parts as one more label
for the head to learn (train.teacher), paired by seed: half of every kind of defect shown, each kind left out in turn, five
labelled defects.
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.conditions import save
from benchmarks.detection.gauges import Bench
from benchmarks.detection.parts import load_parts
from benchmarks.detection.settings import Unit, taught_and_tested
from senbetsu.backbone import find_backbone
from senbetsu.config import ModelSection, TrainSection

SET = "magnetic_tile"
METHODS = ("metric", "fused")
FEW_SEEDS = 5


def main() -> None:
    """The benchmark."""
    command = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    command.add_argument("--data", type=Path, required=True, help="folder sets and splits/")
    backbone = find_backbone(ModelSection())
    parts = load_parts(command.parse_args().data, SET, backbone)
    kinds = [parts.kinds[number] for number in parts.kind]
    units = [
        Unit(SET, "seen kinds", 0),
        *(Unit(SET, "unseen kind", 0, kind) for kind in parts.kinds),
        *(Unit(SET, "few", seed, "5") for seed in range(FEW_SEEDS)),
    ]
    fit, calibration = parts.train.take(~parts.is_calibration), parts.train.take(parts.is_calibration)
    bench = Bench(backbone, fit, calibration, parts.test, parts.defects, kinds, TrainSection())
    rows: list[dict[str, Any]] = []
    for unit in units:
        row: dict[str, Any] = unit._asdict()
        for name, teach in (("without", False), ("with", True)):
            bench.settings = TrainSection(teach_damage=teach)
            run = bench.measure(*taught_and_tested(unit, kinds))
            row[name] = {
                "metric_weight": run["weights"][0],
                **{
                    method: {
                        "auroc": run["methods"][method]["auroc"]["all"],
                        "recall_calibrated": run["methods"][method]["recall_calibrated"]["all"],
                    }
                    for method in METHODS
                },
            }
        print(row, flush=True)
        rows.append(row)
    gains = {
        setting: {
            method: round(
                float(
                    np.mean(
                        [
                            r["with"][method]["auroc"] - r["without"][method]["auroc"]
                            for r in rows
                            if r["setting"] == setting
                        ]
                    )
                ),
                4,
            )
            for method in METHODS
        }
        for setting in dict.fromkeys(row["setting"] for row in rows)
    }
    save("damage_teacher", {"set": SET, "mean_auroc_gain": gains, "runs": rows})


if __name__ == "__main__":
    main()
