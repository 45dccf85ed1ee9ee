"""Which parts fit the model, and which set the threshold.

split: the model is what `train` kept of the normals that it saw; every part that it did not see goes to the threshold.
cross: too few unseen parts. Every part is scored by a model (head, centroid, whitening) that was made without its fold;
the model that will judge is fitted on all.

Where some of the parts may be bad, the highest held-out scores are the suspects. They are taken out of the moments and all
parts scored again, until the suspects stay the same: the concentration step of Rousseeuw & Van Driessen (1999).

Pictures are read, measured and scored in chunks, and only their moments and scores kept; under torchrun each process takes
its share of the chunks and the moments are merged.
"""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import reduce

import numpy as np
from numpy.typing import NDArray

from calibrate.parts import CHUNK, Part
from senbetsu.backbone import Backbone
from senbetsu.conformal import Claim, bad_at_most
from senbetsu.distributed import Group
from senbetsu.embedding import Axes, Embedding, NormalMoments, fit_scorer, normal_moments
from senbetsu.engine import EngineChoice, build_engine
from senbetsu.engine.quantised import QuantisedMaps
from senbetsu.errors import UserError
from senbetsu.features import Features, stream_features
from senbetsu.moments import Moments
from senbetsu.pictures import score_pictures
from senbetsu.places import PlaceMoments
from senbetsu.scoring import Scorer

log = logging.getLogger("calibrate")

BATCH = 8
CONCENTRATIONS = 3
"""Times that the suspects are looked for anew, at most."""

