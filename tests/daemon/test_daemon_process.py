"""What becomes of parts when the daemon is overloaded, stopped, killed, or fails: each has its result or refusal."""

import os
import signal
import socket
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from senbetsu.states import State
from senbetsu.verdict import Reason, Verdict

FAULT, HANG, CRASH = 254, 253, 252
PASSES = 50

Start = Any


def tables(source: Path, extra: str = "loop = true", gate_extra: str = "") -> str:
    return (
        f'[[cameras]]\nname = "cam1"\nkind = "folder"\nsource = "{source}"\ngate = "gate1"\n{extra}\n'
        f'[[gates]]\nname = "gate1"\n{gate_extra}\n'
    )


def pictures(write: Any, folder: Path, greys: list[int | None]) -> Path:
    path: Path = write(folder, greys)
    return path


def triggers(line: Any, count: int, deadline_ms: float = 5000, first: int = 1) -> list[int]:
    """Send all at once; the numbers of those that were accepted."""
    for number in range(first, first + count):
        line.send(b'{"op":"trigger","gate":"gate1","trigger":%d,"deadline_ms":%d}' % (number, deadline_ms))
    answers = [line.receive() for _ in range(count)]
    return [answer.body["trigger"] for answer in answers if answer.ok]


def results_by_trigger(line: Any, wanted: list[int]) -> dict[int, Any]:
    """Hear a result for each, and that none has two."""
    line.hear(lambda heard: set(wanted) <= {result.trigger for result in heard.results()})
    seen = Counter(result.trigger for result in line.results())
    assert set(seen.values()) == {1}
    return {result.trigger: result for result in line.results()}


def test_several_times_more_parts_than_it_can_judge_all_get_a_result_and_some_are_judged(start_line: Start) -> None:
    line = start_line([PASSES], delay_ms=20, max_batch=2)
    line.until_ready()
    accepted = triggers(line, 400, deadline_ms=500)
    assert len(accepted) == 400
    results = results_by_trigger(line, accepted)
    reasons = Counter(result.reason for result in results.values())
    assert set(reasons) <= {Reason.OK, Reason.OVERLOAD, Reason.DEADLINE}
    assert reasons[Reason.OVERLOAD] > 100
    assert reasons[Reason.OK] > 0
    assert line.state()["state"] in ("IDLE", "EXECUTE")


def test_a_part_that_waits_past_its_deadline_is_rejected_and_not_looked_at(start_line: Start) -> None:
    line = start_line([PASSES], delay_ms=200, max_batch=1)
    line.until_ready()
    results = results_by_trigger(line, triggers(line, 4, deadline_ms=100))
    late = [result for result in results.values() if result.reason is Reason.DEADLINE]
    assert len(late) >= 2
    assert all(str(result.score) == "nan" for result in late)


def test_a_trigger_that_is_still_open_is_refused_and_free_again_when_it_is_settled(start_line: Start) -> None:
    line = start_line([PASSES], delay_ms=300)
    line.until_ready()
    assert line.trigger(7).ok
    again = line.trigger(7)
    assert not again.ok
    assert again.body["reason"] == "BAD_TRIGGER"
    results_by_trigger(line, [7])
    assert line.trigger(7).ok
    line.until_results(2)
    assert [result.trigger for result in line.results()] == [7, 7]


@pytest.mark.parametrize("signal_number", [signal.SIGTERM, signal.SIGINT])
def test_told_to_stop_it_finishes_what_is_in_flight_and_ends_well(start_line: Start, signal_number: int) -> None:
    line = start_line([PASSES], delay_ms=100, max_batch=1)
    line.until_ready()
    accepted = triggers(line, 8)
    line.process.send_signal(signal_number)
    results = results_by_trigger(line, accepted)
    assert {result.reason for result in results.values()} == {Reason.OK}
    assert line.ends() == 0
    assert line.hear(lambda heard: heard.states() and heard.states()[-1].state is State.SUSPENDED)
    assert "published 8 results: 8 pass, 0 reject; 0 looks unsettled" in line.log


def test_while_it_stops_further_triggers_are_refused(start_line: Start) -> None:
    line = start_line([PASSES], delay_ms=400, max_batch=1)
    line.until_ready()
    accepted = triggers(line, 4)
    line.process.send_signal(signal.SIGTERM)
    number = 100
    while (answer := line.trigger(number)).ok:  # the signal is on its way
        accepted.append(number)
        number += 1
    assert answer.body["reason"] == "NOT_READY"
    results_by_trigger(line, accepted)
    assert line.ends() == 0


def test_killed_and_started_again_it_is_a_later_epoch_that_counts_from_one(start_line: Start) -> None:
    line = start_line([PASSES])
    before = line.until_ready()
    results_by_trigger(line, triggers(line, 3))
    line.process.kill()
    line.process.wait()
    line.start_again()
    after = line.hear(lambda heard: [beat for beat in heard.heartbeats() if beat.epoch != before.epoch])[0]
    assert before.epoch < after.epoch < 2**53
    assert line.trigger(1).ok
    (result,) = line.hear(lambda heard: [r for r in heard.results() if r.epoch == after.epoch])
    assert (result.seq, result.trigger) == (1, 1)


