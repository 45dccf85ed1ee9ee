"""Embeddings from angles on a circle, so that the right answer is geometry."""

import torch
from torch import Tensor


def on_circle(*degrees: float) -> Tensor:
    """(B, 2) unit vectors, float64; two of them lie 4 sin^2(half their angle) apart."""
    angles = torch.tensor(degrees, dtype=torch.float64).deg2rad()
    return torch.stack([angles.cos(), angles.sin()], 1)
