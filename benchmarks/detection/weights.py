"""Which statistic sees damage, which sees defects, and what other weights would give: run as benchmarks.detection.weights.

    PYTHONPATH=. python -m benchmarks.detection.weights --data DIR      -> benchmarks/results/weights.json

`train` weighs the statistics of the novelty gauge by how well each tells damage made on purpose from normal parts.
Here stand, for each statistic alone, the AUROC and the share found at 1 % false rejects: of that damage, on the folds of the
normal parts that fit, which is all that `train` can know; and of the real defects, against the test normals. Then the weights
that come of other figures than AUROC, with less or nothing spread evenly, and what each finds. Normals only, the fixed splits.
"""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.conditions import save
from benchmarks.detection.figures import informed_threshold, rejected_share
from benchmarks.detection.parts import Parts, load_parts
from senbetsu.auroc import auroc
from senbetsu.backbone import Backbone, find_backbone
from senbetsu.config import ModelSection, TrainSection
from senbetsu.conformal import rank_for_rate, threshold_at
from senbetsu.moments import Moments
from senbetsu.scoring import NOVELTY, Fusion
from train.crossfit import Ground, _fit, _measure
from train.head import principal_head
from train.judge import EVEN_SHARE, REST_WEIGHTS, TEMPERATURE, damage_parts

SETS = ("magnetic_tile", "elpv", "cookies")
RATE = 0.01
PARTIAL = 0.05
Logs = NDArray[np.float64]


def found(normal: Logs, bad: Logs) -> float:
    """Share of the bad ones above all but 1 % of the normal ones."""
    return rejected_share(bad, informed_threshold(normal, RATE))


def partial(normal: Logs, bad: Logs) -> float:
    """Mean share found over false rejects up to PARTIAL."""
    ordered = np.sort(normal)[::-1]
    return float(np.mean([(bad > ordered[i]).mean() for i in range(max(1, int(PARTIAL * len(ordered))))]))


FIGURES: dict[str, tuple[Callable[[Logs, Logs], float], float]] = {
    "AUROC": (auroc, TEMPERATURE), "found at 1 %": (found, 0.1), "found at up to 5 %": (partial, 0.1),
}  # fmt: skip
"""What a statistic may be weighed by, and by how much more of it another weighs e times as much."""
EVEN_SHARES = (EVEN_SHARE, 1 / 3, 0.0)


def logs_of(parts: Parts, backbone: Backbone) -> dict[str, Logs]:
    """Log distances (N, 2 + R) of whole, windows, places by REST_WEIGHTS: normal and damage by folds, the rest by all."""
    settings = TrainSection()
    fit, calibration = parts.train.take(~parts.is_calibration), parts.train.take(parts.is_calibration)
    damage = damage_parts(fit, backbone, settings.judge_pictures, settings.seed)
    ground, head = Ground(fit, settings), principal_head(fit.head_rows)
    width = len(NOVELTY) - 1 + len(REST_WEIGHTS)
    logs = {"normal": np.zeros((len(fit), width)), "damage": np.zeros((len(damage.kinds), width))}
    for fold in np.unique(ground.normal_fold):
        scorers = ground.scorers(fold, head, fit)
        for name, some, inside in (
            ("normal", fit, ground.normal_fold == fold),
            ("damage", damage.features, ground.normal_fold[damage.source] == fold),
        ):
            logs[name][inside] = ground.measure(fold, scorers, some.take(inside))[:, 1:]
    total = Moments.of(fit.whole), Moments.of(fit.windows)
    scorers = _fit(head, fit, np.zeros(len(fit), bool), total)
    for name, some in (("calibration", calibration), ("test", parts.test), ("defects", parts.defects)):
        logs[name] = _measure(scorers, some)[:, 1:]
    return logs


def tried(logs: dict[str, Logs], by: str, even: float) -> dict[str, Any]:
    """Weights by one figure, and what the fused score finds."""
    figure, temperature = FIGURES[by]
    first = len(NOVELTY) - 1
    sees = np.array([figure(logs["normal"][:, c], logs["damage"][:, c]) for c in range(first + len(REST_WEIGHTS))])
    places = first + int(np.argmax(sees[first:]))
    columns = [*range(first), places]
    judged = np.exp((sees[columns] - sees[columns].max()) / temperature)
    weights = even / len(NOVELTY) + (1 - even) * judged / judged.sum()
    padded = {name: np.column_stack([np.zeros(len(some)), some[:, columns]]) for name, some in logs.items()}
    fusion = Fusion.of(padded["normal"], (0.0, *map(float, weights)))
    calibration, test, defects = (fusion.outputs(padded[name])[:, 0] for name in ("calibration", "test", "defects"))
    k = min(len(calibration), rank_for_rate(len(calibration), RATE))
    return {
        "by": by, "even_share": round(even, 3), "weights": [round(float(w), 3) for w in weights],
        "rest_weight": REST_WEIGHTS[places - first], **finds(calibration, test, defects, k),
    }  # fmt: skip


def finds(calibration: Logs, test: Logs, defects: Logs, k: int) -> dict[str, float]:
    """Figures of one score."""
    return {
        "auroc": round(auroc(test, defects), 4),
        "found_as_calibrated": round(rejected_share(defects, threshold_at(calibration.tolist(), k)), 4),
        "found_at_1_percent_of_test": round(found(test, defects), 4),
    }


def measure(parts: Parts, backbone: Backbone) -> dict[str, Any]:
    """One set."""
    logs = logs_of(parts, backbone)
    names = [*NOVELTY[:-1], *(f"places, rest {weight:g}" for weight in REST_WEIGHTS)]
    k = min(len(logs["calibration"]), rank_for_rate(len(logs["calibration"]), RATE))
    alone = {
        name: {
            "damage_auroc": round(auroc(logs["normal"][:, c], logs["damage"][:, c]), 4),
            "damage_found_at_1_percent": round(found(logs["normal"][:, c], logs["damage"][:, c]), 4),
            **finds(*(logs[some][:, c] for some in ("calibration", "test", "defects")), k),
        }
        for c, name in enumerate(names)
    }
    return {"alone": alone, "weighed": [tried(logs, by, even) for by in FIGURES for even in EVEN_SHARES]}


def main() -> None:
    """The benchmark."""
    command = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    command.add_argument("--data", type=Path, required=True, help="folder sets and splits/")
    data, backbone = command.parse_args().data, find_backbone(ModelSection())
    save(
        "weights", {"rate": RATE, "sets": {name: measure(load_parts(data, name, backbone), backbone) for name in SETS}}
    )


if __name__ == "__main__":
    main()
