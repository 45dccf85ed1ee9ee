"""What the runs have to show, each bar with its value and whether it is met. Pure."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from scipy.stats import betabinom

from benchmarks.detection.figures import ALL, paired_interval

Run = Mapping[str, Any]
BEST_PEER = {"cookies": 1.000, "magnetic_tile": 0.966, "elpv": 0.909}
"""AUROC of the best of PaDiM and PatchCore on these splits, by the plan; benchmarks/results/peers.json has what was rerun."""
ROUNDING = 0.0005
"""The peers' figures have three digits."""


def chosen(runs: Sequence[Run], name: str, setting: str, case: str = "") -> list[Run]:
    """Runs of one set, setting and case, those that failed left out."""
    return [
        run for run in runs if (run["set"], run["setting"], run["case"]) == (name, setting, case) and run["methods"]
    ]


def values(runs: Sequence[Run], method: str, figure: str = "auroc", kind: str = ALL) -> list[float]:
    """One figure of one method, a number a run."""
    return [run["methods"][method][figure][kind] for run in runs]


def chance_of_so_many(run: Run, method: str) -> float:
    """Probability of at least as many false rejects as were seen, if the claim's method is as good as it says.

    The count among m test parts is beta-binomial (m; n - k + 1, k): the spread of both the threshold and the test parts.
    """
    claim, seen = run["claim"], run["methods"][method]["false_rejects_counted"]
    return float(betabinom.sf(seen - 1, run["test_normals"], claim["n"] - claim["k"] + 1, claim["k"]))


def bars(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """All bars that there are runs for."""
    every: tuple[Callable[[Sequence[Run]], Iterator[dict[str, Any]]], ...] = (
        normals_only, recall, unseen, seen, few, honest,
    )  # fmt: skip
    return [bar for some in every for bar in some(runs)]


def _bar(text: str, value: str, met: bool) -> dict[str, Any]:
    return {"bar": text, "value": value, "met": bool(met)}


def normals_only(runs: Sequence[Run]) -> Iterator[dict[str, Any]]:
    """AUROC against the best peer, with train_normal whole."""
    for name, peer in BEST_PEER.items():
        if some := chosen(runs, name, "whole"):
            areas = values(some, "fused")
            mean = float(np.mean(areas))
            yield _bar(
                f"{name}, normals only: AUROC >= {peer:.3f}, the best peer",
                f"{mean:.4f} ({min(areas):.4f} to {max(areas):.4f})", mean >= peer - ROUNDING,
            )  # fmt: skip


def recall(runs: Sequence[Run]) -> Iterator[dict[str, Any]]:
    """Recall at the calibrated threshold on tiles, and its false rejects."""
    if some := chosen(runs, "magnetic_tile", "normals only"):
        found = values(some, "fused", "recall_calibrated")
        mean = float(np.mean(found))
        yield _bar(
            "magnetic_tile, normals only: recall at the calibrated threshold >= .60",
            f"{mean:.3f} ({min(found):.3f} to {max(found):.3f})", mean >= 0.60,
        )  # fmt: skip
        yield _false_rejects(some, "magnetic_tile, normals only: false rejects within the claim")


def _false_rejects(some: Sequence[Run], text: str) -> dict[str, Any]:
    rates = [run["methods"]["fused"]["false_rejects"] for run in some]
    chances = [chance_of_so_many(run, "fused") for run in some]
    claimed = some[0]["claim"]["guaranteed_rate"]
    return _bar(
        text,
        f"{np.mean(rates):.2%} seen ({min(rates):.2%} to {max(rates):.2%}) of {claimed:.2%} claimed; least chance of so many "
        f"{min(chances):.3f}",
        float(np.mean(rates)) <= claimed or min(chances) >= 0.05,
    )


def unseen(runs: Sequence[Run]) -> Iterator[dict[str, Any]]:
    """Each kind left out: the fused score against the novelty gauge and against softmax."""
    kinds = list(dict.fromkeys(run["case"] for run in runs if run["setting"] == "unseen kind"))
    for kind in kinds:
        some = chosen(runs, "magnetic_tile", "unseen kind", kind)
        if not some:
            continue
        fused, novelty, softmax = (np.mean(values(some, method)) for method in ("fused", "novelty", "softmax"))
        seeds = f"{len(some)} seeds"
        yield _bar(
            f"magnetic_tile, {kind} left out: fused >= novelty - .005",
            f"{fused:.4f} - {novelty:.4f} = {fused - novelty:+.4f}, {seeds}", fused >= novelty - 0.005,
        )  # fmt: skip
        yield _bar(
            f"magnetic_tile, {kind} left out: fused >= softmax",
            f"{fused:.4f} - {softmax:.4f} = {fused - softmax:+.4f}, {seeds}", fused >= softmax,
        )  # fmt: skip


def seen(runs: Sequence[Run]) -> Iterator[dict[str, Any]]:
    """Kinds shown: the fused score against softmax and the novelty gauge."""
    for name in ("magnetic_tile", "cookies"):
        some = chosen(runs, name, "seen kinds")
        if not some:
            continue
        fused, novelty, softmax = (np.mean(values(some, method)) for method in ("fused", "novelty", "softmax"))
        seeds = f"{len(some)} seeds"
        yield _bar(
            f"{name}, seen kinds: fused >= softmax - .005",
            f"{fused:.4f} - {softmax:.4f} = {fused - softmax:+.4f}, {seeds}", fused >= softmax - 0.005,
        )  # fmt: skip
        caught = [np.mean(values(some, method, "recall_calibrated")) for method in ("fused", "novelty")]
        yield _bar(
            f"{name}, seen kinds: fused > novelty (where both are 1: of the defects, more found as calibrated)",
            f"{fused:.4f} - {novelty:.4f} = {fused - novelty:+.4f}; found {caught[0]:.3f} against {caught[1]:.3f}, {seeds}",
            fused > novelty or (fused == novelty == 1 and caught[0] > caught[1]),
        )


def few(runs: Sequence[Run]) -> Iterator[dict[str, Any]]:
    """Five labelled defects: paired differences to normals only, on the same test parts."""
    some = chosen(runs, "magnetic_tile", "few", "5")
    if len(some) >= 2:
        gained = paired_interval([a - b for a, b in zip(values(some, "fused"), values(some, "novelty"), strict=True)])
        yield _bar(
            "magnetic_tile, 5 labelled defects: AUROC above normals only, 95 % interval above 0",
            f"{gained['mean']:+.4f} ({gained['low']:+.4f} to {gained['high']:+.4f}), {len(some)} seeds", gained["low"] > 0,
        )  # fmt: skip


def honest(runs: Sequence[Run]) -> Iterator[dict[str, Any]]:
    """Twenty normals: it works, and the claim holds."""
    for name in BEST_PEER:
        if some := chosen(runs, name, "normals counted", "20"):
            yield _false_rejects(some, f"{name}, 20 normals: false rejects within the claim")
