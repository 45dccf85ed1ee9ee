"""1 000 times in one run something is killed (-9), stopped (SIGSTOP) or cut off (the PLC's link), at random moments.

Daemon, bridge and the cable between bridge and PLC are processes on this PC (tests/faults/rig.py); engine and camera are
stand-ins, so that a start takes milliseconds. Triggers never cease. Every window that the PLC reads is held against a model of
the contract (tests/faults/model.py), every part that the gate let through against the truth, and in the end the books are
balanced. Several things may be broken at once: the next one does not wait until all is well again.

The walk is random with a seed; what follows from the clock of this PC is not repeated by it.
"""

import argparse
import os
import random
import signal
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from faults.rig import Rig, why_of
from faults.scene import Cable

from benchmarks.conditions import save

COUNT = 1000
PERIOD_MS = 50.0
SETTLE_EVERY = 20
"""After so many, good parts have to pass again."""


def later(seconds: float, do: Callable[..., object], *arguments: object) -> None:
    """Undo something without waiting for it."""
    timer = threading.Timer(seconds, do, arguments)
    timer.daemon = True
    timer.start()


def break_something(rig: Rig, chance: random.Random) -> str:
    """One of the kinds; returns its name."""
    kind = chance.choice(("kill daemon", "kill bridge", "stop daemon", "stop bridge", "cut link", "hold link"))
    # Mostly short: around the line's own times, where the order of things is at stake.
    seconds = min(2.0, chance.expovariate(1 / 0.2))
    what, name = kind.split()
    if what == "kill":
        getattr(rig, name).send(signal.SIGKILL)
    elif what == "stop":
        program = getattr(rig, name)
        program.send(signal.SIGSTOP)
        later(seconds, program.send, signal.SIGCONT)
    else:
        rig.scene.cable = Cable.CUT if what == "cut" else Cable.HELD
        later(seconds, setattr, rig.scene, "cable", Cable.WELL)
    return kind


def main() -> None:
    """The benchmark."""
    flags = argparse.ArgumentParser(description=__doc__)
    flags.add_argument("--count", type=int, default=COUNT)
    flags.add_argument("--minutes", type=float, default=60.0, help="end earlier after so long")
    flags.add_argument("--seed", type=int, default=1)
    given = flags.parse_args()
    chance = random.Random(given.seed)
    done: Counter[str] = Counter()
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder, Rig(Path(folder), period_ms=PERIOD_MS, seed=given.seed) as rig:
        rig.until_passes(3)
        while done.total() < given.count and time.monotonic() - started < given.minutes * 60:
            done[break_something(rig, chance)] += 1
            time.sleep(chance.uniform(0.05, 1.0))
            if done.total() % SETTLE_EVERY == 0:
                rig.until_passes(3)
        rig.until_passes(3)
        balance = rig.balance()
        figures = {
            "wanted": given.count, "reached": done.total(), "seed": given.seed, "kinds": dict(done),
            "seconds": round(time.monotonic() - started), "parts_hz": 1000 / PERIOD_MS, "parts": balance.parts,
            "opened": balance.opened, "lost": balance.lost, "wrongly_passed": balance.wrongly_passed,
            "violations": balance.violations, "windows_held_against_the_model": rig.plc.model.windows,
            "runs": len(rig.plc.model.runs), "starts": {p.name: p.starts for p in (rig.daemon, rig.bridge)},
            "reasons": dict(Counter(why_of(part) for part in rig.plc.parts)),
            "load_average": round(os.getloadavg()[1], 1),
        }  # fmt: skip
    save("kills", figures)
    raise SystemExit(1 if balance.lost or balance.wrongly_passed or balance.violations else 0)


if __name__ == "__main__":
    main()
