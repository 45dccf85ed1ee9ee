"""senbetsu evaluate: defects found and good parts rejected, with intervals, by kind; AUROC beside them."""

import argparse
import json
import logging
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from evaluate.page import write_evaluation
from evaluate.trade import HOW_TO_SET, aligned, curve, share_of, trade, trade_table
from senbetsu.artifacts import load_artifact
from senbetsu.auroc import auroc
from senbetsu.config import Config
from senbetsu.conformal import DEFAULT_CONFIDENCE
from senbetsu.embedding import load_embedding
from senbetsu.files import check_writable
from senbetsu.images import content_sha256, find_images, images_by_kind, read_bytes
from senbetsu.judge import load_judge
from senbetsu.pictures import PictureScore, score_pictures
from senbetsu.profile import NAME as PROFILE
from senbetsu.program import parser, run, set_up_logging, settings_of

log = logging.getLogger("evaluate")

PROVEN_FROM = 20
"""Fewer defects of a kind than this prove little, whatever their share."""


def main(arguments: argparse.Namespace) -> int:
    """The program."""
    config = settings_of(arguments)
    if arguments.output is not None:
        check_writable(arguments.output)
    normal_paths = find_images([arguments.normal])
    kinds = images_by_kind(arguments.defects)
    judge = load_judge(config)
    normals = list(score_pictures(judge.engine, normal_paths, "normal parts"))
    defects = {kind: list(score_pictures(judge.engine, paths, f"defects: {kind}")) for kind, paths in kinds.items()}
    report = measure(normals, defects, judge.threshold)
    report["normal"]["used_before"] = used_before(normal_paths, config)
    profile = load_artifact(config.artifacts, PROFILE, "calibrate")[1]
    report["claim"] = profile["claim_sentence"]
    rows = trade(normals, defects, judge.threshold, profile["scores"], profile["claim"]["method"])
    report["trade"] = [asdict(row) for row in rows]
    if arguments.output is not None:
        write_evaluation(arguments.output, report, table(report), rows, curve(normals, defects))
        log.info("wrote evaluation.html, evaluation.json and trade.png into %s", arguments.output)
    if arguments.json:
        print(json.dumps(report, indent=1, allow_nan=False))  # noqa: T201
    else:
        print(table(report))  # noqa: T201
    return 0


def measure(
    normals: Sequence[PictureScore], defects: Mapping[str, Sequence[PictureScore]], threshold: float
) -> dict[str, Any]:
    """All figures. Unreadable pictures are rejected, and counted apart; AUROC is over the readable ones."""
    every_defect = [result for results in defects.values() for result in results]
    return {
        "threshold": threshold,
        "auroc": _auroc(normals, every_defect),
        "normal": _rejected(normals, threshold),
        "defects": _rejected(every_defect, threshold),
        "kinds": {
            kind: {**_rejected(results, threshold), "auroc": _auroc(normals, results)}
            for kind, results in defects.items()
        },
    }


def _rejected(results: Sequence[PictureScore], threshold: float) -> dict[str, Any]:
    return {
        **asdict(share_of(results, threshold)),
        "confidence": DEFAULT_CONFIDENCE,
        "unreadable": sum(result.error is not None for result in results),
        "proven": len(results) >= PROVEN_FROM,
    }


def _auroc(normals: Sequence[PictureScore], defects: Sequence[PictureScore]) -> float | None:
    good = np.array([result.score for result in normals if result.error is None])
    bad = np.array([result.score for result in defects if result.error is None])
    if len(good) == 0 or len(bad) == 0:
        return None
    # A score that is not finite rejects, so it ranks highest.
    return auroc(np.nan_to_num(good, nan=np.inf), np.nan_to_num(bad, nan=np.inf))


def used_before(paths: Sequence[Path], config: Config) -> int:
    """How many of the normal pictures were trained on or calibrated with: on these, false rejects look too good."""
    known = set(load_embedding(config.artifacts, config.model).folds)
    known |= set(load_artifact(config.artifacts, PROFILE, "calibrate")[1]["parts"])
    return sum(content_sha256(read_bytes(path)) in known for path in paths)


def table(report: dict[str, Any]) -> str:
    """The figures for a person."""
    rows: list[tuple[str, ...]] = [("", "parts", "rejected", "share", "95 % interval", "AUROC", "")]
    rows.append(_row("normal: false rejects", report["normal"], None))
    for kind, figures in report["kinds"].items():
        rows.append(_row(f"{kind}: found", figures, figures["auroc"]))
    if len(report["kinds"]) > 1:
        rows.append(_row("all defects: found", report["defects"], report["auroc"]))
    lines = aligned(rows)
    lines += ["", f"claim: {report['claim']}"]
    used = report["normal"]["used_before"]
    if used:
        lines.append(
            f"{used} of the {report['normal']['parts']} normal pictures were trained on or calibrated with: on these, false "
            "rejects look too good; evaluate on parts that nothing has seen"
        )
    lines += [
        "",
        "false rejects against defects found, over thresholds:",
        *trade_table(report["trade"]),
        "",
        HOW_TO_SET,
    ]
    few = [kind for kind, figures in report["kinds"].items() if not figures["proven"]]
    if few:
        lines.append(f"not proven (fewer than {PROVEN_FROM} seen): {', '.join(few)}")
    return "\n".join(lines)


def _row(name: str, figures: dict[str, Any], area: float | None) -> tuple[str, ...]:
    low, high = figures["interval"]
    return (
        name,
        str(figures["parts"]),
        str(figures["rejected"]),
        f"{figures['rate']:.1%}",
        f"{low:.1%} to {high:.1%}",
        "" if area is None else f"{area:.4f}",
        "" if figures["proven"] else "not proven",
    )


def flags() -> argparse.ArgumentParser:
    """The command line."""
    command = parser("evaluate", "Measure defects found and good parts rejected, on parts whose kind is known.")
    command.add_argument("--normal", type=Path, required=True, metavar="DIR", help="pictures of normal parts")
    command.add_argument(
        "--defects", type=Path, required=True, metavar="DIR", help="pictures of defects, one folder a kind"
    )
    command.add_argument(
        "--output", type=Path, metavar="DIR", help="write evaluation.html, evaluation.json and trade.png there"
    )
    command.add_argument("--json", action="store_true", help="print one JSON object")
    return command


if __name__ == "__main__":
    given = flags().parse_args()
    set_up_logging(verbose=given.verbose)
    sys.exit(run(lambda: main(given), "evaluate"))
