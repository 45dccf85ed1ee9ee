"""A network of torch as a model of OpenVINO, by torch.export; the number of pictures stays open."""

import warnings
from collections.abc import Sequence

import numpy as np
import openvino as ov
import torch
from numpy.typing import NDArray
from torch import Tensor, nn


class _Clamp(nn.Module):
    """What ReLU6 is."""

    def forward(self, x: Tensor) -> Tensor:
        """Any shape."""
        return x.clamp(0, 6)


def convert(
    network: nn.Module,
    example: NDArray[np.uint8] | list[NDArray[np.float32]],
    constants: Sequence[NDArray[np.float32]],
) -> ov.Model:
    """Export and convert.

    Args:
        network: made for this; it is changed.
        example: pictures (2, S, S, 3) uint8, or a list of maps, each (2, C, H, W).
        constants: all further arguments; their shapes stay as they are.

    Raises:
        openvino.frontend.OpConversionFailure: OpenVINO does not know an operation.
    """
    _replace_relu6(network)
    arguments: list[Tensor | list[Tensor]] = [
        [torch.from_numpy(one) for one in example] if isinstance(example, list) else torch.from_numpy(example),
        *(torch.from_numpy(constant) for constant in constants),
    ]
    batch = torch.export.Dim("batch", min=1, max=4096)
    shapes: object = [{0: batch} for _ in example] if isinstance(example, list) else {0: batch}
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        program = torch.export.export(
            network.eval(), tuple(arguments), dynamic_shapes=(shapes, *(None for _ in constants)), strict=False
        )
        return ov.convert_model(program)


def _replace_relu6(network: nn.Module) -> None:
    """By clamps: the converter would take each ReLU6 apart, step by step, only to make a clamp of it."""
    for name, child in network.named_children():
        if isinstance(child, nn.ReLU6):
            setattr(network, name, _Clamp())
        else:
            _replace_relu6(child)
