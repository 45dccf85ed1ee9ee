"""What a peer's scores are worth: AUROC, recall and false rejects at thresholds set in stated ways. Pure functions."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from sklearn.metrics import roc_auc_score

RATE = 0.01

RULES = {
    "reject": "score > threshold",
    "trained_on_all": "fitted on train_normal whole",
    "trained_without_calib": "fitted on train_normal less calib_normal, so that calib_normal is unseen",
    "calib_quantile": "threshold = 99 % quantile of the scores of calib_normal (numpy.quantile, linear interpolation)",
    "calib_maximum": "threshold = highest score of calib_normal: anomalib's own rule where there are no labelled "
    "defects (F1AdaptiveThreshold in anomalib.metrics, on normals only)",
    "test_quantile": "threshold = 99 % quantile of the scores of test_normal themselves: what no user can know",
    "test_at_most": "lowest threshold that rejects at most 1 % of test_normal: what no user can know",
}


def auroc(normal: np.ndarray, defects: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Area under the ROC curve of the normals against all defects, and against each kind."""
    groups = {"all": np.concatenate(list(defects.values())), **(defects if len(defects) > 1 else {})}
    return {
        name: float(roc_auc_score(np.r_[np.zeros(len(normal)), np.ones(len(group))], np.r_[normal, group]))
        for name, group in groups.items()
    }


def at_threshold(threshold: float, normal: np.ndarray, defects: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """The share of test normals and of defects (all, and by kind) that a threshold rejects."""
    groups = {"all": np.concatenate(list(defects.values())), **(defects if len(defects) > 1 else {})}
    return {
        "false_rejects": float((normal > threshold).mean()),
        "recall": {name: float((group > threshold).mean()) for name, group in groups.items()},
    }


def lowest_threshold(normal: np.ndarray, rate: float) -> float:
    """The lowest of the normals' scores above which lie at most `rate` of them."""
    allowed = int(rate * len(normal) + 1e-9)
    return float(np.sort(normal)[len(normal) - 1 - allowed])


def knowing_the_test(normal: np.ndarray, defects: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """At the thresholds that know the test normals."""
    return {
        "auroc": auroc(normal, defects),
        "test_quantile": at_threshold(float(np.quantile(normal, 1 - RATE)), normal, defects),
        "test_at_most": at_threshold(lowest_threshold(normal, RATE), normal, defects),
    }


def as_calibrated(calib: np.ndarray, normal: np.ndarray, defects: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """At the thresholds that held-out normals set."""
    return {
        "calib_quantile": at_threshold(float(np.quantile(calib, 1 - RATE)), normal, defects),
        "calib_maximum": at_threshold(float(calib.max()), normal, defects),
    }


def summary(per_seed: list[Any], of: Any) -> Any:
    """Trees of numbers of one shape -> the same tree with `of` (mean, min, max) over them at each leaf, to 4 digits."""
    if isinstance(per_seed[0], dict):
        return {key: summary([tree[key] for tree in per_seed], of) for key in per_seed[0]}
    return round(float(of(per_seed)), 4)
