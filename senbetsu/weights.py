"""A file of a network's weights -> tensors by name. Nothing in such a file is ever run."""

import pickle
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from senbetsu.errors import ConfigError


def read_weights(path: Path) -> dict[str, Tensor]:
    """The tensors of a file by name: safetensors, or what torch.save wrote (tensors only; no code is run).

    Raises:
        ConfigError: it is missing, damaged, or holds something else.
    """
    try:
        path.open("rb").close()
    except OSError as error:
        raise ConfigError(
            f"model.weights = {str(path)!r}: cannot be opened: {error.strerror}; name the file of the backbone's weights"
        ) from error
    try:
        state: Any = (
            load_file(path)
            if path.suffix == ".safetensors"
            else torch.load(path, map_location="cpu", weights_only=True)
        )
    except (SafetensorError, pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError, KeyError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ConfigError(
            f"model.weights = {str(path)!r}: cannot be read as weights ({reason}); expected .safetensors, or a state dict "
            "that torch.save wrote"
        ) from error
    for wrapper in ("state_dict", "model"):  # as timm's and torchvision's training scripts save them
        if isinstance(state, dict) and isinstance(state.get(wrapper), dict):
            state = state[wrapper]
    if not isinstance(state, dict) or not state or not all(isinstance(value, Tensor) for value in state.values()):
        raise ConfigError(f"model.weights = {str(path)!r}: holds no state dict (tensors by name)")
    return state
