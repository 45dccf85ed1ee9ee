"""A profile's large matrices as 8-bit integers with a scale a column: half of what bf16 takes to read.

One part is measured by products of a vector with matrices of up to a million numbers, each read once, so that such a product
takes as long as reading its matrix. A column is rounded to 1/127 of its largest entry. This is for engines whose own
rounding of the backbone's maps is larger than what this adds: in 8 bits, and in bf16, of which benchmarks/compact.py measures
both.
"""

import numpy as np
import openvino as ov
from numpy.typing import NDArray
from openvino import opset13 as ops

LARGE = 100_000
"""Numbers in a matrix from which on it counts."""


def compact_columns(matrix: NDArray[np.float32]) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """(K, N) -> integers (K, N) and scales (1, N); integers x scales is the matrix to 1/254 of each column's largest."""
    largest = np.abs(matrix).max(0, keepdims=True)
    scales = np.where(largest > 0, largest / 127, 1.0).astype(np.float32)
    return np.rint(matrix / scales).astype(np.int8), scales


def constant_of(values: NDArray[np.float32], compact: bool) -> ov.Node:
    """A constant of the graph; a large matrix as integers where `compact` is True.

    One that is not finite stays as it is: no integer says NaN, and what cannot be measured must not get a score.
    """
    if not compact or values.ndim != 2 or values.size < LARGE or not np.isfinite(values).all():
        return ops.constant(values)
    integers, scales = compact_columns(values)
    return ops.multiply(ops.convert(ops.constant(integers), np.float32), ops.constant(scales))
