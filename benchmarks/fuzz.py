"""What nonsense on every socket costs the line: p99 of trigger written -> gate decided, with and without, in turns.

Daemon, bridge and simulated PLC are processes on this PC, with the real engine and the demo's cells. In every other turn a
fourth process sends nonsense (tests/noise.py: malformed ZMTP, JSON and Modbus) to the daemon's two sockets and the bridge's
port, RATE_HZ connections or messages a second to each. It shares the PC's cores, so what it takes itself counts as cost too.

The deadline is far away, so that no time is cut off by it. `load_average` says how busy the PC was otherwise: well above its
cores, the p99 is that of the other programs. The processor time that daemon and bridge take themselves hardly depends on it.
"""

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from benchmarks.conditions import save
from benchmarks.demo_line import DemoLine, demo_line
from demo.__main__ import REPOSITORY, Service

PARTS_HZ, TURN_S, TURNS = 20, 15, 5
RATE_HZ = 20
BUDGET = 1.1


def processor_s(services: Iterable[Service]) -> float:
    """Processor time that these have taken so far, all threads, user and system."""
    ticks = 0
    for service in services:
        fields = Path(f"/proc/{service.process.pid}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def turn(line: DemoLine, first_trigger: int, *, noise: bool) -> dict[str, Any]:
    """One turn's figures."""
    report = line.folder / "plc.json"
    ports = (line.publish, line.request, line.modbus)
    command = [sys.executable, str(REPOSITORY / "tests/noise.py"), *map(str, ports), str(RATE_HZ)]
    noisy = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) if noise else None
    if noisy is not None and noisy.stdout is not None:
        noisy.stdout.readline()  # it has begun: its start is no part of what is measured
    before_s = processor_s(line.services.values())
    plc = Service(
        "simulated_plc", "--port", str(line.modbus), "--seconds", str(TURN_S), "--rate-hz", str(PARTS_HZ), "--allow-simulated",
        "--first-trigger", str(first_trigger), "--poll-ms", "2", "--travel-ms", "5000", "--report", report,
    )  # fmt: skip
    status = plc.process.wait(timeout=6 * TURN_S)
    document = json.loads(report.read_text())
    took_s = processor_s(line.services.values()) - before_s
    sent = int(noisy.communicate("stop")[0]) if noisy is not None else 0
    unseen = sum(n for reason, n in document["reasons"].items() if reason not in ("OK", "ANOMALY"))
    return {
        "noise": noise, "nonsense_sent": sent, "exit_status": status, "daemon_and_bridge_processor_s": round(took_s, 2),
        "load_average": round(os.getloadavg()[0], 1), "triggers": document["triggers"],
        "reconciled": document["reconciled"], "rejected_unseen": unseen,
        "taken_to_decided_ms": document["taken_to_decided_ms"],
        "written_to_gate_decided_ms": document["written_to_gate_decided_ms"],
    }  # fmt: skip


def main() -> None:
    """The benchmark."""
    settings = {"engine.threads": 1, "gates.0.deadline_ms": 5000, "journal.enabled": "true"}
    with demo_line(settings) as line:
        turn(line, 0, noise=False)  # warm
        turns = [turn(line, 1000 * n, noise=bool(n % 2)) for n in range(2 * TURNS)]

    def p99(noise: bool, what: str) -> float:
        median: float = statistics.median(t[what]["p99"] for t in turns if t["noise"] == noise)
        return median

    def processor(noise: bool) -> float:
        median: float = statistics.median(t["daemon_and_bridge_processor_s"] for t in turns if t["noise"] == noise)
        return median

    figures: dict[str, Any] = {
        "daemon_and_bridge_processor_s": {
            "without": processor(False), "with": processor(True), "ratio": round(processor(True) / processor(False), 3),
        }
    }  # fmt: skip
    for what in ("written_to_gate_decided_ms", "taken_to_decided_ms"):
        quiet, noisy = p99(False, what), p99(True, what)
        figures[what] = {"p99_without": quiet, "p99_with": noisy, "ratio": round(noisy / quiet, 3), "budget": BUDGET}
    save("fuzz", {
        "parts_hz": PARTS_HZ, "turn_s": TURN_S, "nonsense_hz_each_socket": RATE_HZ, "exit_statuses": line.exit_statuses,
        "median_over_turns": figures, "turns": turns,
    })  # fmt: skip


if __name__ == "__main__":
    main()
