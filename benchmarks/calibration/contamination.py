"""Real defects among the normal parts: `python -m benchmarks.calibration.contamination --data DIR`.

All shown parts fit the model and set the threshold (cross-conformal), as `calibrate` does it with the same parts as `train`.
A share of them are defects, drawn at random from all kinds; the other defects and the normal parts not shown are the test.
Plain states no contamination; robust states the share that is really there (and 5 % where there is none), so that it tells
what robustness is worth and what it costs. Asked for nothing: 1 % expected, or the tightest.

The block of the stained tile is a real case: one of the 133 parts that set the threshold shows a stain.
"""

import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.calibration.blocks import Blocks, measure
from benchmarks.calibration.refit import FOLDS, Model, Scores, Set, deal, held_out_scores
from senbetsu.auroc import auroc
from senbetsu.conformal import bad_at_most, threshold_at
from senbetsu.features import Features
from senbetsu.promise import make_claim

STATISTICS = ("whole", "places")
SHARES = (0.0, 0.01, 0.05, 0.1)
STATED_WITHOUT_ANY = 0.05
SHOWN = 0.6
"""Of all normal parts."""
CONCENTRATIONS = 3
STAINED = "exp4_num_346361.jpg"


def shares(some: Set, count: int) -> dict[str, Any]:
    """`count` draws for each share; without the windows' statistics, since a draw takes up to 25 fits."""
    runs = []
    for seed in range(count):
        for share in SHARES:
            random = np.random.default_rng(seed)
            normals, defects = random.permutation(len(some.normal)), random.permutation(len(some.defects))
            n = round(SHOWN * len(some.normal))
            bad = bad_at_most(n, share)
            shown = Features.joined([some.normal.take(normals[: n - bad]), some.defects.take(defects[:bad])])
            rest, others = some.normal.take(normals[n:]), some.defects.take(defects[bad:])
            is_bad = np.arange(n) >= n - bad
            fold = deal(shown.sha256, FOLDS, random)
            plain = held_out_scores(shown, fold, STATISTICS)
            stated = share or STATED_WITHOUT_ANY
            robust, suspects = concentrate(shown, fold, plain, bad_at_most(n, stated))
            methods = {
                "plain": judged(shown, rest, others, plain, np.zeros(n, bool), 0.0),
                "robust": judged(shown, rest, others, robust, suspects, stated),
            }
            found = int((suspects & is_bad).sum())
            runs.append({"share": share, "seed": seed, "shown": n, "bad": bad, "stated": stated,
                         "suspects": int(suspects.sum()), "bad_among_suspects": found, "methods": methods})  # fmt: skip
            print(time.strftime("%H:%M:%S"), some.name, runs[-1], flush=True)
    return {"rest": len(some.normal) - round(SHOWN * len(some.normal)), "runs": runs}


def concentrate(
    shown: Features, fold: NDArray[np.int64], scores: Scores, count: int
) -> tuple[Scores, NDArray[np.bool_]]:
    """As `calibrate` does: held-out scores by models that the suspects are not in, and the suspects."""
    suspects = np.zeros(len(shown), bool)
    for _ in range(CONCENTRATIONS):
        now = highest(scores, count)
        if (now == suspects).all():
            break
        suspects = now
        scores = np.zeros(len(shown))
        for number in np.unique(fold):
            inside = fold == number
            model = Model.of(shown.take(~inside & ~suspects), STATISTICS)
            scores[inside] = model.scores(shown.take(inside))
    return scores, highest(scores, count)


def highest(scores: Scores, count: int) -> NDArray[np.bool_]:
    """Which are the `count` highest."""
    chosen = np.zeros(len(scores), bool)
    chosen[np.argsort(scores, kind="stable")[len(scores) - count :]] = True
    return chosen


def judged(
    shown: Features, rest: Features, defects: Features, held_out: Scores, suspects: NDArray[np.bool_], stated: float
) -> dict[str, Any]:
    """The model of all but the suspects, on parts that were not shown."""
    model = Model.of(shown.take(~suspects), STATISTICS)
    good, bad = model.scores(rest), model.scores(defects)
    claim, _ = make_claim(0, len(shown), None, None, contamination=stated)
    threshold = threshold_at(held_out.tolist(), claim.k)
    return {
        "k": claim.k, "promised": round(claim.guaranteed_rate, 5),
        "if_suspects_are_bad": round(claim.rate_if_suspects_are_bad, 5), "auroc": round(auroc(good, bad), 5),
        "false_rejects": int((~(good <= threshold)).sum()), "found": round(float((~(bad <= threshold)).mean()), 5),
    }  # fmt: skip


def stained(some: Set, _: int) -> dict[str, Any]:
    """The split's own parts that set the threshold, with the stained one, with one suspect, and without it."""
    from benchmarks.detection.parts import load_parts
    from senbetsu.backbone import find_backbone
    from senbetsu.config import ModelSection

    parts = load_parts(some.folder, some.name, find_backbone(ModelSection()))
    fit, threshold_parts = parts.train.take(~parts.is_calibration), parts.train.take(parts.is_calibration)
    model = Model.of(fit)
    held_out, good, bad = model.scores(threshold_parts), model.scores(parts.test), model.scores(parts.defects)
    names = [path.name for path in threshold_parts.paths]
    without = np.array([name != STAINED for name in names])
    rows = {}
    for title, scores, stated in (
        ("plain", held_out, 0.0), ("one suspect", held_out, 0.01), ("confirmed bad", held_out[without], 0.0),
    ):  # fmt: skip
        claim, _warnings = make_claim(len(scores), len(scores), None, None, contamination=stated)
        threshold = threshold_at(scores.tolist(), claim.k)
        rows[title] = {
            "n": claim.n, "k": claim.k, "suspects": claim.suspects, "promised": round(claim.guaranteed_rate, 5),
            "if_suspects_are_bad": round(claim.rate_if_suspects_are_bad, 5),
            "false_rejects": int((~(good <= threshold)).sum()), "found": round(float((~(bad <= threshold)).mean()), 5),
        }  # fmt: skip
    return {"rest": len(good), "highest": names[int(np.argmax(held_out))], "rows": rows}


BLOCKS: Blocks = {
    "magnetic_tile shares": (shares, 2), "elpv shares": (shares, 1), "magnetic_tile stained": (stained, 1),
}  # fmt: skip

if __name__ == "__main__":
    measure("contamination", BLOCKS, __doc__)
