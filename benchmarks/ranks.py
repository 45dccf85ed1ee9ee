"""What each map and each rank is worth, and what it costs: `python -m benchmarks.ranks --data DIR`.

AUROC and recall of the novelty gauge alone, which is all that these numbers touch, on the sets of benchmarks/detection
(DIR as there): `whole` learns from all training normals, `held out` leaves the calibration's parts out. One seed, scores of
the numpy reference on fp32 features. The cost (`--cost`) is the whole graph's time over that of the bare backbone as it
stands, of all variants in turns (see graph_cost.py).

A variant differs from what stands in the code by what its name says; "places' regression of rank k" cuts the map from
context to places down to its k leading directions, in the metric that the distance is measured in. Every variant is kept in
benchmarks/results/ranks.json as soon as it is done; called again, the script goes on with those that are missing.
"""

import argparse
import json
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest.mock import patch

import numpy as np

import senbetsu.embedding
import senbetsu.places
import train.crossfit
from benchmarks import graph_cost
from benchmarks.conditions import RESULTS, save
from benchmarks.detection import gauges
from benchmarks.detection.parts import load_parts
from senbetsu.backbone import WHEEL_STAGES, WHEELS, Backbone, find_backbone
from senbetsu.config import ModelSection, TrainSection
from senbetsu.embedding import WHOLE_RANK, WINDOWS_RANK
from senbetsu.engine.openvino import CompiledGraph, cpu_has_bf16
from senbetsu.places import CONTEXT_RANK, RANK, PlaceFrame, PlaceMoments, Places, fit_places
from senbetsu.scoring import scoring_network

BARE = "bare backbone"
SETS = ("magnetic_tile", "cookies", "elpv")
CHANNELS = {2: 40, **dict(zip(WHEEL_STAGES, WHEELS["efficientnet_lite0"].channels, strict=True))}
"""Of EfficientNet-Lite0's maps, by block."""


@dataclass(frozen=True, slots=True)
class Variant:
    """Blocks whose maps are measured, and ranks."""

    blocks: tuple[int, ...] = WHEEL_STAGES
    whole: int = WHOLE_RANK
    windows: int = WINDOWS_RANK
    directions: int = RANK
    context: int = CONTEXT_RANK
    regression: int | None = None


VARIANTS = {
    "as it stands": Variant(),
    "with the map of block 2, 28 x 28": Variant(blocks=(2, 3, 4, 5, 6)),
    **{
        f"maps of blocks {', '.join(map(str, blocks))}": Variant(blocks=blocks)
        for blocks in ((4, 5, 6), (3, 5, 6), (3, 4, 6), (3, 4, 5), (4, 6), (3, 6), (4, 5))
    },
    "whole of rank 128": Variant(whole=128),
    "windows of rank 256": Variant(windows=256),
    "windows of rank 128": Variant(windows=128),
    "96 directions of a place": Variant(directions=96),
    "64 directions of a place": Variant(directions=64),
    "96 directions of the context": Variant(context=96),
    "windows of rank 256, 128 directions of the context": Variant(windows=256, context=128),
    "whole of rank 128, windows of rank 256, 96 directions of the context": Variant(whole=128, windows=256, context=96),
    "places' regression of rank 96": Variant(regression=96),
    "places' regression of rank 32": Variant(regression=32),
}


def cut(places: Places, rank: int) -> Places:
    """With the regression's leading directions alone; the context that it reads is white."""
    R = places.regression.shape[1]
    seen = (places.regression @ places.whitening).transpose(1, 0, 2).reshape(R, -1).astype(np.float64)
    axes = np.linalg.eigh(seen @ seen.T)[1][:, ::-1][:, :rank].astype(np.float32)
    return replace(places, regression=np.matmul(axes @ axes.T, places.regression))


