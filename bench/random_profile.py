"""Artefacts of random numbers, in the shapes that many normal parts give: for timing, where nothing was trained yet."""

from pathlib import Path

import numpy as np
import torch

from senbetsu.backbone import Backbone
from senbetsu.embedding import Axes, Embedding, NormalMoments, fit_scorer, save_embedding
from senbetsu.engine import EngineChoice
from senbetsu.moments import Moments
from senbetsu.network import EMBEDDING_DIM, FeatureNetwork
from senbetsu.places import CONTEXT_RANK, RANK, PlaceFrame, PlaceMoments
from senbetsu.profile import Profile, save_profile
from senbetsu.promise import make_claim
from senbetsu.scoring import Fusion, Head

PARTS = 4 * CONTEXT_RANK
"""So many give the full ranks."""


def write_random_artifacts(folder: Path, backbone: Backbone, choice: EngineChoice) -> None:
    """`embedding.*` and `profile.*` that no part was ever shown for; every picture is judged, and means nothing."""
    with torch.inference_mode():
        picture = torch.zeros(1, backbone.input_size, backbone.input_size, 3, dtype=torch.uint8)
        context, whole, _, places, *_ = (t.shape[1:] for t in FeatureNetwork(backbone).eval()(picture))
    (M,), (F,), (L, P) = context, whole, places
    r = min(RANK, P)
    random = np.random.default_rng(0)

    def numbers(*shape: int) -> np.ndarray:
        return random.normal(0, 0.01, shape).astype(np.float32)

    frame = PlaceFrame(numbers(M), numbers(M, CONTEXT_RANK), np.linalg.qr(numbers(P, r))[0].astype(np.float32))
    axes = Axes(Head(numbers(EMBEDDING_DIM, M + F), numbers(EMBEDDING_DIM)), frame)
    moments = NormalMoments(
        Moments(PARTS, numbers(1, EMBEDDING_DIM), PARTS * np.eye(EMBEDDING_DIM)),
        Moments(PARTS, numbers(1, F), PARTS * np.diag(random.uniform(0.5, 2, F))),
        Moments(PARTS, numbers(9, F), PARTS * np.diag(random.uniform(0.5, 2, F))),
        PlaceMoments(
            PARTS, numbers(CONTEXT_RANK), PARTS * np.eye(CONTEXT_RANK), numbers(L, P), np.full(L, float(PARTS * P)),
            numbers(L, r), numbers(L, CONTEXT_RANK, r), np.tile(PARTS * np.eye(r), (L, 1, 1)),
        ),
    )  # fmt: skip
    fusion = Fusion((0.0,) * 4, (1.0,) * 4, (0.5, 0.4, 0.3, 0.3))
    embedding = Embedding(backbone, axes, (axes,), moments, fusion, 0.3, {})
    sha256 = save_embedding(folder, embedding, {"learned": False, "random": True})
    claim, _ = make_claim(PARTS, PARTS, None, None)
    profile = Profile(
        fit_scorer(axes, moments, fusion, 0.3),
        1.0,
        claim,
        backbone.input_size,
        choice.kind,
        choice.precision,
        sha256,
        1,
    )
    save_profile(folder, profile, {"parts": [], "random": True})
