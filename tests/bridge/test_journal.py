"""The journal holds what came, marks what it lacks, and never keeps anybody waiting."""

import sqlite3
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from contract_rig import Rig
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from bridge.gate_run import Decision
from bridge.journal import Journal
from bridge.journal_table import DECISIONS, GAP_MEANINGS, QUERIES, RESULTS, TABLES, Gap
from senbetsu.config import JournalSection
from senbetsu.messages import RESULT_FIELDS, Result
from senbetsu.verdict import Reason


def wait_for(condition: Callable[[], Any], seconds: float = 20.0) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "it did not come to pass"
        time.sleep(0.005)


@dataclass
class Desk:
    """Journals on one file, by a wall clock that is set by hand."""

    path: Path
    now_ms: int = 1_000_000_000_000
    rig: Rig = field(default_factory=Rig)
    seq: int = 0

    def open(self, **settings: Any) -> Journal:
        section = JournalSection(batch_ms=10, **settings)
        journal = Journal(self.path, section, "line1", lambda: self.now_ms)
        journal.start(20)
        return journal

    def result(self, **changes: Any) -> Result:
        self.seq += 1
        return self.rig.result(self.seq % 65536, seq=self.seq, **changes)

    def ask(self, sql: str, *values: Any) -> list[Any]:
        database = sqlite3.connect(self.path)
        try:
            return database.execute(sql, values).fetchall()
        finally:
            database.close()


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path / "var/journal.sqlite")


def test_a_result_and_a_decision_are_found_again_to_the_last_field(desk: Desk) -> None:
    journal = desk.open()
    result = desk.result(score=0.25)
    journal.result(result)
    journal.decision("gate1", 1000, Decision(7, 65535, 4711, Reason.ANOMALY, 5_000_000))
    journal.close()
    (row,) = desk.ask(f"SELECT {', '.join(RESULT_FIELDS)} FROM results")
    for name, value in zip(RESULT_FIELDS, row, strict=True):
        told = getattr(result, name)
        assert value == (None if told != told else getattr(told, "name", told)), name
    assert desk.ask(
        "SELECT gate, epoch, run, trigger, part_id, verdict, reason, latency_ns, journaled_ms FROM decisions"
    ) == [("gate1", 1000, 7, 65535, 4711, "REJECT", "ANOMALY", 5_000_000, desk.now_ms)]
    assert desk.ask("SELECT * FROM gaps") == []


def test_closed_in_good_order_it_marks_no_gap_and_killed_it_does(desk: Desk) -> None:
    desk.open().close()
    journal = desk.open()
    assert desk.ask("SELECT * FROM gaps") == []
    journal.result(desk.result())
    wait_for(lambda: journal.written == 1)
    last_write_ms = desk.now_ms
    desk.now_ms += 60_000  # and now it is killed: nobody closes it
    follower = desk.open()
    assert desk.ask("SELECT from_ms, until_ms, why FROM gaps") == [(last_write_ms, desk.now_ms, Gap.KILLED)]
    assert follower.known == (1000, 1)
    follower.close()


def test_what_is_known_ends_before_the_first_result_that_is_missing(desk: Desk) -> None:
    journal = desk.open()
    for seq in (1, 2, 3, 5, 6):
        journal.result(desk.rig.result(1, seq=seq))
    journal.close()
    follower = desk.open()
    assert follower.known == (1000, 3)
    for seq in (3, 4, 5):
        follower.result(desk.rig.result(1, seq=seq))
    follower.close()
    assert [seq for (seq,) in desk.ask("SELECT seq FROM results ORDER BY seq")] == [1, 2, 3, 4, 5, 6]
    last = desk.open()
    assert last.known == (1000, 6)
    last.close()


@hypothesis_settings(max_examples=15, deadline=None)
@given(st.lists(st.integers(1, 30), max_size=60))
def test_a_result_that_comes_again_is_recorded_once(tmp_path_factory: Any, numbers: list[int]) -> None:
    desk = Desk(tmp_path_factory.mktemp("journal") / "journal.sqlite")
    journal = desk.open()
    for seq in numbers:
        journal.result(desk.rig.result(1, seq=seq))
    journal.close()
    assert [seq for (seq,) in desk.ask("SELECT seq FROM results ORDER BY seq")] == sorted(set(numbers))


def test_a_disk_that_fails_is_told_the_rows_wait_and_are_written_when_it_is_back(desk: Desk) -> None:
    desk.path.mkdir(parents=True)  # a folder in its place: no file can be opened
    journal = desk.open()
    assert journal.failing
    for _ in range(50):
        journal.result(desk.result())
    wait_for(lambda: journal.write_errors >= 2)
    assert journal.waiting == 50
    desk.path.rmdir()
    wait_for(lambda: not journal.failing)
    journal.close()
    assert desk.ask("SELECT count(*) FROM results") == [(50,)]
    assert desk.ask("SELECT * FROM gaps") == []


