"""What computes scores, behind one small interface: OpenVINO on a CPU, torch on CUDA or as the CPU's reference."""

from senbetsu.engine.interface import Engine, EngineFault, Scores

__all__ = ["Engine", "EngineFault", "Scores"]
