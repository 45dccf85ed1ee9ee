"""The networks: a frozen backbone, the statistics taken of it, and the whole graph from picture to score.

A picture goes through the backbone once. Of its stages' feature maps the mean and standard deviation of every
channel are taken, over the whole picture and over 3 x 3 overlapping half-size windows (a two-level spatial pyramid,
after Lazebnik et al. 2006): the whole sees texture and light, the windows see small things that the whole averages away.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from senbetsu.backbone import Backbone, load_backbone

WINDOW_GRID = 3
"""Windows a side."""
EMBEDDING_DIM = 64


def pyramid_statistics(maps: list[Tensor]) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of every channel, over the whole picture and over its windows.

    Args:
        maps: feature maps, each (B, C_i, H_i, W_i) with H_i, W_i >= 4.

    Returns:
        whole (B, 2 sum C_i) and windows (B, 9, 2 sum C_i): all means, then all standard deviations.
    """
    whole_mean, whole_std, window_mean, window_std = [], [], [], []
    for x in maps:
        height, width = x.shape[-2:]
        mean = x.mean((2, 3), keepdim=True)
        centred = x - mean  # E[x^2] - E[x]^2 of centred values: no cancellation when computed in bf16
        whole_mean.append(mean.flatten(1))
        whole_std.append((centred.square().mean((2, 3)) + 1e-6).sqrt())
        stride = (height // 4, width // 4)
        kernel = (height - (WINDOW_GRID - 1) * stride[0], width - (WINDOW_GRID - 1) * stride[1])
        first = functional.avg_pool2d(centred, kernel, stride)
        second = functional.avg_pool2d(centred.square(), kernel, stride)
        window_mean.append((first + mean).flatten(2))
        window_std.append(((second - first.square()).clamp_min(0) + 1e-6).sqrt().flatten(2))
    whole = torch.cat(whole_mean + whole_std, 1)
    windows = torch.cat(window_mean + window_std, 1).transpose(1, 2)
    return whole, windows


class FeatureNetwork(nn.Module):
    """Picture -> statistics of the frozen backbone. What `train` and `calibrate` fit on."""

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        self.backbone = load_backbone(backbone)
        mean, std = (torch.tensor(values[::-1]).view(1, 3, 1, 1) for values in (backbone.mean, backbone.std))
        self.register_buffer("_mean", mean, persistent=False)
        self.register_buffer("_std", std, persistent=False)
        self._compute_dtype = torch.float32

    def use(self, dtype: torch.dtype) -> None:
        """Let the backbone compute in `dtype`, channels last; what follows it stays in float32."""
        self._compute_dtype = dtype
        self.backbone.to(dtype=dtype, memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """images (B, S, S, 3) uint8 BGR -> whole (B, F) and windows (B, 9, F), F = 2 sum C_i of the backbone's stages."""
        x = (images.permute(0, 3, 1, 2).to(torch.float32) - self._mean) / self._std  # type: ignore[operator]
        return pyramid_statistics([x.float() for x in self.backbone(x.to(self._compute_dtype))])
