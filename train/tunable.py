"""The network that is fine-tuned, pictures -> statistics -> unit vectors, and which of its parameters are learned."""

from contextlib import AbstractContextManager

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from senbetsu.backbone import Backbone
from senbetsu.backbone_network import load_backbone
from senbetsu.errors import UserError
from senbetsu.scoring import Head
from senbetsu.stages import Stages
from senbetsu.statistics import learnable
from senbetsu.tuned import Tuned
from train.head import fold_in

LOOK_BATCH = 32


class PictureStatistics(nn.Module):
    """Pictures (B, S, S, 3) uint8 BGR -> the statistics (B, F) float32 that the head takes, differentiable.

    Always in eval mode: see train.finetune for why BatchNorm does not learn its statistics anew.
    """

    def __init__(self, stages: Stages, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        """Mean and std of red, green and blue, in pixel values."""
        super().__init__()
        self.stages = stages.eval()
        self.register_buffer("_mean", torch.tensor(mean[::-1]).view(1, 3, 1, 1))
        self.register_buffer("_std", torch.tensor(std[::-1]).view(1, 3, 1, 1))

    @classmethod
    def of(cls, backbone: Backbone) -> "PictureStatistics":
        """With the weights that the backbone comes with."""
        return cls(load_backbone(backbone), backbone.mean, backbone.std)

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        device: torch.device = self._mean.device  # type: ignore[assignment]
        return device

    def forward(self, pictures: Tensor) -> Tensor:
        """Mixed precision where a gradient is wanted, else fp32."""
        x = (pictures.permute(0, 3, 1, 2).float() - self._mean) / self._std  # type: ignore[operator]
        with _mixed(self.device, torch.is_grad_enabled()):
            maps = self.stages(x)
        return learnable([x.float() for x in maps])


class StandardisedHead(nn.Module):
    """A trained head, taken apart again: standardised statistics are what a gradient step suits."""

    def __init__(self, head: Head, mean: NDArray[np.float64], spread: NDArray[np.float64]) -> None:
        super().__init__()
        self.linear = nn.Linear(head.weight.shape[1], head.weight.shape[0])
        weight = head.weight.astype(np.float64)
        with torch.no_grad():
            self.linear.weight.copy_(torch.from_numpy(weight * spread))
            self.linear.bias.copy_(torch.from_numpy(head.bias + weight @ mean))
        self.register_buffer("_mean", torch.tensor(mean, dtype=torch.float32))
        self.register_buffer("_spread", torch.tensor(spread, dtype=torch.float32))

    def forward(self, statistics: Tensor, kept: Tensor | None = None) -> Tensor:
        """(B, F) -> unit vectors (B, 64); `kept` (B, F) multiplies the standardised statistics (dropout)."""
        x = (statistics - self._mean) / self._spread  # type: ignore[operator]
        return nn.functional.normalize(self.linear(x if kept is None else x * kept), dim=1)

    def folded(self) -> Head:
        """For statistics as they are."""
        tensors = (self.linear.weight, self.linear.bias, self.get_buffer("_mean"), self.get_buffer("_spread"))
        weight, bias, mean, spread = (x.detach().cpu().double().numpy() for x in tensors)
        return fold_in(weight, bias, mean, spread)


def tunable_parameters(stages: Stages, depth: str, blocks: int, input_size: int) -> dict[str, nn.Parameter]:
    """The parameters that are learned, by name: those that the last `blocks` used maps depend on and no map before does.

    Asked of the gradient, so that it is true of any network. What no used map depends on is never learned.

    Raises:
        UserError: the network has not so many stages.
    """
    named = dict(stages.named_parameters())
    values = list(named.values())
    for parameter in values:
        parameter.requires_grad_(True)
    with torch.enable_grad():
        maps = stages(torch.zeros(1, 3, input_size, input_size, device=values[0].device))
    if depth == "blocks" and blocks >= len(maps):
        raise UserError(
            f"train.tuned_blocks = {blocks}: the backbone has {len(maps)} stages; set it lower, or --depth all to learn all "
            "of them"
        )
    earlier = maps[: len(maps) - blocks] if depth == "blocks" else []
    fixed = _reached(earlier, values)
    used = _reached(maps, values)
    for parameter in values:
        parameter.requires_grad_(False)
    return {name: parameter for name, parameter in named.items() if id(parameter) in used - fixed}


def _reached(maps: list[Tensor], values: list[nn.Parameter]) -> set[int]:
    if not maps:
        return set()
    total = torch.stack([x.sum() for x in maps]).sum()
    gradients = torch.autograd.grad(total, values, retain_graph=True, allow_unused=True)
    return {id(value) for value, gradient in zip(values, gradients, strict=True) if gradient is not None}


def learned_tensors(stages: Stages, names: dict[str, nn.Parameter]) -> Tuned:
    """The tensors of these parameters as they are now."""
    own = stages.state_dict()
    return Tuned({name: own[name].float().cpu().numpy().copy() for name in names})


def statistics_of(network: PictureStatistics, pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
    """(N, S, S, 3) uint8 -> (N, F), in batches, without a gradient, in fp32."""
    with torch.no_grad():
        parts = [
            network(torch.from_numpy(pictures[at : at + LOOK_BATCH]).to(network.device)).cpu().numpy()
            for at in range(0, len(pictures), LOOK_BATCH)
        ]
    return np.concatenate(parts)


def mixed_dtype(device: torch.device) -> torch.dtype | None:
    """What the backbone computes in while it is learned; None: fp32."""
    if device.type != "cuda":
        return None
    return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16


def _mixed(device: torch.device, wanted: bool) -> AbstractContextManager[object]:
    """Autocast for the backbone; does nothing on a CPU."""
    dtype = mixed_dtype(device)
    return torch.autocast(device.type, dtype or torch.bfloat16, enabled=wanted and dtype is not None)
