"""Picture -> score as one graph, which every engine runs; senbetsu.scoring says what is computed."""

import torch
from torch import Tensor, nn

from senbetsu.backbone import Backbone
from senbetsu.network import FeatureNetwork
from senbetsu.places import farthest_count
from senbetsu.whitening import DISTANCE_FLOOR


def _squared(vectors: Tensor, centroid: Tensor, directions: Tensor, gain: Tensor, rest: Tensor) -> Tensor:
    """(B, R, D) -> squared whitened distances (B, R). Rows of all parts at a time: one product reads the directions once."""
    y = (vectors - centroid).flatten(0, 1)
    along = y @ directions
    squared = (along.square() * gain).sum(1) + y.square().sum(1) * rest
    return squared.reshape(-1, vectors.shape[1])


class ScoringNetwork(nn.Module):
    """Picture -> score and what it is made of."""

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        self.features = FeatureNetwork(backbone)

    def forward(
        self,
        images: Tensor,
        head_weight: Tensor,
        head_bias: Tensor,
        metric_centroid: Tensor,
        metric_gain: Tensor,
        whole_centroid: Tensor,
        whole_directions: Tensor,
        whole_gain: Tensor,
        whole_rest: Tensor,
        windows_centroid: Tensor,
        windows_directions: Tensor,
        windows_gain: Tensor,
        windows_rest: Tensor,
        context_mean: Tensor,
        context_map: Tensor,
        context_centre: Tensor,
        places_mean: Tensor,
        places_directions: Tensor,
        places_regression: Tensor,
        places_precision: Tensor,
        places_gain: Tensor,
        places_rest: Tensor,
        fusion_matrix: Tensor,
        fusion_offset: Tensor,
        fusion_hinge: Tensor,
        fusion_gain: Tensor,
    ) -> Tensor:
        """images (B, H, W, 3) uint8 BGR, then ScorerConstants -> (B, 4) float32, columns as in OUTPUTS.

        The constants are arguments, so that one exported graph serves every profile: an engine turns them into
        constants when it is built.
        """
        context, whole, windows, places, *tuned = self.features(images)
        rows = tuned[0] if tuned else torch.cat([context, whole], 1)
        embedding = nn.functional.normalize(rows @ head_weight + head_bias, dim=1, eps=1e-12)
        near = ((embedding - metric_centroid).square() * metric_gain).sum(1, keepdim=True)
        x = (places - places_mean).flatten(0, 1)
        y = x @ places_directions
        expected = (((context - context_mean) @ context_map - context_centre) @ places_regression).reshape(y.shape)
        left_over = (x.square().sum(1) - y.square().sum(1)).clamp_min(0)
        q = ((y - expected).square() * places_precision).sum(1) + left_over * places_rest
        q = q.reshape(-1, places.shape[1]) * places_gain
        farthest = q.topk(farthest_count(places.shape[1]), 1).values.mean(1, keepdim=True)
        far = _squared(whole[:, None], whole_centroid, whole_directions, whole_gain, whole_rest)
        of_windows = _squared(windows, windows_centroid, windows_directions, windows_gain, windows_rest)
        squared = torch.cat([near, far, of_windows.amax(1, keepdim=True), farthest], 1)
        logs = squared.clamp_min(DISTANCE_FLOOR**2).log() * 0.5
        # Not a matrix product: an engine that computes products in bf16 would round the logarithms to 1 / 64.
        gauges = (logs[:, :, None] * fusion_matrix).sum(1) + fusion_offset
        metric, novelty = gauges[:, :1], gauges[:, 1:]
        score = novelty + fusion_gain * (metric - fusion_hinge).clamp_min(0)
        # An engine may fuse a scalar with the clamp or the maximum that it meets, which then hides that it is NaN.
        scalars = whole_rest + windows_rest + places_rest + fusion_hinge + fusion_gain
        evidence = near + far + (of_windows.sum(1, keepdim=True) + q.sum(1, keepdim=True)) + metric + novelty + scalars
        return torch.cat([score.exp(), metric.exp(), novelty.exp(), evidence], 1)
