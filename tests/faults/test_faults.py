"""Every row of the fault table: real processes and sockets, nothing lost, nothing passed that is not good."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from faults.run_row import run_row
from faults.table import FAULTS, Fault


@pytest.mark.parametrize(
    "fault",
    [pytest.param(fault, id=fault.name, marks=() if fault.quick else pytest.mark.faults) for fault in FAULTS],
)
def test_whatever_breaks_no_part_is_lost_and_no_bad_one_passes(
    fault: Fault, tmp_path: Path, keep_row: Callable[[dict[str, Any]], None]
) -> None:
    row = run_row(fault, tmp_path)
    keep_row(row)
    assert row["lost"] == 0
    assert row["wrongly_passed"] == 0
    assert row["violations"] == []
    if fault.publisher is not None:
        assert row["wrong_messages"] > 0, "the fault never happened"
