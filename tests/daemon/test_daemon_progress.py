"""Heartbeat and watchdog live on proof, and on nothing else."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

import daemon.progress
from daemon.progress import Progress


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    now = [1_000]
    monkeypatch.setattr(time, "monotonic_ns", lambda: now[0])
    assert daemon.progress.time is time
    return now


def progress() -> Progress:
    return Progress({"cam1": 100, "cam2": 200}, engine_limit_ns=50, stall_ns=30)


def test_without_any_proof_nothing_is_proven(clock: list[int]) -> None:
    assert not progress().all_proven(1_000)


def test_the_engine_has_to_be_proven_and_a_camera_but_not_each_of_them(clock: list[int]) -> None:
    proof = progress()
    for step in (lambda: proof.camera_proven("cam1"), proof.engine_proven):
        assert not proof.all_proven(1_000)
        step()
    assert proof.all_proven(1_000)
    assert proof.silent_cameras(1_000) == ["cam2"]


@given(st.integers(0, 400))
def test_a_proof_is_good_for_its_limit_and_no_longer(age_ns: int) -> None:
    proof = progress()
    now_ns = time.monotonic_ns()
    proof.camera_proven_ns = {"cam1": now_ns, "cam2": now_ns}
    proof.engine_proven_ns = now_ns
    assert proof.silent_cameras(now_ns + age_ns) == [n for n, limit in (("cam1", 100), ("cam2", 200)) if age_ns > limit]
    assert proof.engine_is_proven(now_ns + age_ns) == (age_ns <= 50)
    assert proof.all_proven(now_ns + age_ns) == (age_ns <= 50)


def test_an_engine_stalls_only_while_it_is_busy(clock: list[int]) -> None:
    proof = progress()
    assert not proof.engine_stalls(10**18)
    proof.engine_busy_since_ns[-1] = 1_000
    assert not proof.engine_stalls(1_030)
    assert proof.engine_stalls(1_031)


def test_after_a_fault_there_is_no_heartbeat_and_the_first_reason_stands(clock: list[int]) -> None:
    proof = progress()
    proof.camera_proven("cam1")
    proof.camera_proven("cam2")
    proof.engine_proven()
    proof.fail("first")
    proof.fail("second")
    assert proof.fatal == "first"
    assert not proof.all_proven(1_000)
