"""Other ways to make one score of the frozen statistics: `python -m benchmarks.fusions --data DIR`.

Normals only, the fixed splits of benchmarks/detection (DIR as there), the calibration's parts left out of learning, one seed,
the numpy reference on fp32 features. Each way is what the product measures, put together otherwise; "full rank" is of a
whitening that keeps every direction. Beside AUROC there is what is found at the rank that the claim of 1 % asks for, at the
rank below it (as if a person had confirmed the highest part bad, where that rank is the highest), and at the lowest threshold
that rejects 1 % of the normals that test. "The best weights" know the defects: what weighing alone could reach.
"""

import argparse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
from numpy.typing import NDArray

import senbetsu.embedding
from benchmarks.conditions import save
from benchmarks.detection.figures import informed_threshold, rejected_share
from benchmarks.detection.gauges import Bench
from benchmarks.detection.parts import Parts, load_parts
from senbetsu.auroc import auroc
from senbetsu.backbone import Backbone, find_backbone
from senbetsu.config import ModelSection, TrainSection
from senbetsu.scoring import NOVELTY, STATISTICS
from train.crossfit import cross_fit
from train.head import learn_head
from train.judge import REST_WEIGHTS

SETS = ("magnetic_tile", "elpv")
STEP = 0.1
"""Of the weights that are tried."""
Z = NDArray[np.float64]
"""(N, 3): of each part, how many standard deviations log d of whole, windows and places lies above typical."""
FIRST = STATISTICS.index(NOVELTY[0])


@contextmanager
def whitenings_of(rank: int | None) -> Iterator[None]:
    """Of this many directions at most; None: as they are."""
    if rank is None:
        yield
        return
    with patch.object(senbetsu.embedding, "WHOLE_RANK", rank), patch.object(senbetsu.embedding, "WINDOWS_RANK", rank):
        yield


def measured(parts: Parts, backbone: Backbone, rank: int | None) -> dict[str, Any]:
    """What the product would fuse: z of the calibration's parts, of test normals and of defects, weights, tails and rank."""
    with whitenings_of(rank):
        kinds = [parts.kinds[number] for number in parts.kind]
        held_out = parts.is_calibration
        settings = TrainSection()
        bench = Bench(
            backbone,
            parts.train.take(~held_out),
            parts.train.take(held_out),
            parts.test,
            parts.defects,
            kinds,
            settings,
        )
        labels = np.zeros(len(bench.fit), np.int64)
        crossed = cross_fit(bench.fit, None, labels, bench.damage, settings, ground=bench.ground)
        head, _ = learn_head(bench.fit.head_rows, labels, labels == 0, settings, "learning")
        test, defects, calibration = bench.log_distances(head, crossed.judgement.rest_weight)
        kept = [
            bench.ground.measure(
                fold, bench.ground.scorers(fold, crossed.axes[fold].head, bench.fit), bench.fit.take(inside)
            )
            for fold in np.unique(crossed.normal_fold)
            for inside in [crossed.normal_fold == fold]
        ]
    rest = FIRST + len(NOVELTY) - 1 + REST_WEIGHTS.index(crossed.judgement.rest_weight)
    folds = np.concatenate(kept)[:, [FIRST, FIRST + 1, rest]]
    mean, std = (np.array(values[FIRST:]) for values in (crossed.fusion.log_mean, crossed.fusion.log_std))
    return {
        "z": [(some[:, FIRST:] - mean) / std for some in (calibration, test, defects)],
        "weights": np.array(crossed.fusion.weights[FIRST:]),
        "tail": (np.quantile(folds, 0.99, axis=0) - mean) / std,
        "k": bench.claim.k,
    }


def figures(calibration: Z, normal: Z, defect: Z, k: int) -> dict[str, float]:
    """Of scores (N,)."""
    ordered = np.sort(calibration)
    return {
        "auroc": round(auroc(normal, defect), 4),
        **{
            f"{what}_{name}": round(rejected_share(some, at), 4)
            for name, at in (
                ("as_calibrated", ordered[k - 1]),
                ("at_the_rank_below", ordered[k - 2]),
                ("informed", informed_threshold(normal, 0.01)),
            )
            for what, some in (("found", defect), ("rejected", normal))
        },
    }  # fmt: skip


def alone(column: int) -> Callable[[Z], Z]:
    """One of the distances."""
    return lambda z: z[:, column]


def ways(of: dict[str, Any]) -> dict[str, Callable[[Z], Z]]:
    """From z to a score, by name."""
    weights, tail = of["weights"], of["tail"]
    return {
        "as the judge weighs them (the product)": lambda z: z @ weights,
        **{f"{name} alone": alone(column) for column, name in enumerate(NOVELTY)},
        "all alike": lambda z: z.mean(1),
        "the largest": lambda z: z.max(1),
        "the largest, each scaled by its 99 % quantile": lambda z: (z / tail).max(1),
        "as the judge weighs them, each scaled by its 99 % quantile": lambda z: (z / tail) @ weights,
        "only what lies beyond typical": lambda z: np.maximum(z, 0) @ weights,
        "squares of what lies beyond typical": lambda z: np.square(np.maximum(z, 0)) @ weights,
    }


def best_weights(z: list[Z], k: int) -> dict[str, Any]:
    """Those at which most defects are found as calibrated."""
    steps = np.arange(0, 1 + STEP / 2, STEP)
    grid = [np.array([a, b, 1 - a - b]) for a in steps for b in steps if a + b <= 1 + 1e-9]
    calibration, normal, defect = z
    rows = [(figures(calibration @ weights, normal @ weights, defect @ weights, k), weights) for weights in grid]
    row, weights = max(rows, key=lambda one: one[0]["found_as_calibrated"])
    return {**row, "weights": [round(float(weight), 1) for weight in weights]}


def main() -> None:
    """The benchmark."""
    command = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    command.add_argument("--data", type=Path, required=True, help="folder sets and splits/")
    given = command.parse_args()
    backbone = find_backbone(ModelSection())
    found: dict[str, Any] = {}
    for name in SETS:
        parts = load_parts(given.data, name, backbone)
        found[name] = {}
        for rank, suffix in ((None, ""), (1 << 20, ", full rank")):
            of = measured(parts, backbone, rank)
            for way, score in ways(of).items():
                calibration, normal, defect = (score(z) for z in of["z"])
                found[name][way + suffix] = figures(calibration, normal, defect, of["k"])
            found[name]["the best weights" + suffix] = best_weights(of["z"], of["k"])
            found[name]["claim" + suffix] = {"k": of["k"], "weights": [round(float(w), 4) for w in of["weights"]]}
        save("fusions", {"sets": found})


if __name__ == "__main__":
    main()
