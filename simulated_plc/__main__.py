"""senbetsu simulated-plc: a Modbus TCP client that plays the PLC of one gate, and a report of what became of each part."""

import argparse
import json
import logging
import signal
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from pymodbus.client import ModbusTcpClient
from pymodbus.exceptions import ModbusException

from senbetsu.errors import UserError
from senbetsu.files import write_atomically
from senbetsu.program import parser, run, set_up_logging
from senbetsu.registers import (
    COUNTERS,
    DETAIL_AT,
    NO_RATIO,
    WINDOW_AT,
    WINDOW_COUNT,
    PlcWrite,
    Window,
    decode_window,
    join32,
)
from senbetsu.verdict import Reason
from simulated_plc.plc import SimulatedPlc

log = logging.getLogger("simulated-plc")

RECONNECT_S = 0.1
TIMEOUT_S = 0.5
GIVE_UP_S = 30.0


class Link:
    """The Modbus client: reads and writes, or says None where the link is down."""

    def __init__(self, host: str, port: int, unit: int) -> None:
        self._client = ModbusTcpClient(host, port=port, timeout=TIMEOUT_S, retries=0)
        self._unit = unit
        self._retry_at = 0.0

    def _up(self) -> bool:
        if self._client.connected:
            return True
        if time.monotonic() < self._retry_at:
            return False
        self._retry_at = time.monotonic() + RECONNECT_S
        return bool(self._client.connect())  # type: ignore[no-untyped-call]

    def read(self, address: int, count: int) -> list[int] | None:
        """Input registers."""
        try:
            if self._up():
                answer = self._client.read_input_registers(address, count=count, device_id=self._unit)
                if not answer.isError():
                    return list(answer.registers)
                log.warning("read refused: %s", answer)
        except (ModbusException, OSError):
            self._client.close()  # type: ignore[no-untyped-call]
        return None

    def window(self) -> Window | None:
        """Header and slots, in one request."""
        words = self.read(WINDOW_AT, WINDOW_COUNT)
        return None if words is None else decode_window(words)

    def write(self, event: PlcWrite) -> bool:
        """Holding 0-11, whole."""
        try:
            if self._up():
                answer = self._client.write_registers(0, event.words(), device_id=self._unit)
                if not answer.isError():
                    return True
                log.warning("write refused: %s", answer)
        except (ModbusException, OSError):
            self._client.close()  # type: ignore[no-untyped-call]
        return False


def main(arguments: argparse.Namespace) -> int:
    """The program."""
    link = Link(arguments.host, arguments.port, arguments.unit)
    parts = arguments.parts if arguments.parts is not None else round(arguments.seconds * arguments.rate_hz)
    details: dict[int, tuple[int, int]] = {}
    plc = SimulatedPlc(
        period_ns=round(1e9 / arguments.rate_hz), travel_ns=round(arguments.travel_ms * 1e6),
        allow_simulated=arguments.allow_simulated, parts=parts, recipe=arguments.recipe,
        first_trigger=arguments.first_trigger,
    )  # fmt: skip
    stopping: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, _: stopping.append(number))
    poll_ns = round(arguments.poll_ms * 1e6)
    started = time.monotonic()
    next_poll_ns = time.monotonic_ns()
    while not plc.done and not stopping:
        if not plc.records and time.monotonic() - started > GIVE_UP_S:
            raise UserError(
                f"no run could be started with the bridge on {arguments.host}:{arguments.port} in {GIVE_UP_S:g} s; is it up?"
            )
        now_ns = time.monotonic_ns()
        if event := plc.trigger_due(now_ns):
            plc.confirm(time.monotonic_ns(), written=link.write(event))
        now_ns = time.monotonic_ns()
        if now_ns >= next_poll_ns:
            next_poll_ns = max(next_poll_ns + poll_ns, now_ns)
            decided_before = [record.decided_at_ns for record in plc.waiting]
            window = link.window()
            if event := plc.scan(window, time.monotonic_ns()):
                link.write(event)
            if len(plc.waiting) < len(decided_before):
                _note_details(link, plc, details)
        left_ns = min(next_poll_ns, plc.next_part_ns) - time.monotonic_ns()
        if left_ns > 0:
            time.sleep(left_ns / 1e9)
    return finish(link, plc, details, arguments.report)


def _note_details(link: Link, plc: SimulatedPlc, details: dict[int, tuple[int, int]]) -> None:
    """Score ratio and latency of the parts that were just decided; for the report only."""
    words = link.read(DETAIL_AT, 32)
    if words is not None:
        for record in plc.records[-16:]:
            if record.decided_at_ns and record.part_id not in details:
                k = record.trigger % 16
                details[record.part_id] = (words[2 * k], words[2 * k + 1])


