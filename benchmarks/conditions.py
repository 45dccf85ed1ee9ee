"""Under which conditions a figure was measured, and where it is kept. Not a benchmark itself."""

import json
import os
import platform
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).resolve().parent / "results"
PACKAGES = ("torch", "openvino", "opencv-python-headless", "numpy", "pymodbus", "pyzmq", "timm")


def conditions(packages: tuple[str, ...] = PACKAGES) -> dict[str, Any]:
    """Machine and versions."""
    cpu = next(
        (
            line.split(":", 1)[1].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if "model name" in line
        ),
        platform.processor(),
    )
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "cpu": cpu,
        "cores": len([line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("processor")]),
        "python": platform.python_version(),
        "versions": {name: version(name) for name in packages},
    }


def resident_mib(process: int | str) -> float:
    """Of a process by its number, or of "self": what it holds in memory, with what it shares with others."""
    pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def save(name: str, figures: dict[str, Any]) -> None:
    """Write `results/NAME.json` and print it."""
    RESULTS.mkdir(exist_ok=True)
    text = json.dumps({"conditions": conditions(), **figures}, indent=1)
    (RESULTS / f"{name}.json").write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    print(json.dumps(conditions(), indent=1))
