"""Writes the figures of docs/losses.md from benchmarks/results/losses.json, and draws docs/losses_*.png from it."""

import hashlib
import io
import re
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from benchmarks.readme import ROOT, conditions, result
from senbetsu.drawing import COLOURS, LINE_COLOUR
from train.losses import LOSSES
from train.selections import SELECTIONS

PAGE = ROOT / "docs/losses.md"
RESULTS = ROOT / "benchmarks/results/losses.json"
CURVES = (
    ("loss", "loss"), ("spread_median", "median spread of a dimension"), ("active_share", "active share"),
    ("held_out_auroc", "AUROC, held out"),
)  # fmt: skip
NETWORKS = {
    "linear head": "linear head, unit length (as shipped)",
    "four layers": "four layers, unit length",
    "four layers, free": "four layers, any length",
}


def number(value: float) -> str:
    """Three digits, small ones as powers."""
    return f"{value:.3f}" if 0.001 <= abs(value) < 1000 or value == 0 else f"{value:.0e}"


def collapse_rows(document: dict[str, Any]) -> list[str]:
    """Every selection, network and learning rate with the first seed; more seeds where there are some."""
    rows = [
        "| network | learning rate | selection | loss, last | mean d(a, n) | of all triplets inverted | AUROC, held out "
        "| called collapsed |",
        "|---|---|---|---|---|---|---|---|",
    ]
    groups: dict[tuple[str, float, str], list[dict[str, Any]]] = {}
    for run in document["collapse"]:
        if "changed" not in run:
            groups.setdefault((run["network"], run["learning_rate"], run["selection"]), []).append(run)
    for (network, rate, selection), runs in groups.items():
        rows.append(f"| {NETWORKS[network]} | {rate:g} | `{selection}` | {collapse_cells(runs)} |")
    return rows


def collapse_cells(runs: list[dict[str, Any]]) -> str:
    """Means over seeds of what came out, and how many runs `train` would have refused."""
    ended = [run for run in runs if "curve" in run]
    refused = f"{sum(run['called_collapsed'] for run in runs)} of {len(runs)}"
    if not ended:
        return f"not finite | | | | {refused}"
    means = [
        number(float(np.mean(values)))
        for values in (
            [run["curve"]["loss"][-1] for run in ended],
            [run["final"]["negative_distance"] for run in ended],
            [run["final"]["inverted_share"] for run in ended],
            [run["curve"]["held_out_auroc"][-1] for run in ended],
        )
    ]
    return " | ".join([*means, refused])


def remedy_rows(document: dict[str, Any]) -> list[str]:
    """What `batch_hard` on the deep network does when one thing is changed."""
    rows = [
        "| `batch_hard`, four layers, unit length, changed | loss, last | mean d(a, n) | of all triplets inverted "
        "| AUROC, held out | called collapsed |",
        "|---|---|---|---|---|---|",
    ]
    for run in document["collapse"]:
        if "changed" in run:
            change = ", ".join(f"{key} = {value}" for key, value in run["changed"].items())
            rows.append(f"| {change} | {collapse_cells([run])} |")
    return rows


