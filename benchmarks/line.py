"""60 s at 50 parts/s: daemon, bridge and simulated PLC as processes on this PC; every trigger accounted for, and how fast.

The cells are those of the demo, played in a loop; the artefacts are the demo's (it is run first where there are none).
"""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from conditions import save

from demo.__main__ import ARTIFACTS, REPOSITORY, Service, free_port

RATE_HZ, SECONDS = 50, 60


def run(poll_ms: float) -> dict[str, object]:
    """One run; figures of the PLC's report."""
    publish, request = (f"tcp://127.0.0.1:{free_port()}" for _ in range(2))
    modbus = free_port()
    with tempfile.TemporaryDirectory() as temporary:
        settings = {
            "daemon.publish": publish, "daemon.request": request, "daemon.metrics_port": 0, "bridge.subscribe": publish,
            "bridge.request": request, "bridge.modbus_port": modbus, "bridge.metrics_port": 0,
            "bridge.state_dir": temporary, "cameras.0.loop": "true",
        }  # fmt: skip
        config = ["--config", "config.toml", "--artifacts", str(ARTIFACTS)]
        for key, value in settings.items():
            config += ["--set", f"{key}={value}"]
        services = [Service("daemon", *config), Service("bridge", *config)]
        try:
            for service in services:
                service.wait_until_ready()
            time.sleep(1)
            report = Path(temporary) / "plc.json"
            plc = Service(
                "simulated_plc", "--port", str(modbus), "--seconds", str(SECONDS), "--rate-hz", str(RATE_HZ),
                "--allow-simulated", "--poll-ms", str(poll_ms), "--report", report,
            )  # fmt: skip
            status = plc.process.wait(timeout=3 * SECONDS)
            document = json.loads(report.read_text())
        finally:
            stopped = [service.stop() for service in services]
    del document["parts"]
    return {
        "plc_poll_ms": poll_ms,
        "exit_statuses": {"plc": status, "daemon": stopped[0], "bridge": stopped[1]},
        **document,
    }


def main() -> None:
    """The benchmark."""
    if not (ARTIFACTS / "profile.json").exists():
        subprocess.run([sys.executable, "-m", "demo"], cwd=REPOSITORY, check=True)
    save("line", {"rate_hz": RATE_HZ, "seconds": SECONDS, "runs": [run(10.0)]})


if __name__ == "__main__":
    main()
