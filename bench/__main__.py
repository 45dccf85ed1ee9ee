"""senbetsu bench: what this PC carries: the bare engine, the daemon beside it, and how long a verdict takes under load."""

import argparse
import json
import logging
import os
import platform
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from bench.bare import one_by_one, run_batches
from bench.line import JUDGED, Load, running_line
from bench.random_profile import write_random_artifacts
from senbetsu import __version__
from senbetsu.backbone import find_backbone
from senbetsu.camera.pattern import pattern_pictures
from senbetsu.config import Config
from senbetsu.engine import choose_engine
from senbetsu.judge import load_judge
from senbetsu.program import parser, run, set_up_logging, settings_of

log = logging.getLogger("bench")

LOADS = (0.1, 0.5, 0.8, 0.95)
OVERLOAD = 3.0
ROUNDS = 3
QUICK_S, FULL_S = 4.0, 60.0
"""Of each measurement."""
DEADLINE_MS = 100.0
MARGIN = 0.8
"""Share of what was reached that a line is advised to be planned for."""
CAMERA_RATE_HZ = 10.0


def main(arguments: argparse.Namespace) -> int:
    """The program."""
    config = settings_of(arguments)
    with tempfile.TemporaryDirectory(prefix="senbetsu-bench-") as temporary:
        folder = Path(temporary)
        artifacts, what = artifacts_to_use(config, folder)
        report = measure(config.model_copy(update={"artifacts": artifacts}), folder, arguments)
    report["profile"] = what
    if arguments.json:
        print(json.dumps(report, indent=1, allow_nan=False))  # noqa: T201
    else:
        print(text_of(report))  # noqa: T201
    return 0


def artifacts_to_use(config: Config, folder: Path) -> tuple[Path, str]:
    """The user's own, or where there are none ones of random numbers; and which of them, in words."""
    if (config.artifacts / "profile.json").exists():
        return config.artifacts, str(config.artifacts)
    backbone = find_backbone(config.model)
    log.warning(
        "%s: no profile; measuring %s with a profile of random numbers. Speed is the same, the verdicts mean nothing",
        config.artifacts, backbone.name,
    )  # fmt: skip
    made = folder / "artifacts"
    made.mkdir()
    write_random_artifacts(made, backbone, choose_engine(config.engine))
    return made, f"random numbers ({backbone.name})"