@contextmanager
def ranks_of(variant: Variant) -> Iterator[None]:
    """The product's own functions, with these ranks."""

    def fit(frame: PlaceFrame, moments: PlaceMoments, rest_weight: float) -> Places:
        found = fit_places(frame, moments, rest_weight)
        return found if variant.regression is None else cut(found, variant.regression)

    patches: list[tuple[str, object, tuple[ModuleType, ...]]] = [
        ("WHOLE_RANK", variant.whole, (senbetsu.embedding, graph_cost)),
        ("WINDOWS_RANK", variant.windows, (senbetsu.embedding, graph_cost)),
        ("RANK", variant.directions, (senbetsu.places, graph_cost)),
        ("CONTEXT_RANK", variant.context, (senbetsu.places, graph_cost)),
        ("fit_places", fit, (senbetsu.embedding, gauges, train.crossfit)),
    ]
    with ExitStack() as stack:
        for name, value, modules in patches:
            for module in modules:
                stack.enter_context(patch.object(module, name, value))
        yield


def with_blocks(lite: Backbone, variant: Variant) -> Backbone:
    """The backbone whose maps the variant measures."""
    return replace(lite, stages=variant.blocks, channels=tuple(CHANNELS[block] for block in variant.blocks))


def found_on(data: Path, name: str, backbone: Backbone) -> dict[str, Any]:
    """AUROC and recall of one set."""
    parts = load_parts(data, name, backbone)
    kinds, nobody = [parts.kinds[number] for number in parts.kind], np.zeros(0, np.int64)
    held_out = parts.is_calibration
    figures: dict[str, Any] = {}
    for setting, fitted in (("whole", ~held_out | held_out), ("held out", ~held_out)):
        bench = gauges.Bench(
            backbone,
            parts.train.take(fitted),
            parts.train.take(~fitted),
            parts.test,
            parts.defects,
            kinds,
            TrainSection(),
        )
        measured = bench.measure(nobody, np.arange(len(kinds)))
        fused = measured["methods"]["fused"]
        figures[setting] = {
            "auroc": fused["auroc"]["all"],
            "found_as_calibrated": fused["recall_calibrated"]["all"],
            "false_rejects": fused["false_rejects"],
            "found_with_informed_threshold": fused["recall_informed"]["all"],
            "rest_weight": measured["rest_weight"],
        }
    return figures


def costs_of(variants: Iterable[str], lite: Backbone) -> dict[str, dict[str, float]]:
    """Of each the whole graph's time over that of the bare backbone as it stands; all of them in turns, in one run."""
    precision = "bf16" if cpu_has_bf16() else "fp32"
    costs: dict[str, dict[str, float]] = {name: {} for name in variants}
    for batch in (1, 8):
        graphs = {BARE: CompiledGraph(graph_cost.BareBackbone, (), lite, precision, 0, (batch,))}
        for name in costs:
            backbone = with_blocks(lite, VARIANTS[name])
            with ranks_of(VARIANTS[name]):
                constants = tuple(graph_cost.random_constants(backbone))
            graphs[name] = CompiledGraph(scoring_network, constants, backbone, precision, 0, (batch,))
        blocks = graph_cost.in_turns(graphs, batch)
        for name, cost in costs.items():
            cost[f"{precision}, batch {batch}"] = round(float(np.median(blocks[name]) / np.median(blocks[BARE])), 3)
    return costs


def main() -> None:
    """The benchmark."""
    command = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    command.add_argument("--data", type=Path, required=True, help="folder sets and splits/")
    command.add_argument("--sets", nargs="*", default=list(SETS), choices=SETS)
    command.add_argument("--cost", action="store_true", help="times as well, which wants a quiet machine")
    command.add_argument("--variants", nargs="+", default=list(VARIANTS), choices=VARIANTS)
    given = command.parse_args()
    file = RESULTS / "ranks.json"
    rows: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))["variants"] if file.exists() else {}
    lite = find_backbone(ModelSection())
    for name in given.variants:
        variant, row = VARIANTS[name], rows.setdefault(name, {})
        with ranks_of(variant):
            for one in given.sets:
                if one not in row:
                    row[one] = found_on(given.data, one, with_blocks(lite, variant))
                    save("ranks", {"variants": rows})
    if given.cost:  # cutting the regression makes no product smaller here
        for name, cost in costs_of((name for name in rows if VARIANTS[name].regression is None), lite).items():
            rows[name]["graph_over_bare"] = cost
        save("ranks", {"variants": rows})


if __name__ == "__main__":
    main()
