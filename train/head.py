"""Learning the head: a linear map of the frozen statistics to 64 dimensions, normalised to unit length.

The statistics are standardised on the normal parts first; that is folded into the map that comes out.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from senbetsu.config import TrainSection
from senbetsu.network import EMBEDDING_DIM
from senbetsu.scoring import Head
from train.health import Curve, require_learned
from train.labels import other_labels
from train.learning import learn
from train.tensorboard import observer


class HeadNetwork(nn.Module):
    """Statistics (B, F), standardised on the normal parts -> unit vectors (B, 64).

    It starts with a constant as large as what the normal parts vary by. Standardised normals lie around the origin, so that
    without it their unit vectors point everywhere, and how far out a part lies is thrown away before anything is learned.
    """

    def __init__(self, features: int, dropout: float) -> None:
        super().__init__()
        self.linear = nn.Linear(features, EMBEDDING_DIM)
        with torch.no_grad():
            self.linear.bias.zero_()
            self.linear.bias[-1] = torch.linalg.matrix_norm(self.linear.weight)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        return nn.functional.normalize(self.linear(self.dropout(x)), dim=1)


def standardisation(whole: NDArray[np.floating]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and spread (F,) of statistics (N, F)."""
    X = np.asarray(whole, np.float64)
    return X.mean(0), np.maximum(X.std(0), 1e-3)


def learn_head(
    whole: NDArray[np.float32],
    labels: NDArray[np.int64],
    is_normal: NDArray[np.bool_],
    settings: TrainSection,
    what: str,
) -> tuple[Head, Curve | None]:
    """The head by the loss and selection of the settings; the same result for the same seed.

    Args:
        whole: (N, F) statistics.
        labels: (N,) of each part: 0 normal, 1, 2, ... kinds of defect, train.labels.UNKNOWN those of unknown kind.
        is_normal: (N,).
        settings: seed, steps, loss, selection, margins, batch and learning rate.
        what: name of the progress bar and of the run in messages.

    Returns:
        The head, and how learning went: None where there are no defects among these parts, so that there is nothing to
        learn and the head is the normals' leading directions.

    Raises:
        CollapsedError: nothing usable was learned; the text says what to choose instead.
        UserError: the loss takes quadruplets, and there are not labels enough for one.
    """
    if not other_labels(labels):
        return principal_head(whole[is_normal]), None
    mean, spread = standardisation(whole[is_normal])
    X = torch.tensor((whole - mean) / spread, dtype=torch.float32)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        network = HeadNetwork(X.shape[1], settings.dropout)
    observers = [] if settings.tensorboard is None else [observer(settings.tensorboard, what)]
    curve = learn(network, X, labels, settings, what, observers)
    require_learned(curve, settings, what)
    linear = network.linear
    return fold_in(linear.weight.detach().numpy(), linear.bias.detach().numpy(), mean, spread), curve


def principal_head(whole: NDArray[np.float32]) -> Head:
    """Without any defect there is nothing to tell apart: the normals' leading directions of variation, nothing learned.

    With fewer than 65 parts the directions that are left over are zero.
    """
    mean, spread = standardisation(whole)
    X = (whole - mean) / spread
    _, sizes, directions = np.linalg.svd(X, full_matrices=False)
    weight = np.zeros((EMBEDDING_DIM, X.shape[1]))
    rank = min(EMBEDDING_DIM, int((sizes > 1e-6 * max(sizes[0], 1e-12)).sum()))
    weight[:rank] = directions[:rank]
    # A constant beside the directions: without it, unit length would throw away how far out a part lies.
    bias = np.zeros(EMBEDDING_DIM)
    bias[-1] = float(np.sqrt(np.square(X).sum(1).mean())) or 1.0
    weight[-1] = 0.0
    return fold_in(weight, bias, mean, spread)


def fold_in(
    weight: NDArray[np.floating], bias: NDArray[np.floating], mean: NDArray[np.float64], spread: NDArray[np.float64]
) -> Head:
    """The map of standardised statistics -> that of the statistics themselves."""
    folded = weight / spread
    return Head(folded.astype(np.float32), (bias - folded @ mean).astype(np.float32))
