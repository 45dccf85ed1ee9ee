"""Area under the ROC curve: how well scores tell two groups apart, whatever the threshold."""

import math

import numpy as np
from numpy.typing import NDArray


def auroc(normal: NDArray[np.floating], defect: NDArray[np.floating]) -> float:
    """Probability that a defect scores higher than a normal part, ties one half (Mann & Whitney 1947).

    Scores (N,) and (M,), both not empty; an infinite score is the highest. NaN where one is NaN: that ranks nowhere.
    """
    scores = np.concatenate([normal, defect])
    if np.isnan(scores).any():
        return math.nan
    _, place, ties = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = np.cumsum(ties) - (ties - 1) / 2
    rank_sum = float(ranks[place[len(normal) :]].sum())
    return (rank_sum - len(defect) * (len(defect) + 1) / 2) / (len(normal) * len(defect))
