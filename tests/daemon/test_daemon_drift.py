"""Drift is told on every channel: state, log, metrics."""

import time
import urllib.request
from pathlib import Path

import numpy as np


def free_running(source: Path) -> str:
    return (
        f'[[cameras]]\nname = "cam1"\nkind = "folder"\nsource = "{source}"\ngate = "gate1"\nloop = true\n'
        'trigger = "free_run"\nrate_hz = 300.0\n[[gates]]\nname = "gate1"\n'
    )


def metric(line, name: str, labels: str) -> float:
    with urllib.request.urlopen(f"http://127.0.0.1:{line.metrics_port}/metrics", timeout=10) as answer:
        text = answer.read().decode()
    return next(float(row.split()[-1]) for row in text.splitlines() if row.startswith(f"senbetsu_{name}{{{labels}}}"))


def test_parts_that_score_higher_than_calibrated_are_told_in_state_log_and_metrics(start_line) -> None:
    scores = np.random.default_rng(0).uniform(0.2, 0.7, 60).tolist()
    scores.append(1.0)
    # Mean grey / 100: all of them at the upper end of what was calibrated.
    line = start_line(
        [64, 66, 68, 69], config_of=free_running, override={"drift_window": "50"}, calibration_scores=scores
    )
    state = line.hear(lambda line: [s for s in line.states() if "drift" in s.detail])[-1]
    assert "; drift, recalibrate: cam1: scores are higher than calibrated" in state.detail
    assert "recalibrate" in line.state()["detail"]
    assert "drift at camera cam1: scores are higher than calibrated" in line.log
    assert metric(line, "drift_alarm", 'camera="cam1",test="level"') == 1
    assert metric(line, "drift_alarm", 'camera="cam1",test="few_rejects"') == 0
    assert metric(line, "drift_alarms_total", 'camera="cam1",test="level"') == 1
    assert metric(line, "drift_mean_rank", 'camera="cam1"') > 0.8
    assert metric(line, "drift_p_value", 'camera="cam1",test="level"') < 1e-4
    assert metric(line, "drift_psi", 'camera="cam1"') > 0.1
    until = time.monotonic() + 60
    while metric(line, "drift_windows_total", 'camera="cam1"') < 1:
        assert time.monotonic() < until
        time.sleep(0.05)
    # It changes no verdict.
    assert {result.verdict.value for result in line.results()} == {"PASS"}


def test_without_a_distribution_it_is_said_that_nobody_watches(running) -> None:
    assert "drift is not watched for" in running.log