def test_a_full_queue_drops_counts_and_marks_the_gap_and_keeps_nobody_waiting(desk: Desk) -> None:
    desk.path.mkdir(parents=True)
    journal = desk.open(queue_rows=100)
    since_ms = desk.now_ms
    for _ in range(130):
        journal.result(desk.result())
    desk.now_ms += 5000
    assert (journal.waiting, journal.dropped, journal.failing) == (100, 30, True)
    desk.path.rmdir()
    wait_for(lambda: not journal.failing)
    journal.close()
    assert desk.ask("SELECT max(seq), count(*) FROM results") == [(100, 100)]
    assert desk.ask("SELECT from_ms, until_ms, why, rows FROM gaps") == [(since_ms, desk.now_ms, Gap.QUEUE, 30)]


def test_while_another_program_holds_the_file_rows_wait(desk: Desk) -> None:
    journal = desk.open()
    other = sqlite3.connect(desk.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    journal.result(desk.result())
    wait_for(lambda: journal.failing)
    other.execute("ROLLBACK")
    other.close()
    wait_for(lambda: not journal.failing and journal.written == 1)
    journal.close()
    assert desk.ask("SELECT count(*) FROM results") == [(1,)]


def test_a_damaged_file_is_put_aside_and_the_gap_is_marked(desk: Desk) -> None:
    desk.path.parent.mkdir()
    desk.path.write_bytes(b"this is no database at all, but it is long enough to have a header " * 100)
    journal = desk.open()
    journal.result(desk.result())
    journal.close()
    ((why, aside),) = desk.ask("SELECT why, detail FROM gaps")
    assert why == Gap.DAMAGED
    assert Path(aside).read_bytes().startswith(b"this is no database")
    assert desk.ask("SELECT count(*) FROM results") == [(1,)]


def test_lost_results_are_named(desk: Desk) -> None:
    journal = desk.open()
    journal.lost(1000, 5, 9)
    journal.close()
    assert desk.ask("SELECT why, rows, epoch, first_seq, last_seq FROM gaps") == [(Gap.LOST, 5, 1000, 5, 9)]


def test_what_is_too_old_is_deleted_and_what_is_not_stays(desk: Desk) -> None:
    journal = desk.open(keep_days=1)
    for _ in range(700):
        journal.result(desk.result())
    wait_for(lambda: journal.written == 700)
    desk.now_ms += 86_400_001
    journal.result(desk.result())
    wait_for(lambda: desk.ask("SELECT count(*) FROM results") == [(1,)])
    journal.close()
    assert desk.ask("SELECT seq FROM results") == [(701,)]


def test_beyond_its_size_the_oldest_are_deleted(desk: Desk) -> None:
    journal = desk.open(max_mib=1)
    for _ in range(6000):
        journal.result(desk.result(model_sha256="m" * 400))
    wait_for(lambda: journal.written == 6000)
    journal.close()
    follower = desk.open(max_mib=1)

    def size() -> float:
        ((pages, free, bytes_),) = desk.ask("SELECT * FROM pragma_page_count, pragma_freelist_count, pragma_page_size")
        return (pages - free) * bytes_ / (1 << 20)

    wait_for(lambda: size() <= 1)
    follower.close()
    ((oldest, newest),) = desk.ask("SELECT min(seq), max(seq) FROM results")
    assert newest == 6000
    assert oldest > 1
    assert size() > 0.8, "no more was deleted than was too much"


@pytest.mark.parametrize(("title", "sql"), QUERIES)
def test_a_question_of_the_page_can_be_asked(desk: Desk, title: str, sql: str) -> None:
    journal = desk.open()
    journal.result(desk.result(part_id=4711))
    journal.decision("gate1", 1000, Decision(desk.rig.contract.run, 1, 4711, Reason.OK, 1))
    journal.close()
    rows = desk.ask(sql)
    assert bool(rows) != title.startswith("Where may rows be missing")


def test_the_tables_hold_every_field_of_a_result_and_every_gap_has_a_meaning() -> None:
    assert {*RESULT_FIELDS} <= {column.name for column in RESULTS.columns}
    assert set(GAP_MEANINGS) == set(Gap)
    assert len({table.name for table in TABLES}) == len(TABLES)
    assert {"verdict", "reason", "run", "trigger"} <= {column.name for column in DECISIONS.columns}
