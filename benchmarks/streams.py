"""Whether more parts go through when each core runs a batch of its own than when all cores share one batch (OpenVINO).

One stream of all cores is what the daemon runs ("latency"); as many streams as cores, one core each, is the other way
("throughput"). Both are the same graph with a profile of random numbers. In turns, so that whatever else the machine does falls
on both: the graph alone, and with the shrinking of a camera's frame before it, each stream by a thread of its own. The time
is from a batch's begin to its scores.

    python -m benchmarks.streams
"""

import os
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import openvino as ov

from benchmarks.conditions import save
from benchmarks.graph_cost import random_constants
from senbetsu.backbone import Backbone, find_backbone
from senbetsu.camera.pattern import pattern_pictures
from senbetsu.config import ModelSection
from senbetsu.engine.graph import openvino_model
from senbetsu.engine.openvino import HINTS, cpu_has_bf16
from senbetsu.fitting import fit
from senbetsu.scoring import scoring_network

ROUNDS, SECONDS = 6, 1.5
BATCHES = (1, 4, 8)
FRAME = (1024, 1024)


class Streams:
    """One graph for one batch size, in so many streams that share the cores."""

    def __init__(self, model: ov.Model, streams: int, cores: int, precision: str) -> None:
        properties = {
            "INFERENCE_PRECISION_HINT": HINTS[precision], "NUM_STREAMS": streams, "INFERENCE_NUM_THREADS": cores,
        }  # fmt: skip
        compiled = ov.Core().compile_model(model, "CPU", properties)
        assert compiled.get_property("NUM_STREAMS") == streams
        self.requests = [compiled.create_infer_request() for _ in range(streams)]
        self.inputs = [np.zeros(tuple(model.input(0).shape), np.uint8) for _ in range(streams)]
        for request, pictures in zip(self.requests, self.inputs, strict=True):
            pictures[:] = np.random.default_rng(0).integers(0, 256, pictures.shape, np.uint8)
            request.set_input_tensor(ov.Tensor(pictures, shared_memory=True))

    def measure(self, prepare: Callable[[np.ndarray], None], seconds: float) -> tuple[float, list[float]]:
        """Parts a second, and milliseconds of each batch."""
        took: list[list[float]] = [[] for _ in self.requests]
        began_s = time.perf_counter()

        def work(stream: int) -> None:
            pictures, request = self.inputs[stream], self.requests[stream]
            while (started_s := time.perf_counter()) - began_s < seconds:
                prepare(pictures)
                request.infer()
                took[stream].append(1e3 * (time.perf_counter() - started_s))

        threads = [threading.Thread(target=work, args=(stream,)) for stream in range(len(self.requests))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        times = [ms for some in took for ms in some]
        return len(times) * len(self.inputs[0]) / (time.perf_counter() - began_s), times


def compare(backbone: Backbone, precision: str, batch: int) -> dict[str, Any]:
    """Taking turns."""
    cores = os.cpu_count() or 1
    model = openvino_model(scoring_network, backbone, tuple(random_constants(backbone)), precision == "bf16")
    model.reshape([batch, backbone.input_size, backbone.input_size, 3])
    ways = {
        "one_stream": Streams(model, 1, cores, precision),
        "a_stream_a_core": Streams(model, cores, cores, precision),
    }
    frames = pattern_pictures(*FRAME)

    def shrink(pictures: np.ndarray) -> None:
        for row, picture in enumerate(pictures):
            fit(frames[row % len(frames)], picture)

    figures: dict[str, Any] = {}
    for name, prepare in (("graph alone", lambda _: None), ("with the frame's shrinking", shrink)):
        rates: dict[str, list[float]] = {way: [] for way in ways}
        times: dict[str, list[float]] = {way: [] for way in ways}
        for _ in range(ROUNDS):
            for way, streams in ways.items():
                rate, some = streams.measure(prepare, SECONDS)
                rates[way].append(rate)
                times[way] += some
        ratios = np.array(rates["a_stream_a_core"]) / np.array(rates["one_stream"])
        figures[name] = {
            way: {
                "parts_per_s": round(float(np.median(rates[way])), 1),
                **{f"p{q}_ms": round(float(np.quantile(times[way], q / 100)), 2) for q in (50, 99)},
            }
            for way in ways
        }
        gains = np.quantile(ratios, [0, 0.5, 1]).round(3).tolist()
        figures[name]["gain"] = dict(zip(("least", "median", "most"), gains, strict=True))
    return figures


def main() -> None:
    """Measure and save."""
    backbone = find_backbone(ModelSection())
    precisions = ["bf16", "fp32"] if cpu_has_bf16() else ["fp32"]
    figures = {
        f"{precision}, batch {batch}": compare(backbone, precision, batch)
        for precision in precisions
        for batch in BATCHES
    }
    save("streams", {"backbone": backbone.name, "input_size": backbone.input_size, "frame": FRAME, "openvino": figures})


if __name__ == "__main__":
    main()
