"""Picture files through an engine, in batches, in order: what `score`, `evaluate` and `calibrate` judge with.

The next pictures are read, decoded and made to fit beside the engine, in threads.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np
from tqdm import tqdm

from senbetsu.ahead import in_order
from senbetsu.engine import Engine
from senbetsu.errors import ImageError
from senbetsu.fitting import read_fitted
from senbetsu.images import Fill, Picture
from senbetsu.verdict import Reason, Verdict, decide


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
    return score_each(engine, ((path, partial(read_fitted, path)) for path in paths), len(paths), what)


def score_each(engine: Engine, pictures: Iterable[tuple[Path, Fill]], count: int, what: str) -> Iterator[PictureScore]:
    """The same of `count` pictures wherever they come from; none is asked for long before it is judged.

    Raises:
        EngineFault: as it comes.
    """
    shape = engine.inputs.shape[1:]

    def fill(one: tuple[Path, Fill]) -> Picture | str:
        picture = np.empty(shape, np.uint8)
        try:
            one[1](picture)
        except ImageError as error:
            return str(error)
        return picture

    bar = tqdm(total=count, desc=what, unit="picture", disable=None, leave=False)
    read = in_order(pictures, fill)
    while batch := list(islice(read, engine.batch_sizes[-1])):
        whole = [found for _, found in batch if not isinstance(found, str)]
        for row, picture in enumerate(whole):
            engine.inputs[row] = picture
        scores = engine.run(len(whole)) if whole else None
        row = 0
        for (path, _), found in batch:
            if isinstance(found, str) or scores is None:
                yield PictureScore(path, math.nan, math.nan, math.nan, str(found))
                continue
            yield PictureScore(
                path,
                float(scores.score[row]),
                float(scores.metric_distance[row]),
                float(scores.novelty_distance[row]),
            )
            row += 1
        bar.update(len(batch))
    bar.close()
