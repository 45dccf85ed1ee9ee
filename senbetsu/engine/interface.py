"""The interface of all engines.

The caller writes pictures straight into `inputs`, which the engine owns, and runs; so a frame is copied once, by the
resize that puts it there. Nothing is allocated a call: what `run` returns is overwritten by the next one.

An engine is used by one thread. Where several parts are judged faster side by side than in a batch (a CPU's cores), it has
`lanes`, each for a thread of its own; they give the same scores.
"""

from collections.abc import Sequence
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


class Lane(Protocol):
    """What one thread judges with."""

    inputs: NDArray[np.uint8]
    """(parts, S, S, 3) uint8 BGR, at the network's input size; row i is part i of the batch."""

    def run(self, count: int) -> Scores:
        """Score the first `count` rows of `inputs`. Raises EngineFault."""


class Engine(Lane, Protocol):
    """One model, loaded and warmed up. As a lane of its own it has all that the engine may use: one part takes least time."""

    kind: str
    """"openvino" or "torch"."""
    precision: str
    """"fp32", "bf16", "fp16" or "int8": what is really computed in, never "auto"."""
    device: str
    """Name of the processor, for logs."""
    batch_sizes: tuple[int, ...]
    """Captured sizes, ascending; a batch is padded to the next of them."""
    in_turn: bool
    """Lanes judge the parts of a batch one after the other: it saves no more than what their caller does once for it."""

    @property
    def lanes(self) -> Sequence[Lane]:
        """What may judge at the same time; the engine alone where nothing is gained by it."""
