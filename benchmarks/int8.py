"""The int8 engine against bf16 and fp32: time of the whole graph, AUROC and verdicts on solar cells.

Blocks of calls alternate, as in graph_cost.py. Where other programs run at the same time (`load_average` tells), the lower
quantile of the blocks is the figure to look at: what is above it is waiting. The model is the demo's (it is run first where
there is none); 8-bit backbone and profile are made by `calibrate` itself, ranges from 200 cells that were trained on. Each
precision has its own threshold, from the same cells by the same rank. `ways` leaves out one at a time of what `calibrate` does
beyond NNCF's defaults, and says how the calibration's scores then correlate with the unquantised ones (Spearman).

A CPU without bf16 has a file of its own, int8_fp32.

A folder as argument keeps these artefacts for the next run.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import nncf
import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr

from benchmarks.compact import scores
from benchmarks.conditions import save
from benchmarks.graph_cost import time_of
from calibrate.quantise import quantise
from demo.__main__ import REPOSITORY
from demo.elpv import split
from demo.report import ARTIFACTS
from senbetsu.auroc import auroc
from senbetsu.conformal import threshold_at
from senbetsu.embedding import load_embedding
from senbetsu.engine.openvino import CompiledGraph, cpu_has_bf16
from senbetsu.engine.quantised import load_quantised
from senbetsu.images import read_image
from senbetsu.profile import load_profile
from senbetsu.scoring import scoring_network

BLOCKS, RANGES, BATCH = 30, 200, 8


def artefacts(folder: Path) -> None:
    """The demo's model, calibrated in int8."""
    if (folder / "int8.json").exists():
        return
    if not (ARTIFACTS / "embedding.json").exists():
        subprocess.run([sys.executable, "-m", "demo"], cwd=REPOSITORY, check=True)
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("embedding.json", "embedding.safetensors"):
        shutil.copyfile(ARTIFACTS / name, folder / name)
    with tempfile.TemporaryDirectory() as cells:
        for path in [*split().calibrate_normal, *split().train_normal[:RANGES]]:
            shutil.copyfile(path, Path(cells) / path.name)
        arguments = ["--normal", cells, "--artifacts", str(folder), "--set", "engine.precision=int8"]
        subprocess.run([sys.executable, "-P", "-m", "calibrate", *arguments], cwd=REPOSITORY, check=True)


def times(graphs: dict[str, CompiledGraph], batch: int) -> dict[str, Any]:
    """Milliseconds a batch, in alternating blocks."""
    blocks: dict[str, list[float]] = {name: [] for name in graphs}
    for _ in range(BLOCKS):
        for name, graph in graphs.items():
            blocks[name].append(time_of(partial(graph.run, batch)))
    found: dict[str, Any] = {
        name: {"p10_ms": round(float(np.quantile(t, 0.1)), 3), "median_ms": round(float(np.median(t)), 3)}
        for name, t in blocks.items()
    }
    if one := found.get("int8"):
        for name in graphs.keys() - {"int8"}:
            found[name]["over_int8"] = {which: round(found[name][which] / ms, 3) for which, ms in one.items()}
    return found


WAYS: dict[str, dict[str, Any]] = {
    "as calibrate does": {},
    "ranges with an offset": {"preset": nncf.QuantizationPreset.MIXED},
    "fast bias correction": {"fast_bias_correction": True},
    "weights of the whole range": {"overflow_fix": nncf.OverflowFix.DISABLE},
}


@contextmanager
def quantising(**other: Any) -> Iterator[None]:
    """`nncf.quantize` with other arguments than `calibrate` gives it."""
    quantize = nncf.quantize

    def with_other(*arguments: Any, **named: Any) -> Any:
        changed = dict(other)
        if "overflow_fix" in changed:
            named["advanced_parameters"].overflow_fix = changed.pop("overflow_fix")
        return quantize(*arguments, **{**named, **changed})

    with patch.object(nncf, "quantize", with_other):
        yield


def main(folder: Path) -> None:
    """The benchmark."""
    artefacts(folder)
    embedding = load_embedding(folder)
    profile = load_profile(folder, embedding)
    quantised = load_quantised(folder, embedding.sha256, profile.quantised_sha256)
    constants = tuple(profile.scorer.constants())

    def graph(precision: str, batch: int) -> CompiledGraph:
        if precision == "int8":
            return CompiledGraph(
                scoring_network, constants, embedding.backbone, quantised.rest, 0, (batch,), quantised=quantised
            )
        return CompiledGraph(scoring_network, constants, embedding.backbone, precision, 0, (batch,))

    precisions = ["int8", "bf16", "fp32"] if cpu_has_bf16() else ["int8", "fp32"]
    plain = precisions[1]
    load_before = os.getloadavg()
    timed = {f"batch {batch}": times({p: graph(p, batch) for p in precisions}, batch) for batch in (1, BATCH)}
    load_after = os.getloadavg()
    line = [read_image(path) for path, _ in split().line]
    bad = np.array([is_bad for _, is_bad in split().line])
    normal = [read_image(path) for path in split().calibrate_normal]
    judged: dict[str, Any] = {}
    over: dict[str, NDArray[np.float64]] = {}
    for precision in precisions:
        engine = graph(precision, BATCH)
        found = scores(engine, line)
        threshold = threshold_at(scores(engine, normal), profile.claim.k)
        over[precision] = found / threshold
        judged[precision] = {
            "auroc": round(auroc(found[~bad], found[bad]), 5),
            "threshold": round(threshold, 4),
            "good_rejected": int((found[~bad] > threshold).sum()),
            "defects_found": int((found[bad] > threshold).sum()),
        }
    for precision in precisions[1:]:
        changed = (over["int8"] > 1) != (over[precision] > 1)
        away = np.abs(over[precision] - 1)
        judged[precision] |= {
            "auroc_of_int8_minus_this": round(judged["int8"]["auroc"] - judged[precision]["auroc"], 5),
            "verdicts_changed_by_int8": int(changed.sum()),
            "farthest_of_them_from_the_threshold": round(float(away[changed].max()), 4) if changed.any() else 0.0,
            "changed_beyond_10_percent": int((changed & (away > 0.1)).sum()),
        }
    reference_normal, reference_line = (scores(graph(plain, BATCH), some) for some in (normal, line))
    ways: dict[str, Any] = {}
    engines = {}
    for name, other in WAYS.items():
        with quantising(**other):
            made = quantise(embedding.backbone, split().train_normal[:RANGES])
        engine = engines[name] = CompiledGraph(
            scoring_network, constants, embedding.backbone, made.rest, 0, (BATCH,), quantised=made
        )  # fmt: skip
        found = scores(engine, line)
        difference = auroc(found[~bad], found[bad]) - auroc(reference_line[~bad], reference_line[bad])
        ways[name] = {
            "correlation": round(float(spearmanr(scores(engine, normal), reference_normal).statistic), 4),
            "auroc_minus_unquantised": round(difference, 5),
        }
    for name, told in times(engines, BATCH).items():
        ways[name][f"batch_{BATCH}"] = told
    save(
        "int8" if cpu_has_bf16() else "int8_fp32",
        {
            "load_average": {"before": load_before, "after": load_after},
            "whole_graph": timed,
            "ways": ways,
            "cells": {"good": int((~bad).sum()), "defective": int(bad.sum()), **judged},
        },
    )


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(Path(sys.argv[1]))
    else:
        with tempfile.TemporaryDirectory() as made:
            main(Path(made))
