"""With `--keep-faults FILE` what was measured of the rows is written there as JSON, for docs/faults.md."""

import json
import os
import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROWS: list[dict[str, Any]] = []


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--keep-faults", type=Path, help="write what was measured of the fault table to this file")


@pytest.fixture
def keep_row() -> Callable[[dict[str, Any]], None]:
    """Keeps a row's figures."""
    return ROWS.append


def pytest_sessionfinish(session: pytest.Session) -> None:
    path = session.config.getoption("--keep-faults", None)
    if path is not None:
        conditions = runpy.run_path(str(Path(__file__).parents[2] / "benchmarks/conditions.py"))["conditions"]
        measured = {"conditions": conditions(), "load_average": round(os.getloadavg()[1], 1), "rows": ROWS}
        path.write_text(json.dumps(measured, indent=1) + "\n")
