"""Lots by name, by list or by time: the rule that `--group` gives.

Parts that were made or pictured together are more alike than parts of another day, so `train` and `calibrate` hold them out
whole.
"""

import csv
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from PIL import Image

from senbetsu.errors import UserError

GAP = "gap:"
EXIF_FOLDER, EXIF_TAKEN, EXIF_CHANGED = 0x8769, 0x9003, 0x0132


@dataclass(frozen=True, slots=True)
class LotRule:
    """How the lot of a picture is told: by a pattern, by a list, or by time where `gap_s` is given."""

    group: str
    folder: Path
    """Where the pictures were looked for."""
    pattern: re.Pattern[str] | None = None
    named: dict[str, str] | None = None
    gap_s: float | None = None

    @classmethod
    def of(cls, group: str, folder: Path) -> "LotRule":
        """From what was given.

        Args:
            group: `gap:MINUTES`: a new lot begins where so long passed between two pictures (by EXIF, else the file's time);
                a .csv file with a line `path,lot` for each picture; or a regular expression that is found in the path below
                `folder`, whose first group (or whole match) names the lot.
            folder: where the pictures were looked for.

        Raises:
            UserError: it cannot be understood, or the list not be read.
        """
        if group.startswith(GAP):
            return cls(group, folder, gap_s=_gap_s(group))
        if group.lower().endswith(".csv"):
            return cls(group, folder, named=_list(Path(group)))
        try:
            return cls(group, folder, pattern=re.compile(group))
        except re.error as error:
            raise UserError(
                f"--group {group}: no regular expression ({error}); expected one such as '^(lot[0-9]+)_', a .csv file, or "
                "gap:MINUTES"
            ) from error

    def lot_of(self, path: Path) -> str:
        """By pattern or list. Raises UserError where the picture has no lot by it."""
        below = path.relative_to(self.folder) if path.is_relative_to(self.folder) else path
        if self.named is not None:
            names = (path.as_posix(), below.as_posix(), path.name)
            lot = next((self.named[name] for name in names if name in self.named), "")
            if not lot:
                raise UserError(f"--group {self.group}: no line for {below.as_posix()!r}; every picture needs one")
            return lot
        match = None if self.pattern is None else self.pattern.search(below.as_posix())
        lot = "" if match is None or self.pattern is None else match[1 if self.pattern.groups else 0]
        if not lot:
            raise UserError(f"--group {self.group}: names no lot in {below.as_posix()!r}; every picture needs one")
        return lot

    def lots_by_time(self, taken: Iterable[tuple[int, float]]) -> Iterator[tuple[int, str]]:
        """Of pictures (number, time in seconds since 1970), the oldest first: their numbers and lots."""
        lot, before_s = "", None
        for number, taken_s in taken:
            if before_s is None or taken_s - before_s > (self.gap_s or 0):
                lot = f"{datetime.fromtimestamp(taken_s):%Y-%m-%d %H:%M:%S}"
            before_s = taken_s
            yield number, lot

    def lots_of(self, paths: Sequence[Path]) -> list[str]:
        """The lot of each picture. Raises UserError where one has no lot by it."""
        if self.gap_s is None:
            return [self.lot_of(path) for path in paths]
        taken = sorted(enumerate(map(taken_at_s, paths)), key=lambda one: one[1])
        found = dict(self.lots_by_time(taken))
        return [found[number] for number in range(len(paths))]


def _gap_s(group: str) -> float:
    try:
        minutes = float(group.removeprefix(GAP))
    except ValueError:
        minutes = -1.0
    if not 0 < minutes < float("inf"):
        raise UserError(f"--group {group}: expected gap:MINUTES, for example gap:30")
    return 60 * minutes


def _list(table: Path) -> dict[str, str]:
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
    return named


def taken_at_s(path: Path) -> float:
    """When a picture was taken, in seconds since 1970: by its EXIF, else when its file was last changed."""
    try:
        with Image.open(path) as picture:
            exif = picture.getexif()
            text = exif.get_ifd(EXIF_FOLDER).get(EXIF_TAKEN) or exif.get(EXIF_CHANGED)
        return datetime.strptime(str(text), "%Y:%m:%d %H:%M:%S").timestamp()
    except (OSError, ValueError, SyntaxError):
        return path.stat().st_mtime
