"""Lots: parts that were made or pictured together are more alike than parts of another day.

How many good parts of a lot nobody has seen yet a threshold t rejects is for other lots to tell. With G lots, of which lot j
has a share r_j of its parts above t, and a new lot that is exchangeable with them,

    expected false-reject rate of a part of a new lot  <=  (1 + sum_j r_j) / (G + 1)

This is the level at which hierarchical conformal prediction (Dunn, Wasserman & Ramdas 2022, arXiv 1809.07441; Lee, Barber &
Willett 2023, arXiv 2306.06342) would put its threshold at t: each lot weighs the same however many parts it has, and the
new one counts as rejected whole. It never is less than 1 / (G + 1): six lots say nothing better than 14 % of a seventh.

How much the parts of a lot resemble each other is told by the intraclass correlation of the log scores (one-way analysis of
variance), and n parts are then worth about n / (1 + (n_0 - 1) ICC) independent ones (Kish 1965), n_0 the usual lot's size.
"""

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.stats import kruskal

from senbetsu.conformal import percent, proportion_interval
from senbetsu.errors import UserError

GAP = "gap:"
EXIF_FOLDER, EXIF_TAKEN, EXIF_CHANGED = 0x8769, 0x9003, 0x0132
DIFFERENT = 0.01
"""A p-value under this says that the lots differ."""


def lots_of(paths: Sequence[Path], group: str, folder: Path) -> list[str]:
    """The lot of each picture.

    Args:
        paths: pictures.
        group: `gap:MINUTES`: a new lot begins where so long passed between two pictures (by EXIF, else the file's time);
            a .csv file with a line `path,lot` for each picture; or a regular expression that is found in the path below
            `folder`, whose first group (or whole match) names the lot.
        folder: where the pictures were looked for.

    Raises:
        UserError: the rule cannot be understood, or a picture has no lot by it.
    """
    if group.startswith(GAP):
        return _by_gaps(paths, group)
    if group.lower().endswith(".csv"):
        return _by_list(paths, Path(group), folder)
    return _by_pattern(paths, group, folder)


def _below(path: Path, folder: Path) -> str:
    return path.relative_to(folder).as_posix() if path.is_relative_to(folder) else path.as_posix()


def _by_pattern(paths: Sequence[Path], group: str, folder: Path) -> list[str]:
    try:
        pattern = re.compile(group)
    except re.error as error:
        raise UserError(
            f"--group {group}: no regular expression ({error}); expected one such as '^(lot[0-9]+)_', a .csv file, or "
            "gap:MINUTES"
        ) from error
    lots = []
    for path in paths:
        match = pattern.search(_below(path, folder))
        lot = None if match is None else match[1 if pattern.groups else 0]
        if not lot:
            raise UserError(f"--group {group}: names no lot in {_below(path, folder)!r}; every picture needs one")
        lots.append(lot)
    return lots


def _by_list(paths: Sequence[Path], table: Path, folder: Path) -> list[str]:
    try:
        with table.open(encoding="utf-8", newline="") as file:
            rows = [row for row in csv.reader(file) if row]
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"--group {table}: cannot be read ({error}); expected lines path,lot") from error
    named: dict[str, str] = {}
    for number, row in enumerate(rows, 1):
        if len(row) != 2 or not row[0].strip() or not row[1].strip():
            raise UserError(f"--group {table}, line {number}: expected path,lot and found {','.join(row)!r}")
        named[Path(row[0].strip()).as_posix()] = row[1].strip()
    lots = []
    for path in paths:
        lot = named.get(path.as_posix()) or named.get(_below(path, folder)) or named.get(path.name)
        if lot is None:
            raise UserError(f"--group {table}: no line for {_below(path, folder)!r}; every picture needs one")
        lots.append(lot)
    return lots


def _by_gaps(paths: Sequence[Path], group: str) -> list[str]:
    try:
        minutes = float(group.removeprefix(GAP))
    except ValueError:
        minutes = -1.0
    if not 0 < minutes < float("inf"):
        raise UserError(f"--group {group}: expected gap:MINUTES, for example gap:30")
    taken = np.array([taken_at_s(path) for path in paths])
    order = np.argsort(taken, kind="stable")
    lots = [""] * len(paths)
    for place, number in enumerate(order):
        begins = place == 0 or taken[number] - taken[order[place - 1]] > 60 * minutes
        now = f"{datetime.fromtimestamp(taken[number]):%Y-%m-%d %H:%M:%S}"
        lots[number] = now if begins else lots[order[place - 1]]
    return lots