@pytest.mark.parametrize("grey", [FAULT, CRASH])
def test_an_engine_that_fails_rejects_what_is_open_and_ends_the_process(start_line: Start, grey: int) -> None:
    line = start_line([grey], delay_ms=200)
    line.until_ready()
    accepted = triggers(line, 5)
    results = results_by_trigger(line, accepted)
    assert {result.reason for result in results.values()} == {Reason.MODEL_FAULT}
    assert line.ends() == 1
    assert line.hear(lambda heard: heard.states() and heard.states()[-1].state is State.ABORTED)
    assert "the stand-in" in line.log


def test_an_engine_that_hangs_stops_the_heartbeat_and_ends_the_process(start_line: Start) -> None:
    line = start_line([HANG], tail="[daemon]\nengine_stall_ms = 2500\n")
    line.until_ready()
    accepted = triggers(line, 3)
    results = results_by_trigger(line, accepted)
    assert {result.reason for result in results.values()} == {Reason.MODEL_FAULT}
    assert line.ends() == 1
    aborted = line.hear(lambda heard: [state for state in heard.states() if state.state is State.ABORTED])[0]
    # Long before the process gives up the heartbeat has gone.
    assert aborted.sent_at_ns - line.heartbeats()[-1].sent_at_ns > 500e6


def test_an_engine_that_hangs_while_the_daemon_is_told_to_stop_does_not_keep_it(start_line: Start) -> None:
    line = start_line([HANG], tail="[daemon]\nengine_stall_ms = 500\n")
    line.until_ready()
    accepted = triggers(line, 2)
    line.process.terminate()
    results = results_by_trigger(line, accepted)
    assert {result.reason for result in results.values()} == {Reason.MODEL_FAULT}
    assert line.ends() == 1


def test_a_recording_that_is_over_leaves_no_frame_for_a_trigger(start_line: Start, tmp_path: Path) -> None:
    line = start_line([PASSES, PASSES], config_of=lambda parts: tables(parts, "loop = false"))
    line.until_ready()
    results = results_by_trigger(line, triggers(line, 3))
    assert [results[number].reason for number in (1, 2, 3)] == [Reason.OK, Reason.OK, Reason.NO_FRAME]
    assert results[3].frame_id is None
    assert line.state()["state"] in ("IDLE", "EXECUTE")


def test_in_free_run_each_frame_is_a_result_without_a_trigger_and_at_the_end_it_is_suspended(start_line: Start) -> None:
    extra = 'trigger = "free_run"\nrate_hz = 20\nloop = false'
    line = start_line([PASSES, 150, None] * 10, config_of=lambda parts: tables(parts, extra, "deadline_ms = 10_000"))
    suspended = line.hear(lambda heard: [state for state in heard.states() if state.state is State.SUSPENDED])[0]
    assert suspended.seq == 30
    replayed = line.ask(b'{"op":"replay","epoch":%d,"after":0}' % suspended.epoch).body["results"]
    assert [document["frame_id"] for document in replayed] == list(range(1, 31))
    assert [document["reason"] for document in replayed] == ["OK", "ANOMALY", "INCOMPLETE_FRAME"] * 10
    for document in replayed:
        assert (document["trigger"], document["part_id"], document["triggered_at_ns"]) == (None, None, None)
        assert document["simulated"] is True
    beat = line.until_ready()
    assert beat.state is State.SUSPENDED
    refused = line.trigger(1)
    assert not refused.ok


def test_each_camera_of_a_gate_gives_a_look_and_an_unreadable_one_spoils_only_its_own(
    start_line: Start, write_greys: Any, tmp_path: Path
) -> None:
    bad = pictures(write_greys, tmp_path / "bad", [None])
    second = f'[[cameras]]\nname = "cam2"\nkind = "folder"\nsource = "{bad}"\ngate = "gate1"\nloop = true\n'
    line = start_line([PASSES], config_of=lambda parts: second + tables(parts))
    line.until_ready()
    answer = line.trigger(1)
    assert answer.body["looks"] == [{"camera": "cam2", "items": 1}, {"camera": "cam1", "items": 1}]
    looks = {result.camera: result.reason for result in line.until_results(2)}
    assert looks == {"cam1": Reason.OK, "cam2": Reason.INCOMPLETE_FRAME}


def test_a_camera_whose_source_goes_is_a_fault_and_the_other_goes_on(
    start_line: Start, write_greys: Any, tmp_path: Path
) -> None:
    gone = pictures(write_greys, tmp_path / "gone", [PASSES])
    second = (
        f'[[cameras]]\nname = "cam2"\nkind = "folder"\nsource = "{gone}"\ngate = "gate2"\nloop = true\n'
        '[[gates]]\nname = "gate2"\nunit_id = 2\n'
    )
    line = start_line([PASSES], config_of=lambda parts: tables(parts) + second)
    line.until_ready()
    gone.rename(tmp_path / "away")
    told = line.hear(lambda heard: [state for state in heard.states() if "cam2" in state.detail])[0]
    assert told.state in (State.IDLE, State.EXECUTE)
    assert line.trigger(1).ok
    (result,) = line.until_results(1)
    assert (result.camera, result.verdict) == ("cam1", Verdict.PASS)
    (tmp_path / "away").rename(gone)
    assert line.hear(lambda heard: "cam2" not in heard.states()[-1].detail)


