"""What a fine-tuned backbone costs on the line: the graph from a picture to its statistics, one part, one thread, OpenVINO.

    python -m benchmarks.depth_cost

The least time of many runs that take turns, so that what else the machine does counts little.
"""

import time
from dataclasses import replace

import numpy as np

from benchmarks.conditions import save
from senbetsu.backbone import find_backbone
from senbetsu.config import ModelSection
from senbetsu.engine.openvino import CompiledGraph
from senbetsu.network import FeatureNetwork
from senbetsu.tuned import Tuned
from train.tunable import PictureStatistics, learned_tensors, tunable_parameters

ROUNDS = 200
BLOCKS = (1, 2, 3)


def main() -> None:
    """Measure and save."""
    backbone = find_backbone(ModelSection())
    stages = PictureStatistics.of(backbone).stages
    depths: dict[str, Tuned | None] = {"head": None}
    for blocks in BLOCKS:
        depths[f"blocks, {blocks}"] = learned_tensors(
            stages, tunable_parameters(stages, "blocks", blocks, backbone.input_size)
        )
    depths["all"] = learned_tensors(stages, tunable_parameters(stages, "all", 0, backbone.input_size))
    graphs = {
        depth: CompiledGraph(FeatureNetwork, (), replace(backbone, tuned=tuned), "fp32", 1, (1,))
        for depth, tuned in depths.items()
    }
    seconds: dict[str, list[float]] = {depth: [] for depth in depths}
    for _ in range(ROUNDS):
        for depth, graph in graphs.items():
            start = time.perf_counter()
            graph.run(1)
            seconds[depth].append(time.perf_counter() - start)
    least = {depth: min(values) for depth, values in seconds.items()}
    save(
        "depth_cost",
        {
            "backbone": backbone.name,
            "input_size": backbone.input_size,
            "precision": "fp32",
            "ms": {depth: round(1e3 * value, 2) for depth, value in least.items()},
            "ratio_to_head": {depth: round(value / least["head"], 3) for depth, value in least.items()},
            "tuned_mb": {
                depth: round(sum(np.asarray(v).nbytes for v in tuned.tensors.values()) / 1e6, 1)
                for depth, tuned in depths.items()
                if tuned is not None
            },
        },
    )


if __name__ == "__main__":
    main()
