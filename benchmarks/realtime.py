"""What each means of soft real time is worth: the daemon's time from trigger to decision, alone and beside busy programs.

A real daemon (profile of random numbers, 1024 x 1024 frames in memory) is triggered at an even rate, with each means by itself,
in turns, each turn a daemon of its own: on a quiet PC, beside a program without pauses on each core, and beside such programs
of the lowest priority (nice 19). The client that triggers runs at a fixed priority throughout, so that it does not wait itself.
Times are the daemon's own: trigger received to decided. Takes root, or the rights in systemd/senbetsu-daemon.service.

    python -m benchmarks.realtime [LOAD ...]    # all of them, or some: what was measured before is kept
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from bench.__main__ import artifacts_to_use
from bench.line import running_line
from benchmarks.conditions import RESULTS, save
from senbetsu.config import Config

RATE_HZ, SECONDS, ROUNDS, DEADLINE_MS = 60.0, 6.0, 2, 200.0
CLIENT_PRIORITY, PRIORITY = 50, 10
ORDINARY = "import os; os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))"
LOADS = {"quiet": None, "busy programs": 0, "busy programs, nice 19": 19}
"""Nice of a program without pauses on each core."""
MEANS: dict[str, tuple[str, str]] = {
    "as shipped": ("", ""),
    "fifo_priority": (f"fifo_priority = {PRIORITY}", ""),
    "nice -5": ("", "os.nice(-5)"),
    "nice -20": ("", "os.nice(-20)"),
    "memory locked": ("", "import ctypes; assert ctypes.CDLL(None).mlockall(3) == 0"),
    "one CPU": ("", "os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})"),
    "switch interval 5 ms": ("", "import daemon.service; daemon.service.SWITCH_INTERVAL_S = 5e-3"),
    "gc not frozen": ("", "import gc; gc.freeze = lambda: None"),
}
"""Lines of [realtime], and what is done otherwise before the daemon begins."""


@contextmanager
def busy(nice: int | None) -> Iterator[None]:
    """A program without pauses on each core."""
    programs = [
        subprocess.Popen([sys.executable, "-c", f"{ORDINARY}; os.nice({nice})\nwhile True: pass"])
        for _ in range(0 if nice is None else os.cpu_count() or 1)
    ]
    try:
        yield
    finally:
        for program in programs:
            program.kill()
            program.wait()


def turn(settings: Config, means: str, nice: int | None) -> dict[str, Any]:
    """One daemon under one load."""
    realtime, before = MEANS[means]
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        starter = folder / "starter.py"
        starter.write_text(f"{ORDINARY}\n{before}\nimport runpy\nrunpy.run_module('daemon', run_name='__main__')\n")
        program = (sys.executable, "-P", str(starter))
        with running_line(folder, settings, (1024, 1024), f"[realtime]\n{realtime}", program) as line:
            line.client.open_loop(RATE_HZ, 1, DEADLINE_MS)
            with busy(nice):
                load = line.client.open_loop(RATE_HZ, SECONDS, DEADLINE_MS)
    return {
        "p50_ms": load.daemon_p50_ms,
        "p99_ms": load.daemon_p99_ms,
        "judged": load.judged_share,
        "heard_p99_ms": load.p99_ms,
    }


def measure(load: str) -> dict[str, Any]:
    """Each means in turns; medians of the turns, and the least and largest 99 % quantile."""
    turns: dict[str, list[dict[str, Any]]] = {means: [] for means in MEANS}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        settings = Config(artifacts=folder / "none")
        artifacts, _ = artifacts_to_use(settings, folder)
        settings = settings.model_copy(update={"artifacts": artifacts})
        # Its threads inherit this, its programs undo it: see ORDINARY.
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(CLIENT_PRIORITY))
        for _ in range(ROUNDS):
            for means, some in turns.items():
                some.append(turn(settings, means, LOADS[load]))
    figures = {}
    for means, some in turns.items():
        values = {name: np.array([each[name] or np.nan for each in some], float) for name in some[0]}
        p99s = values["p99_ms"]
        figures[means] = {name: round(float(np.median(v)), 3) for name, v in values.items()} | {
            "p99_ms_least_most": [round(float(p99s.min()), 2), round(float(p99s.max()), 2)]
        }
        print(load, means, figures[means], file=sys.stderr, flush=True)
    return figures


def collection_ms() -> dict[str, float]:
    """What the garbage collector's largest round takes with all that a daemon has imported, before and after it is frozen."""
    code = """if True:
        import gc, time
        import daemon.__main__, senbetsu.engine.openvino
        def took():
            began_s = time.perf_counter()
            gc.collect()
            return round(1e3 * (time.perf_counter() - began_s), 2)
        gc.collect()
        before = sorted(took() for _ in range(9))[4]
        gc.freeze()
        print(before, sorted(took() for _ in range(9))[4])
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    not_frozen, frozen = map(float, done.stdout.split())
    return {"not_frozen": not_frozen, "frozen": frozen}


def main() -> None:
    """Measure and save."""
    kept = RESULTS / "realtime.json"
    figures = json.loads(kept.read_text())["loads"] if kept.exists() else {}
    collections = collection_ms()
    for load in sys.argv[1:] or LOADS:
        figures[load] = measure(load)
        save("realtime", {
            "rate_hz": RATE_HZ, "seconds": SECONDS, "turns": ROUNDS, "fifo_priority": PRIORITY, "loads": figures,
            "full_garbage_collection_ms": collections,
        })  # fmt: skip


if __name__ == "__main__":
    main()
