"""Batch normalisations as part of the convolutions before them: a pass over each map less.

What a trained normalisation does is one multiplication and one addition a channel, which the convolution's weights and bias can
do as well (Jacob et al., arXiv 1712.05877, section 3.2). OpenVINO does so by itself; torch has the arithmetic
(torch.nn.utils.fusion) and leaves it to the caller to know which follows which. That is watched here while the network runs, so
that it does not matter how a network is written.
"""

from collections import Counter
from collections.abc import Callable, Sequence

from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from senbetsu.stages import agree

Run = Callable[[], Sequence[Tensor]]


def fold_batch_norms(network: nn.Module, run: Run) -> int:
    """Fold every normalisation that a convolution alone feeds; weights are changed in place.

    Args:
        network: in eval mode, in float32.
        run: lets it run once and gives its outputs.

    Returns:
        how many were folded: all that were found, or none where the outputs would be others, since something else reads
        what a convolution gives.
    """
    expected, pairs = _watched(network, run)
    undo = [_fold(network, convolution, norm) for convolution, norm in pairs]
    if agree(run(), expected):
        return len(pairs)
    for back in undo:
        back()
    return 0


def _watched(network: nn.Module, run: Run) -> tuple[list[Tensor], list[tuple[nn.Conv2d, nn.BatchNorm2d]]]:
    """The outputs; and convolutions with the normalisations that theirs went into, where both are in one such pair only."""
    given: list[tuple[Tensor, nn.Conv2d]] = []  # kept, so that no other tensor takes the place of one
    pairs: list[tuple[nn.Conv2d, nn.BatchNorm2d]] = []

    def gave(module: nn.Module, _: object, output: Tensor) -> None:
        if isinstance(module, nn.Conv2d):
            given.append((output, module))

    def takes(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        if isinstance(module, nn.BatchNorm2d) and module.running_mean is not None:
            pairs.extend((convolution, module) for output, convolution in given if output is inputs[0])

    modules = list(network.modules())
    hooks = [module.register_forward_hook(gave) for module in modules]
    hooks += [module.register_forward_pre_hook(takes) for module in modules]
    try:
        outputs = [output.clone() for output in run()]
    finally:
        for hook in hooks:
            hook.remove()
    times = Counter(id(module) for pair in pairs for module in pair)
    return outputs, [pair for pair in pairs if all(times[id(module)] == 1 for module in pair)]


def _fold(network: nn.Module, convolution: nn.Conv2d, norm: nn.BatchNorm2d) -> Callable[[], None]:
    """Fold one pair; gives what takes that back."""
    weight, bias, mean, variance = convolution.weight, convolution.bias, norm.running_mean, norm.running_var
    assert mean is not None
    assert variance is not None
    places = [
        (parent, name) for parent in network.modules() for name, child in parent.named_children() if child is norm
    ]
    convolution.weight, convolution.bias = fuse_conv_bn_weights(
        weight, bias, mean, variance, norm.eps, norm.weight, norm.bias
    )
    for parent, name in places:
        parent.register_module(name, _rest_of(norm))

    def back() -> None:
        convolution.weight, convolution.bias = weight, bias
        for parent, name in places:
            parent.register_module(name, norm)

    return back


def _rest_of(norm: nn.BatchNorm2d) -> nn.Module:
    """What a normalisation does besides: timm's activate as well."""
    steps = [step for name in ("drop", "act") if isinstance(step := getattr(norm, name, None), nn.Module)]
    return nn.Sequential(*(step for step in steps if not isinstance(step, nn.Identity)))
