"""What computes scores, behind one small interface: OpenVINO on a CPU, torch on CUDA or as the CPU's reference."""

from senbetsu.engine.interface import Engine, EngineFault, Lane, Scores
from senbetsu.engine.load import EngineChoice, batch_sizes_up_to, build_engine, choose_engine, streams_of

__all__ = [
    "Engine", "EngineChoice", "EngineFault", "Lane", "Scores", "batch_sizes_up_to", "build_engine", "choose_engine",
    "streams_of",
]  # fmt: skip
