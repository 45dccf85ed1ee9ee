"""anomalib's PaDiM and PatchCore, fitted and scored by anomalib's own classes on feature maps computed before.

PaDiM (Defard et al., arXiv 2011.08785): `PadimModel`, which also draws the random features and whose
`MultiVariateGaussian` fits them. PatchCore (Roth et al., arXiv 2106.08265): `PatchcoreModel` and `KCenterGreedy`.
Only two things are replaced: the extractor, by one that replays the maps; and the loop that selects PatchCore's
coreset, by one that finds the same centres (see `PrunedKCenterGreedy`), without which this would take days on a CPU.
"""

from collections.abc import Sequence

import numpy as np
import torch
from anomalib.models.components import KCenterGreedy
from anomalib.models.image.padim.torch_model import PadimModel
from anomalib.models.image.patchcore.torch_model import PatchcoreModel
from numpy.typing import NDArray
from torch import Tensor, nn

from benchmarks.peers.pictures import BACKBONE, BATCH, INPUT_SIZE, Features

PADIM_LAYERS = ["blocks.1", "blocks.2", "blocks.4"]
PADIM_FEATURES = 100
PATCHCORE_LAYERS = ["blocks.2", "blocks.4"]
PATCHCORE_NEIGHBOURS = 9
CORESET = {"patchcore_1": 0.01, "patchcore_10": 0.1}
METHODS = ("padim", *CORESET)


class PrunedKCenterGreedy(KCenterGreedy):  # type: ignore[misc]  # anomalib is not in this environment
    """anomalib's greedy k-centre selection with the distances left out that cannot change anything.

    The draw of the first centre, the random projection and the rule (the point farthest from all centres comes next)
    are anomalib's. Two exact savings. Turning the projected points to their principal axes keeps every distance, and
    leaves as many dimensions as there are features. A distance along the first HEAD axes is never more than the
    whole, so where that is already more than a point's distance to its nearest centre, the new centre is not nearer.
    Only rounding differs: of two nearly equal candidates the other may be taken.
    """

    HEAD = 56

    def select_coreset_idxs(self) -> list[int]:
        """Row numbers of the chosen points, in the order of choice."""
        self.model.fit(self.embedding)
        triangle = torch.linalg.qr(self.model.sparse_random_matrix)[1]
        points = self.embedding @ triangle.T
        points -= points.mean(0)
        axes = torch.linalg.eigh((points.T @ points).double())[1].flip(1).float()
        points = points @ axes
        head = points[:, : self.HEAD].contiguous()
        head_squared = head.square().sum(1)
        slack = 1e-5 * float(head_squared.max())  # what float32 may lose in the head's distance
        chosen = torch.empty(self.coreset_size, dtype=torch.long)
        index = torch.randint(high=self.n_observations, size=(1,)).squeeze()
        nearest_squared = torch.full((self.n_observations,), torch.inf)
        for count in range(self.coreset_size):
            chosen[count] = index
            centre = points[index]
            head_centre = centre[: self.HEAD]
            at_least = torch.addmv(head_squared, head, head_centre, alpha=-2)
            possible = nearest_squared + (slack - float(head_centre.square().sum()))
            near = torch.nonzero(at_least < possible)[:, 0]
            nearest_squared[near] = torch.minimum(nearest_squared[near], (points[near] - centre).square().sum(1))
            nearest_squared[index] = 0.0
            index = nearest_squared.argmax()
        return chosen.tolist()


class Replay(nn.Module):
    """Stands where anomalib has its extractor and hands out what `Features` computed."""

    def __init__(self, features: Features, layers: Sequence[str]) -> None:
        super().__init__()
        self._features, self._layers = features, layers
        self.names: Sequence[str] = ()

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """The maps of `names`; of `images` only the number is used."""
        if len(images) != len(self.names):
            raise ValueError(f"{len(images)} images, but {len(self.names)} names")
        return self._features.of(self.names, self._layers)


def fit(method: str, features: Features, normals: Sequence[str], seed: int) -> PadimModel | PatchcoreModel:
    """A fitted model.

    Args:
        method: one of METHODS.
        features: holds the maps of PADIM_LAYERS of all pictures.
        normals: names of the pictures to learn from.
        seed: of PaDiM's choice of features, of PatchCore's projection and first centre.
    """
    torch.manual_seed(seed)
    np.random.seed(seed)  # anomalib's projection draws from numpy's global generator
    model: PadimModel | PatchcoreModel
    if method == "padim":
        model = PadimModel(BACKBONE, PADIM_LAYERS, pre_trained=False, n_features=PADIM_FEATURES)
    else:
        model = PatchcoreModel(PATCHCORE_LAYERS, BACKBONE, pre_trained=False, num_neighbors=PATCHCORE_NEIGHBOURS)
    model.feature_extractor = Replay(features, model.layers)
    model.train()
    _run(model, normals)
    if isinstance(model, PadimModel):
        model.fit()
    else:
        bank = torch.vstack(model.embedding_store)
        model.embedding_store.clear()
        model.memory_bank = PrunedKCenterGreedy(bank, CORESET[method]).sample_coreset()
    return model.eval()


def patches(features: Features, names: Sequence[str]) -> Tensor:
    """What PatchCore selects its coreset from: (N, 152) float32, the embeddings of all patches of the pictures."""
    model = PatchcoreModel(PATCHCORE_LAYERS, BACKBONE, pre_trained=False, num_neighbors=PATCHCORE_NEIGHBOURS)
    model.feature_extractor = Replay(features, PATCHCORE_LAYERS)
    _run(model.train(), names)
    return torch.vstack(model.embedding_store)


def scores(model: PadimModel | PatchcoreModel, names: Sequence[str]) -> NDArray[np.float64]:
    """anomalib's `pred_score` of each picture: (N,) float64, higher is stranger."""
    return torch.cat(_run(model, names)).double().numpy()


def _run(model: PadimModel | PatchcoreModel, names: Sequence[str]) -> list[Tensor]:
    """`pred_score` of each batch; none while the model learns."""
    found = []
    size_only = torch.empty(1).expand(BATCH, 3, *INPUT_SIZE)  # the models ask the images for their size alone
    for start in range(0, len(names), BATCH):
        model.feature_extractor.names = names[start : start + BATCH]
        with torch.inference_mode():
            output = model(size_only[: len(model.feature_extractor.names)])
        if not model.training:
            found.append(output.pred_score.flatten())
    return found
