"""Area under the ROC curve: how well scores tell two groups apart, whatever the threshold."""

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata


def auroc(normal: NDArray[np.floating], defect: NDArray[np.floating]) -> float:
    """Probability that a defect scores higher than a normal part, ties one half (Mann & Whitney 1947).

    Scores (N,) and (M,), both not empty; an infinite score is the highest.
    """
    ranks = rankdata(np.concatenate([normal, defect]))
    rank_sum = float(ranks[len(normal) :].sum())
    return (rank_sum - len(defect) * (len(defect) + 1) / 2) / (len(normal) * len(defect))
