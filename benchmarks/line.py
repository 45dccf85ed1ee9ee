"""60 s at 50 parts/s: daemon, bridge and simulated PLC as processes on this PC; every trigger accounted for, and how fast.

The cells are those of the demo, played in a loop; the artefacts are the demo's (it is run first where there are none).
"""

import json

from benchmarks.conditions import save
from benchmarks.demo_line import demo_line
from demo.__main__ import Service

RATE_HZ, SECONDS = 50, 60


def run(poll_ms: float) -> dict[str, object]:
    """One run; figures of the PLC's report."""
    with demo_line() as line:
        report = line.folder / "plc.json"
        plc = Service(
            "simulated_plc", "--port", str(line.modbus), "--seconds", str(SECONDS), "--rate-hz", str(RATE_HZ),
            "--allow-simulated", "--poll-ms", str(poll_ms), "--report", report,
        )  # fmt: skip
        status = plc.process.wait(timeout=3 * SECONDS)
        document = json.loads(report.read_text())
    del document["parts"]
    return {"plc_poll_ms": poll_ms, "exit_statuses": {"plc": status, **line.exit_statuses}, **document}


def main() -> None:
    """The benchmark."""
    save("line", {"rate_hz": RATE_HZ, "seconds": SECONDS, "runs": [run(10.0)]})


if __name__ == "__main__":
    main()
