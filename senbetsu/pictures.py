"""Picture files through an engine, in batches, in order: what `score`, `evaluate` and `calibrate` judge with.

The next batches are read, decoded and made to fit beside the engine, by threads that let go of the interpreter meanwhile.
"""

import math
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from senbetsu.engine import Engine
from senbetsu.errors import ImageError
from senbetsu.images import fit, read_image
from senbetsu.verdict import Reason, Verdict, decide

READERS = 2
AHEAD = 2
"""Batches that are read before the engine wants them; only pictures as small as its input are kept."""


@dataclass(frozen=True, slots=True)
class PictureScore:
    """What the engine says of one file; NaN and an `error` where it could not be read whole."""

    path: Path
    score: float
    metric_distance: float
    novelty_distance: float
    error: str | None = None

    def decide(self, threshold: float) -> tuple[Verdict, Reason]:
        """The verdict: an unreadable picture is a REJECT with reason INCOMPLETE_FRAME."""
        if self.error is not None:
            return Verdict.REJECT, Reason.INCOMPLETE_FRAME
        return decide(self.score, threshold)


def score_pictures(engine: Engine, paths: Sequence[Path], what: str) -> Iterator[PictureScore]:
    """One entry a path, in the same order, with a progress bar named `what`. Raises EngineFault."""
    size = engine.batch_sizes[-1]
    bar = tqdm(total=len(paths), desc=what, unit="picture", disable=None, leave=False)
    for batch, pictures in _read_ahead(paths, size, engine.inputs.shape[1:]):
        errors: dict[int, str] = {}
        rows: dict[int, int] = {}
        for index, picture in enumerate(pictures):
            if isinstance(picture, str):
                errors[index] = picture
            else:
                engine.inputs[len(rows)] = picture
                rows[index] = len(rows)
        scores = engine.run(len(rows)) if rows else None
        for index, path in enumerate(batch):
            if index in errors or scores is None:
                yield PictureScore(path, math.nan, math.nan, math.nan, errors[index])
            else:
                row = rows[index]
                yield PictureScore(
                    path,
                    float(scores.score[row]),
                    float(scores.metric_distance[row]),
                    float(scores.novelty_distance[row]),
                )
        bar.update(len(batch))
    bar.close()


def _read_ahead(
    paths: Sequence[Path], size: int, shape: tuple[int, ...]
) -> Iterator[tuple[Sequence[Path], list[NDArray[np.uint8] | str]]]:
    """Batch by batch, the paths and of each its picture as the engine takes it, or what is wrong with it."""
    with ThreadPoolExecutor(READERS, thread_name_prefix="reader") as readers:
        waiting: deque[tuple[Sequence[Path], list[Future[NDArray[np.uint8] | str]]]] = deque()
        for start in range(0, len(paths), size):
            batch = paths[start : start + size]
            waiting.append((batch, [readers.submit(_read, path, shape) for path in batch]))
            if len(waiting) > AHEAD:
                ready, read = waiting.popleft()
                yield ready, [one.result() for one in read]
        for ready, read in waiting:
            yield ready, [one.result() for one in read]


def _read(path: Path, shape: tuple[int, ...]) -> NDArray[np.uint8] | str:
    picture = np.empty(shape, np.uint8)
    try:
        fit(read_image(path), picture)
    except ImageError as error:
        return str(error)
    return picture
