"""Detection by the peers on the project's backbone and splits: see README.md beside this file. Writes peers.json.

Every seed's figures are added to the file as soon as they are known, and what the file holds already is not computed
again: a run that was cut off goes on, and several may share the work. To start anew, delete the file.
"""

import argparse
import time
from pathlib import Path
from typing import Any

from benchmarks.conditions import RESULTS
from benchmarks.peers.figures import as_calibrated, knowing_the_test
from benchmarks.peers.methods import METHODS, PADIM_LAYERS, fit, scores
from benchmarks.peers.pictures import Features, Split, read_split
from benchmarks.peers.results import Results

SETS = ("cookies", "magnetic_tile", "elpv")
SEEDS = 5
FEWER_SEEDS = {("magnetic_tile", "patchcore_10"): 1, ("elpv", "patchcore_10"): 0}
"""Where SEEDS would take hours on one core."""


def evaluate(method: str, features: Features, split: Split, seed: int) -> dict[str, Any]:
    """One method with one seed: fitted twice, with and without the normals that set the threshold."""
    held_out = set(split.calib_normal)
    rest = [name for name in split.train_normal if name not in held_out]
    figures = {}
    for name, normals in (("trained_on_all", split.train_normal), ("trained_without_calib", rest)):
        model = fit(method, features, normals, seed)
        normal = scores(model, split.test_normal)
        defects = {kind: scores(model, names) for kind, names in split.test_defect.items()}
        figures[name] = knowing_the_test(normal, defects)
        if name == "trained_without_calib":
            figures[name] |= as_calibrated(scores(model, split.calib_normal), normal, defects)
    return figures


def table(results: dict[str, Any]) -> str:
    """Means over the seeds as a markdown table, with their range where there are several."""
    rows = [
        "| set | method | seeds | AUROC | recall, false rejects at calib's 99 % quantile | at calib's maximum "
        "| recall at 1 % of the test normals |",
        "|---|---|---|---|---|---|---|",
    ]
    for set_name, methods in results["sets"].items():
        for method, entry in methods.items():

            def cell(*keys: str, entry: dict[str, Any] = entry) -> str:
                values = [entry["mean"], entry["min"], entry["max"]]
                for key in keys:
                    values = [value[key] for value in values]
                mean, low, high = (f"{value:.3f}" for value in values)
                return mean if low == high else f"{mean} ({low}-{high})"

            calibrated = [
                f"{cell('trained_without_calib', rule, 'recall', 'all')}, "
                f"{cell('trained_without_calib', rule, 'false_rejects')}"
                for rule in ("calib_quantile", "calib_maximum")
            ]
            cells = [set_name, method, str(len(entry["per_seed"])), cell("trained_on_all", "auroc", "all"), *calibrated]
            rows.append("| " + " | ".join([*cells, cell("trained_on_all", "test_quantile", "recall", "all")]) + " |")
    return "\n".join(rows)


def main() -> None:
    """The benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder that holds cookies/ and magnetic_tile/")
    parser.add_argument("--splits", type=Path, help="folder of the split files SET.json (default: DATA/splits)")
    parser.add_argument("--sets", nargs="+", choices=SETS, default=SETS)
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=METHODS)
    parser.add_argument(
        "--seeds",
        type=int,
        help=f"how many (default: {SEEDS}; one for PatchCore 10 %% on the tiles, none on the cells)",
    )
    parser.add_argument("--output", type=Path, default=RESULTS / "peers.json")
    arguments = parser.parse_args()
    results = Results(arguments.output)
    for set_name in arguments.sets:
        split = read_split((arguments.splits or arguments.data / "splits") / f"{set_name}.json")
        wanted = [
            (method, seed)
            for seed in range(SEEDS if arguments.seeds is None else arguments.seeds)
            for method in arguments.methods
            if (arguments.seeds is not None or seed < FEWER_SEEDS.get((set_name, method), SEEDS))
            and not results.has(set_name, method, seed)
        ]
        if not wanted:
            continue
        features = Features(arguments.data, set_name, split.names(), PADIM_LAYERS)
        for method, seed in wanted:
            start = time.monotonic()
            results.add(set_name, method, seed, evaluate(method, features, split, seed))
            print(f"{set_name}, {method}, seed {seed}: {time.monotonic() - start:.0f} s", flush=True)
    print(table(results.read()))


if __name__ == "__main__":
    main()
