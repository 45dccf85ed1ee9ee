"""The journal: every result and every decision in an SQLite file, and not one verdict that waits for a disk.

It is the bridge that writes it, not the daemon: the bridge has both, the looks that it heard (and asked for again where one
was missing) and the parts that it decided; and the PLC's flag `journal failing` is the bridge's. What comes is put into a
bounded queue; a thread of its own takes it out and writes it in batches, each one transaction (WAL, synchronous=FULL).

- Killed with -9, or the power cut: the file is whole, SQLite sees to it, and lacks what came since the last batch, at most
  `journal.batch_ms` and the time of one write. The next start notes that gap, and the bridge asks the daemon for the results of
  the same epoch from there on.
- The disk full or failing: the batch is kept and tried again, rows wait in the queue; beyond `journal.queue_rows` they are
  dropped and counted, and the gap is noted once the disk takes it. Until a write succeeds `failing` is true.
- No journal: the line goes on all the same. What the PLC does about the flag is its own business.
"""

import logging
import math
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

from bridge.gate_run import Decision
from bridge.journal_table import DECISIONS, FORMAT, GAPS, RESULTS, STARTS, TABLES, Gap, Table
from senbetsu import __version__
from senbetsu.config import JournalSection
from senbetsu.messages import RESULT_FIELDS, Result
from senbetsu.verdict import Reason, Verdict

log = logging.getLogger("journal")

BATCH_ROWS = 2000
"""Most rows of one transaction."""
CLEAN_ROWS = 500
"""Rows deleted after a batch, at most (or twice the batch's): cleaning up never holds up writing for long."""
CLOSE_S = 5.0
"""A journal whose disk hangs is left behind at the end."""
RETRY_S = 0.5
DAY_MS = 86_400_000
MIB = 1 << 20

KNOWN = """
    SELECT epoch, seq FROM results r
    WHERE epoch = (SELECT max(epoch) FROM results)
      AND seq > (SELECT max(seq) FROM results WHERE epoch = r.epoch) - 100000
      AND NOT EXISTS (SELECT 1 FROM results WHERE epoch = r.epoch AND seq = r.seq + 1)
    ORDER BY seq LIMIT 1
"""
"""The last result before the first that is missing in the newest epoch (looked for as far as a replay may reach)."""

Row = tuple[Table, tuple[Any, ...]]


