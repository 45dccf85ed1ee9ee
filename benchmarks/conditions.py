"""Under which conditions a figure was measured, and where it is kept. Not a benchmark itself."""

import json
import os
import platform
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).resolve().parent / "results"
INSTRUCTIONS = ("avx512_vnni", "avx512_bf16", "amx_bf16")
"""That times depend on most, for the name of some CPUs does not tell; as the kernel calls them."""
PACKAGES = ("torch", "openvino", "opencv-python-headless", "numpy", "pymodbus", "pyzmq", "timm")


def conditions(packages: tuple[str, ...] = PACKAGES) -> dict[str, Any]:
    """Machine and versions."""
    processors = Path("/proc/cpuinfo").read_text().split("\n\n")[:-1]
    facts = dict(line.split("\t: ") for line in processors[0].replace("\t\t", "\t").splitlines() if "\t: " in line)
    has = [name for name in INSTRUCTIONS if name in facts.get("flags", "").split()]
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "cpu": ", ".join([facts.get("model name", platform.processor()), *has]),
        "cores": len(processors),
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
