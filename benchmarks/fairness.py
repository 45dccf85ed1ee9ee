"""One camera far too fast for the engine, beside calm ones: whose parts are looked at?

    python -m benchmarks.fairness

A real daemon (profile of random numbers, frames in memory, deadline 100 ms): three cameras in free run and one by trigger, each
with a few parts a second, first by themselves, then beside one in free run that alone brings three times what the daemon
carries.
"""

import tempfile
import urllib.request
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from bench.__main__ import artifacts_to_use
from bench.line import CAMERA, JUDGED, running_line
from benchmarks.conditions import save
from senbetsu.config import Config, EngineSection

FRAME = (1024, 1024)
CALM_HZ, SECONDS, DEADLINE_MS = 5.0, 30.0, 100.0
OVERLOAD = 3
OUTSTANDING = 64


def free_running(rates_hz: dict[str, float]) -> str:
    """Their tables, each with a gate of its own."""
    return "".join(
        f'[[gates]]\nname = "gate-{name}"\nunit_id = {unit}\ndeadline_ms = {DEADLINE_MS}\n'
        f'[[cameras]]\nname = "{name}"\nkind = "pattern"\nsource = "{FRAME[0]}x{FRAME[1]}"\ngate = "gate-{name}"\n'
        f'trigger = "free_run"\nrate_hz = {rate_hz}\n'
        for unit, (name, rate_hz) in enumerate(rates_hz.items(), 2)
    )


def reasons(metrics_port: int) -> dict[str, Counter[str]]:
    """Parts of each camera so far, by reason."""
    with urllib.request.urlopen(f"http://127.0.0.1:{metrics_port}/metrics", timeout=10) as answer:
        text = answer.read().decode()
    found: dict[str, Counter[str]] = {}
    for family in text_string_to_metric_families(text):
        if family.name == "senbetsu_parts":
            for sample in family.samples:
                if sample.name.endswith("_total"):
                    of_camera = found.setdefault(sample.labels["camera"], Counter())
                    of_camera[sample.labels["reason"]] += int(sample.value)
    return found


def run(folder: Path, settings: Config, rates_hz: dict[str, float]) -> dict[str, Any]:
    """What became of each camera's parts."""
    with running_line(folder, settings, FRAME, daemon=free_running(rates_hz)) as line:
        line.client.open_loop(CALM_HZ, 3, DEADLINE_MS)
        before = reasons(line.metrics_port)
        triggered = line.client.open_loop(CALM_HZ, SECONDS, DEADLINE_MS)
        after = reasons(line.metrics_port)
    cameras = {}
    for name in rates_hz:
        became = {reason: count for reason, count in (after[name] - before[name]).items() if count}
        parts = sum(became.values())
        judged = sum(became.get(reason, 0) for reason in JUDGED)
        cameras[name] = {
            "rate_hz": rates_hz[name], "parts": parts, "judged": round(judged / parts, 3), "reasons": became,
        }  # fmt: skip
    by_trigger = {"judged": round(triggered.judged_share, 3), **asdict(triggered)}
    return {"free_run": cameras, "by_trigger": by_trigger}


def main() -> None:
    """Measure and save."""
    calm = {f"calm{number}": CALM_HZ for number in (1, 2, 3)}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        settings = Config(engine=EngineSection(device="cpu"), artifacts=folder / "none")
        artifacts, _ = artifacts_to_use(settings, folder)
        settings = settings.model_copy(update={"artifacts": artifacts})
        with running_line(folder, settings, FRAME, buffer_frames=2 * OUTSTANDING) as line:
            line.client.closed_loop(OUTSTANDING, 2)
            carries_hz = line.client.closed_loop(OUTSTANDING, 8)
        by_themselves = run(folder, settings, calm)
        beside = run(folder, settings, {**calm, "fast": round(OVERLOAD * carries_hz)})
    save(
        "fairness",
        {
            "camera_by_trigger": CAMERA, "deadline_ms": DEADLINE_MS, "seconds": SECONDS, "carries_hz": round(carries_hz, 1),
            "calm_alone": by_themselves, "beside_a_fast_one": beside,
        },
    )  # fmt: skip


if __name__ == "__main__":
    main()
