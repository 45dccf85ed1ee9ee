"""Picture files through an engine, in batches, in order: what `score`, `evaluate` and `calibrate` judge with."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from senbetsu.engine import Engine
from senbetsu.errors import ImageError
from senbetsu.images import fit, read_image
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
    size = engine.batch_sizes[-1]
    bar = tqdm(total=len(paths), desc=what, unit="picture", disable=None, leave=False)
    for start in range(0, len(paths), size):
        batch = paths[start : start + size]
        errors: dict[int, str] = {}
        rows: dict[int, int] = {}
        for index, path in enumerate(batch):
            try:
                fit(read_image(path), engine.inputs[len(rows)])
            except ImageError as error:
                errors[index] = str(error)
            else:
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