def test_with_no_camera_left_the_line_is_held_until_it_is_back(start_line: Start, tmp_path: Path) -> None:
    line = start_line([PASSES], config_of=tables)
    line.until_ready()
    (parts,) = tmp_path.glob("*/parts")
    parts.rename(tmp_path / "away")
    held = line.hear(lambda heard: [state for state in heard.states() if state.state is State.HELD])[0]
    assert "cam1" in held.detail
    refused = line.trigger(1)
    assert (refused.ok, refused.body["reason"]) == (False, "NOT_READY")
    (tmp_path / "away").rename(parts)
    line.hear(lambda heard: heard.states()[-1].state is State.IDLE)
    line.until_ready()
    assert line.trigger(2).ok
    assert line.until_results(1)[0].reason is Reason.OK


def test_a_video_file_in_free_run_is_simulated_frame_by_frame(start_line: Start, tmp_path: Path) -> None:
    video = cv2.VideoWriter(str(tmp_path / "belt.avi"), cv2.VideoWriter_fourcc(*"MJPG"), 20, (64, 48))
    for _ in range(10):
        video.write(np.full((48, 64, 3), PASSES, np.uint8))
    video.release()
    camera = tables(tmp_path / "belt.avi", 'trigger = "free_run"', "deadline_ms = 10_000").replace(
        '"folder"', '"opencv"'
    )
    line = start_line(config_of=lambda _: camera)
    suspended = line.hear(lambda heard: [state for state in heard.states() if state.state is State.SUSPENDED])[0]
    replayed = line.ask(b'{"op":"replay","epoch":%d,"after":0}' % suspended.epoch).body["results"]
    ids = [document["frame_id"] for document in replayed]
    # Those of the start, before anybody looked, may be gone; from then on each is told, also one that was missed.
    assert ids == list(range(ids[0], 11))
    assert all(document["simulated"] for document in replayed)
    assert replayed[-1]["reason"] == "OK"


def test_a_result_that_has_left_the_ring_is_said_to_be_lost(start_line: Start) -> None:
    line = start_line([PASSES], tail="[daemon]\nreplay_results = 16\n")
    epoch = line.until_ready().epoch
    for number in range(20):
        assert line.trigger(number).ok
        line.until_results(1, after=number)
    body = line.ask(b'{"op":"replay","epoch":%d,"after":0}' % epoch).body
    assert (body["lost"], body["first"], body["last"]) == (4, 5, 20)
    assert [document["seq"] for document in body["results"]] == list(range(5, 21))


@pytest.mark.parametrize("setting", ["publish", "request", "metrics_port"])
def test_a_port_in_use_is_an_error_that_names_its_setting(start_line: Start, setting: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        value = str(port) if setting == "metrics_port" else f'"tcp://127.0.0.1:{port}"'
        line = start_line([PASSES], override={setting: value})
        assert line.ends() == 2
    assert f"daemon.{setting}" in line.log
    assert str(port) in line.log
    assert "Traceback" not in line.log


def test_the_service_manager_hears_when_it_is_ready_and_that_it_goes_on(start_line: Start, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(20)
        line = start_line([PASSES], environment={"NOTIFY_SOCKET": str(tmp_path / "notify")})
        said = [manager.recv(4096).decode()]
        while "WATCHDOG=1" not in said[-1]:
            said.append(manager.recv(4096).decode())
        assert any(text.startswith("READY=1\n") for text in said)
        line.process.terminate()
        while "STOPPING=1" not in said[-1]:
            said.append(manager.recv(4096).decode())
        assert line.ends() == 0


def test_a_crash_in_native_code_leaves_its_stack_in_the_log(tmp_path: Path) -> None:
    """Sent while it imports, since a real one cannot be ordered."""
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "daemon"], cwd=tmp_path, env={**os.environ, "PYTHONPROFILEIMPORTTIME": "1"},
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stderr is not None
    for line in process.stderr:
        if line.rstrip().endswith(" argparse"):
            process.send_signal(signal.SIGSEGV)
            break
    log = process.stderr.read()
    assert process.wait(timeout=90) == -signal.SIGSEGV
    assert "Fatal Python error: Segmentation fault" in log


def test_a_hanging_engine_gets_no_watchdog_signal(start_line: Start, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(20)
        line = start_line(
            [HANG],
            tail="[daemon]\nengine_stall_ms = 60000\n",
            environment={"NOTIFY_SOCKET": str(tmp_path / "notify")},
        )
        line.until_ready()
        assert line.trigger(1, deadline_ms=60_000).ok
        manager.settimeout(3)
        while heard(manager) is not None:
            assert line.process.poll() is None
        assert line.process.poll() is None


def heard(manager: socket.socket) -> bytes | None:
    try:
        return manager.recv(4096)
    except TimeoutError:
        return None