def taken_at_s(path: Path) -> float:
    """When a picture was taken, in seconds since 1970: by its EXIF, else when its file was last changed."""
    try:
        with Image.open(path) as picture:
            exif = picture.getexif()
            text = exif.get_ifd(EXIF_FOLDER).get(EXIF_TAKEN) or exif.get(EXIF_CHANGED)
        return datetime.strptime(str(text), "%Y:%m:%d %H:%M:%S").timestamp()
    except (OSError, ValueError, SyntaxError):
        return path.stat().st_mtime


@dataclass(frozen=True, slots=True)
class LotRate:
    """One lot at the threshold; low and high bound its rate with 95 % confidence (Clopper & Pearson)."""

    lot: str
    parts: int
    rejected: int
    rate: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Spread:
    """How the lots that were not trained on differ."""

    lots: tuple[LotRate, ...]
    new_lot_rate: float
    """Expected false-reject rate of a part of a lot not seen yet, at most."""
    difference_p: float | None
    """Kruskal-Wallis p-value of the scores: small where lots differ; None with one lot."""
    intraclass_correlation: float
    effective_parts: float

    def reading(self) -> tuple[str, str]:
        """What it says, the number."""
        return (
            f"parts of a lot not seen yet, from {len(self.lots)} lots",
            f"at most {percent(self.new_lot_rate)} expected",
        )

    def warnings(self, rate: float) -> list[str]:
        """Where a claim of `rate` would be optimistic."""
        found = []
        if len(self.lots) < 2:
            found.append(
                "all parts that set the threshold are of one lot: nothing is known of how another one would differ; the "
                "claim is about this lot"
            )
        elif self.new_lot_rate > rate:
            found.append(
                f"the claim of {percent(rate)} is about parts from the {len(self.lots)} lots shown; of a part of a new "
                f"lot they support no better than {percent(self.new_lot_rate)} expected. Show more lots"
            )
        if self.difference_p is not None and self.difference_p < DIFFERENT:
            found.append(
                f"the lots differ (Kruskal-Wallis p = {self.difference_p:.2g}); "
                f"{sum(lot.parts for lot in self.lots)} parts are worth about {self.effective_parts:.0f} independent ones, "
                "and a bound that takes them for independent is optimistic"
            )
        return found


def spread_of(lots: Sequence[str], scores: NDArray[np.float64], threshold: float) -> Spread:
    """Of held-out scores (n,) and the lot of each, n >= 1."""
    names = np.array(lots)
    rates, groups = [], []
    for lot in sorted(set(lots)):
        own = scores[names == lot]
        rejected = int((~(own <= threshold)).sum())
        rates.append(LotRate(lot, len(own), rejected, rejected / len(own), *proportion_interval(rejected, len(own))))
        groups.append(np.log(own))
    correlation, size = _intraclass(groups)
    differ = len(groups) > 1 and len(np.unique(scores)) > 1
    return Spread(
        tuple(rates),
        (1 + sum(lot.rate for lot in rates)) / (len(rates) + 1),
        float(kruskal(*groups).pvalue) if differ else None,
        correlation,
        len(scores) / (1 + (size - 1) * correlation),
    )


def _intraclass(groups: Sequence[NDArray[np.float64]]) -> tuple[float, float]:
    """ICC(1) of unequal groups, in [0, 1], and n_0 (Donner 1986)."""
    n, G = sum(map(len, groups)), len(groups)
    if G < 2 or n <= G:
        return 0.0, 1.0
    mean = np.concatenate(groups).mean()
    between = sum(len(group) * (group.mean() - mean) ** 2 for group in groups) / (G - 1)
    within = sum(np.square(group - group.mean()).sum() for group in groups) / (n - G)
    size = (n - sum(len(group) ** 2 for group in groups) / n) / (G - 1)
    total = between + (size - 1) * within
    return (0.0 if total <= 0 else float(np.clip((between - within) / total, 0, 1))), float(size)
