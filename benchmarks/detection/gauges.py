"""The product's own learning and calibration, in memory, and its rivals by the same rules, on one choice of normal parts.

What `train` and `calibrate` do, by the functions that they call, on fp32 features and the numpy reference of the scores. The
threshold follows `calibrate`: where the held-out normals support the claim (split conformal), they set it; else every normal
part is scored by a model made without its fold (cross-conformal), and the model that judges is fitted on all. The rivals'
thresholds are found the same way.

What the defects do not change (damage, folds, whitenings, distances of frozen statistics) is computed once.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.detection.figures import figures_of
from benchmarks.detection.rivals import Softmax, learn_softmax, mean_distance
from senbetsu.backbone import Backbone
from senbetsu.config import TrainSection
from senbetsu.conformal import threshold_at
from senbetsu.embedding import Axes, NormalMoments, fit_scorer, normal_moments
from senbetsu.features import Features
from senbetsu.moments import Moments
from senbetsu.places import PlaceFrame, fit_places
from senbetsu.promise import make_claim
from senbetsu.scoring import Head, Scorer
from senbetsu.whitening import fit_isotropic
from train.crossfit import FIRST_PLACES, PLAIN, CrossFit, Ground, cross_fit, deal
from train.head import learn_head
from train.judge import REST_WEIGHTS, damage_parts
from train.teacher import with_damage

Scores = NDArray[np.float64]
GAUGES = ("fused", "metric", "novelty")
"""Columns of senbetsu.scoring.Fusion.outputs."""


@dataclass(slots=True, eq=False)
class _Model:
    """Whitenings of `kept` in `frame`; what they measure is stored, so that another head costs little. It does not fuse."""

    frame: PlaceFrame
    kept: Features
    _moments: NormalMoments | None = None
    _scorers: dict[float, Scorer] = field(default_factory=dict)
    _logs: dict[tuple[float, str], NDArray[np.float64]] = field(default_factory=dict)

    def logs(self, head: Head, rest_weight: float, parts: Features, what: str) -> NDArray[np.float64]:
        """Log distances (N, 4); `what` names the parts."""
        axes = Axes(head, self.frame)
        if self._moments is None:
            self._moments = normal_moments(axes, self.kept)
        if rest_weight not in self._scorers:
            known = next(iter(self._scorers.values()), None)
            self._scorers[rest_weight] = (
                fit_scorer(axes, self._moments, PLAIN, rest_weight)
                if known is None
                else replace(known, places=fit_places(self.frame, self._moments.places, rest_weight))
            )
        scorer = self._scorers[rest_weight]
        if (rest_weight, what) not in self._logs:
            self._logs[rest_weight, what] = scorer.log_distances(*parts.statistics)[:, 1:]
        metric = fit_isotropic(Moments.of(head.embed(self.kept.head_rows)))
        return np.column_stack(
            [np.log(metric.distance(head.embed(parts.head_rows)[:, None])), self._logs[rest_weight, what]]
        )


class Bench:
    """One choice of normal parts and settings; `measure` teaches it some of the defects and tests it on others."""

    def __init__(
        self, backbone: Backbone, fit: Features, calibration: Features, test: Features, defects: Features,
        kinds: list[str], settings: TrainSection,
    ) -> None:  # fmt: skip
        self.settings = settings
        self.fit, self.calibration, self.test, self.defects, self.kinds = fit, calibration, test, defects, kinds
        self.damage = damage_parts(fit, backbone, settings.judge_pictures, settings.seed)
        self.ground = Ground(fit, settings)
        self.claim, _ = make_claim(len(calibration), len(fit) + len(calibration), None, None)
        frame = PlaceFrame.of(fit.context, fit.places)
        is_split = self.claim.method == "split"
        self._all = fit if is_split or len(calibration) == 0 else Features.joined([fit, calibration])
        self._judging = _Model(frame, self._all)
        self._of_fold: dict[int, _Model] = {}
        dealt = np.argsort(np.argsort(np.array(calibration.sha256))) % (self.ground.normal_fold.max() + 1)
        self._fold = np.concatenate([self.ground.normal_fold, dealt]).astype(np.int64)

    def measure(self, taught: NDArray[np.int64], tested: NDArray[np.int64]) -> dict[str, Any]:
        """Figures of every method; `taught` and `tested` are indices of defects, `taught` may be empty."""
        shown = self.defects.take(taught) if len(taught) else None
        numbers = {kind: number for number, kind in enumerate(dict.fromkeys(self.kinds), 1)}
        of_shown = np.array([numbers[self.kinds[i]] for i in taught], np.int64)
        labels = np.concatenate([np.zeros(len(self.fit), np.int64), of_shown])
        crossed = cross_fit(self.fit, shown, labels, self.damage, self.settings, ground=self.ground)
        scores = self._gauges(crossed, shown, labels)
        scores["mean distance"] = self._mean_distance()
        if shown is None:
            scores.pop("metric")
        else:
            scores["softmax"] = self._softmax(shown, of_shown)
        tested_kinds = [self.kinds[i] for i in tested]
        methods = {}
        for name, (calibration, test, defect) in scores.items():
            threshold = threshold_at(calibration.tolist(), self.claim.k)
            methods[name] = figures_of(calibration, test, defect[tested], tested_kinds, threshold)
        return {
            "normals": len(self.fit),
            "calibration": len(self.calibration),
            "taught": len(taught),
            "tested": len(tested),
            "test_normals": len(self.test),
            "claim": {
                "method": self.claim.method, "n": self.claim.n, "k": self.claim.k,
                "guaranteed_rate": round(self.claim.guaranteed_rate, 6), "sentence": self.claim.sentence(),
            },
            "weights": [round(weight, 4) for weight in crossed.fusion.weights],
            "rest_weight": crossed.judgement.rest_weight,
            "methods": methods,
        }  # fmt: skip

    def log_distances(self, head: Head, rest_weight: float) -> list[NDArray[np.float64]]:
        """Log distances (N, 4) by the model that judges: of test normals, of defects, and of what it was not fitted on."""
        some = {"test": self.test, "defects": self.defects}
        if self.claim.method == "split":
            some["calibration"] = self.calibration
        return [self._judging.logs(head, rest_weight, parts, what) for what, parts in some.items()]

    def _gauges(
        self, crossed: CrossFit, shown: Features | None, labels: NDArray[np.int64]
    ) -> dict[str, tuple[Scores, Scores, Scores]]:
        """Scores of calibration parts, test normals and defects of each gauge, and of both fused."""
        rows = self.fit.head_rows if shown is None else np.concatenate([self.fit.head_rows, shown.head_rows])
        teacher = self.damage if self.settings.teach_damage and shown is not None else None
        rows, labels = with_damage(rows, labels, teacher)
        head, _ = learn_head(rows, labels, labels == 0, self.settings, "learning")
        test, defects, *calibration = self.log_distances(head, crossed.judgement.rest_weight)
        if not calibration:
            calibration = [self._held_out(lambda fold, inside: self._fold_logs(crossed, fold, inside))]
        outputs = [crossed.fusion.outputs(some) for some in (*calibration, test, defects)]
        return {name: (outputs[0][:, c], outputs[1][:, c], outputs[2][:, c]) for c, name in enumerate(GAUGES)}

    def _held_out(self, scores: Callable[[int, NDArray[np.bool_]], NDArray[np.float64]]) -> NDArray[np.float64]:
        """What is given for each fold (its number, who is inside), put in the order of all normal parts."""
        pieces = {int(fold): scores(int(fold), self._fold == fold) for fold in np.unique(self._fold)}
        first = next(iter(pieces.values()))
        whole = np.zeros((len(self._fold), *first.shape[1:]))
        for fold, piece in pieces.items():
            whole[self._fold == fold] = piece
        return whole

    def _fold_logs(self, crossed: CrossFit, fold: int, inside: NDArray[np.bool_]) -> NDArray[np.float64]:
        """Log distances of a fold's parts by a model made without them, as `calibrate` does."""
        axes, rest = crossed.axes[fold], crossed.judgement.rest_weight
        if len(self.calibration) == 0:
            wide = self.ground.measure(fold, self.ground.scorers(fold, axes.head, self.fit), self._all.take(inside))
            return np.column_stack([wide[:, :FIRST_PLACES], wide[:, FIRST_PLACES + REST_WEIGHTS.index(rest)]])
        if fold not in self._of_fold:
            self._of_fold[fold] = _Model(axes.frame, self._all.take(~inside))
        return self._of_fold[fold].logs(axes.head, rest, self._all.take(inside), "held out")

    def _mean_distance(self) -> tuple[Scores, Scores, Scores]:
        if self.claim.method == "split":
            calibration = mean_distance(self.fit, self.calibration)
        else:
            calibration = self._held_out(
                lambda _, inside: mean_distance(self._all.take(~inside), self._all.take(inside))
            )
        return calibration, mean_distance(self._all, self.test), mean_distance(self._all, self.defects)

    def _softmax(self, shown: Features, of_shown: NDArray[np.int64]) -> tuple[Scores, Scores, Scores]:
        model = self._classifier(np.ones(len(self.fit), bool), shown, of_shown)
        if self.claim.method == "split":
            calibration = model.scores(self.calibration)
        else:
            shown_fold = deal(len(shown), int(self.ground.normal_fold.max()) + 1, self.settings.seed + 1)

            def held_out(fold: int, inside: NDArray[np.bool_]) -> Scores:
                others = shown_fold != fold if len(shown) > 1 else np.ones(1, bool)
                kept = self.ground.normal_fold != fold
                return self._classifier(kept, shown.take(others), of_shown[others]).scores(self._all.take(inside))

            calibration = self._held_out(held_out)
        return calibration, model.scores(self.test), model.scores(self.defects)

    def _classifier(self, kept: NDArray[np.bool_], shown: Features, of_shown: NDArray[np.int64]) -> Softmax:
        labels = np.concatenate([np.zeros(int(kept.sum()), np.int64), of_shown])
        return learn_softmax(self.fit.take(kept), shown, labels, self.settings)
