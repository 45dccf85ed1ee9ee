"""The project's side of speed.py: the engine that the daemon runs, in bf16 (fp32 where the CPU has none) and in int8."""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks.conditions import conditions
from benchmarks.graph_cost import BareBackbone
from benchmarks.peers.turns import Frames, answers_alone, serve
from senbetsu.embedding import load_embedding
from senbetsu.engine.openvino import CompiledGraph, OpenVINOEngine, cpu_has_bf16
from senbetsu.engine.quantised import load_quantised
from senbetsu.profile import load_profile
from senbetsu.scoring import scoring_network

PACKAGES = ("torch", "openvino", "nncf", "numpy", "opencv-python-headless")


def way_of(engine: OpenVINOEngine) -> Callable[[Frames], float]:
    """Frame in memory -> score: the copy to where the engine reads it, and the whole graph."""

    def way(frame: Frames) -> float:
        np.copyto(engine.inputs[0], frame)
        return float(engine.run(1).score[0])

    return way


def bare(graph: CompiledGraph) -> Callable[[Frames], float]:
    """The backbone alone; what it gives is no score."""

    def way(frame: Frames) -> float:
        np.copyto(graph.inputs[0], frame)
        return float(graph.run(1)[0][0, 0])

    return way


def main(artifacts: Path, frames: Frames) -> None:
    """Serve."""
    answers = answers_alone()
    embedding = load_embedding(artifacts)
    profile = load_profile(artifacts, embedding)
    constants = tuple(profile.scorer.constants())
    plain = "bf16" if cpu_has_bf16() else "fp32"
    made = json.loads((artifacts / "int8.json").read_text(encoding="utf-8"))["sha256"]
    quantised = load_quantised(artifacts, embedding.sha256, made)  # the profile names none where `calibrate` refused it
    ours = {
        f"ours, {precision}": way_of(
            OpenVINOEngine(
                scoring_network, constants, embedding.backbone, precision, 0, (1,),
                quantised if precision == "int8" else None,
            )
        )
        for precision in (plain, "int8")
    }  # fmt: skip
    backbone = bare(CompiledGraph(BareBackbone, (), embedding.backbone, plain, 0, (1,)))
    serve(answers, {**ours, f"bare backbone, {plain}": backbone}, frames, {"conditions": conditions(PACKAGES)})


if __name__ == "__main__":
    main(Path(sys.argv[1]), np.load(sys.argv[2]))
