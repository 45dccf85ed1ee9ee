"""Writes the figures of docs/detection.md from benchmarks/results/detection.json, and draws docs/detection_normals.png.

Columns of the peers come from benchmarks/results/peers.json where it is there.
"""

import hashlib
import io
import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from benchmarks.detection.bars import Run, chosen, values
from benchmarks.detection.figures import ALL, paired_interval
from benchmarks.detection.other_tables import SETS, centroids_rows, fusions_rows, ranks_rows, speed_rows, teacher_rows
from benchmarks.readme import ROOT, conditions, result
from senbetsu.drawing import COLOURS, LINE_COLOUR
from senbetsu.files import write_atomically

PAGE = ROOT / "docs/detection.md"
PICTURE = ROOT / "docs/detection_normals.png"
METHODS = ("softmax", "mean distance", "novelty", "metric", "fused")
PEERS = {"padim": "PaDiM", "patchcore_1": "PatchCore 1 %", "patchcore_10": "PatchCore 10 %"}


def cell(numbers: Sequence[float], digits: int = 3) -> str:
    """Mean (lowest to highest); blank where nothing was run."""
    if not numbers:
        return ""
    low, high = f"{min(numbers):.{digits}f}", f"{max(numbers):.{digits}f}"
    return f"{np.mean(numbers):.{digits}f}" + ("" if low == high else f" ({low} to {high})")


def figure(runs: Sequence[Run], method: str, key: str = "auroc", kind: str = ALL) -> str:
    """One cell: a method's figure over seeds."""
    return cell(values([run for run in runs if key in run["methods"].get(method, ())], method, key, kind))


def false_rejects(runs: Sequence[Run], method: str, key: str = "false_rejects") -> str:
    """Share of test normals that a threshold rejects, the calibrated one unless another is named."""
    rates = [100 * run["methods"][method][key] for run in runs if key in run["methods"].get(method, ())]
    return cell(rates, 1) + (" %" if rates else "")


def claimed(runs: Sequence[Run]) -> str:
    """The claim in figures."""
    claim = runs[0]["claim"]
    return f"{100 * claim['guaranteed_rate']:.2g} % ({claim['method']}, k = {claim['k']} of {claim['n']})"


def peers() -> dict[str, Any]:
    """The peers' figures by set, or nothing."""
    path = ROOT / "benchmarks/results/peers.json"
    return result("peers")["sets"] if path.exists() else {}


def bars_rows(document: Run) -> list[str]:
    """Every bar."""
    rows = ["| bar | measured | met |", "|---|---|---|"]
    return rows + [
        f"| {bar['bar']} | {bar['value']} | {'yes' if bar['met'] else '**no**'} |" for bar in document["bars"]
    ]


