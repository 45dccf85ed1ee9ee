"""Folded normalisations: none is left where each follows a convolution, and what comes out stays the same."""

from collections.abc import Callable

import pytest
import torch
from networks import lite0, resnet18
from torch import Tensor, nn

from senbetsu.folding import fold_batch_norms
from senbetsu.tuned import Tuned
from senbetsu.two_fold import TwoFold

PICTURE = torch.randn(2, 3, 128, 128, generator=torch.Generator().manual_seed(0))


def norms(network: nn.Module) -> list[nn.BatchNorm2d]:
    return [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]


def trained(network: nn.Module) -> nn.Module:
    """With normalisations that do something."""
    random = torch.Generator().manual_seed(1)
    for norm in norms(network):
        norm.running_mean = torch.randn(norm.num_features, generator=random)
        norm.running_var = 0.5 + torch.rand(norm.num_features, generator=random)
        if norm.affine:
            nn.init.uniform_(norm.weight, 0.5, 1.5, generator=random)
            nn.init.uniform_(norm.bias, -1, 1, generator=random)
    return network.eval().requires_grad_(False)


class TwoOutputs(nn.Module):
    """Both versions' maps as one list."""

    def __init__(self, starts: str) -> None:
        super().__init__()
        stages = lite0()
        tensors = {name: (1.02 * p).numpy() for name, p in stages.named_parameters() if name.startswith(starts)}
        self.both = TwoFold(stages, Tuned(tensors))

    def forward(self, x: Tensor) -> list[Tensor]:
        frozen, tuned = self.both(x)
        return [*frozen, *tuned]


def layers(*some: nn.Module) -> nn.Module:
    torch.manual_seed(0)
    return OneOutput(trained(nn.Sequential(*some)))


class OneOutput(nn.Module):
    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> list[Tensor]:
        return [self.network(x)]


@pytest.mark.parametrize(
    ("make", "count"),
    [
        (lite0, 48),
        (lambda: trained(resnet18()), 20),
        (lambda: TwoOutputs("network.blocks.6."), 51),
        (lambda: TwoOutputs("network."), 96),
        (lambda: layers(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(inplace=True)), 1),
        (lambda: layers(nn.Conv2d(3, 6, 5, 2, 2, groups=3, bias=False), nn.BatchNorm2d(6, affine=False)), 1),
    ],
)  # fmt: skip
def test_every_normalisation_is_folded_and_nothing_changes(make: Callable[[], nn.Module], count: int) -> None:
    network = make()
    with torch.no_grad():
        expected = network(PICTURE)
        assert len(norms(network)) == count
        assert fold_batch_norms(network, lambda: network(PICTURE)) == count
        assert not norms(network)
        for found, wanted in zip(network(PICTURE), expected, strict=True):
            torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-4 * float(wanted.abs().max()))
        assert fold_batch_norms(network, lambda: network(PICTURE)) == 0


class ReadTwice(nn.Module):
    """Something else reads what the convolution gives."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution, self.norm = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)

    def forward(self, x: Tensor) -> list[Tensor]:
        y = self.convolution(x)
        return [self.norm(y) + y]


class NormalisedTwice(nn.Module):
    """One convolution, two normalisations."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution, self.first, self.second = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.BatchNorm2d(4)

    def forward(self, x: Tensor) -> list[Tensor]:
        y = self.convolution(x)
        return [self.first(y), self.second(y)]


class NoConvolution(nn.Module):
    """A normalisation of the picture itself."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.convolution = nn.BatchNorm2d(3), nn.Conv2d(3, 4, 3)

    def forward(self, x: Tensor) -> list[Tensor]:
        return [self.convolution(self.norm(x))]


@pytest.mark.parametrize("make", [ReadTwice, NormalisedTwice, NoConvolution])
def test_what_cannot_be_folded_stays_to_the_bit(make: type[nn.Module]) -> None:
    torch.manual_seed(0)
    network = trained(make())
    kept = norms(network)
    with torch.no_grad():
        expected = network(PICTURE)
        assert fold_batch_norms(network, lambda: network(PICTURE)) == 0
        assert norms(network) == kept
        assert all(torch.equal(a, b) for a, b in zip(network(PICTURE), expected, strict=True))