class Journal:
    """`result`, `decision` and `lost` are called by one thread, and never wait; the rest is a thread's own."""

    def __init__(
        self,
        path: Path,
        section: JournalSection,
        instance: str,
        wall_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self._path = path
        self._section = section
        self._instance = instance
        self._wall_ms = wall_ms
        self._rows: deque[Row] = deque()
        self._dropped_now = 0
        self._dropped_since_ms = 0
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._closing = False
        self._database: sqlite3.Connection | None = None
        self._start_id = 0
        self._opened = threading.Event()
        self.failing = False
        self.written = 0
        self.dropped = 0
        self.write_errors = 0
        self.known: tuple[int, int] | None = None
        """Epoch and seq up to which the file has all results of its newest epoch; None if there are none."""
        self._thread = threading.Thread(target=self._run, name="journal", daemon=True)

    # -- the bridge's side ---------------------------------------------------------------------------------------------

    def start(self, wait_s: float = 2.0) -> None:
        """Open the file, in the thread; `known` is there when this returns, unless the disk takes its time."""
        self._thread.start()
        self._opened.wait(wait_s)

    def result(self, result: Result) -> None:
        """Note one result."""
        values = (getattr(result, name) for name in RESULT_FIELDS)
        self._put(RESULTS, tuple(value.name if isinstance(value, Verdict | Reason) else value for value in values))

    def decision(self, gate: str, epoch: int | None, decision: Decision) -> None:
        """Note what was decided on a part."""
        verdict = Verdict.PASS if decision.reason is Reason.OK else Verdict.REJECT
        self._put(DECISIONS, (
            gate, epoch, decision.run, decision.trigger, decision.part_id or None, verdict.name, decision.reason.name,
            decision.latency_ns,
        ))  # fmt: skip

    def lost(self, epoch: int, first: int, last: int) -> None:
        """Note that results never came."""
        now = self._wall_ms()
        self._put(GAPS, (now, now, Gap.LOST, last - first + 1, epoch, first, last, "no longer kept by the daemon"))

    def _put(self, table: Table, values: tuple[Any, ...]) -> None:
        with self._lock:
            if len(self._rows) >= self._section.queue_rows:
                if not self._dropped_now:
                    self._dropped_since_ms = self._wall_ms()
                self._dropped_now += 1
                self.dropped += 1
                self.failing = True
                return
            self._rows.append((table, values if table is GAPS else (self._wall_ms(), *values)))
        if len(self._rows) >= BATCH_ROWS:
            self._wake.set()

    @property
    def waiting(self) -> int:
        """Rows that are not written yet."""
        return len(self._rows)

    def close(self) -> None:
        """Write what waits, and say in the file that nothing is missing."""
        self._closing = True
        self._wake.set()
        self._thread.join(CLOSE_S)
        if self._thread.is_alive() or self._rows:
            log.error("%s: %d rows could not be written before the end", self._path, len(self._rows))

    # -- the thread's side ---------------------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            self._write_for_ever()
        except BaseException:
            self.failing = True  # for good; the line goes on
            log.critical("the journal's thread died: nothing is recorded any more", exc_info=True)
            raise
        finally:
            self._opened.set()
            self._give_database_up()

    def _write_for_ever(self) -> None:
        while True:
            in_order = self._turn()
            if self._closing and (not self._rows or not in_order):
                break
            if in_order and len(self._rows) >= BATCH_ROWS:
                continue
            self._wake.wait(self._section.batch_ms / 1000 if in_order else RETRY_S)
            self._wake.clear()

    def _turn(self) -> bool:
        """One batch, and some cleaning; False where the disk did not take it: the rows still wait."""
        try:
            if self._database is None:
                self._open()
            self._clean(max(CLEAN_ROWS, 2 * self._write()))
        except (sqlite3.Error, OSError) as error:
            self.write_errors += 1
            if not self.failing:
                log.error("journal %s failing: %s; rows wait, the line goes on", self._path, error)
            self.failing = True
            self._opened.set()
            self._give_database_up()
            return False
        if self.failing and not self._dropped_now:
            log.info("journal %s: written again", self._path)
            self.failing = False
        self._opened.set()
        return True

    def _give_database_up(self) -> None:
        """Opened anew at the next turn: a disk may have been replaced under it."""
        database, self._database = self._database, None
        if database is not None:
            try:
                database.close()
            except sqlite3.Error as error:
                log.debug("closing: %s", error)

    def _open(self) -> None:
        path = self._path
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            database = _connect(path)
            aside = None
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.OperationalError):
                raise  # the disk, not the file
            aside = path.with_name(f"{path.name}.damaged-{self._wall_ms()}")
            path.replace(aside)
            for suffix in ("-wal", "-shm"):
                path.with_name(path.name + suffix).unlink(missing_ok=True)
            log.error("%s is damaged (%s): put aside as %s, and begun anew", path, error, aside)
            database = _connect(path)
        now = self._wall_ms()
        with database:
            if aside is not None:
                database.execute(GAPS.insert(), (0, now, Gap.DAMAGED, None, None, None, None, str(aside)))
            if not self._start_id:
                self._begin(database, now)
        self._database = database

    def _begin(self, database: sqlite3.Connection, now: int) -> None:
        """Once a start: note what the one before did not close, and where its results ended."""
        open_starts = database.execute("SELECT id, last_write_ms FROM starts WHERE ended_ms IS NULL").fetchall()
        for number, last_write_ms in open_starts:
            detail = f"start {number} was not closed"
            database.execute(GAPS.insert(), (last_write_ms, now, Gap.KILLED, None, None, None, None, detail))
            database.execute("UPDATE starts SET ended_ms = last_write_ms WHERE id = ?", (number,))
        self.known = database.execute(KNOWN).fetchone()
        cursor = database.execute(STARTS.insert(), (now, now, None, self._instance, __version__))
        self._start_id = cursor.lastrowid or 0

    def _write(self) -> int:
        """The next batch; how many rows it had."""
        with self._lock:
            batch = list(islice(self._rows, BATCH_ROWS))
            dropped, since_ms = self._dropped_now, self._dropped_since_ms
        ends = self._closing and len(batch) == len(self._rows)
        if not batch and not dropped and not ends:
            return 0
        database, now = self._database, self._wall_ms()
        assert database is not None
        with database:
            for table in TABLES:
                rows = [values for of, values in batch if of is table]
                if rows and table is not GAPS:
                    rows = [(values[0], self._start_id, *values[1:]) for values in rows]
                database.executemany(table.insert(), rows)
            if dropped:
                detail = "dropped: the queue was full"
                database.execute(GAPS.insert(), (since_ms, now, Gap.QUEUE, dropped, None, None, None, detail))
            database.execute(
                "UPDATE starts SET last_write_ms = ?, ended_ms = ? WHERE id = ?",
                (now, now if ends else None, self._start_id),
            )
        with self._lock:
            for _ in batch:
                self._rows.popleft()
            self._dropped_now -= dropped
        self.written += len(batch)
        return len(batch)

    def _clean(self, most: int) -> None:
        """Delete a few of the oldest rows where they are too old, or of a file that is too large the share that is too much."""
        database = self._database
        assert database is not None
        (pages,) = database.execute("PRAGMA page_count").fetchone()
        (free,) = database.execute("PRAGMA freelist_count").fetchone()
        (page_bytes,) = database.execute("PRAGMA page_size").fetchone()
        size = (pages - free) * page_bytes
        excess = max(0.0, 1 - self._section.max_mib * MIB / size)
        before_ms = self._wall_ms() - round(self._section.keep_days * DAY_MS)
        with database:
            for table in (RESULTS, DECISIONS):
                (rows,) = database.execute(f"SELECT ifnull(max(id) - min(id) + 1, 0) FROM {table.name}").fetchone()
                too_many = min(most, math.ceil(excess * rows))
                oldest = f"SELECT id, journaled_ms FROM {table.name} ORDER BY id LIMIT"
                database.execute(
                    f"DELETE FROM {table.name} WHERE id IN (SELECT id FROM ({oldest} {most}) WHERE journaled_ms < ?)"
                    f" OR id IN (SELECT id FROM ({oldest} {too_many}))",
                    (before_ms,),
                )
        if free > 1000:
            database.execute("PRAGMA incremental_vacuum(1000)").fetchall()


def _connect(path: Path) -> sqlite3.Connection:
    """A journal file, made where there is none. Raises sqlite3.DatabaseError."""
    database = sqlite3.connect(path, timeout=1.0, isolation_level="IMMEDIATE")
    try:
        database.execute("PRAGMA auto_vacuum = INCREMENTAL")  # before the first table, or not at all
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = FULL")
        (format_found,) = database.execute("PRAGMA user_version").fetchone()
        if format_found not in (0, FORMAT):
            raise sqlite3.DatabaseError(f"a journal of format {format_found}, expected {FORMAT}")
        with database:
            for table in TABLES:
                database.execute(table.create())
            for table in (RESULTS, DECISIONS):
                index = f"{table.name}_part ON {table.name} (gate, run, trigger)"
                database.execute(f"CREATE INDEX IF NOT EXISTS {index}")
        database.execute(f"PRAGMA user_version = {FORMAT}")
    except sqlite3.Error:
        database.close()
        raise
    return database
