"""Synthetic damage as a teacher: copies that were damaged on purpose are one more label beside the real kinds of defect.

It is for two things. A quadruplet takes two labels beside the normals', and with one kind of defect damage is the other. And
it may teach the embedding what real defects do not show: benchmarks/damage_teacher.py measures whether it does. How much the
learned distance then weighs is decided by real defects alone (train.share).
"""

import numpy as np
from numpy.typing import NDArray

from train.judge import DamagedParts


def with_damage(
    rows: NDArray[np.float32], labels: NDArray[np.int64], damage: DamagedParts | None
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Rows (M, F) and labels (M,) of real parts, and behind them those of the damaged copies, all of one new label.

    None as damage changes nothing.
    """
    if damage is None:
        return rows, labels
    label = np.full(len(damage.kinds), max(int(labels.max()), 0) + 1, np.int64)
    return np.concatenate([rows, damage.features.head_rows]), np.concatenate([labels, label])