def quadruplet_rows(document: dict[str, Any]) -> list[str]:
    """Within against between, mean and range over seeds."""
    rows = [
        "| selection | loss | parts | within the normal class | to the others | within / between | triples with within >= "
        "between | AUROC |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for group, said in (("seen", "kinds shown"), ("unseen", "kind left out")):
        for selection in ("semihard", "all"):
            for loss in LOSSES:
                figures = [
                    run[group]
                    for run in document["quadruplets"]
                    if (run["selection"], run["loss"]) == (selection, loss)
                ]
                cells = " | ".join(
                    mean_and_range([f[key] for f in figures], digits)
                    for key, digits in (
                        ("within", 2), ("between", 2), ("ratio", 3), ("share_within_exceeds_between", 3), ("auroc", 3),
                    )
                )  # fmt: skip
                rows.append(f"| `{selection}` | `{loss}` | {said} | {cells} |")
    return rows


def mean_and_range(values: list[float], digits: int) -> str:
    """Mean (lowest to highest)."""
    return f"{np.mean(values):.{digits}f} ({min(values):.{digits}f} to {max(values):.{digits}f})"


def paired_rows(document: dict[str, Any]) -> list[str]:
    """Each loss against the triplet loss with the same seed, parts and selection: of ratio and AUROC, the difference."""
    rows = [
        "| selection | loss against `triplet` | parts | within / between | AUROC | seeds with a smaller ratio |",
        "|---|---|---|---|---|---|",
    ]
    of = {(run["selection"], run["loss"], run["seed"]): run for run in document["quadruplets"]}
    seeds = sorted({seed for _, _, seed in of})
    for group, said in (("seen", "kinds shown"), ("unseen", "kind left out")):
        for selection in ("semihard", "all"):
            for loss in list(LOSSES)[1:]:
                pairs = [(of[selection, loss, s][group], of[selection, "triplet", s][group]) for s in seeds]
                ratio = [one["ratio"] - base["ratio"] for one, base in pairs]
                area = [one["auroc"] - base["auroc"] for one, base in pairs]
                rows.append(
                    f"| `{selection}` | `{loss}` | {said} | {np.mean(ratio):+.3f} ({min(ratio):+.3f} to {max(ratio):+.3f}) "
                    f"| {np.mean(area):+.3f} ({min(area):+.3f} to {max(area):+.3f}) "
                    f"| {sum(r < 0 for r in ratio)} of {len(ratio)} |"
                )
    return rows


def conditions_of(document: dict[str, Any]) -> str:
    """What was measured, and on what."""
    parts = ", ".join(f"{count} {name}" for name, count in document["parts"].items())
    one, two = document["settings"]["collapse"], document["settings"]["quadruplets"]
    return (
        f"Set `{document['set']}`: {parts} parts; half of each kind is held out. Margin {document['margin']}, second margin "
        f"{document['second_margin']}. Collapse: {one['steps']} steps with K = {one['images_per_label']}; quadruplets: "
        f"{two['steps']} steps with K = {two['images_per_label']}. {conditions(document)}"
    )


def measured(name: str, document: dict[str, Any]) -> str:
    """The text of one block of the page."""
    rows = {
        "collapse": collapse_rows, "remedies": remedy_rows, "quadruplets": quadruplet_rows, "paired": paired_rows,
    }  # fmt: skip
    return conditions_of(document) if name == "conditions" else "\n".join(rows[name](document))


def with_figures(page: str) -> str:
    """The page with every block between <!-- measured: NAME --> and <!-- /measured --> written anew."""
    document = result("losses")
    block = re.compile(r"(<!-- measured: (\w+) -->\n).*?(<!-- /measured -->)", re.DOTALL)
    return block.sub(lambda m: f"{m.group(1)}\n{measured(m.group(2), document)}\n\n{m.group(3)}", page)


def collapse_figure(document: dict[str, Any]) -> Figure:
    """Curves of the first seed at the lower learning rate: a column a network, a row a figure."""
    figure = Figure(figsize=(10.5, 9.5), layout="constrained")
    axes = figure.subplots(len(CURVES), len(NETWORKS), sharex=True)
    runs = [run for run in document["collapse"] if "changed" not in run and run["seed"] == 0]
    rate = min(run["learning_rate"] for run in runs)
    for column, (network, title) in enumerate(NETWORKS.items()):
        axes[0][column].set_title(title, fontsize=10)
        axes[0][column].axhline(document["margin"], color=LINE_COLOUR, linewidth=1, linestyle="--", label="margin")
        axes[-1][column].set_xlabel("step")
        for colour, selection in zip(COLOURS, SELECTIONS, strict=False):
            (run,) = (
                r for r in runs if (r["network"], r["selection"], r["learning_rate"]) == (network, selection, rate)
            )
            for row, (key, _) in enumerate(CURVES):
                if "curve" in run:
                    values = np.array(run["curve"][key])
                    shown = np.where(values > 0, values, np.nan) if row == 1 else values  # a logarithm has no zero
                    axes[row][column].plot(run["curve"]["step"], shown, color=colour, linewidth=1.4, label=selection)
        axes[0][column].set_ylim(-0.01, 0.65)
        axes[1][column].set_yscale("log")
        axes[2][column].set_ylim(0, 1.02)
        axes[3][column].set_ylim(0.4, 1.01)
    for row, (_, name) in enumerate(CURVES):
        axes[row][0].set_ylabel(name)
    figure.legend(*axes[0][0].get_legend_handles_labels(), loc="outside lower center", ncols=6, frameon=False)
    return figure


def quadruplet_figure(document: dict[str, Any]) -> Figure:
    """Within / between of each loss, a dot a seed, a bar their mean."""
    figure = Figure(figsize=(9.5, 3.8), layout="constrained")
    both = figure.subplots(1, 2, sharey=True)
    for axes, group, said in zip(
        both, ("seen", "unseen"), ("kinds that were shown", "a kind that was not"), strict=True
    ):
        for place, loss in enumerate(LOSSES):
            for shift, colour, selection in ((-0.15, COLOURS[0], "semihard"), (0.15, COLOURS[1], "all")):
                ratios = [
                    run[group]["ratio"]
                    for run in document["quadruplets"]
                    if (run["loss"], run["selection"]) == (loss, selection)
                ]
                axes.scatter(
                    [place + shift] * len(ratios), ratios, s=22, color=colour, alpha=0.6, linewidths=0,
                    label=selection if place == 0 else None,
                )  # fmt: skip
                axes.hlines(np.mean(ratios), place + shift - 0.12, place + shift + 0.12, color=colour, linewidth=2)
        axes.axhline(1, color=LINE_COLOUR, linewidth=1, linestyle="--")
        axes.set_xticks(range(len(LOSSES)), list(LOSSES), fontsize=8)
        axes.set_title(f"held-out parts of {said}", fontsize=10)
        axes.set_ylim(bottom=0)
    both[0].set_ylabel("distance within the normal class / to the others")
    both[0].legend(frameon=False)
    return figure


def results_sha256() -> str:
    """Of the saved results; each picture carries it."""
    return hashlib.sha256(RESULTS.read_bytes()).hexdigest()


def draw(path: Path, figure: Figure) -> None:
    """Write a PNG that says which results it shows."""
    buffer = io.BytesIO()
    FigureCanvasAgg(figure)
    figure.savefig(buffer, format="png", dpi=110, metadata={"Software": None, "Source": results_sha256()})
    path.write_bytes(buffer.getvalue())


if __name__ == "__main__":
    PAGE.write_text(with_figures(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    draw(ROOT / "docs/losses_collapse.png", collapse_figure(result("losses")))
    draw(ROOT / "docs/losses_quadruplets.png", quadruplet_figure(result("losses")))
    print("wrote docs/losses.md and its pictures")
