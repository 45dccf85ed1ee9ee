"""Which parts fit the model, and which set the threshold.

split: the model is what `train` kept of the normals that it saw; every part that it did not see goes to the threshold.
cross: too few unseen parts. Every part is scored by a model (head, centroid, whitening) that was made without its fold;
the model that will judge is fitted on all.
"""

import logging
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from calibrate.parts import Part
from senbetsu.backbone import Backbone
from senbetsu.conformal import Claim
from senbetsu.embedding import Axes, Embedding, NormalMoments, fit_scorer, normal_moments
from senbetsu.engine import EngineChoice, build_engine
from senbetsu.errors import UserError
from senbetsu.features import Features, extract_features
from senbetsu.moments import Moments
from senbetsu.pictures import score_pictures
from senbetsu.places import PlaceMoments
from senbetsu.scoring import Scorer

log = logging.getLogger("calibrate")

BATCH = 8


def fit_and_score(
    embedding: Embedding, claim: Claim, parts: Sequence[Part], choice: EngineChoice, threads: int
) -> tuple[Scorer, list[Part], NDArray[np.float64]]:
    """The model that will judge, the parts that set the threshold, and their scores (n,) through the line's engine."""
    if claim.method == "split":
        scorer = fit_scorer(embedding.axes, embedding.moments, embedding.fusion, embedding.rest_weight)
        unseen = [part for part in parts if part.fold is None]
        return scorer, unseen, _scores(scorer, embedding.backbone, unseen, choice, threads, "scoring")
    return _cross(embedding, parts, choice, threads)


def _scores(
    scorer: Scorer, backbone: Backbone, parts: Sequence[Part], choice: EngineChoice, threads: int, what: str
) -> NDArray[np.float64]:
    engine = build_engine(scorer, backbone, choice, threads, (BATCH,))
    results = list(score_pictures(engine, [part.path for part in parts], what))
    for result in results:
        if result.error is not None:
            raise UserError(f"{result.error} (it could be read a moment ago)")
    return np.array([result.score for result in results])


def _cross(
    embedding: Embedding, parts: Sequence[Part], choice: EngineChoice, threads: int
) -> tuple[Scorer, list[Part], NDArray[np.float64]]:
    features = extract_features([part.path for part in parts], embedding.backbone, "features")
    folds = _folds(parts, len(embedding.fold_axes))
    seen = np.array([part.fold is not None for part in parts])
    unseen_features = features.take(~seen)
    total = embedding.moments.merged(normal_moments(embedding.axes, unseen_features))
    scores = np.zeros(len(parts))
    for fold, axes in enumerate(embedding.fold_axes):
        inside = folds == fold
        if not inside.any():
            continue
        backbone = axes.backbone(embedding.backbone)
        # A fold's own tuned backbone sees all parts otherwise.
        seen_by_fold = features if axes.tuned is None else extract_features(features.paths, backbone, "features")
        without = _without(total, seen_by_fold, inside, axes)
        scorer = fit_scorer(axes, without, embedding.fusion, embedding.rest_weight)
        held_out = [part for part, is_in in zip(parts, inside, strict=True) if is_in]
        what = f"scoring fold {fold + 1} of {len(embedding.fold_axes)}"
        scores[inside] = _scores(scorer, backbone, held_out, choice, threads, what)
    return fit_scorer(embedding.axes, total, embedding.fusion, embedding.rest_weight), list(parts), scores


def _folds(parts: Sequence[Part], count: int) -> NDArray[np.int64]:
    """The fold that a part was trained in; those that were not are dealt out, always the same way."""
    unseen = sorted(part.sha256 for part in parts if part.fold is None)
    dealt = {sha256: number % count for number, sha256 in enumerate(unseen)}
    return np.array([dealt[part.sha256] if part.fold is None else part.fold for part in parts])


def _without(total: NormalMoments, features: Features, inside: NDArray[np.bool_], axes: Axes) -> NormalMoments:
    """Moments without a fold. Along the fold's own axes lie other numbers, so these are taken of the parts at hand."""
    held_out, kept = features.take(inside), features.take(~inside)
    whole = total.whole.without(Moments.of(held_out.whole))
    windows = total.windows.without(Moments.of(held_out.windows))
    if len(kept) < 2 or whole.count < 2:
        raise UserError(
            f"{len(features)} normal parts are too few to set a threshold with; show at least 4, better 100 or more"
        )
    return NormalMoments(
        Moments.of(axes.head.embed(kept.head_rows)),
        whole,
        windows,
        PlaceMoments.of(axes.frame, kept.context, kept.places),
    )
