"""The feature network cut in two at the backbone's maps: what comes before can be quantised, what comes after is not.

Together both halves are the whole: from_maps(network)(MapsNetwork(images)) is network(images).
"""

from collections.abc import Sequence

from torch import Tensor, nn

from senbetsu.backbone import Backbone
from senbetsu.engine.graph import MakesNetwork
from senbetsu.network import FeatureNetwork
from senbetsu.scoring_network import ScoringNetwork
from senbetsu.statistics import learnable


class MapsNetwork(FeatureNetwork):
    """Pictures (B, S, S, 3) uint8 BGR -> the backbone's maps, each (B, C_i, H_i, W_i); behind them the tuned ones, if any."""

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """See the class."""
        x = self.normalised(images)
        if self.tuned is None:
            return tuple(self.backbone(x))
        frozen, tuned = self.tuned(x)
        return (*frozen, *tuned)


class FromMaps(nn.Module):
    """What MapsNetwork gives -> what FeatureNetwork gives."""

    def __init__(self, features: FeatureNetwork) -> None:
        super().__init__()
        self._measure, self._has_tuned = features.measure, features.tuned is not None

    def forward(self, maps: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """See the class."""
        if not self._has_tuned:
            return tuple(self._measure(list(maps)))
        half = len(maps) // 2
        return (*self._measure(list(maps[:half])), learnable(list(maps[half:])))


def from_maps(network: MakesNetwork, backbone: Backbone) -> nn.Module:
    """A FeatureNetwork or ScoringNetwork that takes a list of maps where it took pictures. Raises TypeError on another."""
    whole = network(backbone)
    if isinstance(whole, FeatureNetwork):
        return FromMaps(whole)
    if not isinstance(whole, ScoringNetwork):
        raise TypeError(f"{network.__name__} is not made of maps")
    whole.features = FromMaps(whole.features)  # type: ignore[assignment]
    return whole
