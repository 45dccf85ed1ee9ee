"""One centroid or several: `python -m benchmarks.centroids --data DIR`.

Normal parts may have several looks (mono- and polycrystalline cells, two sides of a nut). Here the whole-picture statistic
gets K centroids instead of one: k-means on the whitened leading directions, one whitening shared by all, the distance is that
to the nearest. K would be chosen by the log likelihood of normal parts that were left out (five folds), of a Gaussian
mixture with the shared covariance. Beside it stands what that choice would give: the AUROC of the statistic alone on the
test parts, and how many defects it finds at the threshold that rejects 1 % of the test normals. Everything is fitted on the
set's training normals. Each number of centroids is kept in benchmarks/results/centroids.json as soon as it is done; called
again, the script goes on with those missing (delete the file to start anew).
"""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.vq import kmeans2
from scipy.special import logsumexp

from benchmarks.calibration.refit import distance_in_fp32, whitening_of
from benchmarks.conditions import RESULTS, save
from benchmarks.detection.figures import informed_threshold, rejected_share
from benchmarks.detection.parts import Parts, load_parts
from senbetsu.auroc import auroc
from senbetsu.backbone import find_backbone
from senbetsu.config import ModelSection
from senbetsu.embedding import WHOLE_RANK
from senbetsu.whitening import Whitening
from train.crossfit import deal

COUNTS = (1, 2, 3, 4, 6)
CLUSTER_DIRECTIONS = 16
FOLDS = 5
SEEDS = 5
SETS = ("cookies", "magnetic_tile", "elpv")
RATE = 0.01
NAME = "centroids"

Rows = NDArray[np.floating]


class Centroids:
    """K centroids with one whitening, and the share of the parts at each."""

    def __init__(self, normals: Rows, count: int, seed: int) -> None:
        whitening = whitening_of(normals[:, None], WHOLE_RANK)
        leading = whitening.directions[:, :CLUSTER_DIRECTIONS] / np.sqrt(whitening.variances[:CLUSTER_DIRECTIONS])
        _, of = kmeans2((normals - whitening.centroid[0]) @ leading, count, minit="++", seed=seed)
        present = np.unique(of)
        self.means = np.stack([normals[of == one].mean(0, dtype=np.float64) for one in present])
        self.shares = np.array([np.mean(of == one) for one in present])
        within = (normals - self.means[np.searchsorted(present, of)]).astype(np.float32)
        self.whitening: Whitening = whitening_of(within[:, None], WHOLE_RANK)

    def squared(self, parts: Rows) -> Rows:
        """Squared whitened distances (N, K)."""
        return np.stack(
            [
                distance_in_fp32(
                    self.whitening, (parts - mean + self.whitening.centroid[0]).astype(np.float32)[:, None]
                )
                ** 2
                for mean in self.means
            ],
            1,
        )

    def log_likelihood(self, parts: Rows) -> float:
        """Mean over parts, in nats, but for the constant that all counts share."""
        left = parts.shape[1] - len(self.whitening.variances)
        volume = np.log(self.whitening.variances).sum() + left * np.log(self.whitening.rest_variance)
        return float(logsumexp(np.log(self.shares) - 0.5 * self.squared(parts), axis=1).mean() - 0.5 * volume)


def measure(parts: Parts, count: int) -> dict[str, Any]:
    """Means over seeds of one number of centroids."""
    normals = parts.train.whole
    likelihood, area, found = [], [], []
    for seed in range(SEEDS if count > 1 else 1):
        fold = deal(len(normals), FOLDS, seed)
        fits = [(Centroids(normals[fold != f], count, seed), normals[fold == f]) for f in range(FOLDS)]
        likelihood.append(float(np.mean([fitted.log_likelihood(left_out) for fitted, left_out in fits])))
        fitted = Centroids(normals, count, seed)
        test, defects = (np.sqrt(fitted.squared(some.whole).min(1)) for some in (parts.test, parts.defects))
        area.append(auroc(test, defects))
        found.append(rejected_share(defects, informed_threshold(test, RATE)))
    return {
        "centroids": count,
        "seeds": len(area),
        "held_out_log_likelihood": round(float(np.mean(likelihood)), 2),
        "held_out_log_likelihood_range": [round(min(likelihood), 2), round(max(likelihood), 2)],
        "auroc": round(float(np.mean(area)), 4),
        "auroc_range": [round(min(area), 4), round(max(area), 4)],
        "recall_at_1_percent_of_the_test_normals": round(float(np.mean(found)), 4),
    }


def main() -> None:
    """The benchmark."""
    command = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    command.add_argument("--data", type=Path, required=True, help="folder sets and splits/")
    data = command.parse_args().data
    backbone = find_backbone(ModelSection())
    file = RESULTS / f"{NAME}.json"
    sets: dict[str, list[dict[str, Any]]] = (
        json.loads(file.read_text(encoding="utf-8"))["sets"] if file.exists() else {}
    )
    for name in SETS:
        rows = sets.setdefault(name, [])
        missing = [count for count in COUNTS if count not in {row["centroids"] for row in rows}]
        if not missing:
            continue
        parts = load_parts(data, name, backbone)
        for count in missing:
            rows.append(measure(parts, count))
            print(name, rows[-1], flush=True)
            save(NAME, {"folds": FOLDS, "rate": RATE, "sets": sets})


if __name__ == "__main__":
    main()