Scores = NDArray[np.float64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Fitted:
    """The model that will judge, the parts that set the threshold and their held-out scores (n,)."""

    scorer: Scorer
    used: list[Part]
    scores: Scores
    suspects: tuple[tuple[Part, float], ...] = ()
    """Those of all parts that may be bad, the highest score first: neither fitted on nor let set the threshold."""


class Calibration:
    """All that fitting and scoring takes; the processes of the group share the pictures."""

    def __init__(
        self,
        embedding: Embedding,
        choice: EngineChoice,
        threads: int,
        group: Group,
        quantised: QuantisedMaps | None = None,
    ) -> None:
        """`quantised`: of the embedding's backbone, where the choice is int8."""
        self.embedding, self.choice, self.threads, self.group = embedding, choice, threads, group
        self.quantised = quantised

    def fit_and_score(
        self, claim: Claim, parts: Sequence[Part], folds: NDArray[np.int64], bad: Sequence[Part], contamination: float
    ) -> Fitted:
        """Fit, and score through the line's engine.

        Args:
            claim: says by which method.
            parts: normal parts, N.
            folds: (N,) the fold of each.
            bad: those that are not normal after all; what the model has learned of them is taken out of its moments.
            contamination: share of the parts that may be bad.

        Raises:
            UserError: too few parts to hold a fold out, or a picture cannot be read any more.
        """
        of_bad = [part for part in bad if part.fold is not None]
        if claim.method == "cross":
            scores, suspects = self._concentrate(parts, folds, of_bad, contamination)
            return Fitted(self._judge(parts, suspects, of_bad), list(parts), scores, _ranked(parts, scores, suspects))
        unseen = [part for part in parts if part.fold is None]
        seen = [part for part in parts if part.fold is not None]
        found: tuple[tuple[Part, float], ...] = ()
        if contamination and len(seen) >= 2:
            inside = np.array([part.fold is not None for part in parts])
            seen_scores, suspects = self._concentrate(seen, folds[inside], of_bad, contamination)
            found = _ranked(seen, seen_scores, suspects)
        suspected = {part.sha256 for part, _ in found}
        scorer = self._judge(seen, np.array([part.sha256 in suspected for part in seen], bool), of_bad)
        scores = self._scores(scorer, self.embedding.backbone, unseen, "scoring")
        found += _ranked(unseen, scores, _highest(scores, claim.suspects))
        return Fitted(scorer, unseen, scores, tuple(sorted(found, key=lambda one: -one[1])))

    def _concentrate(
        self, parts: Sequence[Part], folds: NDArray[np.int64], bad: Sequence[Part], contamination: float
    ) -> tuple[Scores, Mask]:
        """Held-out scores, and which are the suspects."""
        count = bad_at_most(len(parts), contamination)
        suspects = np.zeros(len(parts), bool)
        scores = self._held_out(parts, folds, suspects, bad)
        for _ in range(CONCENTRATIONS if count else 0):
            now = _highest(scores, count)
            if (now == suspects).all():
                break
            suspects = now
            scores = self._held_out(parts, folds, suspects, bad)
        return scores, _highest(scores, count)

    def _judge(self, parts: Sequence[Part], suspects: Mask, bad: Sequence[Part]) -> Scorer:
        """The model that judges: of what was trained on and the unseen parts, without the suspects and the bad ones."""
        total = self._total(parts, suspects, bad)
        return fit_scorer(self.embedding.axes, total, self.embedding.fusion, self.embedding.rest_weight)

    def _total(self, parts: Sequence[Part], suspects: Mask, bad: Sequence[Part]) -> NormalMoments:
        model = self.embedding
        out = [part for part, suspect in zip(parts, suspects, strict=True) if suspect and part.fold is not None]
        new = [part for part, suspect in zip(parts, suspects, strict=True) if not suspect and part.fold is None]
        total = model.moments
        if new:
            total = total.merged(self._moments_of(new, model.axes, model.backbone))
        if out or bad:
            total = total.without(self._moments_of([*out, *bad], model.axes, model.backbone))
        return total

    def _moments_of(self, parts: Sequence[Part], axes: Axes, backbone: Backbone) -> NormalMoments:
        own: NormalMoments | None = None
        with self.group.together():
            for _, features in self._stream(parts, backbone):
                of_chunk = normal_moments(axes, features)
                own = of_chunk if own is None else own.merged(of_chunk)
        there = [moments for moments in self.group.gather_objects(own) if moments is not None]
        return reduce(NormalMoments.merged, there)

    def _stream(self, parts: Sequence[Part], backbone: Backbone) -> Iterator[tuple[NDArray[np.int64], Features]]:
        """This process's chunks: which parts, and their statistics."""
        chunks = self.group.chunks(len(parts), CHUNK)
        paths = ([parts[number].path for number in chunk] for chunk in chunks)
        for chunk, features in zip(chunks, stream_features(paths, backbone), strict=True):
            if len(features) != len(chunk):
                raise UserError(
                    f"{len(chunk) - len(features)} pictures changed or went away while they were calibrated with"
                )
            yield np.arange(chunk.start, chunk.stop), features

    def _held_out(self, parts: Sequence[Part], folds: NDArray[np.int64], suspects: Mask, bad: Sequence[Part]) -> Scores:
        """Scores (N,), each by a model that was made without the part's fold, the suspects and the bad ones."""
        model = self.embedding
        used = sorted({int(fold) for fold in folds})
        total = self._total(parts, suspects, bad)
        without: dict[int, NormalMoments] = {}
        frozen = [fold for fold in used if model.fold_axes[fold].tuned is None]
        # A fold's own tuned backbone sees all parts otherwise.
        passes = [[fold] for fold in used if fold not in frozen] + ([frozen] if frozen else [])
        for some in passes:
            without |= self._moments_without(some, total, parts, folds, suspects)
        scores = np.zeros(len(parts))
        for fold in used:
            axes, inside = model.fold_axes[fold], folds == fold
            scorer = fit_scorer(axes, without[fold], model.fusion, model.rest_weight)
            held_out = [part for part, is_in in zip(parts, inside, strict=True) if is_in]
            what = f"scoring fold {fold + 1} of {len(model.fold_axes)}"
            scores[inside] = self._scores(scorer, axes.backbone(model.backbone), held_out, what)
        return scores

    def _moments_without(
        self, some: Sequence[int], total: NormalMoments, parts: Sequence[Part], folds: NDArray[np.int64], suspects: Mask
    ) -> dict[int, NormalMoments]:
        """Of each of some folds. Along the fold's own axes lie other numbers, so these are taken of the parts at hand."""
        model = self.embedding
        for fold in some:
            if (left := int(((folds != fold) & ~suspects).sum())) < 2:
                raise UserError(
                    f"{len(parts)} normal parts are too few to set a threshold with, since {left} are left where a fold is "
                    "held out; show at least 4, better 100 or more, and of two lots or more if lots are told apart"
                )
        held: dict[int, tuple[Moments, Moments]] = {}
        kept: dict[int, tuple[Moments, PlaceMoments]] = {}
        with self.group.together():
            for numbers, features in self._stream(parts, model.fold_axes[some[0]].backbone(model.backbone)):
                for fold in some:
                    is_in = folds[numbers] == fold
                    _add_held_out(held, fold, features.take(is_in & ~suspects[numbers]))
                    _add_kept(kept, fold, model.fold_axes[fold], features.take(~is_in & ~suspects[numbers]))
        found = {}
        for fold in some:
            gathered = self.group.gather_objects((held.get(fold), kept.get(fold)))
            whole, windows = total.whole, total.windows
            for ours, _ in gathered:
                if ours is not None:
                    whole, windows = whole.without(ours[0]), windows.without(ours[1])
            there = [others for _, others in gathered if others is not None]
            metric = reduce(Moments.merged, [one for one, _ in there])
            places = reduce(PlaceMoments.merged, [one for _, one in there])
            found[fold] = NormalMoments(metric, whole, windows, places)
        return found

    def _scores(self, scorer: Scorer, backbone: Backbone, parts: Sequence[Part], what: str) -> Scores:
        if self.quantised is not None and backbone.identity != self.embedding.backbone.identity:
            raise UserError(
                "engine.precision = 'int8': the backbone was fine-tuned, so that each fold has its own, and only that of the "
                "model is in 8 bits; show more parts that `train` did not see, leave --contamination out, or set "
                "engine.precision to auto"
            )
        own = np.zeros(len(parts))
        numbers = [number for chunk in self.group.chunks(len(parts), CHUNK) for number in chunk]
        with self.group.together():
            engine = build_engine(scorer, backbone, self.choice, self.threads, (BATCH,), self.quantised)
            results = score_pictures(engine, [parts[number].path for number in numbers], what)
            for number, result in zip(numbers, results, strict=True):
                if result.error is not None:
                    raise UserError(f"{result.error} (it could be read a moment ago)")
                own[number] = result.score
        scores: Scores = np.sum(self.group.gather_objects(own), 0)
        return scores


def folds_of(parts: Sequence[Part], lots: Sequence[str] | None, count: int) -> tuple[NDArray[np.int64], list[str]]:
    """The fold of each part, and warnings.

    A part that was trained on has its fold; those that were not are dealt out, always the same way. With lots, the parts of
    one lot share a fold: that in which all of it was trained, if so; else the lots are dealt out, the largest first.
    """
    if lots is None:
        unseen = sorted(part.sha256 for part in parts if part.fold is None)
        dealt = {sha256: number % count for number, sha256 in enumerate(unseen)}
        return np.array([dealt[part.sha256] if part.fold is None else part.fold for part in parts], np.int64), []
    sizes: dict[str, int] = {}
    trained: dict[str, set[int]] = {}
    for part, lot in zip(parts, lots, strict=True):
        sizes[lot] = sizes.get(lot, 0) + 1
        trained.setdefault(lot, set()).update(() if part.fold is None else (part.fold,))
    kept_together = all(len(folds) <= 1 for folds in trained.values())
    fold_of = {lot: next(iter(folds)) for lot, folds in trained.items() if folds} if kept_together else {}
    filled = [sum(sizes[lot] for lot, fold in fold_of.items() if fold == number) for number in range(count)]
    for lot in sorted(sizes.keys() - fold_of.keys(), key=lambda name: (-sizes[name], name)):
        fold_of[lot] = filled.index(min(filled))
        filled[fold_of[lot]] += sizes[lot]
    warnings = [] if kept_together else [
        "`train` dealt the parts of a lot over several folds, so what it learned (the axes that are measured along) has seen "
        "every lot; centroid and whitening have not. The claim is a little optimistic for a new lot"
    ]  # fmt: skip
    return np.array([fold_of[lot] for lot in lots], np.int64), warnings


def _add_held_out(sums: dict[int, tuple[Moments, Moments]], fold: int, parts: Features) -> None:
    whole, windows = Moments.of(parts.whole), Moments.of(parts.windows)
    if fold in sums:
        whole, windows = sums[fold][0].merged(whole), sums[fold][1].merged(windows)
    sums[fold] = whole, windows


def _add_kept(sums: dict[int, tuple[Moments, PlaceMoments]], fold: int, axes: Axes, parts: Features) -> None:
    metric, places = (
        Moments.of(axes.head.embed(parts.head_rows)),
        PlaceMoments.of(axes.frame, parts.context, parts.places),
    )
    if fold in sums:
        metric, places = sums[fold][0].merged(metric), sums[fold][1].merged(places)
    sums[fold] = metric, places


def _highest(scores: Scores, count: int) -> Mask:
    """Which are the `count` highest; of equals the later ones."""
    highest = np.zeros(len(scores), bool)
    highest[np.argsort(scores, kind="stable")[len(scores) - count :]] = True
    return highest


def _ranked(parts: Sequence[Part], scores: Scores, which: Mask) -> tuple[tuple[Part, float], ...]:
    chosen = np.flatnonzero(which)
    return tuple((parts[i], float(scores[i])) for i in chosen[np.argsort(-scores[chosen], kind="stable")])
