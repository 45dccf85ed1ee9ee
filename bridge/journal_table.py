"""The journal's tables as data: what is created, written and documented (docs/journal.md) comes from here.

Columns of `results` are the fields of the message contract, by name. Times of the wall clock are the bridge's, milliseconds
since 1970: they order the file for people and for its clean-up; nothing is decided by them.
"""

from dataclasses import dataclass
from enum import StrEnum

from senbetsu.message_fields import Boolean, Integer, Number, fields_of
from senbetsu.messages import Result

FORMAT = 1
"""`PRAGMA user_version` of the file."""


class Gap(StrEnum):
    """Why rows may be missing."""

    KILLED = "KILLED"
    QUEUE = "QUEUE"
    LOST = "LOST"
    DAMAGED = "DAMAGED"


GAP_MEANINGS: dict[Gap, str] = {
    Gap.KILLED: "the bridge before this one ended without closing the journal: what came after its last write, at "
    "`from_ms`, may be missing from the decisions; results are fetched from the daemon as far as it still keeps them",
    Gap.QUEUE: "the disk was full, failing or too slow for so long that the queue was full: `rows` were dropped",
    Gap.LOST: "results from `first_seq` to `last_seq` never came and are no longer kept by the daemon: `rows` at most",
    Gap.DAMAGED: "the file before was no journal or damaged; it was put aside under the name in `detail`",
}


@dataclass(frozen=True, slots=True)
class Column:
    """One column."""

    name: str
    declaration: str
    meaning: str


@dataclass(frozen=True, slots=True)
class Table:
    """One table; `key`: columns that are unique together, or nothing."""

    name: str
    purpose: str
    columns: tuple[Column, ...]
    key: str = ""

    def create(self) -> str:
        """The SQL that makes it."""
        lines = [f"{column.name} {column.declaration}" for column in self.columns]
        lines += [f"UNIQUE ({self.key})"] if self.key else []
        return f"CREATE TABLE IF NOT EXISTS {self.name} (\n  " + ",\n  ".join(lines) + "\n)"

    def insert(self) -> str:
        """The SQL that adds a row, without its id. A row whose key is there already changes nothing."""
        names = [column.name for column in self.columns if column.name != "id"]
        again = f" ON CONFLICT ({self.key}) DO NOTHING" if self.key else ""
        return f"INSERT INTO {self.name} ({', '.join(names)}) VALUES ({', '.join('?' * len(names))}){again}"


ID = Column("id", "INTEGER PRIMARY KEY", "rises with each row")
WRITTEN = Column("journaled_ms", "INTEGER NOT NULL", "when the bridge noted it, ms since 1970")
BRIDGE_RUN = Column("start_id", "INTEGER NOT NULL", "the bridge's start, in `starts`")


def _declaration(kind: object) -> str:
    if isinstance(kind, Integer):
        return "INTEGER" if kind.optional else "INTEGER NOT NULL"
    if isinstance(kind, Number):
        return "REAL"
    return "INTEGER NOT NULL" if isinstance(kind, Boolean) else "TEXT NOT NULL"


RESULTS = Table(
    "results",
    "every look's result as the daemon published it, each once",
    (ID, WRITTEN, BRIDGE_RUN, *(Column(f.name, _declaration(f.kind), f.meaning) for f in fields_of(Result))),
    "epoch, seq",
)
DECISIONS = Table(
    "decisions",
    "every part's verdict as the PLC could read it: of all its looks, or of what went wrong",
    (
        ID,
        WRITTEN,
        BRIDGE_RUN,
        Column("gate", "TEXT NOT NULL", "the gate"),
        Column("epoch", "INTEGER", "the daemon's epoch at the decision; null before any daemon was heard"),
        Column("run", "INTEGER NOT NULL", "the gate's run"),
        Column("trigger", "INTEGER NOT NULL", "number of the part's trigger"),
        Column("part_id", "INTEGER", "the PLC's own number, null if none"),
        Column("verdict", "TEXT NOT NULL", "PASS or REJECT"),
        Column("reason", "TEXT NOT NULL", "why; OK alone goes with PASS"),
        Column("latency_ns", "INTEGER NOT NULL", "trigger taken to decision, nanoseconds of the bridge's clock"),
    ),
)
STARTS = Table(
    "starts",
    "every start of the bridge",
    (
        ID,
        Column("started_ms", "INTEGER NOT NULL", "ms since 1970"),
        Column("last_write_ms", "INTEGER NOT NULL", "newest write of this start: after it nothing is sure"),
        Column("ended_ms", "INTEGER", "when it was closed in good order; null: it runs, or was killed"),
        Column("instance", "TEXT NOT NULL", "the line's name"),
        Column("version", "TEXT NOT NULL", "Senbetsu's version"),
    ),
)
GAPS = Table(
    "gaps",
    "where rows may be missing: without a row here, nothing is",
    (
        ID,
        Column("from_ms", "INTEGER NOT NULL", "begin, ms since 1970"),
        Column("until_ms", "INTEGER NOT NULL", "end, ms since 1970"),
        Column("why", "TEXT NOT NULL", "KILLED, QUEUE, LOST or DAMAGED"),
        Column("rows", "INTEGER", "how many rows, at most; null: not known"),
        Column("epoch", "INTEGER", "for LOST: the daemon's epoch"),
        Column("first_seq", "INTEGER", "for LOST: the first that may be missing"),
        Column("last_seq", "INTEGER", "for LOST: the last one"),
        Column("detail", "TEXT NOT NULL", "for people"),
    ),
)
TABLES = (RESULTS, DECISIONS, STARTS, GAPS)

QUERIES: tuple[tuple[str, str], ...] = (
    (
        "What became of a part",
        "SELECT d.*, r.camera, r.score, r.threshold, r.reason FROM decisions d\n"
        "LEFT JOIN results r ON r.gate = d.gate AND r.run = d.run AND r.trigger = d.trigger AND r.start_id = d.start_id\n"
        "WHERE d.part_id = 4711 ORDER BY d.id",
    ),
    (
        "Parts an hour, by verdict and reason",
        "SELECT datetime(journaled_ms / 3600000 * 3600, 'unixepoch') AS hour, gate, verdict, reason, count(*)\n"
        "FROM decisions GROUP BY 1, 2, 3, 4 ORDER BY 1",
    ),
    (
        "Is it whole? Every number between the first and the last of an epoch, or a row in gaps",
        "SELECT epoch, min(seq), max(seq), count(*), max(seq) - min(seq) + 1 - count(*) AS missing\n"
        "FROM results GROUP BY epoch",
    ),
    ("Where may rows be missing", "SELECT * FROM gaps ORDER BY id"),
    (
        "Drift: the good parts' score / threshold by day",
        "SELECT date(journaled_ms / 1000, 'unixepoch') AS day, camera, avg(score / threshold)\n"
        "FROM results WHERE reason = 'OK' GROUP BY 1, 2 ORDER BY 1",
    ),
)
