"""The frozen feature network: a picture goes through the backbone once, and its maps are measured (senbetsu.statistics)."""

import torch
from torch import Tensor, nn

from senbetsu.backbone import Backbone, load_backbone
from senbetsu.statistics import Measure, Statistics

EMBEDDING_DIM = 64


class FeatureNetwork(nn.Module):
    """Picture -> statistics of the frozen backbone. What `train` and `calibrate` fit on."""

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        self.backbone = load_backbone(backbone)
        mean, std = (torch.tensor(values[::-1]).view(1, 3, 1, 1) for values in (backbone.mean, backbone.std))
        self.register_buffer("_mean", mean, persistent=False)
        self.register_buffer("_std", std, persistent=False)
        self._compute_dtype = torch.float32
        with torch.no_grad():
            maps = self.backbone(torch.zeros(1, 3, backbone.input_size, backbone.input_size))
        self.measure = Measure([(x.shape[-2], x.shape[-1]) for x in maps])

    def use(self, dtype: torch.dtype) -> None:
        """Let the backbone compute in `dtype`, channels last; what follows it stays in float32."""
        self._compute_dtype = dtype
        self.backbone.to(dtype=dtype, memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, images: Tensor) -> Statistics:
        """images (B, S, S, 3) uint8 BGR -> statistics of the backbone's maps."""
        x = (images.permute(0, 3, 1, 2).to(torch.float32) - self._mean) / self._std  # type: ignore[operator]
        measured: Statistics = self.measure([x.float() for x in self.backbone(x.to(self._compute_dtype))])
        return measured
