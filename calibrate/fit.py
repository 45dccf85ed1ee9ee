"""Which parts fit the model, and which set the threshold.

split: the model is what `train` kept of the normals that it saw; every part that it did not see goes to the threshold.
cross: too few unseen parts. Every part is scored by a model (head, centroid, whitening) that was made without its fold;
the model that will judge is fitted on all.

Where some of the parts may be bad, the highest held-out scores are the suspects. They are taken out of the moments and all
parts scored again, until the suspects stay the same: the concentration step of Rousseeuw & Van Driessen (1999).

Pictures are measured and scored in chunks; in memory are only their moments. Under torchrun each process takes its share of
the chunks and the moments are merged.
"""

import logging
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial, reduce
from itertools import tee
from pathlib import Path

import numpy as np

from calibrate.fitted import FittedPictures
from calibrate.parts import ALL, CHUNK, SEEN, UNSEEN, Part, Parts
from senbetsu.backbone import Backbone
from senbetsu.conformal import Claim, bad_at_most
from senbetsu.distributed import Group
from senbetsu.embedding import Axes, Embedding, NormalMoments, fit_scorer, normal_moments
from senbetsu.engine import EngineChoice, build_engine
from senbetsu.engine.quantised import QuantisedMaps
from senbetsu.errors import UserError
from senbetsu.features import Features, stream_features
from senbetsu.images import Fill
from senbetsu.moments import Moments
from senbetsu.pictures import score_each
from senbetsu.places import PlaceMoments
from senbetsu.scoring import Scorer

log = logging.getLogger("calibrate")

BATCH = 8
CONCENTRATIONS = 3
"""Times that the suspects are looked for anew, at most."""


@dataclass(frozen=True, slots=True, eq=False)
class Fitted:
    """The model that will judge, and which parts set the threshold; their held-out scores are with the parts.

    Suspects among the parts are those that may be bad: neither fitted on nor let set the threshold.
    """

    scorer: Scorer
    used: str


