"""From the start of the daemon's process to READY, and what memory it holds then; the converted graph is in the cache.

    python -m benchmarks.start

A start is the whole process: interpreter, imports, artefacts, a compilation of the graph and one more a core, sockets, first
heartbeat. In turns with it, what an interpreter takes that imports torch and nothing else: the daemon does without where
OpenVINO judges.
The profile is of random numbers, in the shapes of a real one.

A PC of more cores compiles more graphs, with more cores to do it on. As many as the most that the daemon takes, on the cores of
this PC, are the most that a start can be burdened with.
"""

import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from bench.__main__ import artifacts_to_use
from bench.line import running_line
from benchmarks.conditions import resident_mib, save
from senbetsu.config import Config, EngineSection
from senbetsu.engine.load import MOST_STREAMS

STARTS, STARTS_WITH_MOST_LANES = 10, 3
FRAME = (1024, 1024)
AS_ON_MORE_CORES = (
    sys.executable, "-P", "-c",
    "import runpy; import senbetsu.engine.openvino as engine; "
    f"engine.cores_to_use = lambda: {MOST_STREAMS}; runpy.run_module('daemon', run_name='__main__')",
)  # fmt: skip
"""The daemon, made to believe that it has so many."""


def import_s(module: str) -> float:
    """Of an interpreter that imports it."""
    began_s = time.perf_counter()
    subprocess.run([sys.executable, "-P", "-c", f"import {module}"], check=True)
    return time.perf_counter() - began_s


def main() -> None:
    """Measure and save."""
    ready, torch, resident = [], [], []
    ready_with_most, resident_with_most = [], []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        settings = Config(engine=EngineSection(device="cpu"), artifacts=folder / "none")
        artifacts, _ = artifacts_to_use(settings, folder)
        settings = settings.model_copy(update={"artifacts": artifacts})
        for number in range(STARTS + 1):
            with running_line(folder, settings, FRAME) as line:
                if number:  # the first may have converted the graph
                    ready.append(line.ready_s)
                    resident.append(resident_mib(line.client.pid))
            torch.append(import_s("torch"))
        for _ in range(STARTS_WITH_MOST_LANES):
            with running_line(folder, settings, FRAME, program=AS_ON_MORE_CORES) as line:
                ready_with_most.append(line.ready_s)
                resident_with_most.append(resident_mib(line.client.pid))
    save(
        "start",
        {
            "starts": STARTS,
            "ready_s": {
                "median": round(float(np.median(ready)), 2), "least": min(ready), "most": max(ready),
            },
            "resident_mib": round(float(np.median(resident))),
            "import_torch_s": round(float(np.median(torch[1:])), 2),
            "with_most_lanes": {
                "lanes": MOST_STREAMS, "ready_s": round(float(np.median(ready_with_most)), 2),
                "resident_mib": round(float(np.median(resident_with_most))),
            },
        },
    )  # fmt: skip


if __name__ == "__main__":
    main()
