"""Which rule finds most at which claim: `python -m benchmarks.calibration.rules --data DIR`.

The same parts, dealt again and again into those that are shown (70 %) and a rest. All that a claim of 1 % expected false
rejects needs comes from the shown ones, by each of these rules; then the defects that are found are counted, and the good ones
of the rest that are rejected.

    split n          n of the shown set the threshold, the model is fitted on the others (Vovk, Gammerman & Shafer 2005)
    cross K          K folds, each scored by a model made without it; a model of all judges, at the rank of half the rate (the
                     rank that the product takes) or of the whole rate
    average K        the p-values of K folds, each by its own fold's model, averaged and doubled: what is proved of K-fold
                     cross-conformal (Vovk & Wang 2020; Barber et al. 2021, arXiv 1905.02928, theorem 4)
    prefix K         the same, and rejected as soon as the average of the first folds' allows it (exchangeable p-values:
                     Gasparin & Ramdas 2025, arXiv 2503.01495)
    least of K       the least of the K models' scores, against the rank of the whole rate (jackknife-minmax, arXiv 1905.02928):
                     proved without the factor 2, but only where every part is a fold of its own

Axes, centroids, whitenings and thresholds are found anew in each deal, by frozen statistics that weigh the same (see
refit.py). Every deal is kept in benchmarks/results/rules.json as soon as it is done; called again, the script goes on.
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.calibration.blocks import keep, kept
from benchmarks.calibration.coverage import rejected
from benchmarks.calibration.refit import Model, Scores, Set, deal, load_set
from benchmarks.conditions import RESULTS
from senbetsu.conformal import rank_for_rate, rate_of_rank, threshold_at

RATE = 0.01
SHOWN = 0.7
FOLDS = (2, 5)
MANY_FOLDS, MANY_FOLDS_EVERY = 20, 5
"""Folds that take long, in every so many-th deal."""
HELD_OUT = {"magnetic_tile": (99, 133, 199, 299, 399, 499), "elpv": (99, 211, 299, 499, 699, 899)}
DEALS = {"magnetic_tile": 25, "elpv": 10}

Rejects = Callable[[Scores, Scores], NDArray[np.bool_]]
"""Scores by the model of all (N,) and by each fold's (N, K) -> who is rejected."""


def fold_rules(scores: Scores, fold: NDArray[np.int64]) -> dict[str, tuple[float, Rejects]]:
    """Of held-out scores (n,) by K folds: name -> what is proved of the expected rate, and the rule.

    K-fold's own terms (theorem 4 of Barber et al.) are in what is proved, so that it may be far above the rate aimed at.
    """
    n, K = len(scores), int(fold.max()) + 1
    within = [np.sort(scores[fold == number]) for number in range(K)]
    size = min(map(len, within))
    fold_term = min(2 * (1 - 1 / K) / (n / K + 1), (1 - K / n) / (K + 1))
    half, whole = rank_for_rate(n, RATE / 2), rank_for_rate(n, RATE)

    def at(k: int) -> Rejects:
        return lambda judged, _: rejected(judged, threshold_at(scores.tolist(), k))

    def p_values(by_fold: Scores) -> Scores:
        """(N, K): of each fold's model, among the fold's parts."""
        counts = [len(w) - np.searchsorted(w, by_fold[:, number], "left") for number, w in enumerate(within)]
        return np.stack([(1 + c) / (len(w) + 1) for c, w in zip(counts, within, strict=True)], 1)

    def prefix(by_fold: Scores) -> NDArray[np.bool_]:
        averages = np.cumsum(p_values(by_fold), 1) / np.arange(1, K + 1)
        worst: NDArray[np.bool_] = 2 * averages.min(1) <= RATE
        return worst

    return {
        f"cross {K}, rank of half the rate": (2 * rate_of_rank(n, half) + fold_term, at(half)),
        f"cross {K}, rank of the whole rate": (2 * rate_of_rank(n, whole) + fold_term, at(whole)),
        f"average {K}": (RATE, lambda _, by_fold: 2 * p_values(by_fold).mean(1) <= RATE),
        f"prefix {K}": (RATE, lambda _, by_fold: prefix(by_fold)),
        f"least of {K}": (
            (n - whole + size) / (n + size),
            lambda _, by_fold: rejected(by_fold.min(1), threshold_at(scores.tolist(), whole)),
        ),
    }


def deal_once(some: Set, seed: int, note: Callable[[str, float, Any], None]) -> None:
    """All rules on one deal; `note` takes name, what is proved, and who is rejected of the rest and of the defects."""
    random = np.random.default_rng(seed)
    order = random.permutation(len(some.normal))
    count = shown_count(some)
    shown, judged = some.normal.take(order[:count]), (some.normal.take(order[count:]), some.defects)
    for n in HELD_OUT[some.name]:
        model = Model.of(shown.take(np.arange(n, count)))
        k = rank_for_rate(n, RATE)
        threshold = threshold_at(model.scores(shown.take(np.arange(n))).tolist(), k)
        note(f"split {n}", rate_of_rank(n, k), [rejected(model.scores(parts), threshold) for parts in judged])
    judge = Model.of(shown)
    by_all = [judge.scores(parts) for parts in judged]
    for K in (*FOLDS, *((MANY_FOLDS,) if seed % MANY_FOLDS_EVERY == 0 else ())):
        fold = deal(shown.sha256, K, random)
        scores = np.zeros(count)
        by_fold = [np.zeros((len(parts), K)) for parts in judged]
        for number in range(K):
            model = Model.of(shown.take(fold != number))
            scores[fold == number] = model.scores(shown.take(fold == number))
            for parts, found in zip(judged, by_fold, strict=True):
                found[:, number] = model.scores(parts)
        for name, (proved, rejects) in fold_rules(scores, fold).items():
            note(name, proved, [rejects(one, each) for one, each in zip(by_all, by_fold, strict=True)])


def shown_count(some: Set) -> int:
    """Parts that are shown."""
    return round(SHOWN * len(some.normal))


def main() -> None:
    """The benchmark."""
    command = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    command.add_argument("--data", type=Path, required=True, help="folder sets and splits/")
    command.add_argument("--sets", nargs="+", default=list(DEALS), choices=list(DEALS))
    command.add_argument("--deals", type=int, help="another number of deals")
    given = command.parse_args()
    file = RESULTS / "rules.json"
    for name in given.sets:
        block = kept(file).get(name, {"deals": 0, "rules": {}})
        wanted = given.deals or DEALS[name]
        if block["deals"] >= wanted:
            continue
        some = load_set(given.data, name)
        rules: dict[str, dict[str, Any]] = block["rules"]

        def note(rule: str, proved: float, over: Any, rules: dict[str, dict[str, Any]] = rules) -> None:
            entry = rules.setdefault(rule, {"proved": round(proved, 6), "rejected": [], "found": []})
            for key, of in zip(("rejected", "found"), over, strict=True):
                entry[key].append(int(of.sum()))

        for seed in range(block["deals"], wanted):
            began = time.monotonic()
            deal_once(some, seed, note)
            count = shown_count(some)
            figures = {
                "rate": RATE, "shown": count, "rest": len(some.normal) - count, "defects": len(some.defects),
                "deals": seed + 1, "rules": rules,
            }  # fmt: skip
            keep(file, name, figures, dict.fromkeys(DEALS))
            print(f"{name}, deal {seed + 1} of {wanted}: {time.monotonic() - began:.0f} s", flush=True)


if __name__ == "__main__":
    main()
