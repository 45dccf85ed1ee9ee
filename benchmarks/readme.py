"""Writes the README's figures from benchmarks/results/*.json, so that each of them comes from a saved run."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
README = ROOT / "README.md"
BLOCK = re.compile(r"(<!-- measured: .* -->\n).*?(<!-- /measured -->)", re.DOTALL)


def result(name: str) -> dict[str, Any]:
    """What a benchmark saved."""
    document: dict[str, Any] = json.loads((ROOT / f"benchmarks/results/{name}.json").read_text(encoding="utf-8"))
    return document


def detection(document: dict[str, Any]) -> list[str]:
    """AUROC of every method, and what the product finds as calibrated; means over seeds, and over the kinds left out."""
    methods = {"softmax": "softmax", "mean distance": "distance to the mean", "novelty": "novelty", "metric": "metric"}
    titles = {"normals only": "normals only", "seen kinds": "kinds shown", "unseen kind": "kind never shown"}
    rows = [
        f"| AUROC | {' | '.join(methods.values())} | **fused** | defects found | good parts rejected | claimed |",
        "|---" * (len(methods) + 5) + "|",
    ]
    for name in dict.fromkeys(run["set"] for run in document["runs"]):
        for setting, title in titles.items():
            runs = [
                run for run in document["runs"] if (run["set"], run["setting"]) == (name, setting) and run["methods"]
            ]
            if not runs:
                continue
            areas = {
                method: [run["methods"][method]["auroc"]["all"] for run in runs if method in run["methods"]]
                for method in (*methods, "fused")
            }
            cells = [f"{sum(some) / len(some):.3f}" if some else "" for some in areas.values()]
            fused = [run["methods"]["fused"] for run in runs]
            caught = sum(one["recall_calibrated"]["all"] for one in fused) / len(fused)
            rejected = sum(one["false_rejects"] for one in fused) / len(fused)
            rows.append(
                f"| {name.replace('_', ' ')}, {title} | {' | '.join(cells)} | {caught:.0%} "
                f"| {rejected:.1%} | {runs[0]['claim']['guaranteed_rate']:.1%} |"
            )
    return rows


def graph_cost(document: dict[str, Any]) -> list[str]:
    """What measuring costs beside the bare backbone."""
    rows = ["| picture to score, OpenVINO | bare backbone | whole graph | ratio |", "|---|---|---|---|"]
    rows += [
        f"| {name} | {one['bare_ms']:.2f} ms | {one['whole_ms']:.2f} ms | {one['ratio']:.2f} |"
        for name, one in document["openvino"].items()
    ]
    return rows


def line(document: dict[str, Any]) -> list[str]:
    """The whole line: counts and times."""
    rows = [
        f"| daemon, bridge, simulated PLC: {document['rate_hz']} parts/s for {document['seconds']} s "
        "| triggers | passed + rejected | taken -> decided, p50 / p99 | written -> gate decided, p50 / p99 |",
        "|---|---|---|---|---|",
    ]
    for run in document["runs"]:
        bridge, taken, gate = run["bridge_counters"], run["taken_to_decided_ms"], run["written_to_gate_decided_ms"]
        rows.append(
            f"| PLC polls every {run['plc_poll_ms']:g} ms | {run['triggers']} | {bridge['pass']} + {bridge['reject']} "
            f"| {taken['p50']:.1f} / {taken['p99']:.1f} ms | {gate['p50']:.1f} / {gate['p99']:.1f} ms |"
        )
    return rows


def conditions(document: Mapping[str, Any]) -> str:
    """On what it was measured."""
    where = document["conditions"]
    versions = ", ".join(f"{name} {where['versions'][name]}" for name in ("torch", "openvino"))
    return f"{where['cores']} cores of an {where['cpu']}, {versions}, {where['date']}."


def measured() -> str:
    """The README's block."""
    compared, costs, whole_line = result("detection"), [result("graph_cost"), result("graph_cost_amx")], result("line")
    parts = [
        "\n".join(detection(compared)),
        f"More, and beside the peers: [docs/detection.md](docs/detection.md). {conditions(compared)}",
        *(text for cost in costs for text in ("\n".join(graph_cost(cost)), conditions(cost))),
        "\n".join(line(whole_line)),
        conditions(whole_line),
    ]
    return "\n\n".join(parts)


def with_figures(readme: str) -> str:
    """The README with its figures written anew."""
    if not BLOCK.search(readme):
        raise SystemExit("README.md: the lines <!-- measured: ... --> and <!-- /measured --> are missing")
    return BLOCK.sub(lambda match: f"{match.group(1)}\n{measured()}\n\n{match.group(2)}", readme)


if __name__ == "__main__":
    README.write_text(with_figures(README.read_text(encoding="utf-8")), encoding="utf-8")
    print("wrote README.md")
