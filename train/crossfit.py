"""What each statistic is worth, found on parts that it was not fitted on.

The parts are dealt into folds, by lot where lots are told apart (`--group`). Each fold is left out once: a head (or more, see
train.depth) is learned, axes and whitenings are fitted on the others, and the fold's parts are measured with them. From these
distances come the scale of every statistic
(mean and spread of its logarithm among normals), the weights of the novelty gauge (train.judge), and that of the metric gauge
(train.share), for which a second head is learned in each fold that has not seen some of the kinds of defect at all.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from senbetsu.config import TrainSection
from senbetsu.embedding import Axes, NormalMoments, fit_scorer
from senbetsu.features import Features
from senbetsu.moments import Moments
from senbetsu.places import PlaceFrame, PlaceMoments, fit_places
from senbetsu.scoring import STATISTICS, Fusion, Head, Scorer
from senbetsu.whitening import fit_isotropic
from train.depth import Learner, Tuner
from train.judge import REST_WEIGHTS, DamagedParts, Judgement, even, judge
from train.labels import NORMAL, UNKNOWN, other_labels
from train.losses import LOSSES
from train.share import Evidence, Share, choose_metric_weight
from train.teacher import with_damage

Logs = NDArray[np.float64]
PLAIN = Fusion((0.0,) * len(STATISTICS), (1.0,) * len(STATISTICS), (0.0, *(1 / 3,) * 3))
FIRST_PLACES = STATISTICS.index("places")


@dataclass(frozen=True, slots=True, eq=False)
class CrossFit:
    """What the folds gave."""

    axes: tuple[Axes, ...]
    normal_fold: NDArray[np.int64]
    fusion: Fusion
    judgement: Judgement
    share: Share


def deal(count: int, folds: int, seed: int) -> NDArray[np.int64]:
    """A fold for each of `count` parts, as even as can be, in random order."""
    return np.random.default_rng(seed).permutation(np.arange(count) % folds)


def deal_lots(lots: Sequence[str], folds: int, seed: int) -> NDArray[np.int64]:
    """A fold for each part, the same for all of a lot: the largest lot first, each to the fold that holds the fewest."""
    names, lot_of, sizes = np.unique(np.array(lots), return_inverse=True, return_counts=True)
    count = min(folds, len(names))
    shuffled = np.random.default_rng(seed).permutation(len(names))  # lots of one size
    filled, fold_of = np.zeros(count, np.int64), np.zeros(len(names), np.int64)
    for lot in shuffled[np.argsort(-sizes[shuffled], kind="stable")]:
        fold_of[lot] = np.argmin(filled)
        filled[fold_of[lot]] += sizes[lot]
    return fold_of[lot_of]


class Ground:
    """What the folds give without a head: who is in which, the whitenings, and the distances of frozen statistics.

    Nothing in it depends on what is shown as a defect, so that one ground serves any number of learnings from the same
    normal parts, and the frozen statistics of a part are measured once in a fold.
    """

    def __init__(self, normals: Features, settings: TrainSection, lots: Sequence[str] | None = None) -> None:
        """`lots`: of each normal part, N; None: any part may be left out without the others of its lot."""
        if lots is None:
            self.normal_fold = deal(len(normals), min(settings.folds, len(normals)), settings.seed)
        else:
            self.normal_fold = deal_lots(lots, settings.folds, settings.seed)
        self._total = Moments.of(normals.whole), Moments.of(normals.windows)
        self._scorers: dict[int, list[Scorer]] = {}
        self._frozen: dict[tuple[int, str], Logs] = {}

    def scorers(self, fold: int, head: Head, normals: Features) -> list[Scorer]:
        """With this head, fitted without the normal parts of the fold; they differ as REST_WEIGHTS do.

        Args:
            normals: all of them, with the rows that this head maps.
        """
        inside = self.normal_fold == fold
        if fold not in self._scorers:
            self._scorers[fold] = _fit(head, normals, inside, self._total)
        metric = fit_isotropic(Moments.of(head.embed(normals.head_rows[~inside])))
        return [replace(scorer, head=head, metric=metric) for scorer in self._scorers[fold]]

    def measure(self, fold: int, scorers: Sequence[Scorer], parts: Features) -> Logs:
        """Log distances (N, 3 + R): metric, whole, windows, then places by each of REST_WEIGHTS; by the fold's scorers."""
        if len(parts) == 0:
            return _empty(0)
        new = np.array([i for i, sha256 in enumerate(parts.sha256) if (fold, sha256) not in self._frozen], int)
        rows = _measure(scorers, parts.take(new))[:, 1:]
        self._frozen.update({(fold, parts.sha256[i]): row for i, row in zip(new, rows, strict=True)})
        metric = np.log(scorers[0].metric.distance(scorers[0].head.embed(parts.head_rows)[:, None]))
        return np.column_stack([metric, np.stack([self._frozen[fold, sha256] for sha256 in parts.sha256])])


