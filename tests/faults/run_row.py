"""One row of the table, run and measured."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from faults.rig import Rig
from faults.table import Fault


def run_row(fault: Fault, folder: Path) -> dict[str, Any]:
    """What came of it. Raises AssertionError where the line did not do what the table says."""
    with Rig(folder, **fault.rig, without_daemon=fault.publisher is not None) as rig:
        publisher = None if fault.publisher is None else fault.publisher(rig)
        if publisher is not None:
            publisher.scene = rig.scene
            publisher.start()
        try:
            return _run(fault, rig) | ({} if publisher is None else {"wrong_messages": publisher.wrong})
        finally:
            if publisher is not None:
                publisher.close()


def _run(fault: Fault, rig: Rig) -> dict[str, Any]:
    rig.until_passes(4)
    first = len(rig.plc.parts)
    rig.plc.watch_for_safe()
    fault.break_it(rig)
    if fault.reasons:
        rig.until(
            lambda: rig.shut_for(set(fault.reasons), first), f"a part is kept out for one of {set(fault.reasons)}"
        )
    until = rig.until_passes()
    balance = rig.balance()
    row = asdict(balance) | {"name": fault.name, "does": fault.does, "safe": fault.safe, "safe_ms": None}
    hit = rig.shut_for(set(fault.reasons), first) if fault.reasons else []
    row["kept_out_for"] = sorted({rig.why_of(part) for part in hit})
    row["kept_out"] = len(hit)
    row["parts_until_good_ones_pass_again"] = until - first
    if fault.safe == "line":
        assert rig.plc.safe_ns is not None, "the gate never was safe"
        row["safe_ms"] = round(rig.plc.safe_ns / 1e6)
    elif fault.safe == "part":
        row["safe_ms"] = round(max(p.record.decided_at_ns - p.record.written_at_ns for p in hit) / 1e6)
    return row