def normals_rows(document: Run) -> list[str]:
    """Normals only, the product and its peers."""
    rows = [
        "| set | method | AUROC, all training normals | AUROC, calibration parts left out | defects found as calibrated "
        "| good parts rejected | claimed | found at the 99 % quantile | good parts rejected there "
        "| found, threshold that knows the test normals |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    others = peers()
    for name, said in SETS.items():
        split, whole = chosen(document["runs"], name, "normals only"), chosen(document["runs"], name, "whole")
        for method in ("mean distance", "fused") if split else ():
            title = "novelty = fused" if method == "fused" else method
            rows.append(
                f"| {said} | {title} | {figure(whole, method)} | {figure(split, method)} "
                f"| {figure(split, method, 'recall_calibrated')} | {false_rejects(split, method)} | {claimed(split)} "
                f"| {figure(split, method, 'recall_quantile')} | {false_rejects(split, method, 'false_rejects_quantile')} "
                f"| {figure(split, method, 'recall_informed')} |"
            )
        for peer, title in PEERS.items():
            if peer in others.get(name, {}):
                rows.append(f"| {said} | {title} | {peer_cells(list(others[name][peer]['per_seed'].values()))} |")
    return rows


def peer_cells(seeds: Sequence[Run]) -> str:
    """A peer's columns: its own rule for a threshold is the highest score of the calibration parts."""
    apart = [seed["trained_without_calib"] for seed in seeds]
    own, quantile = ([one[rule] for one in apart] for rule in ("calib_maximum", "calib_quantile"))
    return " | ".join([
        cell([seed["trained_on_all"]["auroc"][ALL] for seed in seeds]),
        cell([one["auroc"][ALL] for one in apart]),
        cell([one["recall"][ALL] for one in own]),
        cell([100 * one["false_rejects"] for one in own], 1) + " %",
        "",
        cell([one["recall"][ALL] for one in quantile]),
        cell([100 * one["false_rejects"] for one in quantile], 1) + " %",
        cell([one["test_at_most"]["recall"][ALL] for one in apart]),
    ])  # fmt: skip


def kinds_rows(document: Run) -> list[str]:
    """Tiles by kind, normals only."""
    runs = chosen(document["runs"], "magnetic_tile", "whole")
    if not runs:
        return []
    kinds = [kind for kind in runs[0]["methods"]["fused"]["auroc"] if kind != ALL]
    rows = [f"| AUROC | {' | '.join(kinds)} |", "|---" * (len(kinds) + 1) + "|"]
    rows.append("| novelty = fused | " + " | ".join(figure(runs, "fused", "auroc", kind) for kind in kinds) + " |")
    for peer, figures in peers().get("magnetic_tile", {}).items():
        seeds = [seed["trained_on_all"]["auroc"] for seed in figures["per_seed"].values()]
        rows.append(f"| {PEERS[peer]} | " + " | ".join(cell([seed[kind] for seed in seeds]) for kind in kinds) + " |")
    return rows


def seen_rows(document: Run) -> list[str]:
    """Half of each kind shown, the other half tested."""
    rows = ["| set | figure | seeds | " + " | ".join(METHODS) + " |", "|---" * (len(METHODS) + 3) + "|"]
    for name, said in SETS.items():
        runs = chosen(document["runs"], name, "seen kinds")
        if not runs:
            continue
        for title, key in (("AUROC", "auroc"), ("found as calibrated", "recall_calibrated"), ("found, threshold that knows "
                            "the test normals", "recall_informed")):  # fmt: skip
            cells = " | ".join(figure(runs, method, key) for method in METHODS)
            rows.append(f"| {said} | {title} | {len(runs)} | {cells} |")
        cells = " | ".join(false_rejects(runs, method) for method in METHODS)
        rows.append(f"| {said} | good parts rejected, of {claimed(runs)} claimed | {len(runs)} | {cells} |")
    return rows


def unseen_rows(document: Run) -> list[str]:
    """Each kind of tile defect left out in turn."""
    rows = ["| kind left out | figure | seeds | " + " | ".join(METHODS) + " |", "|---" * (len(METHODS) + 3) + "|"]
    for kind in dict.fromkeys(run["case"] for run in document["runs"] if run["setting"] == "unseen kind"):
        runs = chosen(document["runs"], "magnetic_tile", "unseen kind", kind)
        for title, key in (("AUROC", "auroc"), ("found as calibrated", "recall_calibrated")):
            if runs:
                cells = " | ".join(figure(runs, method, key) for method in METHODS)
                rows.append(f"| {kind} | {title} | {len(runs)} | {cells} |")
    return rows


def few_rows(document: Run) -> list[str]:
    """One, five, twenty labelled defects: gain over normals only, paired."""
    rows = [
        "| set | labelled defects | seeds | AUROC, normals only | AUROC, fused | gain (95 % interval) "
        "| found as calibrated, normals only | fused | gain (95 % interval) |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name, said in SETS.items():
        for few in ("1", "5", "20"):
            runs = chosen(document["runs"], name, "few", few)
            if len(runs) >= 2:
                cells = []
                for key in ("auroc", "recall_calibrated"):
                    fused, novelty = values(runs, "fused", key), values(runs, "novelty", key)
                    gain = paired_interval([a - b for a, b in zip(fused, novelty, strict=True)])
                    cells += [
                        cell(novelty),
                        cell(fused),
                        f"{gain['mean']:+.4f} ({gain['low']:+.4f} to {gain['high']:+.4f})",
                    ]
                rows.append(f"| {said} | {few} | {len(runs)} | {' | '.join(cells)} |")
    return rows


def counted(document: Run, name: str) -> dict[int, list[Run]]:
    """Runs by number of normal parts, all of them last."""
    cases = {int(run["case"]) for run in document["runs"] if (run["set"], run["setting"]) == (name, "normals counted")}
    found = {case: chosen(document["runs"], name, "normals counted", str(case)) for case in sorted(cases)}
    whole = chosen(document["runs"], name, "whole")
    return {**found, **({whole[0]["normals"]: whole} if whole else {})}


def counted_rows(document: Run) -> list[str]:
    """Fewer and fewer normals, each serving twice."""
    rows = [
        "| set | normal parts | seeds | AUROC | defects found | good parts rejected | answered for |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, said in SETS.items():
        for count, runs in counted(document, name).items():
            if runs:
                rows.append(
                    f"| {said} | {count} | {len(runs)} | {figure(runs, 'fused')} "
                    f"| {figure(runs, 'fused', 'recall_calibrated')} | {false_rejects(runs, 'fused')} | {claimed(runs)} |"
                )
    return rows


def conditions_of(document: Run) -> str:
    """On what it was measured."""
    return f"{document['scores']}; {conditions(document)}"


BLOCKS: dict[str, Callable[[Run], list[str]]] = {
    "bars": bars_rows, "normals": normals_rows, "kinds": kinds_rows, "seen": seen_rows, "unseen": unseen_rows,
    "few": few_rows, "counted": counted_rows, "centroids": centroids_rows, "teacher": teacher_rows, "fusions": fusions_rows,
    "ranks": ranks_rows, "speed": speed_rows,
    "conditions": lambda document: [conditions_of(document)],
}  # fmt: skip


def with_figures(page: str) -> str:
    """The page with every block between <!-- measured: NAME --> and <!-- /measured --> written anew."""
    document = result("detection")
    block = re.compile(r"(<!-- measured: (\w+) -->\n).*?(<!-- /measured -->)", re.DOTALL)
    return block.sub(lambda m: f"{m.group(1)}\n" + "\n".join(BLOCKS[m.group(2)](document)) + f"\n\n{m.group(3)}", page)


def normals_figure(document: Run) -> Figure:
    """AUROC and false rejects against the number of normal parts."""
    drawn = Figure(figsize=(9.5, 3.8), layout="constrained")
    left, right = drawn.subplots(1, 2)
    for colour, (name, said) in zip(COLOURS, SETS.items(), strict=False):
        groups = {count: runs for count, runs in counted(document, name).items() if runs}
        if not groups:
            continue
        counts = list(groups)
        areas = [values(runs, "fused") for runs in groups.values()]
        left.plot(counts, [np.mean(some) for some in areas], "o-", color=colour, markersize=4, label=said)
        left.fill_between(counts, [min(some) for some in areas], [max(some) for some in areas], color=colour, alpha=0.2)
        rates = [100 * np.mean([run["methods"]["fused"]["false_rejects"] for run in runs]) for runs in groups.values()]
        right.plot(counts, rates, "o-", color=colour, markersize=4)
        promised = [100 * runs[0]["claim"]["guaranteed_rate"] for runs in groups.values()]
        right.plot(counts, promised, "--", color=LINE_COLOUR, linewidth=1)
    for axes in (left, right):
        axes.set_xscale("log")
        ticks = [10, 20, 50, 100, 200, 500, 1000]
        axes.set_xticks(ticks, [str(tick) for tick in ticks])
        axes.minorticks_off()
        axes.set_xlabel("normal parts, each to learn from and to calibrate with")
    left.set_ylabel("AUROC, normals only")
    right.set_ylabel("good parts rejected, %")
    right.set_ylim(bottom=0)
    right.plot([], [], "--", color=LINE_COLOUR, linewidth=1, label="what the claim answers for")
    right.legend(frameon=False)
    drawn.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False)
    return drawn


def runs_sha256() -> str:
    """Of the saved runs; the picture carries it."""
    return hashlib.sha256(json.dumps(result("detection")["runs"]).encode()).hexdigest()


def draw(path: Path, figure: Figure) -> None:
    """Write a PNG that says which runs it shows."""
    buffer = io.BytesIO()
    FigureCanvasAgg(figure)
    figure.savefig(buffer, format="png", dpi=110, metadata={"Software": None, "Source": runs_sha256()})
    write_atomically(path, buffer.getvalue())


if __name__ == "__main__":
    PAGE.write_text(with_figures(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    draw(PICTURE, normals_figure(result("detection")))
    print("wrote docs/detection.md and its picture")
