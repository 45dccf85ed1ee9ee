"""Which engine runs here, and building it. What "auto" means is decided once, before anything is calibrated or bound."""

import ctypes
from dataclasses import dataclass
from typing import Literal

from senbetsu.backbone import Backbone
from senbetsu.config import EngineSection
from senbetsu.engine.interface import Engine
from senbetsu.engine.quantised import QuantisedMaps
from senbetsu.errors import ConfigError
from senbetsu.scoring import Scorer, scoring_network

MOST_STREAMS = 16
"""Unless the config names more: each takes a thread that shares Python's lock with the others."""
MOST_STREAMS_ON_CUDA = 8
"""Unless the config names more. Each makes its own batch's frames small, on a core, which a GPU may well have to wait for: so
there is one for every two cores, and at least two, so that one batch is filled while another is computed."""


@dataclass(frozen=True, slots=True)
class EngineChoice:
    """What computes, with nothing left to "auto". A profile is bound to `kind` and `precision`."""

    kind: Literal["openvino", "torch"]
    precision: Literal["fp32", "bf16", "fp16", "int8"]
    device: str


def cuda_is_usable() -> bool:
    """Whether torch can compute on a CUDA device. Without NVIDIA's driver it cannot, and importing it takes seconds."""
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        return False
    import torch

    return torch.cuda.is_available()


def choose_engine(section: EngineSection) -> EngineChoice:
    """Resolve "auto" for this machine.

    Raises:
        ConfigError: the setting asks for a device or precision that is not here.
    """
    cuda = section.device != "cpu" and cuda_is_usable()
    if section.device.startswith("cuda") and not cuda:
        raise ConfigError(f"engine.device = {section.device!r}: no CUDA device is usable here; set it to auto or cpu")
    if section.precision == "int8":
        return _int8(section)
    kind = section.kind if section.kind != "auto" else ("torch" if cuda else "openvino")
    if kind == "openvino" and section.device.startswith("cuda"):
        raise ConfigError(
            f"engine.device = {section.device!r}: openvino runs on the CPU; set engine.kind to torch or auto"
        )
    device = "cpu" if kind == "openvino" or not cuda else ("cuda" if section.device == "auto" else section.device)
    if section.precision != "auto":
        if section.precision == "fp16" and device == "cpu":
            raise ConfigError("engine.precision = 'fp16': a CPU runs fp32 or bf16; set one of these or auto")
        return EngineChoice(kind, section.precision, device)
    if device != "cpu":
        return EngineChoice(kind, "fp16", device)
    if kind == "openvino":
        from senbetsu.engine.openvino import cpu_has_bf16

        return EngineChoice(kind, "bf16" if cpu_has_bf16() else "fp32", device)
    return EngineChoice(kind, "fp32", device)


def _int8(section: EngineSection) -> EngineChoice:
    from senbetsu.engine.openvino import cpu_has_int8

    if section.kind == "torch" or section.device.startswith("cuda"):
        raise ConfigError(
            f"engine.precision = 'int8' runs in openvino on the CPU, but engine.kind = {section.kind!r}, engine.device = "
            f"{section.device!r}; set engine.kind = 'openvino' and engine.device = 'cpu', or another precision"
        )
    if not cpu_has_int8():
        raise ConfigError("engine.precision = 'int8': this CPU does not compute in 8 bits; set auto, bf16 or fp32")
    return EngineChoice("openvino", "int8", "cpu")


def batch_sizes_up_to(max_batch: int) -> tuple[int, ...]:
    """1, 2, 4, 8, ... and the largest itself."""
    sizes = [1]
    while sizes[-1] * 2 < max_batch:
        sizes.append(sizes[-1] * 2)
    return tuple(sizes) if max_batch == 1 else (*sizes, max_batch)


def streams_of(section: EngineSection, choice: EngineChoice) -> int:
    """How many parts, on CUDA batches, the line's engine judges at the same time."""
    if choice.kind == "torch" and choice.device == "cpu":
        return 1
    from senbetsu.engine.openvino import cores_to_use

    cores = min(cores_to_use(), section.threads) if section.threads else cores_to_use()
    if choice.kind == "torch":
        return section.streams or min(max(cores // 2, 2), MOST_STREAMS_ON_CUDA)
    return min(section.streams or MOST_STREAMS, cores)


def build_engine(
    scorer: Scorer,
    backbone: Backbone,
    choice: EngineChoice,
    threads: int = 0,
    batch_sizes: tuple[int, ...] = (1,),
    quantised: QuantisedMaps | None = None,
    streams: int = 1,
) -> Engine:
    """An engine, warmed up at every batch size; with `quantised` where the choice is int8, else without.

    `streams`: parts that are judged at the same time, which OpenVINO does not put into batches; batches, by torch.
    """
    constants = scorer.constants()
    if choice.kind == "openvino":
        from senbetsu.engine.openvino import OpenVINOEngine

        return OpenVINOEngine(
            scoring_network, constants, backbone, choice.precision, threads, batch_sizes, quantised, streams
        )
    from senbetsu.engine.pytorch import TorchEngine

    return TorchEngine(
        scoring_network(backbone),
        constants,
        backbone.input_size,
        choice.precision,
        choice.device,
        threads,
        batch_sizes,
        streams,
    )
