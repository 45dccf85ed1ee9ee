"""Blocks of figures in one file of results: each is kept as soon as it is measured, and not measured twice."""

import argparse
import json
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from benchmarks.calibration.refit import Set, load_set
from benchmarks.conditions import RESULTS, conditions

Blocks = dict[str, tuple[Callable[[Set, int], dict[str, Any]], int]]
"""Name, beginning with that of a set -> what measures it, and how often."""


def kept(file: Path) -> dict[str, Any]:
    """The blocks that are there."""
    blocks: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))["blocks"] if file.exists() else {}
    return blocks


def keep(file: Path, name: str, figures: dict[str, Any], order: Iterable[str]) -> None:
    """Put a block beside those that the file holds by now, in this order."""
    blocks = {**kept(file), name: {**figures, "conditions": conditions()}}
    ordered = {block: blocks[block] for block in order if block in blocks}
    lines = ",\n".join(f"  {json.dumps(block)}: {json.dumps(value)}" for block, value in ordered.items())
    temporary = file.with_suffix(f".{os.getpid()}.tmp")
    temporary.write_text(f'{{\n "blocks": {{\n{lines}\n }}\n}}\n', encoding="utf-8")
    temporary.replace(file)


def measure(name: str, blocks: Blocks, description: str) -> None:
    """The command line of a benchmark: those blocks that are asked for and missing."""
    file = RESULTS / f"{name}.json"
    command = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    command.add_argument("--data", type=Path, required=True, help="folder sets and splits/")
    command.add_argument("--blocks", nargs="+", default=list(blocks), choices=list(blocks))
    command.add_argument("--count", type=int, help="another number of splits or seeds, to try it")
    command.add_argument("--afresh", action="store_true", help="measure again what is kept")
    given = command.parse_args()
    for block in given.blocks:
        if block in kept(file) and not given.afresh:
            continue
        run, count = blocks[block]
        keep(file, block, run(load_set(given.data, block.split()[0]), given.count or count), blocks)
