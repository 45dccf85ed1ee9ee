"""A real bridge and its journal: killed with -9, and with a disk that takes no more."""

import resource
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from pymodbus.client import ModbusTcpClient
from test_bridge_process import Plc, Setup, StandInDaemon, config_text, free_port, start_bridge, wait_for

from senbetsu.registers import Flag


@pytest.fixture
def setup(tmp_path: Path) -> Iterator[Setup]:
    publish, request, modbus = free_port(), free_port(), free_port()
    daemon = StandInDaemon(publish, request)
    text = config_text(tmp_path, publish, request, modbus)
    text += f'[journal]\nfile = "{tmp_path}/journal.sqlite"\nbatch_ms = 20\n'
    process = start_bridge(tmp_path, text)
    wait_for(lambda: ": ready" in (tmp_path / "bridge.log").read_text(), 30)
    client = ModbusTcpClient("127.0.0.1", port=modbus, timeout=3)
    assert client.connect()
    made = Setup(process, daemon, Plc(client), modbus, tmp_path)
    made.plc.start()
    yield made
    client.close()
    made.process.terminate()
    assert made.process.wait(timeout=10) == 0, (tmp_path / "bridge.log").read_text()
    daemon.close()


def ask(setup: Setup, sql: str) -> list[tuple[object, ...]]:
    database = sqlite3.connect(setup.folder / "journal.sqlite", timeout=5)
    try:
        return database.execute(sql).fetchall()
    finally:
        database.close()


def parts(setup: Setup, count: int) -> list[int]:
    triggers = [setup.plc.part() for _ in range(count)]
    wait_for(lambda: all(setup.plc.reason(t) != "NONE" for t in triggers))
    return triggers


def start_again(setup: Setup) -> None:
    setup.process.wait()
    (setup.folder / "bridge.log").write_text("")
    setup.process = start_bridge(setup.folder, (setup.folder / "config.toml").read_text())
    wait_for(lambda: ": ready" in (setup.folder / "bridge.log").read_text(), 30)
    setup.plc.client.close()
    assert setup.plc.client.connect()
    setup.plc.start()


def test_killed_the_file_is_whole_the_gap_is_marked_and_the_daemon_is_asked_for_what_came_meanwhile(
    setup: Setup,
) -> None:
    parts(setup, 5)
    wait_for(lambda: ask(setup, "SELECT count(*) FROM decisions") == [(5,)])
    setup.process.kill()
    for _ in range(3):  # and meanwhile the daemon goes on
        result = setup.daemon.rig.result(9, part_id=None)
        setup.daemon.results.append(type(result)(**{
            **{name: getattr(result, name) for name in result.__slots__}, "seq": len(setup.daemon.results) + 1,
        }))  # fmt: skip
    start_again(setup)
    assert ask(setup, "PRAGMA integrity_check") == [("ok",)]
    assert [why for (why,) in ask(setup, "SELECT why FROM gaps")] == ["KILLED"]
    wait_for(lambda: ask(setup, "SELECT min(seq), max(seq), count(*) FROM results") == [(1, 8, 8)])
    late = setup.plc.client.read_input_registers(6, count=2).registers
    assert late == [0, 0], "what came meanwhile is recorded, and nobody's verdict"
    parts(setup, 2)
    wait_for(lambda: ask(setup, "SELECT count(*) FROM decisions") == [(7,)])


def test_a_full_disk_is_flagged_the_line_goes_on_and_what_waited_is_written_when_there_is_room(setup: Setup) -> None:
    parts(setup, 3)
    wait_for(lambda: ask(setup, "SELECT count(*) FROM results") == [(3,)])
    # No file of this process may grow: to SQLite the same as a full disk.
    resource.prlimit(setup.process.pid, resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
    triggers = parts(setup, 8)
    assert [setup.plc.reason(t) for t in triggers] == ["OK"] * 8
    wait_for(lambda: Flag.JOURNAL_FAILING in setup.plc.window().flags)
    triggers = parts(setup, 8)
    assert [setup.plc.reason(t) for t in triggers] == ["OK"] * 8
    resource.prlimit(setup.process.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    wait_for(lambda: Flag.JOURNAL_FAILING not in setup.plc.window().flags)
    wait_for(lambda: ask(setup, "SELECT count(*) FROM results") == [(19,)])
    wait_for(lambda: ask(setup, "SELECT count(*) FROM decisions") == [(19,)])
    assert ask(setup, "SELECT * FROM gaps") == []
    assert ask(setup, "PRAGMA integrity_check") == [("ok",)]


def test_a_lost_result_is_marked_in_the_journal(setup: Setup) -> None:
    parts(setup, 2)
    for _ in range(3):
        setup.daemon.results.append(setup.daemon.results[-1])
    setup.daemon.lost = 3  # its ring has them no longer
    wait_for(lambda: ask(setup, "SELECT why, rows, first_seq, last_seq FROM gaps") == [("LOST", 3, 3, 5)])
    setup.daemon.lost = 0


def test_who_has_no_journal_gets_none(setup: Setup) -> None:
    setup.process.kill()
    text = (setup.folder / "config.toml").read_text().replace("batch_ms = 20", "batch_ms = 20\nenabled = false")
    (setup.folder / "config.toml").write_text(text)
    (setup.folder / "journal.sqlite").unlink()
    start_again(setup)
    parts(setup, 1)
    assert not (setup.folder / "journal.sqlite").exists()
