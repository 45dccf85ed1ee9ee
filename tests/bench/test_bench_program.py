"""`senbetsu bench` as its user sees it: a real daemon, triggers and verdicts over real sockets."""

import json

import pytest

from bench.__main__ import carries, tier
from bench.line import Load

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
    return Load(rate_hz, ok + overload, {"SIMULATED": ok, "OVERLOAD": overload}, 1.0, 1.0, p99_ms, 9.0)


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
