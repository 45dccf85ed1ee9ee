"""What each threshold would cost and find: false rejects against defects found, with intervals. Pure.

Intervals are of Clopper & Pearson, each for one threshold that was fixed beforehand. Whoever picks a threshold by looking at
these very parts sees it a little too good; so it is set from the calibration's parts, and evaluated again on new ones.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from senbetsu.conformal import proportion_interval, rank_for_rate
from senbetsu.pictures import PictureScore
from senbetsu.verdict import Verdict

RATES = (0.0, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2)
"""Shares of the normal parts that the table's rows reject, as far as they are many enough to tell them apart."""
HOW_TO_SET = (
    "To set one: `senbetsu calibrate --false-reject-rate R` with the R of its row and the same calibration parts, then "
    "evaluate again on parts that were not looked at here: a row that was picked by these parts looks a little too good."
)


@dataclass(frozen=True, slots=True)
class Share:
    """How many of some parts a threshold rejects, and the 95 % interval of the true share."""

    parts: int
    rejected: int
    rate: float
    interval: tuple[float, float]


@dataclass(frozen=True, slots=True)
class TradeRow:
    """One threshold; `calibrated` is the one that the line runs with now."""

    threshold: float
    calibrated: bool
    normal: Share
    defects: Share
    kinds: dict[str, Share]
    false_reject_rate: float | None
    """What to ask `calibrate` for to get it; None where the calibration's parts are too few for it."""


@dataclass(frozen=True, slots=True, eq=False)
class Curve:
    """Every threshold at which something changes, ascending (T,), and the shares rejected there."""

    thresholds: NDArray[np.float64]
    normal: NDArray[np.float64]
    defects: NDArray[np.float64]
    kinds: dict[str, NDArray[np.float64]]
    normals_seen: int
    defects_seen: int


def share_of(results: Sequence[PictureScore], threshold: float) -> Share:
    """Of the parts, those rejected at a threshold; an unreadable picture is."""
    rejected = sum(result.decide(threshold)[0] is Verdict.REJECT for result in results)
    return Share(len(results), rejected, rejected / len(results), proportion_interval(rejected, len(results)))


def trade(
    normals: Sequence[PictureScore],
    defects: Mapping[str, Sequence[PictureScore]],
    calibrated: float,
    calibration_scores: Sequence[float],
    method: str,
) -> list[TradeRow]:
    """The rows, strictest threshold last; `calibration_scores` and `method` are the profile's."""
    everything = [result for results in defects.values() for result in results]
    finite = sorted(result.score for result in normals if result.error is None and math.isfinite(result.score))
    beyond = len(normals) - len(finite)
    thresholds = {calibrated}
    for rate in RATES:
        allowed = math.floor(rate * len(normals)) - beyond
        if 0 <= allowed < len(finite) and (rate == 0 or rate * len(normals) >= 1):
            thresholds.add(finite[len(finite) - 1 - allowed])
    return [
        TradeRow(
            threshold,
            threshold == calibrated,
            share_of(normals, threshold),
            share_of(everything, threshold),
            {kind: share_of(results, threshold) for kind, results in defects.items()},
            rate_to_ask_for(calibration_scores, threshold, method),
        )
        for threshold in sorted(thresholds, reverse=True)
    ]


def rate_to_ask_for(scores: Sequence[float], threshold: float, method: str) -> float | None:
    """The false-reject rate with which `calibrate` puts the threshold at the largest of its scores that is not over this.

    None where all of them are over it, or none is: a threshold beyond all of its scores takes more parts.
    """
    n = len(scores)
    # The profile keeps its scores to six digits.
    k = sum(score <= threshold + 1e-6 for score in scores)
    if k == 0 or threshold > max(scores) + 1e-6:
        return None
    twice = 1 if method == "split" else 2
    for digits in range(3, 10):
        rate = float(math.ceil((1 - k / (n + 1)) * twice * 10**digits) / 10**digits)
        if 0 < rate < 1 and rank_for_rate(n, rate / twice) == k:
            return rate
    return None


def curve(normals: Sequence[PictureScore], defects: Mapping[str, Sequence[PictureScore]]) -> Curve:
    """The whole trade, for a plot."""
    of = {kind: _scores(results) for kind, results in defects.items()}
    normal, everything = _scores(normals), np.concatenate(list(of.values()))
    thresholds = np.unique(np.concatenate([normal, everything]))
    thresholds = thresholds[np.isfinite(thresholds)]
    return Curve(
        thresholds,
        _over(normal, thresholds),
        _over(everything, thresholds),
        {kind: _over(scores, thresholds) for kind, scores in of.items()},
        len(normal),
        len(everything),
    )


def _scores(results: Sequence[PictureScore]) -> NDArray[np.float64]:
    """What has no finite score is rejected at every threshold."""
    return np.array([r.score if r.error is None and math.isfinite(r.score) else math.inf for r in results])


def _over(scores: NDArray[np.float64], thresholds: NDArray[np.float64]) -> NDArray[np.float64]:
    shares: NDArray[np.float64] = 1 - np.searchsorted(np.sort(scores), thresholds, side="right") / len(scores)
    return shares


def trade_table(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """The rows (as dictionaries) as text."""
    return aligned([TRADE_HEAD, *map(trade_cells, rows)])


TRADE_HEAD = ("threshold", "good parts rejected", "95 % interval", "defects found", "95 % interval", "R to ask for", "")


def trade_cells(row: Mapping[str, Any]) -> tuple[str, ...]:
    """One row's texts."""
    rate = row["false_reject_rate"]
    return (
        f"{row['threshold']:.4f}",
        *_share_cells(row["normal"]),
        *_share_cells(row["defects"]),
        "more parts" if rate is None else f"{rate:g}",
        "<- calibrated" if row["calibrated"] else "",
    )


def _share_cells(share: Mapping[str, Any]) -> tuple[str, str]:
    low, high = share["interval"]
    return f"{share['rejected']} of {share['parts']}, {share['rate']:.1%}", f"{low:.1%} to {high:.1%}"


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of a table whose columns are as wide as their widest cell."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
