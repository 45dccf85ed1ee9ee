"""An evaluation as files: evaluation.html (all in it, nothing fetched), evaluation.json, trade.png."""

import html
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from evaluate.trade import HOW_TO_SET, TRADE_HEAD, Curve, TradeRow, trade_cells
from senbetsu.conformal import proportion_interval
from senbetsu.drawing import COLOURS, DEFECT_COLOUR, LINE_COLOUR, png_of, svg_of
from senbetsu.files import write_atomically

MOST_KINDS = 6
"""Kinds that are drawn as lines of their own, by name."""
MOST_POINTS = 400
STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 60em; margin: 2em auto; padding: 0 1em; color: #222; }
table { border-collapse: collapse; } td, th { text-align: left; padding: .15em 1.2em .15em 0; vertical-align: top; }
.now { font-weight: bold; } svg { max-width: 100%; height: auto; } pre { white-space: pre-wrap; }
@media print { body { margin: 0; } table, svg { break-inside: avoid; } }
"""


def write_evaluation(folder: Path, report: dict[str, Any], text: str, rows: Sequence[TradeRow], whole: Curve) -> None:
    """Write the three files. Raises UserError where they cannot be written."""
    figure = trade_figure(whole, rows)
    write_atomically(folder / "evaluation.json", json.dumps(report, indent=1, allow_nan=False).encode())
    write_atomically(folder / "trade.png", png_of(figure))
    write_atomically(folder / "evaluation.html", page(text, rows, trade_figure(whole, rows)).encode("utf-8", "replace"))


def page(text: str, rows: Sequence[TradeRow], figure: Figure) -> str:
    """The page's HTML; `text` is the evaluation as the program prints it."""
    head = "".join(f"<th>{html.escape(cell)}</th>" for cell in TRADE_HEAD)
    body = "".join(
        f"<tr{' class=now' if row.calibrated else ''}>"
        + "".join(f"<td>{html.escape(cell)}</td>" for cell in trade_cells(asdict(row)))
        + "</tr>"
        for row in rows
    )
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Evaluation</title><style>{STYLE}</style></head><body>
<h1>Evaluation</h1>
<h2>False rejects against defects found</h2>
{svg_of(figure)}
<table><tr>{head}</tr>{body}</table>
<p>{html.escape(HOW_TO_SET)}</p>
<h2>In full</h2>
<pre>{html.escape(text)}</pre>
</body></html>
"""


def trade_figure(whole: Curve, rows: Sequence[TradeRow]) -> Figure:
    """Good parts rejected (across) and defects found (up), each point a threshold; bands are 95 % intervals."""
    figure = Figure(figsize=(7.2, 4.8), layout="constrained")
    axes = figure.add_subplot()
    chosen = np.unique(np.linspace(0, len(whole.thresholds) - 1, min(len(whole.thresholds), MOST_POINTS)).astype(int))
    across, up = whole.normal[chosen], whole.defects[chosen]
    bounds = np.array(
        [proportion_interval(round(share * whole.defects_seen), whole.defects_seen) for share in up]
    ).reshape(-1, 2)
    axes.fill_between(across, bounds[:, 0], bounds[:, 1], step="pre", color=DEFECT_COLOUR, alpha=0.15, linewidth=0)
    axes.step(across, up, color=DEFECT_COLOUR, linewidth=2, label=f"all {whole.defects_seen} defects")
    if len(whole.kinds) > 1:
        shown = sorted(whole.kinds)[:MOST_KINDS]
        for kind, colour in zip(shown, (COLOURS[0], *COLOURS[2:]), strict=False):
            axes.step(across, whole.kinds[kind][chosen], color=colour, linewidth=0.9, label=kind)
    for row in rows:
        x, y = row.normal.rate, row.defects.rate
        axes.errorbar(
            x, y,
            xerr=[[x - row.normal.interval[0]], [row.normal.interval[1] - x]],
            yerr=[[y - row.defects.interval[0]], [row.defects.interval[1] - y]],
            fmt="D" if row.calibrated else "o", markersize=7 if row.calibrated else 3, linewidth=0.8,
            color=LINE_COLOUR if row.calibrated else "#888888", zorder=4 if row.calibrated else 3,
            label=f"calibrated: threshold {row.threshold:.3f}" if row.calibrated else None,
        )  # fmt: skip
    # Linear up to one part, logarithmic beyond: zero has a place, and small rates are told apart.
    smallest = 1 / whole.normals_seen
    axes.set_xscale("symlog", linthresh=smallest, linscale=0.4)
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1.02)
    ticks = [0.0, *(rate for rate in (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0) if rate >= smallest)]
    axes.set_xticks(ticks, [f"{tick:.1%}" if 0 < tick < 0.01 else f"{tick:.0%}" for tick in ticks])
    axes.minorticks_off()
    axes.yaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{share:.0%}"))
    axes.grid(alpha=0.25)
    axes.set_xlabel(f"good parts rejected (of {whole.normals_seen})")
    axes.set_ylabel("defects found")
    axes.legend(loc="lower right", frameon=False)
    return figure
