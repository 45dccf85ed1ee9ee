"""From scores to figures: the threshold that knows the test normals, recall, intervals of paired differences. Pure."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t as student

from senbetsu.auroc import auroc

ALL = "all"
Scores = NDArray[np.floating]


def rejected_share(scores: Scores, threshold: float) -> float:
    """Share of scores (N,) that the product rejects: not (score <= threshold)."""
    return float((~(scores <= threshold)).mean())


def informed_threshold(normal: Scores, rate: float) -> float:
    """The lowest score of (N,) test normals above which lie at most `rate` of them: what no user can know."""
    ordered = np.sort(normal)
    return float(ordered[len(ordered) - 1 - int(np.floor(rate * len(ordered) + 1e-9))])


def by_kind(kind: Sequence[str]) -> dict[str, NDArray[np.bool_]]:
    """Masks (D,) of all defects and of each kind, where there are two or more."""
    of = np.array(kind)
    kinds = list(dict.fromkeys(kind))
    masks = {ALL: np.ones(len(of), bool)}
    return masks | ({name: of == name for name in kinds} if len(kinds) > 1 else {})


def figures_of(
    calibration: Scores, normal: Scores, defect: Scores, kind: Sequence[str], threshold: float
) -> dict[str, Any]:
    """What one method does.

    Args:
        calibration: scores of the normal parts that set the threshold.
        normal: (N,) scores of test normals.
        defect: (D,) scores of defects.
        kind: (D,) each one's kind.
        threshold: as calibrated. `quantile` instead takes the 99 % quantile of the calibration scores, which claims
            nothing and is what the peers are given; `informed` is `informed_threshold` at 1 %.
    """
    masks = by_kind(kind)
    thresholds = {
        "calibrated": threshold,
        "quantile": float(np.quantile(calibration, 0.99)),
        "informed": informed_threshold(normal, 0.01),
    }
    return {
        "threshold": float(f"{threshold:.7g}"),
        "auroc": {name: round(auroc(normal, defect[mask]), 5) for name, mask in masks.items()},
        **{
            f"recall_{rule}": {name: round(rejected_share(defect[mask], at), 5) for name, mask in masks.items()}
            for rule, at in thresholds.items()
        },
        "false_rejects": round(rejected_share(normal, threshold), 5),
        "false_rejects_quantile": round(rejected_share(normal, thresholds["quantile"]), 5),
        "false_rejects_counted": int((~(normal <= threshold)).sum()),
    }


def paired_interval(differences: Sequence[float], confidence: float = 0.95) -> dict[str, float]:
    """Mean of paired differences and Student's t interval of it, two-sided; at least two differences."""
    values = np.asarray(differences, np.float64)
    half = float(student.ppf((1 + confidence) / 2, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values)))
    mean = float(values.mean())
    return {"mean": mean, "low": mean - half, "high": mean + half, "runs": len(values)}
