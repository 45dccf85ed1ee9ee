"""A backbone that gives the frozen maps and the tuned ones in one pass.

What lies before the first tuned stage is the same for both and runs once; from there on both versions run. Where all of the
backbone was tuned, or where a network of timm cannot be taken apart into stages, the whole backbone runs twice.
"""

import copy
from collections.abc import Iterable

from torch import Tensor, from_numpy, nn

from senbetsu.stages import Stages
from senbetsu.tuned import Tuned


def with_tuned(stages: Stages, learned: Tuned) -> Stages:
    """A copy of the network with these tensors in it, in eval mode, frozen.

    Raises:
        ValueError: a tensor is not one of the network's, or has another shape.
    """
    tuned = copy.deepcopy(stages)
    own = tuned.state_dict()
    for name, values in learned.tensors.items():
        if name not in own or tuple(own[name].shape) != values.shape:
            raise ValueError(f"the backbone has no tensor {name} of shape {values.shape}")
    tuned.load_state_dict({name: from_numpy(values) for name, values in learned.tensors.items()}, strict=False)
    return tuned.eval().requires_grad_(False)


class TwoFold(nn.Module):
    """Normalised pictures (B, 3, S, S) -> maps of the frozen stages, and of the tuned ones; see `Stages`."""

    def __init__(self, stages: Stages, tuned: Tuned) -> None:
        super().__init__()
        other = with_tuned(stages, tuned)
        self.frozen = stages
        self._steps = nn.ModuleList(stages.steps() or [])
        self._shared = _first_changed(self._steps, tuned, stages)
        if self._shared == 0:
            self.tuned: nn.Module = other
        else:
            self.tuned = nn.ModuleList((other.steps() or [])[self._shared :])

    @property
    def shared_steps(self) -> int:
        """Steps (stages of the network, whether their maps are used or not) that run once for both."""
        return self._shared

    def forward(self, x: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """x: normalised BGR, any floating dtype."""
        if self._shared == 0:
            return self.frozen(x), list(self.tuned(x))
        x = x.flip(1) if self.frozen.reorder else x
        maps: list[Tensor] = []
        for step in self._steps[: self._shared]:
            x = step(x)
            maps.append(x)
        # What follows may change its input in place, and must not do so for both.
        y = x.clone()
        tuned = [*maps[:-1], y]
        for step in self._steps[self._shared :]:
            x = step(x)
            maps.append(x)
        for step in self.tuned:  # type: ignore[attr-defined]
            y = step(y)
            tuned.append(y)
        return self.frozen.chosen(maps), self.frozen.chosen(tuned)


def _first_changed(steps: Iterable[nn.Module], tuned: Tuned, stages: Stages) -> int:
    """The first step that holds a tuned tensor; 0 also where a tuned tensor is in none of them."""
    names = {id(tensor): name for name, tensor in [*stages.named_parameters(), *stages.named_buffers()]}
    changed: list[int] = []
    found: set[str] = set()
    for number, step in enumerate(steps):
        inside = {names[id(tensor)] for tensor in [*step.parameters(), *step.buffers()]} & set(tuned.tensors)
        found |= inside
        if inside:
            changed.append(number)
    return min(changed) if changed and found == set(tuned.tensors) else 0
