"""The engine on a GPU, from uint8 in pinned memory to scores, against replaying the same CUDA graphs and nothing else.

    python -m benchmarks.gpu [--device cuda:0] [--inductor]

*Engine*: each lane by a thread of its own calls `run`, as the daemon's threads do, and reads the scores. *Replayed*: the same
graphs, upload and download in them, one after the other on the lanes' streams, awaited only at the end: what the GPU gives when
nobody asks for the scores. They take turns. With `--inductor` the same again with kernels that torch.compile makes in the
graphs, which takes a compiler, and up to a minute a batch size. The profile is of random numbers: its values cost nothing.
Without CUDA there is nothing to measure, and it says so; `--device cpu` tries the script out and saves nothing.
"""

import argparse
import re
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

import numpy as np
import torch

from benchmarks.conditions import save
from benchmarks.graph_cost import random_constants
from senbetsu.backbone import Backbone, find_backbone
from senbetsu.config import ModelSection
from senbetsu.engine.pytorch import TorchEngine, TorchLane
from senbetsu.scoring import scoring_network
from senbetsu.scoring_network import ScoringNetwork

STREAMS = 2
"""One batch is uploaded while the other is computed; no frame is made small here, which more would be for."""
ROUNDS, SECONDS = 5, 2.0
BATCHES = (1, 2, 4, 8, 16, 32, 64, 128, 256)
BAR_RATIO, BAR_PARTS_PER_S = 0.9, 30_000


def engine_parts_per_s(lanes: list[TorchLane], batch: int, seconds: float) -> float:
    """As the daemon calls it."""
    began_s = time.perf_counter()

    def work(lane: TorchLane) -> int:
        done = 0
        while time.perf_counter() - began_s < seconds:
            if not np.isfinite(lane.run(batch).score).all():
                raise RuntimeError("a score is not finite")
            done += batch
        return done

    with ThreadPoolExecutor(len(lanes)) as threads:
        done = sum(threads.map(work, lanes))
    return done / (time.perf_counter() - began_s)


def replayed_parts_per_s(lanes: list[TorchLane], batch: int, seconds: float) -> float:
    """The graphs alone."""
    began_s, done = time.perf_counter(), 0
    while time.perf_counter() - began_s < seconds:
        for _ in range(8):
            for lane in lanes:
                lane.steps[batch].start()
                done += batch
        for lane in lanes:
            lane.steps[batch].wait()
    return done / (time.perf_counter() - began_s)


def compare(
    backbone: Backbone, precision: str, device: str, batch: int, seconds: float, inductor: bool = False
) -> dict[str, Any]:
    """In turns."""
    network = scoring_network(backbone)
    if inductor:
        network = cast(ScoringNetwork, torch.compile(network, dynamic=False))
    engine = TorchEngine(
        network, random_constants(backbone), backbone.input_size, precision, device, 0, (batch,), STREAMS
    )
    lanes = [lane for lane in engine.lanes if isinstance(lane, TorchLane)]
    for lane in lanes:
        lane.inputs[:] = np.random.default_rng(0).integers(0, 256, lane.inputs.shape, np.uint8)
    asked, replayed = [], []
    for _ in range(ROUNDS):
        asked.append(engine_parts_per_s(lanes, batch, seconds))
        replayed.append(replayed_parts_per_s(lanes, batch, seconds))
    return {
        "engine_parts_per_s": round(float(np.median(asked)), 1),
        "replayed_parts_per_s": round(float(np.median(replayed)), 1),
        "ratio": round(float(np.median(np.array(asked) / np.array(replayed))), 3),
    }


def main() -> None:
    """Measure, and on CUDA save."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--inductor", action="store_true", help="torch.compile's kernels as well")
    given = parser.parse_args()
    device = str(given.device)
    on_cuda = device.startswith("cuda")
    if on_cuda and not torch.cuda.is_available():
        raise SystemExit("no CUDA device is usable here: nothing was measured")
    backbone = find_backbone(ModelSection())
    batches, seconds = (BATCHES, SECONDS) if on_cuda else (BATCHES[:2], 0.2)
    precisions = ("fp16", "bf16") if on_cuda else ("fp32",)
    figures = {
        f"{precision}, batch {batch}": compare(backbone, precision, device, batch, seconds)
        for precision in precisions
        for batch in batches
    }
    if given.inductor:
        figures |= {
            f"{precisions[0]}, batch {batch}, Inductor": compare(backbone, precisions[0], device, batch, seconds, True)
            for batch in batches[::3]
        }
    if not on_cuda:
        print(figures)
        return
    gpu = torch.cuda.get_device_name(device)
    document = {
        "gpu": gpu, "backbone": backbone.name, "input_size": backbone.input_size,
        "bars": {"ratio": BAR_RATIO, "parts_per_s": BAR_PARTS_PER_S}, "torch": figures,
    }  # fmt: skip
    save(f"gpu_{re.sub('[^a-z0-9]+', '_', gpu.lower())}", document)


if __name__ == "__main__":
    main()