def measure(config: Config, folder: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    """All figures. The bare loop and the daemon take turns, so that whatever else this PC does falls on both."""
    seconds = arguments.seconds or (FULL_S if arguments.full else QUICK_S)
    width, height = (int(side) for side in arguments.frame.split("x"))
    pictures = pattern_pictures(width, height)
    engine = config.engine.model_dump(mode="json")
    bar = tqdm(total=2 * ROUNDS + len(LOADS) + 3, desc="measuring", unit="step", disable=None, leave=False)
    judge = load_judge(config)
    with running_line(folder, config.artifacts, arguments.frame, engine) as line:
        before = one_by_one(judge, pictures, seconds)
        bar.update()
        bare, daemon = [], []
        for _ in range(ROUNDS):
            bare.append(run_batches(judge, pictures, seconds))
            bar.update()
            daemon.append(line.client.closed_loop(3 * judge.engine.batch_sizes[-1], seconds))
            bar.update()
        capacity = float(np.median(daemon))
        loads: list[Load] = []
        for load in (*LOADS, OVERLOAD):
            loads.append(line.client.open_loop(load * capacity, seconds, DEADLINE_MS))
            bar.update()
        after = one_by_one(judge, pictures, seconds)
        bar.update()
        bar.close()
        return {
            "daemon_to_bare_ratio": round(float(np.median(np.array(daemon) / np.array(bare))), 3),
            "bare": {
                "parts_per_s": round(float(np.median(bare)), 1),
                "one_part_before": asdict(before),
                "one_part_after": asdict(after),
            },
            "daemon": {
                "parts_per_s": round(capacity, 1), "rounds": [round(some, 1) for some in daemon],
                "start_to_ready_s": line.ready_s, "mean_stage_ms": line.stages(),
            },
            "deadline_ms": DEADLINE_MS,
            "loads": [
                {"load": load, **asdict(result), "tier": tier(result)}
                for load, result in zip((*LOADS, OVERLOAD), loads, strict=True)
            ],
            "carries": carries(loads[:-1]),
            "conditions": {
                "frame": arguments.frame, "backbone": find_backbone(config.model).name, "engine": judge.engine.kind,
                "precision": judge.engine.precision, "device": judge.engine.device,
                "batch_sizes": judge.engine.batch_sizes, "cores": os.cpu_count(), "system": platform.platform(),
                "python": platform.python_version(), "version": __version__, "seconds_each": seconds,
            },
        }  # fmt: skip


def tier(load: Load) -> str:
    """stable: every part was looked at in time. degrading: 99 of 100 were. failing: fewer."""
    if load.judged_share == 1 and load.p99_ms is not None and load.p99_ms <= DEADLINE_MS:
        return "stable"
    return "degrading" if load.judged_share >= 0.99 else "failing"


def carries(loads: list[Load]) -> dict[str, Any]:
    """Parts a second and cameras that a line may be planned for, with the margin."""
    stable = [load.rate_hz for load in loads if tier(load) == "stable"]
    rate_hz = MARGIN * max(stable, default=0.0)
    return {
        "parts_per_s": round(rate_hz, 1), "cameras": int(rate_hz // CAMERA_RATE_HZ), "at_parts_per_s_each": CAMERA_RATE_HZ,
        "margin": f"{MARGIN:.0%} of the highest load at which every part was judged in time",
    }  # fmt: skip


def text_of(report: dict[str, Any]) -> str:
    """The figures for a person."""
    bare, daemon, conditions = report["bare"], report["daemon"], report["conditions"]
    one = bare["one_part_before"]
    lines = [
        f"{conditions['backbone']}, {conditions['engine']} {conditions['precision']} on {conditions['device']}, "
        f"{conditions['cores']} cores; frames {conditions['frame']}; profile: {report['profile']}",
        "",
        f"bare engine   {bare['parts_per_s']:8.1f} parts/s in batches of {conditions['batch_sizes'][-1]};  one part "
        f"{one['p50_ms']:.2f} ms (p99 {one['p99_ms']:.2f})",
        f"daemon        {daemon['parts_per_s']:8.1f} parts/s;  ratio {report['daemon_to_bare_ratio']:.3f};  ready "
        f"{daemon['start_to_ready_s']:.1f} s after its start",
        "",
        f"  load   parts/s    p50    p95    p99    max ms   looked at   tier (deadline {report['deadline_ms']:.0f} ms)",
    ]
    for load in report["loads"]:
        judged = sum(load["reasons"].get(reason, 0) for reason in JUDGED) / load["parts"]
        rest = ", ".join(f"{reason} {count}" for reason, count in load["reasons"].items() if reason not in JUDGED)
        quantiles = " ".join(
            f"{'-' if load[name] is None else format(load[name], '.1f'):>{width}}"
            for name, width in (("p50_ms", 6), ("p95_ms", 6), ("p99_ms", 6), ("max_ms", 8))
        )
        lines.append(
            f"{load['load']:6.0%} {load['rate_hz']:9.1f} {quantiles}   {judged:8.2%}   {load['tier']}"
            + (f" ({rest})" if rest else "")
        )
    stages = ", ".join(f"{stage} {ms:.2f}" for stage, ms in daemon["mean_stage_ms"].items())
    plan = report["carries"]
    lines += [
        "",
        f"a batch's mean time by stage, ms: {stages}",
        f"plan for {plan['parts_per_s']:.0f} parts/s: {plan['cameras']} cameras at {plan['at_parts_per_s_each']:.0f} parts/s "
        f"({plan['margin']})",
    ]
    return "\n".join(lines)


def flags() -> argparse.ArgumentParser:
    """The command line."""
    command = parser("bench", "Measure what this PC carries; works without camera and artefacts.")
    command.add_argument(
        "--frame", default="1024x1024", metavar="WxH", help="size of the camera's frames (default 1024x1024)"
    )
    command.add_argument("--full", action="store_true", help=f"{FULL_S:.0f} s a measurement instead of {QUICK_S:.0f}")
    command.add_argument("--seconds", type=float, metavar="S", help="as many seconds a measurement")
    command.add_argument("--json", action="store_true", help="print one JSON object")
    return command


if __name__ == "__main__":
    given = flags().parse_args()
    set_up_logging(verbose=given.verbose)
    sys.exit(run(lambda: main(given), "bench"))
