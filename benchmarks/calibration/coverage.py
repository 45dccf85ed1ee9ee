"""Good parts rejected against the number promised: `python -m benchmarks.calibration.coverage --data DIR`.

Each split deals the normal parts at random into those that the model is fitted on, those that set the threshold, and the
rest. All that is fitted is fitted anew. On the rest, of which there are m, the rejected ones are counted. Theory says how
their number is distributed: beta-binomial with m trials, a = n - k + 1, b = k. The splits are independent, since given the
parts a split is a random permutation of them, and so the share of splits over the promise has the standard error of a
proportion. Cross-conformal, where every shown part serves twice, has no such law: its mean is put beside the usual rate and
the one that is answered for.

Every finished block is kept in benchmarks/results/coverage.json; called again, the script goes on with those missing.
"""

import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.calibration.blocks import Blocks, measure
from benchmarks.calibration.refit import FOLDS, Model, Set, deal, held_out_scores
from senbetsu.conformal import threshold_at
from senbetsu.promise import PromiseError, make_claim
from senbetsu.scoring import NOVELTY

SIZES = {"magnetic_tile": (400, 300), "elpv": (500, 500)}
"""Parts that are fitted on, and that set the threshold; what is left over is the rest."""
PROMISES = tuple((rate, confidence) for confidence in (None, 0.95) for rate in (0.05, 0.02, 0.01))
COOKIES = 31
CROSS_SHOWN, CROSS_RATES = 0.7, (0.05, 0.02, 0.01)
LOT_RATES = (0.05, 0.02)
QUICKEST = ("whole",)


def claims(n: int) -> dict[str, dict[str, Any]]:
    """Every promise that n parts support, and the maximum, which is anomalib's rule where it sees normal parts only."""
    found: dict[str, dict[str, Any]] = {}
    for rate, confidence in PROMISES:
        try:
            claim, _ = make_claim(n, n, rate, confidence)
        except PromiseError:
            continue
        name = f"{rate:g} expected" if confidence is None else f"{rate:g} with {confidence:g}"
        found[name] = {"rate": rate, "confidence": confidence, "n": n, "k": claim.k, "rejected": []}
    found["maximum"] = {"rate": None, "confidence": None, "n": n, "k": n, "rejected": []}
    return found


def split_runs(some: Set, count: int) -> dict[str, Any]:
    """Random splits, split conformal, with all frozen statistics; of the rejected ones, how many are of which lot."""
    fit, calibrate = SIZES[some.name]
    rules = claims(calibrate)
    lots = sorted(set(some.lot.tolist()))
    for seed in range(count):
        order = np.random.default_rng(seed).permutation(len(some.normal))
        model = Model.of(some.normal.take(order[:fit]))
        scores = model.scores(some.normal.take(order[fit:]))
        rest_lot = some.lot[order[fit + calibrate :]]
        for rule in rules.values():
            over = rejected(scores[calibrate:], threshold_at(scores[:calibrate].tolist(), rule["k"]))
            rule["rejected"].append(int(over.sum()))
            by_lot = rule.setdefault("by_lot", {lot: [0, 0] for lot in lots})
            for lot in lots:
                by_lot[lot][0] += int(over[rest_lot == lot].sum())
                by_lot[lot][1] += int((rest_lot == lot).sum())
        tell(some.name, "split", seed, count)
    return {
        "fit": fit, "n": calibrate, "rest": len(some.normal) - fit - calibrate, "splits": count, "statistics": list(NOVELTY),
        "rules": rules,
    }  # fmt: skip


def cross_runs(some: Set, count: int) -> dict[str, Any]:
    """Every shown part serves twice, with all frozen statistics: a split takes FOLDS + 1 fits."""
    shown_count = round(CROSS_SHOWN * len(some.normal))
    rules: dict[str, dict[str, Any]] = {}
    for rate in CROSS_RATES:
        claim, _ = make_claim(0, shown_count, rate, None)
        rules[f"{rate:g} expected"] = {
            "rate": rate, "n": claim.n, "k": claim.k, "usual_rate": claim.expected_rate,
            "guaranteed_rate": claim.guaranteed_rate, "rejected": [],
        }  # fmt: skip
    for seed in range(count):
        random = np.random.default_rng(seed)
        order = random.permutation(len(some.normal))
        shown, rest = some.normal.take(order[:shown_count]), some.normal.take(order[shown_count:])
        held_out = held_out_scores(shown, deal(shown.sha256, FOLDS, random)).tolist()
        scores = Model.of(shown).scores(rest)
        for rule in rules.values():
            rule["rejected"].append(int(rejected(scores, threshold_at(held_out, rule["k"])).sum()))
        tell(some.name, "cross", seed, count)
    return {
        "n": shown_count, "rest": len(some.normal) - shown_count, "splits": count, "folds": FOLDS,
        "statistics": list(NOVELTY), "rules": rules,
    }  # fmt: skip


