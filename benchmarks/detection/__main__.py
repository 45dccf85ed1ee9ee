"""What is found on real parts: `python -m benchmarks.detection --data DIR`.

DIR holds a folder for each set and `splits/SET.json`. Every run is kept in benchmarks/results/detection.json as soon as it is
done; called again, the script goes on with those that are missing (`--afresh` drops what is there). In the end the bars are
printed; benchmarks/detection/page.py writes docs/detection.md from the file.
"""

import argparse
import json
import os
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.conditions import RESULTS, conditions
from benchmarks.detection.bars import bars
from benchmarks.detection.gauges import Bench
from benchmarks.detection.parts import Parts, load_parts
from benchmarks.detection.settings import (
    FEW,
    SEEDS,
    SETTINGS,
    Unit,
    counted_normals,
    fit_seed,
    taught_and_tested,
    units,
)
from senbetsu.backbone import Backbone, find_backbone
from senbetsu.config import ModelSection, TrainSection
from train.health import CollapsedError

FILE = RESULTS / "detection.json"
SETS = ("magnetic_tile", "cookies", "elpv")


def measure(unit: Unit, parts: Parts, backbone: Backbone, benches: dict[Any, Bench]) -> dict[str, Any]:
    """One run; benches that others may use again are kept."""
    whole = unit.setting in ("whole", "normals counted")
    key = (unit.set, fit_seed(unit), whole, unit.case if unit.setting == "normals counted" else "")
    kinds = [parts.kinds[number] for number in parts.kind]
    if key not in benches:
        nobody = np.zeros(0, np.int64)
        if unit.setting == "normals counted":
            fit, calibration = parts.train.take(counted_normals(unit, len(parts.train))), parts.train.take(nobody)
        elif whole:
            fit, calibration = parts.train, parts.train.take(nobody)
        else:
            fit, calibration = parts.train.take(~parts.is_calibration), parts.train.take(parts.is_calibration)
        for old in [old for old in benches if old[2]]:  # these serve one run each
            del benches[old]
        settings = TrainSection(seed=fit_seed(unit))
        benches[key] = Bench(backbone, fit, calibration, parts.test, parts.defects, kinds, settings)
    return benches[key].measure(*taught_and_tested(unit, kinds))


def keep(measured: dict[Unit, dict[str, Any]]) -> list[dict[str, Any]]:
    """Put what this process has measured to what the file holds by now: a line for each run, in a fixed order."""
    rows = [{**unit._asdict(), **figures} for unit, figures in sorted({**stored(), **measured}.items())]
    head = {
        "conditions": conditions(),
        "scores": "numpy reference on fp32 features, EfficientNet-Lite0, 224 px",
        "bars": bars(rows),
    }
    text = (
        json.dumps(head, indent=1)[:-2] + ',\n "runs": [\n' + ",\n".join(json.dumps(row) for row in rows) + "\n ]\n}\n"
    )
    temporary = FILE.with_suffix(f".{os.getpid()}.tmp")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(FILE)
    return rows


def stored() -> dict[Unit, dict[str, Any]]:
    """What is there."""
    if not FILE.exists():
        return {}
    rows = json.loads(FILE.read_text(encoding="utf-8"))["runs"]
    return {Unit(*(row.pop(name) for name in Unit._fields)): row for row in rows}


def main() -> None:
    """The benchmark."""
    command = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    command.add_argument("--data", type=Path, required=True, help="folder sets and splits/")
    command.add_argument("--sets", nargs="+", default=list(SETS), choices=SETS)
    command.add_argument("--settings", nargs="+", default=list(SETTINGS), choices=SETTINGS)
    command.add_argument("--seeds", type=int, default=max(SEEDS, *FEW.values()), help="the first so many only")
    command.add_argument("--cases", nargs="+", help="kinds left out, or numbers of parts: these only")
    command.add_argument("--afresh", action="store_true", help="drop the runs that are kept")
    given = command.parse_args()
    if given.afresh:
        FILE.unlink(missing_ok=True)
    there, measured = stored(), dict[Unit, dict[str, Any]]()
    backbone = find_backbone(ModelSection())
    for name in given.sets:
        parts = load_parts(given.data, name, backbone)
        benches: dict[Any, Bench] = {}
        for setting in given.settings:
            for unit in units(name, setting, parts.kinds, len(parts.train)):
                if (
                    unit in there
                    or unit.seed >= given.seeds
                    or (given.cases and unit.case and unit.case not in given.cases)
                ):
                    continue
                began = time.monotonic()
                try:
                    measured[unit] = measure(unit, parts, backbone, benches)
                except CollapsedError as error:
                    measured[unit] = {"error": str(error), "methods": {}}
                keep(measured)
                figures = {
                    method: f"{run['auroc']['all']:.4f} {run['recall_calibrated']['all']:.3f} {run['false_rejects']:.4f}"
                    for method, run in measured[unit]["methods"].items()
                }
                print(*unit, f"{time.monotonic() - began:.1f} s", figures, flush=True)
    for bar in bars(keep(measured)):
        print("met   " if bar["met"] else "MISSED", bar["bar"], bar["value"], sep=" | ")


if __name__ == "__main__":
    main()
