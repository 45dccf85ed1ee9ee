"""Latency against load: docs/realtime_load.png and its table for docs/realtime.md, from saved runs of `senbetsu bench`."""

import hashlib
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from senbetsu.drawing import COLOURS, LINE_COLOUR
from senbetsu.files import write_atomically

DOCS = Path(__file__).parent
RESULTS = DOCS.parent / "benchmarks/results"
PICTURE = DOCS / "realtime_load.png"
RUNS = ("bench_fifo", "bench", "bench_fp32_fifo", "bench_fp32")
"""In the order in which they are shown."""
TIERS = {"stable": (COLOURS[2], "o"), "degrading": (COLOURS[4], "D"), "failing": (COLOURS[1], "X")}
Figures = Mapping[str, Any]


def runs() -> list[Figures]:
    """Those that are there."""
    paths = (RESULTS / f"{name}.json" for name in RUNS)
    return [json.loads(path.read_text(encoding="utf-8")) for path in paths if path.exists()]


def title(run: Figures) -> str:
    """What was measured on what."""
    conditions = run["conditions"]
    priority = "with the priority" if conditions["fifo_priority"] else "as delivered"
    return f"{conditions['device']}, {conditions['precision']}, {priority}"


def judged_share(load: Figures) -> float:
    """Of all triggers, those whose part was looked at in time."""
    return float(sum(load["reasons"].get(reason, 0) for reason in ("OK", "ANOMALY")) / load["parts"])


def table(some: Sequence[Figures]) -> Iterator[str]:
    """Every load of every run."""
    yield "| | load | parts/s | judged in time | p50 | p99 | p99 at the daemon | tier |"
    yield "|---|---|---|---|---|---|---|---|"
    for run in some:
        for load in run["loads"]:
            cells = (
                title(run), f"{load['load']:.0%}", f"{load['rate_hz']:.0f}", f"{judged_share(load):.0%}",
                f"{load['p50_ms']:.1f} ms", f"{load['p99_ms']:.1f} ms", f"{load['daemon_p99_ms']:.1f} ms", load["tier"],
            )  # fmt: skip
            yield f"| {' | '.join(cells)} |"


def figure(some: Sequence[Figures]) -> Figure:
    """A panel a run: p50 and p99 at the subscriber against the load, by tier, and the deadline."""
    drawn = Figure(figsize=(10, 3.2 * ((len(some) + 1) // 2)), layout="constrained")
    panels = drawn.subplots((len(some) + 1) // 2, 2, squeeze=False, sharey=True).flat
    for axes, run in zip(panels, some, strict=False):
        x = [100 * load["load"] for load in run["loads"]]
        for quantile, style in (("p50_ms", ":"), ("p99_ms", "-")):
            axes.plot(x, [load[quantile] for load in run["loads"]], style, color=LINE_COLOUR, linewidth=1, zorder=1)
            for tier, (colour, marker) in TIERS.items():
                shown = [(at, load[quantile]) for at, load in zip(x, run["loads"], strict=True) if load["tier"] == tier]
                axes.scatter(
                    *(zip(*shown, strict=True) if shown else ((), ())), color=colour, marker=marker, s=28, zorder=2
                )
        axes.axhline(run["deadline_ms"], color=COLOURS[0], linestyle="--", linewidth=1)
        axes.set_title(f"{title(run)}: 100 % are {run['daemon']['parts_per_s']:.0f} parts/s", fontsize=9)
        axes.set_yscale("log")
        axes.set_xscale("log")
        axes.set_xticks(x, [f"{at:.0f}" for at in x], fontsize=7)
        axes.minorticks_off()
        axes.set_xlabel("load, % of what the daemon carries")
        axes.set_ylabel("trigger to result, ms")
        axes.set_yticks((2, 5, 10, 20, 50, 100, 200, 500), ("2", "5", "10", "20", "50", "100", "200", "500"))
    for axes in list(panels):
        axes.remove()
    handles = [
        Line2D([], [], color=colour, marker=marker, linestyle="", label=tier)
        for tier, (colour, marker) in TIERS.items()
    ]
    handles += [
        Line2D([], [], color=LINE_COLOUR, linestyle=style, linewidth=1, label=label)
        for style, label in (("-", "p99"), (":", "p50"))
    ]
    handles.append(Line2D([], [], color=COLOURS[0], linestyle="--", linewidth=1, label="deadline"))
    drawn.legend(handles=handles, loc="outside lower center", ncols=6, frameon=False)
    return drawn


def runs_sha256() -> str:
    """Of the saved runs; the picture carries it."""
    return hashlib.sha256(json.dumps(runs()).encode()).hexdigest()


if __name__ == "__main__":
    buffer = io.BytesIO()
    drawn = figure(runs())
    FigureCanvasAgg(drawn)
    drawn.savefig(buffer, format="png", dpi=110, metadata={"Software": None, "Source": runs_sha256()})
    write_atomically(PICTURE, buffer.getvalue())
