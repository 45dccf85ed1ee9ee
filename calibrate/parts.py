"""The parts of a calibration: what is known of each lies in a file on the disk, so that memory does not grow with them.

A table of SQLite that goes away with the program. Which parts are meant is said by a condition on its columns:

    number   place in the order of their paths         fold     the one in which `train` held it out, NULL if it did not see it
    sha256   of its content; each content once         hold     the one in which it is held out here
    lot      by --group                                suspect  1: it may be bad
    score    the newest                                compared the one that it is compared with (int8)

Pictures are read, measured and scored in chunks. They are the same however many processes share them, and so is what is
rounded inside each.
"""

import math
import os
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from senbetsu.distributed import Group

CHUNK = 128
"""Pictures that are read, measured and scored at a time: memory does not grow beyond what they take."""
CACHE_KIB = 4096
"""Of the file, held in memory."""

ALL, SEEN, UNSEEN = "1", "fold IS NOT NULL", "fold IS NULL"
"""Every part; those that `train` saw, and those that it did not."""

COLUMNS = "number, path, sha256, fold, hold, suspect"
TABLES = """
CREATE TABLE found (path BLOB NOT NULL);
CREATE TABLE sorted (path BLOB NOT NULL);
CREATE TABLE part (
    number INTEGER PRIMARY KEY, path BLOB NOT NULL, sha256 BLOB NOT NULL UNIQUE, fold INTEGER, hold INTEGER, taken REAL,
    lot TEXT, suspect INTEGER NOT NULL DEFAULT 0, marked INTEGER NOT NULL DEFAULT 0, score REAL, compared REAL
);
CREATE TABLE lot_fold (lot TEXT PRIMARY KEY, hold INTEGER NOT NULL);
"""


@dataclass(frozen=True, slots=True)
class Part:
    """One picture of a normal part; `fold` is the one it was in when it was trained on, None if it was not."""

    path: Path
    sha256: str
    fold: int | None
    number: int = -1
    """-1: it is not among the parts."""
    hold: int | None = None
    suspect: bool = False


def _key(path: Path) -> bytes:
    """Sorts as the names of folders and files one after the other do."""
    return os.fsencode(path).replace(b"/", b"\0")


def _path(key: bytes) -> Path:
    return Path(os.fsdecode(key.replace(b"\0", b"/")))


