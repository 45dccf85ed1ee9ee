"""What measuring costs beside seeing: the whole graph, from picture to score, against the bare backbone, in one run.

Both are compiled by OpenVINO the same way and take the same uint8 pictures. Blocks of calls alternate, so that whatever else
the machine does falls on both; the ratio is that of the medians of the blocks' medians. The profile is of random numbers:
its values cost nothing.
"""

import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import TypedDict

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.conditions import save
from senbetsu.backbone import Backbone, find_backbone
from senbetsu.config import ModelSection
from senbetsu.embedding import WHOLE_RANK, WINDOWS_RANK
from senbetsu.engine.graph import MakesNetwork
from senbetsu.engine.openvino import CompiledGraph, cpu_has_bf16
from senbetsu.network import EMBEDDING_DIM, FeatureNetwork
from senbetsu.places import CONTEXT_RANK, RANK
from senbetsu.scoring import STATISTICS, ScorerConstants, scoring_network

BLOCKS, CALLS = 20, 10


class Cost(TypedDict):
    """Medians of a call, and how they compare."""

    bare_ms: float
    whole_ms: float
    ratio: float
    ratio_p10_p90: list[float]


class BareBackbone(FeatureNetwork):
    """Picture -> mean of the last map: the least that makes the backbone run to its end."""

    def forward(self, images: Tensor) -> Tensor:  # type: ignore[override]
        """(B, S, S, 3) uint8 -> (B, C)."""
        last: Tensor = self.backbone(self.normalised(images))[-1]
        return last.mean((2, 3))


def random_constants(backbone: Backbone) -> ScorerConstants:
    """Of a profile of random numbers, in the shapes that `train` gives with 768 normal parts or more."""
    with torch.inference_mode():
        picture = torch.zeros(1, backbone.input_size, backbone.input_size, 3, dtype=torch.uint8)
        context, whole, windows, places = FeatureNetwork(backbone).eval()(picture)
    M, F, (G, _), (L, P) = context.shape[1], whole.shape[1], windows.shape[1:], places.shape[1:]
    S, D = len(STATISTICS), EMBEDDING_DIM
    shapes = (
        (M + F, D), (D,), (1, D), (D,), (1, F), (F, WHOLE_RANK), (WHOLE_RANK,), (1,), (G, F),
        (F, WINDOWS_RANK), (WINDOWS_RANK,), (1,), (M,), (M, CONTEXT_RANK), (CONTEXT_RANK,), (L, P), (P, RANK),
        (CONTEXT_RANK, L * RANK), (RANK,), (L,), (1,), (S, 2), (2,), (1,), (1,),
    )  # fmt: skip
    random = np.random.default_rng(0)
    return ScorerConstants(*(0.01 * random.random(shape, np.float32) for shape in shapes))


def time_of(run: Callable[[], object]) -> float:
    """Median of a block of calls, milliseconds."""
    times = []
    for _ in range(CALLS):
        began = time.perf_counter()
        run()
        times.append(time.perf_counter() - began)
    return float(np.median(times)) * 1e3


def in_turns(graphs: Mapping[str, CompiledGraph], batch: int) -> dict[str, NDArray[np.float64]]:
    """Medians of BLOCKS blocks of calls of each, milliseconds, block by block in turns."""
    for graph in graphs.values():
        graph.inputs[:] = np.random.default_rng(0).integers(0, 256, graph.inputs.shape, np.uint8)
        time_of(partial(graph.run, batch))
    blocks: dict[str, list[float]] = {name: [] for name in graphs}
    for _ in range(BLOCKS):
        for name, graph in graphs.items():
            blocks[name].append(time_of(partial(graph.run, batch)))
    return {name: np.array(times) for name, times in blocks.items()}


def compare(backbone: Backbone, constants: ScorerConstants, precision: str, batch: int, threads: int = 0) -> Cost:
    """Alternating blocks; on all cores, or on so many threads."""
    networks: dict[str, tuple[MakesNetwork, tuple[NDArray[np.float32], ...]]] = {
        "bare_ms": (BareBackbone, ()), "whole_ms": (scoring_network, tuple(constants)),
    }  # fmt: skip
    graphs = {
        name: CompiledGraph(net, c, backbone, precision, threads, (batch,)) for name, (net, c) in networks.items()
    }
    blocks = in_turns(graphs, batch)
    medians = {name: round(float(np.median(times)), 3) for name, times in blocks.items()}
    ratios = blocks["whole_ms"] / blocks["bare_ms"]
    return {
        "bare_ms": medians["bare_ms"],
        "whole_ms": medians["whole_ms"],
        "ratio": round(medians["whole_ms"] / medians["bare_ms"], 3),
        "ratio_p10_p90": [round(float(q), 3) for q in np.quantile(ratios, [0.1, 0.9])],
    }


def main() -> None:
    """The benchmark."""
    backbone = find_backbone(ModelSection())
    constants = random_constants(backbone)
    precisions = ["bf16", "fp32"] if cpu_has_bf16() else ["fp32"]
    figures = {
        f"{precision}, batch {batch}": compare(backbone, constants, precision, batch)
        for precision in precisions
        for batch in (1, 8)
    }
    # As the line's lanes run, a part on each core.
    figures |= {
        f"{precision}, batch 1, one core": compare(backbone, constants, precision, 1, 1) for precision in precisions
    }
    save("graph_cost", {"backbone": backbone.name, "input_size": backbone.input_size, "openvino": figures})


if __name__ == "__main__":
    main()