def cross_fit(
    normals: Features,
    defects: Features | None,
    labels: NDArray[np.int64],
    damage: DamagedParts | None,
    settings: TrainSection,
    tuner: Tuner | None = None,
    ground: Ground | None = None,
) -> CrossFit:
    """Learn and measure fold by fold.

    Args:
        normals: N parts.
        defects: M parts, or None.
        labels: (N + M,) class of each part, normals first.
        damage: damaged copies of the normals, or None: then the statistics weigh the same.
        tuner: fine-tunes the backbone as well, for each fold and each hidden kind; None: the head alone.
        ground: of the same normals, seed and folds, where there is one already.
    """
    ground = Ground(normals, settings) if ground is None else ground
    normal_fold = ground.normal_fold
    folds = int(normal_fold.max()) + 1
    defect_fold = deal(len(labels) - len(normals), folds, settings.seed + 1)
    rows = normals.head_rows if defects is None else np.concatenate([normals.head_rows, defects.head_rows])
    teacher = damage if settings.teach_damage and defects is not None else None
    rows, all_labels = with_damage(rows, labels, teacher)
    learner = Learner(rows, all_labels, settings, tuner)
    of_damage = np.zeros(0, np.int64) if teacher is None else normal_fold[teacher.source]
    fold_of = np.concatenate([normal_fold, defect_fold, of_damage])
    hidden = hidden_kinds(labels, folds)
    axes: list[Axes] = []
    normal_logs = _empty(len(normals))
    defect_logs = _empty(len(labels) - len(normals))
    damage_logs = _empty(0 if damage is None else len(damage.kinds))
    unseen: list[tuple[int, int, Logs, Logs]] = []
    for fold in range(folds):
        kept, inside = fold_of != fold, normal_fold == fold
        what = f"learning without fold {fold + 1} of {folds}"
        learned = learner.learn(kept, what)
        seen = learned.seen_by(normals, 0)
        scorers = ground.scorers(fold, learned.head, seen)
        axes.append(Axes(learned.head, scorers[0].places.frame, learned.tuned))
        normal_logs[inside] = ground.measure(fold, scorers, seen.take(inside))
        if damage is not None:
            of_fold = normal_fold[damage.source] == fold  # only its frozen statistics are judged
            damage_logs[of_fold] = ground.measure(fold, scorers, damage.features.take(of_fold))
        if defects is not None:
            of_fold = defect_fold == fold
            defect_logs[of_fold] = ground.measure(fold, scorers, learned.seen_by(defects, len(normals)).take(of_fold))
            for kind in hidden.get(fold, ()):
                shown = kept & (all_labels != kind)
                if other_labels(all_labels[shown]) < (2 if LOSSES[settings.loss].needs_quadruplets else 1):
                    continue  # what is left to learn from is too little to tell anything of the kind that is hidden
                blind = learner.learn(shown, f"{what} and one kind of defect")
                seen = blind.seen_by(normals, 0)
                scorer = ground.scorers(fold, blind.head, seen)
                of_kind = blind.seen_by(defects, len(normals)).take(labels[len(normals) :] == kind)
                unseen.append(
                    (fold, kind, ground.measure(fold, scorer, seen.take(inside)), ground.measure(fold, scorer, of_kind))
                )
    judgement = even() if damage is None else judge(
        normal_logs[:, 1:FIRST_PLACES], damage_logs[:, 1:FIRST_PLACES], normal_logs[:, FIRST_PLACES:],
        damage_logs[:, FIRST_PLACES:],
    )  # fmt: skip
    narrow = _Narrow(judgement)
    novelty_only = Fusion.of(narrow(normal_logs), (0.0, *judgement.weights))
    shown = Evidence("seen", narrow(normal_logs), narrow(defect_logs))
    blinded = [Evidence(f"kind {kind}", narrow(good), narrow(bad)) for _, kind, good, bad in unseen]
    share = choose_metric_weight(novelty_only, shown, blinded)
    fusion = replace(novelty_only, weights=(share.weight, *judgement.weights))
    return CrossFit(tuple(axes), normal_fold, fusion, judgement, share)


def hidden_kinds(labels: NDArray[np.int64], folds: int) -> dict[int, tuple[int, ...]]:
    """Which kinds of defect are hidden in which fold: each once, where there are two or more of known kind."""
    kinds = [int(kind) for kind in np.unique(labels) if kind not in (NORMAL, UNKNOWN)]
    if len(kinds) < 2:
        return {}
    return {fold: tuple(kinds[fold::folds]) for fold in range(min(folds, len(kinds)))}


def _empty(count: int) -> Logs:
    return np.zeros((count, FIRST_PLACES + len(REST_WEIGHTS)))


def _fit(head: Head, normals: Features, inside: NDArray[np.bool_], total: tuple[Moments, Moments]) -> list[Scorer]:
    """Scorers that differ in the weight of what places leave over, fitted without the parts inside the fold."""
    kept, left_out = normals.take(~inside), normals.take(inside)
    axes = Axes(head, PlaceFrame.of(kept.context, kept.places))
    moments = NormalMoments(
        Moments.of(head.embed(kept.head_rows)),
        total[0].without(Moments.of(left_out.whole)),
        total[1].without(Moments.of(left_out.windows)),
        PlaceMoments.of(axes.frame, kept.context, kept.places),
    )
    first = fit_scorer(axes, moments, PLAIN, REST_WEIGHTS[0])
    others = [replace(first, places=fit_places(axes.frame, moments.places, weight)) for weight in REST_WEIGHTS[1:]]
    return [first, *others]


def _measure(scorers: Sequence[Scorer], parts: Features) -> Logs:
    """Log distances (N, 3 + R): metric, whole, windows, then places by each of REST_WEIGHTS."""
    if len(parts) == 0:
        return _empty(0)
    first = scorers[0].log_distances(*parts.statistics)
    others = [np.log(scorer.places.distance(parts.context, parts.places)) for scorer in scorers[1:]]
    return np.column_stack([first, *others])


@dataclass(frozen=True, slots=True)
class _Narrow:
    """Takes the places' column that the judge chose."""

    judgement: Judgement

    def __call__(self, logs: Logs) -> Logs:
        column = FIRST_PLACES + REST_WEIGHTS.index(self.judgement.rest_weight)
        return np.column_stack([logs[:, :FIRST_PLACES], logs[:, column]])