def few_runs(some: Set, count: int) -> dict[str, Any]:
    """Every shown part serves twice; beside it six held-out ones, whose maximum is the threshold, and the fit parts' own."""
    claim, _ = make_claim(0, COOKIES, None, None)
    rejects: dict[str, list[int]] = {
        "cross-conformal": [],
        "maximum of six held out": [],
        "maximum of those fitted on": [],
    }
    for seed in range(count):
        random = np.random.default_rng(seed)
        order = random.permutation(len(some.normal))
        shown, rest = some.normal.take(order[:COOKIES]), some.normal.take(order[COOKIES:])
        fold = deal(shown.sha256, FOLDS, random)
        whole = Model.of(shown)
        scores = whole.scores(rest)
        rejects["cross-conformal"].append(
            int(rejected(scores, threshold_at(held_out_scores(shown, fold).tolist(), claim.k)).sum())
        )
        rejects["maximum of those fitted on"].append(int(rejected(scores, float(whole.scores(shown).max())).sum()))
        without = Model.of(shown.take(np.arange(6, COOKIES)))
        six = float(without.scores(shown.take(np.arange(6))).max())
        rejects["maximum of six held out"].append(int(rejected(without.scores(rest), six).sum()))
        tell(some.name, "few", seed, count)
    return {
        "n": COOKIES, "k": claim.k, "rest": len(some.normal) - COOKIES, "splits": count, "folds": FOLDS,
        "usual_rate": claim.expected_rate, "guaranteed_rate": claim.guaranteed_rate, "rejected": rejects,
    }  # fmt: skip


def lot_runs(some: Set, count: int) -> dict[str, Any]:
    """One lot is kept out, the others are shown to fit and to calibrate (cross-conformal), 80 % of them in each run.

    With the whole picture's statistics alone: a run takes eleven fits.
    """
    lots = [lot for lot in sorted(set(some.lot.tolist())) if (some.lot == lot).sum() >= 20]
    runs = []
    for left_out in lots:
        others = np.flatnonzero((some.lot != left_out) & np.isin(some.lot, lots))
        rest = some.normal.take(np.flatnonzero(some.lot == left_out))
        for seed in range(count):
            random = np.random.default_rng(seed)
            shown = random.permutation(others)[: int(0.8 * len(others))]
            parts, lot = some.normal.take(shown), some.lot[shown]
            scores = Model.of(parts, QUICKEST).scores(rest)
            keys = {"without": list(parts.sha256), "with": lot.tolist()}
            run: dict[str, Any] = {"left_out": left_out, "shown": len(parts), "rest": len(rest), "rules": {}}
            for name, key in keys.items():
                if len(set(key)) < 2:
                    continue
                held_out = held_out_scores(parts, deal(key, FOLDS, random), QUICKEST)
                for rate in LOT_RATES:
                    claim, _ = make_claim(0, len(parts), rate, None)
                    threshold = threshold_at(held_out.tolist(), claim.k)
                    shares = [float((held_out[lot == one] > threshold).mean()) for one in np.unique(lot)]
                    run["rules"][f"{rate:g} {name}"] = {
                        "rate": rate, "rejected": int(rejected(scores, threshold).sum()),
                        "shares_by_lot": [round(share, 5) for share in shares],
                        "new_lot": round((1 + sum(shares)) / (len(shares) + 1), 5),
                    }  # fmt: skip
            runs.append(run)
            tell(some.name, f"without {left_out}", seed, count)
    return {"lots": lots, "runs": runs}


def rejected(scores: NDArray[np.float64], threshold: float) -> NDArray[np.bool_]:
    """As `decide` does."""
    return ~(scores <= threshold)


def tell(name: str, what: str, seed: int, count: int) -> None:
    """Progress, now and then."""
    if seed % 20 == 0:
        print(f"{time.strftime('%H:%M:%S')} {name} {what} {seed + 1} of {count}", flush=True)


BLOCKS: Blocks = {
    "magnetic_tile split": (split_runs, 500), "elpv split": (split_runs, 500), "magnetic_tile cross": (cross_runs, 100),
    "cookies few": (few_runs, 100), "magnetic_tile lots": (lot_runs, 5), "elpv lots": (lot_runs, 5),
}  # fmt: skip

if __name__ == "__main__":
    measure("coverage", BLOCKS, __doc__)
