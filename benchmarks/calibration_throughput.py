"""What calibrate's passes make of the engine: `python -m benchmarks.calibration_throughput`.

Solar cells (ELPV, the demo's split: 408 that calibrate; grey PNG of 300 x 300). Blocks take turns; all by calibrate's own code.

    engine          the engine's own: batches of calibrate's size from pictures that are decoded and fitted already, in memory
    scoring         the pass over the parts that scores them through it, as calibrate does: pictures from the first pass's file
    whole           first pass (find, read, hash, decode, fit, keep) and scoring together: all that is done to a part that
                    `train` did not see
    without_store   scoring where the first pass had no room to keep the pictures: each is read and decoded again
    reading         the first pass alone
    network         the feature network's own (fp32), for moments: as `engine`
    moments         the pass that measures parts and adds up their moments, nothing in the cache

Reading takes the two cores that the engine uses as well: `whole` cannot reach the engine's own where a picture takes a good
share of what the engine does for it.
"""

import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from unittest.mock import patch

import numpy as np
import torch
from numpy.typing import NDArray

import calibrate.fit
from benchmarks.conditions import save
from benchmarks.drift import link_all, senbetsu
from calibrate.fit import BATCH, Calibration
from calibrate.fitted import FittedPictures
from calibrate.parts import ALL, Parts
from calibrate.reading import read_parts
from demo.elpv import split
from senbetsu import features
from senbetsu.distributed import Group
from senbetsu.embedding import load_embedding
from senbetsu.engine import EngineChoice, build_engine
from senbetsu.fitting import read_fitted
from senbetsu.profile import load_profile

ROUNDS = 9
GROUP = Group(torch.device("cpu"))


class Passes:
    """What calibrate does, pass by pass, and the same pictures in memory."""

    def __init__(self, folder: Path, artifacts: Path) -> None:
        self.folder = folder
        self.model = load_embedding(artifacts)
        self.profile = load_profile(artifacts, self.model)
        choice = EngineChoice(self.profile.engine_kind, self.profile.precision, "cpu")  # type: ignore[arg-type]
        side = self.model.input_size
        self.parts, kept = self.read()
        self.kept = Calibration(self.model, choice, 0, GROUP, kept)
        self.not_kept = Calibration(self.model, choice, 0, GROUP, FittedPictures(side, 0))
        self.choice = choice
        self.engine = build_engine(self.profile.scorer, self.model.backbone, choice, 0, (BATCH,))
        extractor = features._Extractor(self.model.backbone)
        self.network = extractor._network()
        self.count = self.parts.count()
        self.pictures: NDArray[np.uint8] = np.empty((self.count, side, side, 3), np.uint8)
        for picture, part in zip(self.pictures, self.parts.every(), strict=True):
            read_fitted(part.path, picture)

    def read(self) -> tuple[Parts, FittedPictures]:
        """The first pass."""
        kept = FittedPictures(self.model.input_size)
        return read_parts(self.folder, self.model.folds, self.model.input_size, kept, GROUP), kept

    def reading(self) -> None:
        """The first pass, for nothing."""
        parts, kept = self.read()
        parts.close()
        kept.close()

    def judge(self, calibration: Calibration, parts: Parts) -> None:
        """The scoring pass; the engine is there already, as building it has nothing to do with the number of parts."""
        calibration._score(self.profile.scorer, self.model.backbone, parts, ALL, "scoring")

    def whole(self) -> None:
        """The first pass and the scoring pass."""
        parts, kept = self.read()
        self.judge(Calibration(self.model, self.choice, 0, GROUP, kept), parts)
        parts.close()
        kept.close()

    def moments(self) -> None:
        """With an empty cache."""
        with tempfile.TemporaryDirectory() as cache:
            os.environ["CACHE_DIRECTORY"] = cache
            self.kept._moments_of(self.parts.chunks(ALL, GROUP))
            del os.environ["CACHE_DIRECTORY"]

    def bare_engine(self) -> None:
        """Pictures in memory."""
        for start in range(0, self.count, BATCH):
            batch = self.pictures[start : start + BATCH]
            self.engine.inputs[: len(batch)] = batch
            self.engine.run(len(batch))

    def bare_network(self) -> None:
        """Pictures in memory."""
        inputs = np.empty((features.BATCH, *self.pictures.shape[1:]), np.uint8)
        for start in range(0, self.count, features.BATCH):
            batch = self.pictures[start : start + features.BATCH]
            inputs[: len(batch)] = batch
            self.network(inputs)


def main() -> None:
    """The benchmark."""
    cells = split()
    with tempfile.TemporaryDirectory() as temporary:
        artifacts = Path(temporary) / "artifacts"
        train, shown = (
            link_all(Path(temporary) / name, some)
            for name, some in (("train", cells.train_normal), ("cal", cells.calibrate_normal))
        )
        senbetsu("train", "--normal", train, "--artifacts", artifacts)
        senbetsu("calibrate", "--normal", shown, "--artifacts", artifacts)
        passes = Passes(shown, artifacts)
        blocks: dict[str, Callable[[], None]] = {
            "engine": passes.bare_engine, "scoring": lambda: passes.judge(passes.kept, passes.parts),
            "whole": passes.whole, "without_store": lambda: passes.judge(passes.not_kept, passes.parts),
            "reading": passes.reading, "network": passes.bare_network, "moments": passes.moments,
        }  # fmt: skip
        rates: dict[str, list[float]] = {name: [] for name in blocks}
        # What takes as long for one part as for a million is done before the clock runs.
        with (
            patch.object(calibrate.fit, "build_engine", lambda *_: passes.engine),
            patch.object(features, "_on_cpu", lambda _: passes.network),
        ):
            for work in blocks.values():
                work()
            for _ in range(ROUNDS):
                for name, work in blocks.items():
                    began_s = time.perf_counter()
                    work()
                    rates[name].append(passes.count / (time.perf_counter() - began_s))
    of = {"scoring": "engine", "whole": "engine", "without_store": "engine", "moments": "network"}
    ratios = {name: np.array(rates[name]) / np.array(rates[own]) for name, own in of.items()}
    save("calibration_throughput", {
        "engine": f"{passes.profile.engine_kind} {passes.profile.precision}", "pictures": passes.count, "batch": BATCH,
        "rounds": ROUNDS, "pictures_per_s": {name: round(float(np.median(some)), 1) for name, some in rates.items()},
        "of_its_own": {
            name: {"median": round(float(np.median(some)), 3), "lowest": round(float(some.min()), 3),
                   "highest": round(float(some.max()), 3)}
            for name, some in ratios.items()
        },
    })  # fmt: skip


if __name__ == "__main__":
    main()
