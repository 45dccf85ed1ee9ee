"""What is measured: the bare engine and the daemon beside it, an even rate, an overload."""

import os
import platform
from dataclasses import asdict
from itertools import takewhile
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from bench.bare import one_by_one, run_batches
from bench.line import Load, running_line
from senbetsu import __version__
from senbetsu.camera.pattern import pattern_pictures
from senbetsu.config import Config
from senbetsu.errors import UserError
from senbetsu.judge import Judge, load_judge

LOADS = (0.1, 0.5, 0.8, 0.95)
OVERLOAD = 3.0
ROUNDS = 3
DEADLINE_MS = 100.0
MARGIN = 0.8
"""Share of what was reached that a line is advised to be planned for."""
CAMERA_RATE_HZ = 10.0
MOST_OUTSTANDING = 1024
"""What a camera of the line may have waiting."""
ALONE_S = 30.0
"""At most so long single parts are timed before an even rate, and after it."""
CAPACITY_S = 10.0
"""At most so long the capacity is measured before an overload."""


def measure(config: Config, folder: Path, size: tuple[int, int], seconds: float) -> dict[str, Any]:
    """All figures. The bare loop and the daemon take turns, so that whatever else this PC does falls on both.

    While the bare loop runs there is no daemon: an idle one looks after its engine, which takes some of the cores' time.
    """
    pictures = pattern_pictures(*size)
    bar = _bar(2 * ROUNDS + len(LOADS) + 3)
    judge = load_judge(config, for_line=True)
    outstanding = _outstanding(judge)
    before = one_by_one(judge, pictures, seconds)
    bar.update()
    bare, daemon = [], []
    for _ in range(ROUNDS):
        bare.append(run_batches(judge, pictures, seconds))
        bar.update()
        with running_line(folder, config, size, buffer_frames=outstanding) as line:
            daemon.append(line.client.closed_loop(outstanding, seconds))
            stages = line.stages()
        bar.update()
    capacity = _something(float(np.median(daemon)))
    loads: list[Load] = []
    with running_line(folder, config, size, buffer_frames=outstanding) as line:
        for load in (*LOADS, OVERLOAD):
            loads.append(line.client.open_loop(load * capacity, seconds, DEADLINE_MS))
            bar.update()
    after = one_by_one(judge, pictures, seconds)
    bar.update()
    bar.close()
    return {
        "daemon_to_bare_ratio": round(float(np.median(np.array(daemon) / np.array(bare))), 3),
        "bare": {
            "parts_per_s": round(float(np.median(bare)), 1), "rounds": [round(some, 1) for some in bare],
            "one_part_before": asdict(before),
            "one_part_after": asdict(after),
        },
        "daemon": {
            "parts_per_s": round(capacity, 1), "rounds": [round(some, 1) for some in daemon],
            "start_to_ready_s": line.ready_s, "mean_stage_ms": stages,
        },
        "deadline_ms": DEADLINE_MS,
        "loads": [
            {"load": load, **asdict(result), "tier": tier(result)}
            for load, result in zip((*LOADS, OVERLOAD), loads, strict=True)
        ],
        "carries": carries(loads[:-1]),
        "conditions": _conditions(config, judge, size, seconds),
    }  # fmt: skip


def measure_rate(config: Config, folder: Path, size: tuple[int, int], seconds: float, rate_hz: float) -> dict[str, Any]:
    """Evenly spaced parts, and the engine's own time for one part before and after them."""
    pictures = pattern_pictures(*size)
    alone_s = min(seconds, ALONE_S)
    bar = _bar(3)
    judge = load_judge(config, for_line=True)
    before = one_by_one(judge, pictures, alone_s)
    bar.update()
    with running_line(folder, config, size) as line:
        load = line.client.open_loop(rate_hz, seconds, DEADLINE_MS)
        bar.update()
    after = one_by_one(judge, pictures, alone_s)
    bar.update()
    bar.close()
    engine_p99_ms = max(before.p99_ms, after.p99_ms)
    return {
        "p99_to_engine_p99_ratio": None if load.p99_ms is None else round(load.p99_ms / engine_p99_ms, 3),
        "one_part_before": asdict(before), "one_part_after": asdict(after), "deadline_ms": DEADLINE_MS,
        "load": {**asdict(load), "tier": tier(load), "without_result": load.reasons.get("no result", 0)},
        "conditions": _conditions(config, judge, size, seconds),
    }  # fmt: skip


def measure_overload(config: Config, folder: Path, size: tuple[int, int], seconds: float) -> dict[str, Any]:
    """Three times what the daemon carries."""
    bar = _bar(2)
    judge = load_judge(config, for_line=True)
    outstanding = _outstanding(judge)
    with running_line(folder, config, size, buffer_frames=outstanding) as line:
        capacity = _something(line.client.closed_loop(outstanding, min(seconds, CAPACITY_S)))
        bar.update()
        load = line.client.open_loop(OVERLOAD * capacity, seconds, DEADLINE_MS)
        bar.update()
    bar.close()
    return {
        "daemon_parts_per_s": round(capacity, 1), "deadline_ms": DEADLINE_MS,
        "load": {"load": OVERLOAD, **asdict(load), "without_result": load.reasons.get("no result", 0)},
        "conditions": _conditions(config, judge, size, seconds),
    }  # fmt: skip


def _something(parts_per_s: float) -> float:
    if parts_per_s <= 0:
        raise UserError("--seconds: in so short a time not one part was judged; give more")
    return parts_per_s


def _outstanding(judge: Judge) -> int:
    """Parts under way that keep the engine busy, in full batches, while others are on their way to the client and back."""
    batch = len(judge.engine.lanes[0].inputs)
    return min(MOST_OUTSTANDING, len(judge.engine.lanes) * max(24, 6 * batch))


def _bar(steps: int) -> "tqdm[Any]":
    return tqdm(total=steps, desc="measuring", unit="step", disable=None, leave=False)


def _conditions(config: Config, judge: Judge, size: tuple[int, int], seconds: float) -> dict[str, Any]:
    return {
        "frame": f"{size[0]}x{size[1]}", "backbone": judge.backbone, "engine": judge.engine.kind,
        "precision": judge.engine.precision, "device": judge.engine.device,
        "batch_sizes": judge.engine.batch_sizes, "at_a_time": len(judge.engine.lanes[0].inputs),
        "at_the_same_time": len(judge.engine.lanes), "cores": os.cpu_count(),
        "fifo_priority": config.realtime.fifo_priority, "system": platform.platform(), "python": platform.python_version(),
        "version": __version__, "seconds_each": seconds,
    }  # fmt: skip


def tier(load: Load) -> str:
    """stable: every part was looked at in time. degrading: 99 of 100 were. failing: fewer."""
    if load.judged_share == 1 and load.p99_ms is not None and load.p99_ms <= DEADLINE_MS:
        return "stable"
    return "degrading" if load.judged_share >= 0.99 else "failing"


def carries(loads: list[Load]) -> dict[str, Any]:
    """Parts a second and cameras that a line may be planned for, with the margin. `loads` ascend: none counts that lies
    above one that was not stable."""
    stable = [min(load.rate_hz, load.sent_hz) for load in takewhile(lambda load: tier(load) == "stable", loads)]
    rate_hz = MARGIN * max(stable, default=0.0)
    return {
        "parts_per_s": round(rate_hz, 1), "cameras": int(rate_hz // CAMERA_RATE_HZ), "at_parts_per_s_each": CAMERA_RATE_HZ,
        "margin": f"{MARGIN:.0%} of the highest load up to which every part was judged in time",
    }  # fmt: skip