class Parts:
    """See the file's text. Every `which` is a condition on the columns, such as UNSEEN."""

    def __init__(self) -> None:
        # No name: a file of its own in SQLite's temporary folder, which is gone when it is closed.
        self._db = sqlite3.connect("", isolation_level=None)
        for setting in (f"cache_size = -{CACHE_KIB}", "temp_store = FILE", "journal_mode = OFF", "synchronous = OFF"):
            self._db.execute(f"PRAGMA {setting}")
        self._db.executescript(TABLES)

    def close(self) -> None:
        """Gone."""
        self._db.close()

    # ---- the pictures' names

    def list_paths(self, paths: Iterable[Path]) -> int:
        """Take in the names of pictures, in any order; how many."""
        self._many("INSERT INTO found VALUES (?)", ((_key(path),) for path in paths))
        self._db.execute("INSERT INTO sorted SELECT path FROM found ORDER BY path")
        self._db.execute("DELETE FROM found")
        return self._one("SELECT COUNT(*) FROM sorted")

    def listed(self, group: Group) -> Iterator[list[tuple[int, Path]]]:
        """This process's chunks of numbers and names."""
        for start in range(group.rank * CHUNK, self._one("SELECT COUNT(*) FROM sorted"), group.size * CHUNK):
            rows = self._db.execute(
                "SELECT rowid, path FROM sorted WHERE rowid > ? ORDER BY rowid LIMIT ?", (start, CHUNK)
            )
            yield [(int(number), _path(key)) for number, key in rows.fetchall()]

    def add(self, parts: Sequence[Part]) -> int:
        """Take in parts; of one content the first. How many were new."""
        before = self._db.total_changes
        self._many(
            "INSERT OR IGNORE INTO part (number, path, sha256, fold) VALUES (?, ?, ?, ?)",
            ((part.number, _key(part.path), bytes.fromhex(part.sha256), part.fold) for part in parts),
        )
        return self._db.total_changes - before

    def take_out(self, contents: Iterable[str]) -> set[str]:
        """Remove the parts with these SHA-256; gives those that were there."""
        gone = set()
        for content in contents:
            if self._db.execute("DELETE FROM part WHERE sha256 = ?", (bytes.fromhex(content),)).rowcount:
                gone.add(content)
        return gone

    # ---- which there are

    def count(self, which: str = ALL) -> int:
        """How many."""
        return self._one(f"SELECT COUNT(*) FROM part WHERE {which}")

    def folds(self, which: str) -> list[int]:
        """In which they are held out."""
        return [row[0] for row in self._db.execute(f"SELECT DISTINCT hold FROM part WHERE {which} ORDER BY hold")]

    def chunks(self, which: str, group: Group | None = None) -> Iterator[list[Part]]:
        """Those of this process (without a group: of all), in the order of their numbers."""
        rank, size = (0, 1) if group is None else (group.rank, group.size)
        last, place = -1, 0
        while rows := self._db.execute(
            f"SELECT {COLUMNS} FROM part WHERE ({which}) AND number > ? ORDER BY number LIMIT ?", (last, CHUNK)
        ).fetchall():
            last = rows[-1][0]
            if place % size == rank:
                yield [_part(row) for row in rows]
            place += 1

    def every(self, which: str = ALL) -> Iterator[Part]:
        """One after the other, in the order of their numbers."""
        for chunk in self.chunks(which):
            yield from chunk

    def evenly(self, which: str, most: int) -> list[Part]:
        """At most so many, evenly chosen, the first and the last included."""
        count = self.count(which)
        wanted = {int(place) for place in np.linspace(0, count - 1, min(count, most))}
        return [part for place, part in enumerate(self.every(which)) if place in wanted]

    def by_content(self, which: str, most: int) -> list[Part]:
        """The first so many by their SHA-256: a choice that has nothing to do with what they are."""
        rows = self._db.execute(f"SELECT {COLUMNS} FROM part WHERE {which} ORDER BY sha256 LIMIT ?", (most,))
        return [_part(row) for row in rows]

    def content(self, which: str) -> str:
        """One SHA-256 over those of all parts, sorted, a line each."""
        total, first = sha256(), True
        for (content,) in self._db.execute(f"SELECT sha256 FROM part WHERE {which} ORDER BY sha256"):
            total.update(("" if first else "\n").encode() + content.hex().encode())
            first = False
        return total.hexdigest()

    # ---- scores

    def set_scores(self, scores: Iterable[tuple[int, float]]) -> None:
        """By number. What is no number counts as infinitely far: it is rejected."""
        self._many(
            "UPDATE part SET score = ? WHERE number = ?",
            ((score if math.isfinite(score) else math.inf, number) for number, score in scores),
        )

    def share_scores(self, which: str, group: Group) -> None:
        """Each process has scored its own chunks: now all have all."""
        if group.size == 1:
            return
        own = self.chunks(which, group)
        for _ in range(-(-self.count(which) // (CHUNK * group.size))):
            rows = [(part.number, self._scores_of(part.number)[0]) for part in next(own, [])]
            for gathered in group.gather_objects(rows):
                self.set_scores(gathered)

    def keep_scores_to_compare(self) -> None:
        """The scores, to be compared with others; then no part is suspect any more."""
        self._db.execute("UPDATE part SET compared = score, suspect = 0")

    def compared(self, which: str, most: int) -> tuple[list[float], list[float]]:
        """Scores and those to compare with, of at most so many parts, evenly chosen."""
        rows = [self._scores_of(part.number) for part in self.evenly(which, most)]
        return [row[0] for row in rows], [row[1] for row in rows]

    def scores_at(self, which: str, ranks: Sequence[int]) -> list[float]:
        """The scores of these ranks, ascending, from 1."""
        wanted, found = set(ranks), {}
        for rank, (score,) in enumerate(self._db.execute(f"SELECT score FROM part WHERE {which} ORDER BY score"), 1):
            if rank in wanted:
                found[rank] = float(score)
        return [found[rank] for rank in ranks]

    def count_upto(self, which: str, score: float) -> int:
        """How many have at most this score."""
        return self._one(f"SELECT COUNT(*) FROM part WHERE ({which}) AND score <= ?", score)

    def farthest(self, which: str, most: int) -> list[tuple[Part, float]]:
        """With the highest scores, the highest first."""
        rows = self._db.execute(
            f"SELECT {COLUMNS}, score FROM part WHERE {which} ORDER BY score DESC, number LIMIT ?", (most,)
        )
        return [(_part(row), float(row[-1])) for row in rows]

    def mark_suspects(self, which: str, count: int) -> bool:
        """The `count` highest scores, of equals the later ones, are the suspects now; whether that has changed any."""
        self._db.execute(f"UPDATE part SET marked = 0 WHERE {which}")
        self._db.execute(
            "UPDATE part SET marked = 1 WHERE number IN "
            f"(SELECT number FROM part WHERE {which} ORDER BY score DESC, number DESC LIMIT ?)",
            (count,),
        )
        changed = self.count(f"({which}) AND marked != suspect") > 0
        self._db.execute(f"UPDATE part SET suspect = marked WHERE {which}")
        return changed

    # ---- lots and folds

    def set_lots(self, lots: Iterable[tuple[int, str]]) -> None:
        """By number."""
        self._many("UPDATE part SET lot = ? WHERE number = ?", ((lot, number) for number, lot in lots))

    def set_taken(self, taken: Iterable[tuple[int, float]]) -> None:
        """When they were taken, in seconds since 1970, by number."""
        self._many("UPDATE part SET taken = ? WHERE number = ?", ((at_s, number) for number, at_s in taken))

    def by_time(self) -> Iterator[tuple[int, float]]:
        """Number and time, the oldest first."""
        yield from self._db.execute("SELECT number, taken FROM part ORDER BY taken, number")

    def lot_sizes(self) -> list[tuple[str, int, int | None, int | None]]:
        """Of each lot its name, its parts, and the first and the last fold that it was trained in."""
        return self._db.execute(
            "SELECT lot, COUNT(*), MIN(fold), MAX(fold) FROM part GROUP BY lot ORDER BY lot"
        ).fetchall()

    def hold_lots(self, fold_of: dict[str, int]) -> None:
        """In which fold the parts of each lot are held out."""
        self._db.execute("DELETE FROM lot_fold")
        self._many("INSERT INTO lot_fold VALUES (?, ?)", fold_of.items())
        self._db.execute("UPDATE part SET hold = (SELECT hold FROM lot_fold WHERE lot_fold.lot = part.lot)")

    def hold_by_content(self, folds: int) -> None:
        """A part that was trained on is held out in its fold; those that were not are dealt out, always the same way."""
        self._db.execute("UPDATE part SET hold = fold")
        self._db.execute(
            "UPDATE part SET hold = place % ? FROM "
            f"(SELECT number AS dealt, ROW_NUMBER() OVER (ORDER BY sha256) - 1 AS place FROM part WHERE {UNSEEN}) "
            "WHERE number = dealt",
            (folds,),
        )

    def scores_of_lots(self, which: str) -> Iterator[tuple[str, float]]:
        """Lot and score, the lowest score first."""
        yield from self._db.execute(f"SELECT lot, score FROM part WHERE {which} ORDER BY score")

    # ---- SQLite

    def _one(self, question: str, *values: float) -> int:
        return int(self._db.execute(question, values).fetchone()[0])

    def _scores_of(self, number: int) -> tuple[float, float]:
        found: tuple[float, float] = self._db.execute(
            "SELECT score, compared FROM part WHERE number = ?", (number,)
        ).fetchone()
        return found

    def _many(self, command: str, rows: Iterable[Sequence[Any]]) -> None:
        self._db.execute("BEGIN")
        self._db.executemany(command, rows)
        self._db.execute("COMMIT")


def _part(row: Sequence[Any]) -> Part:
    number, key, content, fold, hold, suspect = row[:6]
    return Part(_path(key), content.hex(), fold, number, hold, bool(suspect))
