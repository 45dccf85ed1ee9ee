"""Two products on one line, from the PLC's register to the gate: nothing passes that another recipe judged."""

import json
import shutil
import signal
import subprocess
import sys
from collections import Counter
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest

LIMIT_S = 120


def ended(plc: Any) -> None:
    plc.process.send_signal(signal.SIGTERM)
    assert plc.process.wait(timeout=60) == 0, plc.log.read_text()


def program(rig: Any, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run beside the line."""
    command = [sys.executable, "-P", "-m", *arguments]
    return subprocess.run(command, cwd=rig.folder, capture_output=True, text=True, timeout=LIMIT_S, check=False)


def in_turn(values: list[Any]) -> list[Any]:
    return [value for value, _ in groupby(values)]


def test_the_plc_asks_for_a_recipe_and_until_it_judges_every_part_is_rejected_for_it(stand_in_rig: Any) -> None:
    rig = stand_in_rig
    folder: Path = rig.folder / "recipes/second"
    folder.mkdir(parents=True)
    (folder / "recipe.toml").write_text("recipe = 2\n")
    daemon, bridge = rig.start("daemon"), rig.start("bridge")
    daemon.wait_until_ready()
    bridge.wait_until_ready()
    results = rig.subscribe()
    plc = rig.start_plc("--recipe", "2", "--seconds", "300", "--rate-hz", "50")
    while "second (2)" not in daemon.log.read_text() and "recipe 2 is not loaded" not in daemon.log.read_text():
        assert plc.process.poll() is None
    (folder / "judge.json").write_text(json.dumps({"threshold": 0.9, "profile_sha256": "q" * 64}))
    results.until_judged_by(2, 30)
    ended(plc)
    report = rig.report()
    assert report["balanced"]
    parts = report["parts"][:-20]  # the last ones were under way when it was told to stop
    # Beside other tests a heartbeat may come late: such parts are rejected as well, for the link.
    assert in_turn([part["reason"] for part in parts if part["reason"] != "LINK"]) == ["RECIPE", "OK"]
    assert all(part["opened"] == (part["reason"] == "OK") for part in parts)
    assert {result.recipe for result in results.heard} == {2}, (
        "parts that are rejected for the recipe are not looked at"
    )
    assert "recipe 2 is not loaded, artifacts (1) goes on" in daemon.log.read_text()
    assert (daemon.stop(), bridge.stop()) == (0, 0)
    results.context.destroy(linger=0)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_with_the_real_engine_recipes_change_by_command_and_by_sighup_and_each_part_has_its_result(
    rig: Any, line: Any
) -> None:
    folder: Path = rig.folder / "recipes/second"
    shutil.copytree(rig.artifacts, folder)
    (folder / "recipe.toml").write_text("recipe = 2\n")
    daemon, bridge = rig.start("daemon"), rig.start("bridge")
    daemon.wait_until_ready()
    bridge.wait_until_ready()
    results = rig.subscribe()
    plc = rig.start_plc("--seconds", "300", "--rate-hz", "20")
    results.until_judged_by(1, 20)
    refused = program(rig, "recipe", "--config", "config.toml", "second")
    assert refused.returncode != 0
    assert "calibrated as recipe 1, but this is recipe 2" in refused.stderr, "what was copied is not of this recipe"
    calibrated = program(rig, "calibrate", "--artifacts", str(folder), "--normal", str(line.calibrate_normal))
    assert calibrated.returncode == 0, calibrated.stderr
    done = program(rig, "recipe", "--config", "config.toml", "second")
    assert done.returncode == 0, done.stderr
    results.until_judged_by(2, 20)
    config = rig.folder / "config.toml"
    config.write_text(config.read_text().replace(str(rig.artifacts), "recipes/second"))
    daemon.process.send_signal(signal.SIGHUP)
    results.until_judged_by(2, 20)
    while daemon.log.read_text().count("judges from here on") < 2:
        results.until_judged_by(2, 5)
    ended(plc)
    report = rig.report()
    assert report["balanced"]
    assert in_turn([result.recipe for result in results.heard]) == [1, 2]
    assert len({result.trigger for result in results.heard}) == len(results.heard)
    reasons = Counter(part["reason"] for part in report["parts"][:-20])
    assert reasons["OK"] > 40
    # Loading takes the processor, which may make parts late; but none is rejected for the recipe or goes without a reason.
    assert set(reasons) <= {"OK", "ANOMALY", "DEADLINE", "OVERLOAD"}
    assert (daemon.stop(), bridge.stop()) == (0, 0)
    results.context.destroy(linger=0)
