"""One centroid or several: `PYTHONPATH=. python benchmarks/centroids.py --data DIR`.

Normal parts may have several looks (mono- and polycrystalline cells, two sides of a nut). Here the whole-picture statistic
gets K centroids instead of one: k-means on the whitened leading directions, one whitening shared by all, the distance is that
to the nearest. K would be chosen by the log likelihood of normal parts that were left out (five folds), of a Gaussian
mixture with the shared covariance. Beside it stands what that choice would give: the AUROC of the statistic alone on the
test parts. Everything is fitted on the set's training normals.
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.vq import kmeans2
from scipy.special import logsumexp

from benchmarks.conditions import save
from benchmarks.detection.parts import Parts, load_parts
from senbetsu.auroc import auroc
from senbetsu.backbone import find_backbone
from senbetsu.config import ModelSection
from senbetsu.embedding import WHOLE_RANK
from senbetsu.moments import Moments
from senbetsu.whitening import Whitening, fit_whitening
from train.crossfit import deal

COUNTS = (1, 2, 3, 4, 6)
CLUSTER_DIRECTIONS = 16
FOLDS = 5
SEEDS = 5
SETS = ("magnetic_tile", "cookies", "elpv")

Rows = NDArray[np.float64]


class Centroids:
    """K centroids with one whitening, and the share of the parts at each."""

    def __init__(self, normals: Rows, count: int, seed: int) -> None:
        whitening = fit_whitening(Moments.of(normals), WHOLE_RANK)
        leading = whitening.directions[:, :CLUSTER_DIRECTIONS] / np.sqrt(whitening.variances[:CLUSTER_DIRECTIONS])
        _, of = kmeans2((normals - whitening.centroid[0]) @ leading, count, minit="++", seed=seed)
        present = np.unique(of)
        self.means = np.stack([normals[of == one].mean(0) for one in present])
        self.shares = np.array([np.mean(of == one) for one in present])
        within = normals - self.means[np.searchsorted(present, of)]
        self.whitening: Whitening = fit_whitening(Moments.of(within), WHOLE_RANK)

    def squared(self, parts: Rows) -> Rows:
        """Squared whitened distances (N, K)."""
        return np.stack(
            [self.whitening.distance((parts - mean + self.whitening.centroid[0])[:, None]) ** 2 for mean in self.means],
            1,
        )

    def log_likelihood(self, parts: Rows) -> float:
        """Mean over parts, in nats, but for the constant that all counts share."""
        left = parts.shape[1] - len(self.whitening.variances)
        volume = np.log(self.whitening.variances).sum() + left * np.log(self.whitening.rest_variance)
        return float(logsumexp(np.log(self.shares) - 0.5 * self.squared(parts), axis=1).mean() - 0.5 * volume)


def measure(parts: Parts) -> list[dict[str, Any]]:
    """A row for each number of centroids, means over seeds."""
    normals = parts.train.whole.astype(np.float64)
    rows = []
    for count in COUNTS:
        likelihood, area = [], []
        for seed in range(SEEDS):
            fold = deal(len(normals), FOLDS, seed)
            likelihood.append(
                np.mean(
                    [
                        Centroids(normals[fold != f], count, seed).log_likelihood(normals[fold == f])
                        for f in range(FOLDS)
                    ]
                )
            )
            fitted = Centroids(normals, count, seed)
            test, defects = (np.sqrt(fitted.squared(some.whole).min(1)) for some in (parts.test, parts.defects))
            area.append(auroc(test, defects))
            if count == 1:
                break
        rows.append(
            {
                "centroids": count,
                "held_out_log_likelihood": round(float(np.mean(likelihood)), 2),
                "auroc": round(float(np.mean(area)), 4),
                "auroc_range": [round(float(min(area)), 4), round(float(max(area)), 4)],
            }
        )
        print(parts.name, rows[-1], flush=True)
    return rows


def main() -> None:
    """The benchmark."""
    command = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    command.add_argument("--data", type=Path, required=True, help="folder sets and splits/")
    data = command.parse_args().data
    backbone = find_backbone(ModelSection())
    save("centroids", {"sets": {name: measure(load_parts(data, name, backbone)) for name in SETS}})


if __name__ == "__main__":
    main()