def finish(link: Link, plc: SimulatedPlc, details: dict[int, tuple[int, int]], report: Path | None) -> int:
    """Balance the books, print and write the report; 1 if they do not balance."""
    words = link.read(0, 16)
    bridge = None if words is None else {r.name: join32(words[r.address], words[r.address + 1]) for r in COUNTERS}
    document = summary(plc, details, bridge)
    if report is not None:
        write_atomically(report, json.dumps(document, indent=1).encode())
    printable = {key: value for key, value in document.items() if key != "parts"}
    print(json.dumps(printable, indent=1))  # noqa: T201
    return 0 if document["balanced"] else 1


def summary(plc: SimulatedPlc, details: dict[int, tuple[int, int]], bridge: dict[str, int] | None) -> dict[str, Any]:
    """All figures. The bridge counts per run, so its counters are compared with the parts of the last run."""
    records = plc.records
    this_run = [record for record in records if record.run == plc.run_echo]
    latencies = [(r.decided_at_ns - r.written_at_ns) / 1e6 for r in records if r.decided_at_ns and r.reason]
    opened, shut = sum(r.opened for r in records), sum(not r.opened for r in records if r.decided_at_ns)
    reconciled = bridge is not None and (
        bridge["triggers"] == len(this_run)
        and bridge["pass"] + bridge["reject"] == bridge["triggers"]
        and bridge["pass"] >= plc.passed_in_run
    )
    return {
        "triggers": len(records),
        "opened": opened,
        "kept_shut": shut,
        "balanced": opened + shut + len(plc.waiting) == len(records),
        "runs": plc.runs_seen,
        "triggers_in_last_run": len(this_run),
        "bridge_counters": bridge,
        "reconciled": reconciled,
        "reasons": dict(Counter(_reason_name(r.reason) for r in records)),
        "why_shut": dict(Counter(r.why for r in records if not r.opened)),
        "written_to_gate_decided_ms": _percentiles(latencies),
        "taken_to_decided_ms": _percentiles([details[r.part_id][1] / 10 for r in records if r.part_id in details and r.reason]),
        "parts": [
            {
                "trigger": r.trigger, "part_id": r.part_id, "run": r.run, "opened": r.opened, "why_shut": r.why,
                "written_at_ns": r.written_at_ns,
                "reason": _reason_name(r.reason), "score_ratio": _ratio(details.get(r.part_id)),
                "written_to_gate_decided_ms": round((r.decided_at_ns - r.written_at_ns) / 1e6, 3),
            }
            for r in records
        ],
    }  # fmt: skip


def _reason_name(number: int) -> str:
    return Reason(number).name if number in Reason.__members__.values() else f"unknown {number}"


def _ratio(detail: tuple[int, int] | None) -> float | None:
    return None if detail is None or detail[0] == NO_RATIO else detail[0] / 1000


def _percentiles(values: list[float]) -> dict[str, float] | None:
    if not values:
        return None
    p50, p95, p99 = np.percentile(values, [50, 95, 99])
    return {"p50": round(p50, 3), "p95": round(p95, 3), "p99": round(p99, 3), "max": round(max(values), 3)}


def flags() -> argparse.ArgumentParser:
    """The command line."""
    command = parser("simulated-plc", "A PLC to try the line with: triggers parts, reads verdicts, moves a gate.")
    command.add_argument("--host", default="127.0.0.1")
    command.add_argument("--port", type=int, default=5020)
    command.add_argument("--unit", type=int, default=1, help="Modbus unit id: which gate")
    amount = command.add_mutually_exclusive_group(required=True)
    amount.add_argument("--parts", type=int, help="how many parts pass the trigger")
    amount.add_argument("--seconds", type=float, help="for how long")
    command.add_argument("--rate-hz", type=float, default=10.0, help="parts a second (default 10)")
    command.add_argument(
        "--poll-ms", type=float, default=10.0, help="read the verdicts this often (default 10; 0: no pause)"
    )
    command.add_argument("--travel-ms", type=float, default=300.0, help="from the trigger to the gate (default 300)")
    command.add_argument("--recipe", type=int, default=0, help="0: whatever is active")
    command.add_argument("--first-trigger", type=int, default=0, help="the number to count on from")
    command.add_argument(
        "--allow-simulated", action="store_true", help="set the control bit that lets simulated parts pass"
    )
    command.add_argument("--report", type=Path, metavar="FILE", help="JSON with a row for each part")
    return command


if __name__ == "__main__":
    given = flags().parse_args()
    set_up_logging(verbose=given.verbose)
    sys.exit(run(lambda: main(given), "simulated-plc"))
