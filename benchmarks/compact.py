"""What 8-bit profile matrices change: scores and verdicts of solar cells with and without them, in bf16, beside fp32.

The artefacts and the cells are the demo's (it is run first where there are none). The threshold is the profile's own, so
that in another precision than its own the verdicts are no claim: they are compared with each other.
"""

import subprocess
import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.conditions import save
from demo.__main__ import REPOSITORY
from demo.elpv import split
from demo.report import ARTIFACTS
from senbetsu.auroc import auroc
from senbetsu.embedding import load_embedding
from senbetsu.engine.openvino import CompiledGraph, cpu_has_bf16
from senbetsu.fitting import fit
from senbetsu.images import read_image
from senbetsu.profile import load_profile
from senbetsu.scoring import scoring_network

BATCH = 8


def scores(graph: CompiledGraph, pictures: list[NDArray[np.uint8]]) -> NDArray[np.float64]:
    """Scores (N,)."""
    found = []
    for start in range(0, len(pictures), BATCH):
        some = pictures[start : start + BATCH]
        for row, picture in enumerate(some):
            fit(picture, graph.inputs[row])
        (rows,) = graph.run(len(some))
        found += rows[: len(some), 0].tolist()
    return np.array(found)


def main() -> None:
    """The benchmark."""
    if not (ARTIFACTS / "profile.json").exists():
        subprocess.run([sys.executable, "-m", "demo"], cwd=REPOSITORY, check=True)
    embedding = load_embedding(ARTIFACTS)
    profile = load_profile(ARTIFACTS, embedding)
    good, bad = ([read_image(path) for path, is_bad in split().line if is_bad is wanted] for wanted in (False, True))
    variants = {"fp32": ("fp32", False), "fp32, 8 bits": ("fp32", True)}
    if cpu_has_bf16():
        variants |= {"bf16": ("bf16", False), "bf16, 8 bits": ("bf16", True)}
    found: dict[str, NDArray[np.float64]] = {}
    figures: dict[str, Any] = {}
    for name, (precision, compact) in variants.items():
        graph = CompiledGraph(
            scoring_network, profile.scorer.constants(), embedding.backbone, precision, 0, (BATCH,), compact
        )
        found[name] = scores(graph, [*good, *bad])
        figures[name] = {"auroc": round(auroc(found[name][: len(good)], found[name][len(good) :]), 5)}
    for precision in dict.fromkeys(precision for precision, _ in variants.values()):
        plain, small = found[precision], found[f"{precision}, 8 bits"]
        change = np.abs(small / plain - 1)
        figures[f"{precision}, 8 bits"] |= {
            "relative_change_median": round(float(np.median(change)), 5),
            "relative_change_max": round(float(change.max()), 5),
            "verdicts_changed": int(((plain > profile.threshold) != (small > profile.threshold)).sum()),
        }
    save("compact", {"good": len(good), "defective": len(bad), "graphs": figures})


if __name__ == "__main__":
    main()