class Calibration:
    """All that fitting and scoring takes; the processes of the group share the pictures."""

    def __init__(
        self,
        embedding: Embedding,
        choice: EngineChoice,
        threads: int,
        group: Group,
        pictures: FittedPictures,
        quantised: QuantisedMaps | None = None,
    ) -> None:
        """`quantised`: of the embedding's backbone, where the choice is int8."""
        self.embedding, self.choice, self.threads, self.group = embedding, choice, threads, group
        self.pictures, self.quantised = pictures, quantised

    def fit_and_score(self, claim: Claim, parts: Parts, bad: Sequence[Part], contamination: float) -> Fitted:
        """Fit, and score through the line's engine.

        Args:
            claim: says by which method.
            parts: normal parts, each with the fold that it is held out in; scores and suspects are written to them.
            bad: those that are not normal after all; what the model has learned of them is taken out of its moments.
            contamination: share of the parts that may be bad.

        Raises:
            UserError: too few parts to hold a fold out, or a picture cannot be read any more.
        """
        of_bad = [part for part in bad if part.fold is not None]
        if claim.method == "cross":
            self._concentrate(parts, ALL, of_bad, contamination)
            return Fitted(self._judge(parts, ALL, of_bad), ALL)
        if contamination and parts.count(SEEN) >= 2:
            self._concentrate(parts, SEEN, of_bad, contamination)
        scorer = self._judge(parts, SEEN, of_bad)
        self._score(scorer, self.embedding.backbone, parts, UNSEEN, "scoring")
        parts.mark_suspects(UNSEEN, claim.suspects)
        return Fitted(scorer, UNSEEN)

    def _concentrate(self, parts: Parts, which: str, bad: Sequence[Part], contamination: float) -> None:
        """Held-out scores, and which are the suspects."""
        count = bad_at_most(parts.count(which), contamination)
        self._held_out(parts, which, bad)
        for _ in range(CONCENTRATIONS if count else 0):
            if not parts.mark_suspects(which, count):
                break
            self._held_out(parts, which, bad)
        parts.mark_suspects(which, count)

    def _judge(self, parts: Parts, which: str, bad: Sequence[Part]) -> Scorer:
        """The model that judges: of what was trained on and the unseen parts, without the suspects and the bad ones."""
        total = self._total(parts, which, bad)
        return fit_scorer(self.embedding.axes, total, self.embedding.fusion, self.embedding.rest_weight)

    def _total(self, parts: Parts, which: str, bad: Sequence[Part]) -> NormalMoments:
        total = self.embedding.moments
        new, out = f"({which}) AND NOT suspect AND {UNSEEN}", f"({which}) AND suspect AND {SEEN}"
        if parts.count(new):
            total = total.merged(self._moments_of(parts.chunks(new, self.group)))
        if parts.count(out):
            total = total.without(self._moments_of(parts.chunks(out, self.group)))
        if bad:
            of_bad = [bad[chunk.start : chunk.stop] for chunk in self.group.chunks(len(bad), CHUNK)]
            total = total.without(self._moments_of(of_bad))
        return total

    def _moments_of(self, chunks: Iterable[Sequence[Part]]) -> NormalMoments:
        own: NormalMoments | None = None
        with self.group.together():
            for _, features in self._measured(chunks, self.embedding.backbone):
                of_chunk = normal_moments(self.embedding.axes, features)
                own = of_chunk if own is None else own.merged(of_chunk)
        there = [moments for moments in self.group.gather_objects(own) if moments is not None]
        return reduce(NormalMoments.merged, there)

    def _measured(
        self, chunks: Iterable[Sequence[Part]], backbone: Backbone
    ) -> Iterator[tuple[Sequence[Part], Features]]:
        """The chunks, and their statistics."""
        chunks, ahead = tee(chunks)
        pictures = (((part.path, partial(self.pictures.open, part)) for part in chunk) for chunk in ahead)
        for chunk, features in zip(chunks, stream_features(pictures, backbone), strict=True):
            if len(features) != len(chunk):
                raise UserError(
                    f"{len(chunk) - len(features)} pictures changed or went away while they were calibrated with"
                )
            yield chunk, features

    def _held_out(self, parts: Parts, which: str, bad: Sequence[Part]) -> None:
        """Scores, each by a model that was made without the part's fold, the suspects and the bad ones."""
        model = self.embedding
        used = parts.folds(which)
        total = self._total(parts, which, bad)
        without: dict[int, NormalMoments] = {}
        frozen = [fold for fold in used if model.fold_axes[fold].tuned is None]
        # A fold's own tuned backbone sees all parts otherwise.
        passes = [[fold] for fold in used if fold not in frozen] + ([frozen] if frozen else [])
        for some in passes:
            without |= self._moments_without(some, total, parts, which)
        for fold in used:
            axes = model.fold_axes[fold]
            scorer = fit_scorer(axes, without[fold], model.fusion, model.rest_weight)
            what = f"scoring fold {fold + 1} of {len(model.fold_axes)}"
            self._score(scorer, axes.backbone(model.backbone), parts, f"({which}) AND hold = {fold}", what)

    def _moments_without(
        self, some: Sequence[int], total: NormalMoments, parts: Parts, which: str
    ) -> dict[int, NormalMoments]:
        """Of each of some folds. Along the fold's own axes lie other numbers, so these are taken of the parts at hand."""
        model = self.embedding
        for fold in some:
            if (left := parts.count(f"({which}) AND hold != {fold} AND NOT suspect")) < 2:
                raise UserError(
                    f"{parts.count(which)} normal parts are too few to set a threshold with, since {left} are left where a "
                    "fold is held out; show at least 4, better 100 or more, and of two lots or more if lots are told apart"
                )
        held: dict[int, tuple[Moments, Moments]] = {}
        kept: dict[int, tuple[Moments, PlaceMoments]] = {}
        with self.group.together():
            backbone = model.fold_axes[some[0]].backbone(model.backbone)
            for chunk, features in self._measured(parts.chunks(which, self.group), backbone):
                holds = np.array([part.hold for part in chunk])
                suspects = np.array([part.suspect for part in chunk])
                for fold in some:
                    _add_held_out(held, fold, features.take((holds == fold) & ~suspects))
                    _add_kept(kept, fold, model.fold_axes[fold], features.take((holds != fold) & ~suspects))
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

    def _score(self, scorer: Scorer, backbone: Backbone, parts: Parts, which: str, what: str) -> None:
        """Score these parts, each process its own chunks, and let all know."""
        with self.group.together():
            for scores in self._judged(scorer, backbone, parts.chunks(which, self.group), parts.count(which), what):
                parts.set_scores(scores)
        parts.share_scores(which, self.group)

    def _judged(
        self, scorer: Scorer, backbone: Backbone, chunks: Iterable[Sequence[Part]], count: int, what: str
    ) -> Iterator[list[tuple[int, float]]]:
        """Numbers and scores of this process's chunks, a batch or more at a time, through the line's engine."""
        if self.quantised is not None and backbone.identity != self.embedding.backbone.identity:
            raise UserError(
                "engine.precision = 'int8': the backbone was fine-tuned, so that each fold has its own, and only that of the "
                "model is in 8 bits; show more parts that `train` did not see, leave --contamination out, or set "
                "engine.precision to auto"
            )
        engine = build_engine(scorer, backbone, self.choice, self.threads, (BATCH,), self.quantised)
        numbers: deque[int] = deque()

        def pictures() -> Iterator[tuple[Path, Fill]]:
            for chunk in chunks:
                for part in chunk:
                    numbers.append(part.number)
                    yield part.path, partial(self.pictures.read, part)

        scores: list[tuple[int, float]] = []
        for result in score_each(engine, pictures(), -(-count // self.group.size), what):
            if result.error is not None:
                raise UserError(f"{result.error} (it could be read a moment ago)")
            scores.append((numbers.popleft(), result.score))
            if len(scores) == CHUNK:
                yield scores
                scores = []
        yield scores


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
