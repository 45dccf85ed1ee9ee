"""The interface of all engines.

The caller writes pictures straight into `inputs`, which the engine owns, and runs; so a frame is copied once, by the
resize that puts it there. Nothing is allocated a call: what `run` returns is overwritten by the next one.
"""

from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray


class EngineFault(RuntimeError):
    """The engine failed. It must not be asked again: the daemon goes to FAULT and is restarted."""


class Scores(NamedTuple):
    """Views, valid until the next `run`; each of shape (count,), float32, >= 0, dimensionless, 1 = a typical normal part."""

    score: NDArray[np.float32]
    metric_distance: NDArray[np.float32]
    novelty_distance: NDArray[np.float32]


def scores_of(rows: NDArray[np.float32]) -> Scores:
    """The graph's output (count, 4), see senbetsu.scoring.OUTPUTS: a part whose evidence is not finite has no score."""
    if not np.isfinite(rows[:, 3]).all():
        rows[~np.isfinite(rows[:, 3]), :3] = np.nan
    return Scores(rows[:, 0], rows[:, 1], rows[:, 2])


class Engine(Protocol):
    """One model, loaded and warmed up."""

    kind: str
    """"openvino" or "torch"."""
    precision: str
    """"fp32", "bf16", "fp16" or "int8": what is really computed in, never "auto"."""
    device: str
    """Name of the processor, for logs."""
    batch_sizes: tuple[int, ...]
    """Captured sizes, ascending; a batch is padded to the next of them."""
    inputs: NDArray[np.uint8]
    """(batch_sizes[-1], H, W, 3) uint8 BGR, at the network's input size; row i is part i of the batch."""

    def run(self, count: int) -> Scores:
        """Score the first `count` rows of `inputs`. Raises EngineFault."""
