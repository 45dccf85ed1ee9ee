"""`senbetsu bench` as its user sees it: a real daemon, triggers and verdicts over real sockets."""

import json
import mmap
import os
import shutil
from dataclasses import replace

import pytest

from bench.line import Load, ResidentMemory, running_line
from bench.measure import carries, tier
from senbetsu.config import load_config
from senbetsu.embedding import load_embedding
from senbetsu.profile import CameraBinding, load_profile, save_profile

KEYS = {
    "daemon_to_bare_ratio", "bare", "daemon", "deadline_ms", "loads", "carries", "conditions", "profile",
}  # fmt: skip


def check(report: dict) -> None:
    """Every trigger has a result, and the ratio is that of the figures beside it."""
    assert set(report) == KEYS
    assert report["daemon_to_bare_ratio"] > 0
    assert report["daemon"]["parts_per_s"] in report["daemon"]["rounds"]
    assert set(report["daemon"]["mean_stage_ms"]) >= {"fit", "engine", "wait"}
    assert [load["load"] for load in report["loads"]] == [0.1, 0.5, 0.8, 0.95, 3.0]
    for load in report["loads"]:
        assert "no result" not in load["reasons"]
        assert sum(load["reasons"].values()) == load["parts"]


def test_it_measures_the_users_own_model_and_prints_one_json_object(senbetsu, line) -> None:
    done = senbetsu("bench", "--artifacts", line.artifacts, "--frame", "320x240", "--seconds", 0.5, "--json")
    assert done.status == 0, done.stderr
    report = json.loads(done.stdout)
    check(report)
    assert report["profile"] == str(line.artifacts)
    assert report["conditions"]["frame"] == "320x240"


@pytest.mark.slow
def test_without_artefacts_it_takes_a_profile_of_random_numbers_and_says_so(senbetsu, tmp_path) -> None:
    done = senbetsu("bench", "--artifacts", tmp_path, "--frame", "320x240", "--seconds", 0.5, "--json")
    assert done.status == 0, done.stderr
    check(report := json.loads(done.stdout))
    assert report["profile"] == "random numbers (efficientnet_lite0)"
    assert "the verdicts mean nothing" in done.stderr


def load(rate_hz: float, ok: int, overload: int, p99_ms: float | None) -> Load:
    reasons = {"OK": ok, "OVERLOAD": overload}
    return Load(rate_hz, rate_hz, ok + overload, reasons, 1.0, 1.0, p99_ms, 9.0, 1.0, p99_ms, 0.0, 10.0)


def test_a_load_is_stable_where_every_part_was_looked_at_in_time_and_failing_where_one_in_a_hundred_was_not() -> None:
    assert tier(load(1, 1000, 0, 99.0)) == "stable"
    assert tier(load(1, 1000, 0, 101.0)) == "degrading"
    assert tier(load(1, 1000, 9, 50.0)) == "degrading"
    assert tier(load(1, 1000, 20, 50.0)) == "failing"
    assert tier(load(1, 0, 10, None)) == "failing"


def test_what_a_pc_carries_is_the_highest_stable_load_less_the_margin() -> None:
    loads = [load(10, 100, 0, 5.0), load(100, 100, 0, 20.0), load(200, 90, 10, 90.0)]
    assert carries(loads)["parts_per_s"] == 80
    assert carries(loads)["cameras"] == 8
    assert carries(loads[2:])["cameras"] == 0
    assert carries([loads[0], loads[2], load(300, 100, 0, 20.0)])["parts_per_s"] == 8  # one below it was not stable


def test_a_load_that_the_client_did_not_keep_up_counts_as_what_was_sent() -> None:
    slower = replace(load(100, 100, 0, 5.0), sent_hz=50.0)
    assert carries([slower])["parts_per_s"] == 40


def test_a_profile_that_is_bound_to_a_camera_is_measured_with_benchs_own(senbetsu, line, tmp_path) -> None:
    bound = shutil.copytree(line.artifacts, tmp_path / "bound")
    embedding = load_embedding(bound)
    profile = replace(load_profile(bound, embedding), camera=CameraBinding("cam1", "0"))
    before = save_profile(bound, profile, {"parts": []})
    done = senbetsu(
        "bench", "--artifacts", bound, "--frame", "320x240", "--seconds", 0.5, "--rate", 20, "--json"
    )  # fmt: skip
    assert done.status == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["profile"] == str(bound)
    assert report["conditions"]["backbone"] == embedding.backbone.name
    assert report["load"]["without_result"] == 0
    assert load_profile(bound, embedding).sha256 == before


def test_an_even_rate_is_held_against_the_engines_own_time_for_one_part(senbetsu, line) -> None:
    done = senbetsu(
        "bench", "--artifacts", line.artifacts, "--frame", "320x240", "--seconds", 1, "--rate", 20, "--json"
    )
    assert done.status == 0, done.stderr
    report = json.loads(done.stdout)
    load = report["load"]
    assert load["parts"] == 20
    assert load["without_result"] == 0
    slower = max(report["one_part_before"]["p99_ms"], report["one_part_after"]["p99_ms"])
    assert report["p99_to_engine_p99_ratio"] == pytest.approx(load["p99_ms"] / slower, rel=0.01)
    assert load["p50_ms"] <= load["p99_ms"] <= load["max_ms"]


def test_under_overload_every_trigger_has_a_result_and_the_memory_is_told(senbetsu, line) -> None:
    done = senbetsu(
        "bench", "--artifacts", line.artifacts, "--frame", "320x240", "--seconds", 1, "--overload", "--json"
    )
    assert done.status == 0, done.stderr
    load = json.loads(done.stdout)["load"]
    assert load["without_result"] == 0
    assert sum(load["reasons"].values()) == load["parts"]
    assert load["settled_s"] == 0.5
    assert load["resident_growth_mib"] >= 0


@pytest.mark.parametrize("frame", ["1024", "0x10", "20x20x3", "99999x99999"])
def test_a_wrong_frame_size_is_one_clear_error(senbetsu, frame) -> None:
    done = senbetsu("bench", "--frame", frame)
    assert done.status == 2
    assert "Traceback" not in done.stderr
    assert f"--frame = '{frame}'" in done.stderr
    assert "1024x1024" in done.stderr


def test_int8_without_a_profile_says_what_makes_one(senbetsu, tmp_path) -> None:
    done = senbetsu("bench", "--artifacts", tmp_path, "--set", "engine.precision=int8")
    assert done.status == 2
    assert "Traceback" not in done.stderr
    assert "calibrate with --set engine.precision=int8 first" in done.stderr


def test_growth_counts_from_when_the_load_has_settled() -> None:
    memory = ResidentMemory(os.getpid(), 1.0)
    memory.look(0.5)
    assert memory.growth_mib is None
    memory.look(1.0)
    with mmap.mmap(-1, 8 << 20) as pages:  # new ones: the heap may have so much to spare
        pages.write(b"x" * len(pages))
        memory.look(1.1)  # not due yet
        assert memory.growth_mib == 0
        memory.look(1.3)
    assert memory.growth_mib is not None
    assert memory.growth_mib > 6


@pytest.mark.skipif(os.geteuid() != 0, reason="takes root")
def test_the_daemon_runs_at_the_priority_that_the_config_asks_for(line, tmp_path) -> None:
    config = load_config(None, {"artifacts": line.artifacts, "realtime.fifo_priority": 3})
    with running_line(tmp_path, config, (64, 64)) as running:
        pid = running.client.pid
        assert (os.sched_getscheduler(pid), os.sched_getparam(pid).sched_priority) == (os.SCHED_FIFO, 3)
