"""The feature network: a picture goes through the backbone once, and its maps are measured (senbetsu.statistics).

Where the backbone was fine-tuned, its tuned maps are measured as well, for the head alone (senbetsu.two_fold).
"""

import torch
from torch import Tensor, nn

from senbetsu.backbone import Backbone
from senbetsu.backbone_network import load_backbone
from senbetsu.statistics import Measure, Statistics, learnable
from senbetsu.two_fold import TwoFold

EMBEDDING_DIM = 64


class FeatureNetwork(nn.Module):
    """Picture -> statistics of the backbone. What `train` and `calibrate` fit on."""

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        stages = load_backbone(backbone)
        self.tuned = None if backbone.tuned is None else TwoFold(stages, backbone.tuned)
        self.backbone = stages
        # Along a row of pixels: three numbers a pixel would be too few at a time for a CPU's vectors.
        mean, std = (torch.tensor(values[::-1]).repeat(backbone.input_size) for values in (backbone.mean, backbone.std))
        self.register_buffer("_mean", mean, persistent=False)
        self.register_buffer("_std", std, persistent=False)
        self._compute_dtype = torch.float32
        with torch.no_grad():
            maps = self.backbone(torch.zeros(1, 3, backbone.input_size, backbone.input_size))
        self.measure = Measure([(x.shape[-2], x.shape[-1]) for x in maps])

    def use(self, dtype: torch.dtype) -> None:
        """Let the backbone compute in `dtype`, channels last; what follows it stays in float32."""
        self._compute_dtype = dtype
        for module in (self.backbone, self.tuned):
            if module is not None:
                module.to(dtype=dtype, memory_format=torch.channels_last)  # type: ignore[call-overload]

    def normalised(self, images: Tensor) -> Tensor:
        """images (B, S, S, 3) uint8 BGR -> what the backbone was trained on, (B, 3, S, S) float32, channels last."""
        rows = images.flatten(2).to(torch.float32)
        return ((rows - self._mean) / self._std).reshape(images.shape).permute(0, 3, 1, 2)  # type: ignore[operator]

    def forward(self, images: Tensor) -> Statistics | tuple[Tensor, ...]:
        """images (B, S, S, 3) uint8 BGR -> statistics of the frozen maps, and (B, 4 M) `learnable` ones of tuned maps."""
        x = self.normalised(images).to(self._compute_dtype)
        if self.tuned is None:
            measured: Statistics = self.measure([x.float() for x in self.backbone(x)])
            return measured
        frozen, tuned = self.tuned(x)
        return (*self.measure([x.float() for x in frozen]), learnable([x.float() for x in tuned]))
