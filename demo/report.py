"""What came of the demo: a table, pictures in demo/, and whether PLC, bridge and subscriber counted the same."""

import json
import math
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from demo.elpv import LINE_DEFECTS, LINE_NORMALS
from senbetsu.conformal import proportion_interval
from senbetsu.drawing import draw_score_histogram
from senbetsu.images import read_image
from senbetsu.messages import Result
from senbetsu.montage import draw_montage
from senbetsu.verdict import Verdict

ROOT = Path(__file__).resolve().parent
ARTIFACTS = ROOT / "artifacts"
SHOWN_REJECTS = 40
TERMS = "ELPV, CC BY-NC-SA 4.0"


def say(text: str) -> None:
    """To the person who watches."""
    print(text, flush=True)


def report(results: list[Result], plc: dict[str, Any]) -> bool:
    """Table and pictures. False if any count differs from another."""
    truth = json.loads((ROOT / "parts.json").read_text())
    profile = json.loads((ARTIFACTS / "profile.json").read_text())
    # The folder camera shows the files in order: frame n is part n.
    judged = [(result, truth[result.frame_id - 1]) for result in results if result.frame_id is not None]
    draw(judged, profile["threshold"])
    good = [result for result, part in judged if not part["defective"]]
    bad = [result for result, part in judged if part["defective"]]
    false_rejects = sum(result.verdict is Verdict.REJECT for result in good)
    found = sum(result.verdict is Verdict.REJECT for result in bad)
    latencies = [(r.decided_at_ns - r.triggered_at_ns) / 1e6 for r in results if r.triggered_at_ns is not None]
    say("")
    for name, value in (
        ("parts past the camera", f"{len(results)}: {len(good)} good, {len(bad)} defective, none of them seen before"),
        ("good parts rejected", share(false_rejects, len(good))),
        ("  claimed by calibrate", profile["claim_sentence"]),
        ("defects rejected", share(found, len(bad))),
        (
            "reasons",
            ", ".join(f"{count} {name}" for name, count in Counter(r.reason.name for r in results).most_common()),
        ),
        ("trigger -> verdict", milliseconds(percentiles(latencies))),
        (
            "trigger written -> gate decided",
            milliseconds(plc["written_to_gate_decided_ms"]) + " (the PLC polls every 10 ms)",
        ),
    ):
        say(f"{name:<32} {value}")
    sound = reconcile(results, plc)
    say("\npictures: feature_space.png, histogram.png, line.png and rejects.png in demo/")
    say("the calibration's report: demo/report.html")
    return sound


def reconcile(results: list[Result], plc: dict[str, Any]) -> bool:
    """Whether PLC, bridge and subscriber counted the same."""
    passed = sum(result.verdict is Verdict.PASS for result in results)
    bridge = plc["bridge_counters"] or {}
    expected = LINE_NORMALS + LINE_DEFECTS
    counts = {
        "triggers": (expected, plc["triggers"], bridge.get("triggers"), len({result.trigger for result in results})),
        "pass": (passed, plc["opened"], bridge.get("pass"), passed),
        "reject": (expected - passed, plc["kept_shut"], bridge.get("reject"), len(results) - passed),
    }
    say(f"\n{'counted by':<12}{'expected':>10}{'PLC':>8}{'bridge':>8}{'heard':>8}")
    sound = bool(plc["balanced"]) and bool(plc["reconciled"])
    for name, row in counts.items():
        equal = len(set(row)) == 1
        sound = sound and equal
        say(f"{name:<12}{row[0]:>10}{row[1]:>8}{row[2]!s:>8}{row[3]:>8}{'' if equal else '   DIFFER'}")
    say("the counters reconcile" if sound else "THE COUNTERS DO NOT RECONCILE; see demo/plc.json and demo/logs/")
    return sound


def draw(judged: list[tuple[Result, dict[str, Any]]], threshold: float) -> None:
    """The scores, the rejected cells with theirs, and some of both kinds side by side."""
    scores = {
        defective: np.array([r.score for r, part in judged if part["defective"] is defective])
        for defective in (False, True)
    }
    draw_score_histogram(ROOT / "histogram.png", scores[False], threshold, scores[True])
    rejects = [(result, part) for result, part in judged if result.verdict is Verdict.REJECT]
    tiles = [tile(result, part) for result, part in spread(rejects, SHOWN_REJECTS)]
    title = f"{len(tiles)} of {len(rejects)} rejects; score over {threshold:.2f} ({TERMS})"
    draw_montage(ROOT / "rejects.png", tiles, title)
    passed = [(result, part) for result, part in judged if result.verdict is Verdict.PASS and not part["defective"]]
    defects = [(result, part) for result, part in rejects if part["defective"]]
    tiles = [tile(result, part, result.verdict.value) for result, part in [*spread(passed, 8), *spread(defects, 8)]]
    draw_montage(
        ROOT / "line.png",
        tiles,
        f"Good cells that passed, defective ones that were rejected; threshold {threshold:.2f} ({TERMS})",
    )


def spread(items: list[tuple[Result, dict[str, Any]]], count: int) -> list[tuple[Result, dict[str, Any]]]:
    """At most `count` of them, from all along the line."""
    return [items[i] for i in np.linspace(0, len(items) - 1, min(count, len(items))).round().astype(int)]


def tile(result: Result, part: dict[str, Any], word: str | None = None) -> tuple[Any, str]:
    """A cell, its score, and what it is (or `word`)."""
    score = f"{result.score:.2f}" if math.isfinite(result.score) else "no score"
    return read_image(
        ROOT / "parts" / part["file"]
    ), f"{score} {word or ('defective' if part['defective'] else 'GOOD')}"


def share(count: int, of: int) -> str:
    """With its interval."""
    low, high = proportion_interval(count, of)
    return f"{count} of {of}, {count / max(of, 1):.1%} (95 % interval {low:.1%} to {high:.1%})"


def percentiles(values: list[float]) -> dict[str, float] | None:
    """p50, p95, p99."""
    return (
        None
        if not values
        else dict(zip(("p50", "p95", "p99"), np.percentile(values, [50, 95, 99]).tolist(), strict=True))
    )


def milliseconds(figures: dict[str, float] | None) -> str:
    """For the table."""
    return "none" if figures is None else ", ".join(f"{name} {figures[name]:.1f} ms" for name in ("p50", "p95", "p99"))
