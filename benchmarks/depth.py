"""Does fine-tuning beat the head? The metric gauge alone, on defects of kinds that were learned and of kinds that were not.

    python -m benchmarks.depth FOLDER SPLIT.json [--seed 0] [--steps 100]

FOLDER has normal/ and defects/KIND/; the split names its train_normal, test_normal and test_defect by kind.

seen: half of each kind is learned from, the other half is judged. unseen: all of the other kinds are learned from, one is
judged. Judged against the same test normals, by AUROC of the distance to the centroid of the learned normals.
"""

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.conditions import save
from senbetsu.auroc import auroc
from senbetsu.backbone import find_backbone
from senbetsu.config import ModelSection, TrainSection
from senbetsu.distributed import Group
from senbetsu.features import extract_features
from senbetsu.moments import Moments
from senbetsu.whitening import fit_isotropic
from train.depth import Tuner
from train.head import learn_head
from train.pictures import load_pictures


def gauge(embedded: np.ndarray[Any, Any], learned_normals: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Distance (N,) of unit vectors (N, 64) to the centroid of those of the normals that were learned from."""
    return fit_isotropic(Moments.of(embedded[learned_normals])).distance(embedded[:, None])


def main() -> None:
    """Measure and save."""
    flags = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    flags.add_argument("folder", type=Path)
    flags.add_argument("split", type=Path)
    flags.add_argument("--seed", type=int, default=0)
    flags.add_argument("--steps", type=int, default=100)
    flags.add_argument("--images-per-label", type=int, default=4)
    flags.add_argument("--normals", type=int, default=200, help="most normals to learn from, and to judge by")
    flags.add_argument("--depth", default="blocks", choices=["blocks", "all"])
    flags.add_argument("--learning-rate", type=float, default=TrainSection().tune_learning_rate)
    flags.add_argument("--kinds", nargs="*", help="unseen kinds to try; default: all")
    flags.add_argument("--save-as", default="depth")
    given = flags.parse_args()
    random = np.random.default_rng(given.seed)
    split = json.loads(given.split.read_text())
    names: list[str] = []
    kind_of: list[str] = []
    for kind, paths, most in (
        ("normal", split["train_normal"], given.normals),
        ("test", split["test_normal"], given.normals),
        *((kind, paths, len(paths)) for kind, paths in sorted(split["test_defect"].items())),
    ):
        some = random.permutation(sorted(paths))[:most].tolist()
        names += some
        kind_of += [kind] * len(some)
    backbone = find_backbone(ModelSection())
    features = extract_features([given.folder / name for name in names], backbone, "parts")
    place = {path: row for row, path in enumerate(features.paths)}
    kept = [place.get(given.folder / name) for name in names]
    kinds = np.array([kind for kind, row in zip(kind_of, kept, strict=True) if row is not None])
    features = features.take(np.array([row for row in kept if row is not None]))
    settings = TrainSection(
        seed=given.seed, depth=given.depth, tune_steps=given.steps, tune_images_per_label=given.images_per_label,
        tune_learning_rate=given.learning_rate,
    )  # fmt: skip
    tuner = Tuner(backbone, load_pictures(features.paths, backbone.input_size), settings, Group(torch.device("cpu")))
    all_kinds = sorted(set(kinds) - {"normal", "test"})
    labels = np.array([all_kinds.index(kind) + 1 if kind in all_kinds else 0 for kind in kinds])
    half = random.random(len(kinds)) < 0.5
    runs = {"seen": (kinds == "normal") | ((labels > 0) & half)}
    for kind in given.kinds if given.kinds is not None else all_kinds:
        runs[f"unseen {kind}"] = (kinds == "normal") | ((labels > 0) & (kinds != kind))
    results: dict[str, Any] = {}
    frozen = features.frozen_rows
    for name, learned in runs.items():
        rows = np.flatnonzero(learned)
        head, _ = learn_head(frozen[rows], labels[rows], labels[rows] == 0, settings, f"head, {name}")
        start = time.perf_counter()
        tuned = tuner.tune(head, frozen, labels, rows, f"tuning, {name}")
        seconds = time.perf_counter() - start
        curve = tuned.tuning_curve
        assert curve is not None
        normals = learned & (labels == 0)
        judged = ~learned & (labels > 0)
        distances = {
            "head": gauge(head.embed(frozen), normals),
            given.depth: gauge(tuned.head.embed(tuned.rows), normals),
        }
        results[name] = {
            **{f"auroc_{depth}": round(auroc(d[kinds == "test"], d[judged]), 4) for depth, d in distances.items()},
            "loss": [curve.loss[0], curve.loss[-1]],
            "tuning_seconds": round(seconds, 1),
            "judged": int(judged.sum()),
        }
        print(name, results[name], flush=True)
    save(given.save_as, {"data": given.folder.name, "settings": settings.model_dump(mode="json"), "results": results})


if __name__ == "__main__":
    main()
