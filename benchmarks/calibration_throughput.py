"""What calibrate's scoring pass makes of the engine: `PYTHONPATH=. python benchmarks/calibration_throughput.py`.

Solar cells (ELPV, the demo's split: 408 that calibrate). The engine's own: batches of calibrate's size from pictures that are
decoded and fitted already, copied into its input. Calibrate's: the same pictures from their files by `score_pictures`, which is
what calibrate scores with. Blocks of both take turns. `read_only` is one thread that reads, decodes and fits without an engine:
on few cores, which the engine takes all of, what that costs is lost to it however well it is spread.

The first pass, for moments, is not measured here: its features come from the cache wherever a picture was seen before.
"""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from conditions import save
from drift import link_all, senbetsu
from numpy.typing import NDArray

from calibrate.fit import BATCH
from demo.elpv import split
from senbetsu.embedding import load_embedding
from senbetsu.engine import EngineChoice, build_engine
from senbetsu.images import fit, read_image
from senbetsu.pictures import score_pictures
from senbetsu.profile import load_profile

ROUNDS = 9


def main() -> None:
    """The benchmark."""
    parts = split()
    paths = parts.calibrate_normal[: len(parts.calibrate_normal) // BATCH * BATCH]
    with tempfile.TemporaryDirectory() as temporary:
        artifacts = Path(temporary) / "artifacts"
        train, calibrate = (
            link_all(Path(temporary) / name, some)
            for name, some in (("train", parts.train_normal), ("cal", parts.calibrate_normal))
        )
        senbetsu("train", "--normal", train, "--artifacts", artifacts)
        senbetsu("calibrate", "--normal", calibrate, "--artifacts", artifacts)
        embedding = load_embedding(artifacts)
        profile = load_profile(artifacts, embedding)
    choice = EngineChoice(profile.engine_kind, profile.precision, "cpu")  # type: ignore[arg-type]
    engine = build_engine(profile.scorer, embedding.backbone, choice, 0, (BATCH,))
    shape = engine.inputs.shape[1:]

    def fitted(path: Path) -> NDArray[np.uint8]:
        picture = np.empty(shape, np.uint8)
        fit(read_image(path), picture)
        return picture

    pictures = [fitted(path) for path in paths]

    def bare() -> None:
        for start in range(0, len(pictures), BATCH):
            for row in range(BATCH):
                engine.inputs[row] = pictures[start + row]
            engine.run(BATCH)

    def scoring() -> None:
        found = list(score_pictures(engine, paths, "scoring"))
        assert all(one.error is None for one in found)

    def reading() -> None:
        for path in paths:
            fitted(path)

    blocks: dict[str, Callable[[], None]] = {"engine": bare, "calibrate": scoring, "read_only": reading}
    rates: dict[str, list[float]] = {name: [] for name in blocks}
    for work in blocks.values():
        work()
    for _ in range(ROUNDS):
        for name, work in blocks.items():
            began_s = time.perf_counter()
            work()
            rates[name].append(len(paths) / (time.perf_counter() - began_s))
    ratios = np.array(rates["calibrate"]) / np.array(rates["engine"])
    save("calibration_throughput", {
        "engine": f"{profile.engine_kind} {profile.precision}", "pictures": len(paths), "batch": BATCH, "rounds": ROUNDS,
        "pictures_per_s": {name: round(float(np.median(some)), 1) for name, some in rates.items()},
        "calibrate_to_engine": {
            "median": round(float(np.median(ratios)), 3), "lowest": round(float(ratios.min()), 3),
            "highest": round(float(ratios.max()), 3),
        },
    })  # fmt: skip


if __name__ == "__main__":
    main()
