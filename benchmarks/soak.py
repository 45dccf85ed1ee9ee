"""Hours of load with random faults: are results = triggers in the end, and does anything grow? `make soak HOURS=...`

Daemon, bridge and the cable between bridge and PLC are processes on this PC, the PLC and the truth about each part are this
one (tests/faults/rig.py); the engine and the camera are stand-ins, all else is what runs on a line. Every few seconds
something breaks. Processes are killed in the first third only, so that the others live long enough to show whether they grow.

- `unaccounted`: parts whose trigger the bridge confirmed and of which its journal has no decision, but for those of the last
  second before it was killed (the batch that a kill may cost), and those that were announced in a run that was over, which
  the bridge therefore did not take and the PLC rejected when it saw the new run.
- `passed_without_result`: decisions PASS without a result PASS of that very run, trigger and part.
- slopes: least squares over all lives of a process, each from its eleventh minute on with a level of its own. The daemon's ring
  of results for replay is bounded, and takes memory until it is full; it is kept so small here that this is over by then, so
  that what still grows is a leak. The budget is `SLOPE_MIB_PER_HOUR`.
"""

import argparse
import os
import random
import signal
import sqlite3
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from faults.plc import Part
from faults.program import Program
from faults.rig import Rig, why_of
from faults.scene import Cable, Camera, Spell

from benchmarks.conditions import save

PARTS_HZ = 20
SAMPLE_S = 5.0
SETTLED_S = 600.0
REPLAY_RESULTS = 4096
"""Full after 205 s at `PARTS_HZ`."""
SLOPE_MIB_PER_HOUR = 1.0
LEAST_SAMPLES = 60
"""For a slope: five minutes."""
KILL_SHARE = 1 / 3
PAUSE_S = (3.0, 9.0)
LOSABLE_NS = 1_000_000_000


def stop_for(program: Program, seconds: float) -> None:
    """SIGSTOP, and on again."""
    program.send(signal.SIGSTOP)
    time.sleep(seconds)
    program.send(signal.SIGCONT)


def set_for(rig: Rig, what: str, value: int, seconds: float) -> None:
    """Something in the scene, and back."""
    before = getattr(rig.scene, what)
    setattr(rig.scene, what, value)
    time.sleep(seconds)
    setattr(rig.scene, what, before)


Break = Callable[[Rig, random.Random], None]
FAULTS: dict[str, Break] = {
    "daemon SIGSTOP": lambda rig, chance: stop_for(rig.daemon, chance.uniform(0.02, 2)),
    "bridge SIGSTOP": lambda rig, chance: stop_for(rig.bridge, chance.uniform(0.02, 2)),
    "link cut": lambda rig, chance: set_for(rig, "cable", Cable.CUT, chance.uniform(0.02, 2)),
    "link held": lambda rig, chance: set_for(rig, "cable", Cable.HELD, chance.uniform(0.02, 1)),
    "camera unplugged": lambda rig, chance: set_for(rig, "camera", Camera.UNPLUGGED, chance.uniform(0.1, 2)),
    "camera frozen": lambda rig, chance: set_for(rig, "camera", Camera.FROZEN, chance.uniform(0.1, 2)),
    "incomplete frames": lambda rig, chance: set_for(rig, "camera", Camera.INCOMPLETE, chance.uniform(0.1, 1)),
    "slow engine": lambda rig, chance: set_for(rig, "engine_ms", 80, chance.uniform(0.1, 2)),
    "NaN": lambda rig, _: rig.plc.next_greys.append(Spell.NAN),
}  # fmt: skip
KILLS: dict[str, Break] = {
    "daemon kill -9": lambda rig, _: rig.daemon.send(signal.SIGKILL),
    "bridge kill -9": lambda rig, _: rig.bridge.send(signal.SIGKILL),
    "engine raises": lambda rig, _: rig.plc.next_greys.append(Spell.FAULT),
}  # fmt: skip


def sample(program: Program, started: float) -> dict[str, float] | None:
    """Size, descriptors and threads of a process now."""
    proc = Path(f"/proc/{program.process.pid}")
    try:
        resident = int((proc / "statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        descriptors = len(list((proc / "fd").iterdir()))
        threads = len(list((proc / "task").iterdir()))
    except OSError:
        return None
    return {
        "at_s": time.monotonic() - started, "life": program.starts, "resident_bytes": resident, "descriptors": descriptors,
        "threads": threads,
    }  # fmt: skip


def growth(samples: list[dict[str, float]]) -> dict[str, Any]:
    """Slope of the resident size over all lives (None where none was long enough), and first and last of all in the longest."""
    lives: dict[int, list[dict[str, float]]] = {}
    for each in samples:
        lives.setdefault(int(each["life"]), []).append(each)
    times, sizes = [], []
    for life in lives.values():
        settled = [s for s in life if s["at_s"] - life[0]["at_s"] >= SETTLED_S]
        if len(settled) >= LEAST_SAMPLES:
            at = np.array([s["at_s"] for s in settled])
            size = np.array([s["resident_bytes"] for s in settled])
            times.append(at - at.mean())
            sizes.append(size - size.mean())
    longest = max(lives.values(), key=len)
    settled = [s for s in longest if s["at_s"] - longest[0]["at_s"] >= SETTLED_S] or longest
    figures: dict[str, Any] = {
        "lives": len(lives), "longest_life_s": round(longest[-1]["at_s"] - longest[0]["at_s"]),
        "resident_mib_settled": round(settled[0]["resident_bytes"] / 2**20, 1),
        "resident_mib_last": round(settled[-1]["resident_bytes"] / 2**20, 1),
        "descriptors_settled": settled[0]["descriptors"], "descriptors_last": settled[-1]["descriptors"],
        "threads_settled": settled[0]["threads"], "threads_last": settled[-1]["threads"],
    }  # fmt: skip
    slope = None
    if times:
        x, y = np.concatenate(times), np.concatenate(sizes)
        slope = round(float(x @ y / (x @ x)) * 3600 / 2**20, 2)
    return {
        **figures, "resident_slope_mib_per_hour": slope, "slope_over_s": round(sum(float(t[-1] - t[0]) for t in times)),
    }  # fmt: skip


def reconcile(journal: Path, parts: list[Part], bridge_killed_ns: list[int]) -> dict[str, Any]:
    """The bridge's journal against what the PLC saw. A trigger is of one run; so (run, trigger, part) is unique."""
    database = sqlite3.connect(f"file:{journal}?mode=ro", uri=True)
    decided = {(run, trigger, part or 0): verdict for run, trigger, part, verdict in database.execute(
        "SELECT run, trigger, part_id, verdict FROM decisions"
    )}  # fmt: skip
    passed = set(database.execute("SELECT run, trigger, part_id FROM results WHERE verdict = 'PASS'"))
    results = database.execute("SELECT count(*) FROM results").fetchone()[0]
    gaps = dict(database.execute("SELECT why, count(*) FROM gaps GROUP BY why"))
    database.close()
    excused = of_another_run = opened_without_pass = 0
    unaccounted: list[dict[str, Any]] = []
    for part in parts:
        record = part.record
        verdict = decided.get((record.run, record.trigger, record.part_id))
        missing = record.was_announced and verdict is None
        may_be_lost = any(0 <= at_ns - record.written_at_ns < LOSABLE_NS for at_ns in bridge_killed_ns)
        not_taken = missing and record.why == "run changed" and not record.opened
        of_another_run += not_taken
        if missing and not may_be_lost and not not_taken:
            since_kill_s = [(record.written_at_ns - at_ns) / 1e9 for at_ns in bridge_killed_ns]
            unaccounted.append({
                "run": record.run, "trigger": record.trigger, "why": record.why, "opened": record.opened,
                "s_after_a_kill": round(min((s for s in since_kill_s if s >= 0), default=-1.0), 3),
            })  # fmt: skip
        excused += missing and may_be_lost and not not_taken
        opened_without_pass += record.opened and verdict != "PASS" and not may_be_lost
    unproven = [part for part, verdict in decided.items() if verdict == "PASS" and part not in passed]
    return {
        "parts": len(parts), "confirmed_triggers": sum(p.record.was_announced for p in parts),
        "decisions_in_journal": len(decided), "results_in_journal": results, "unaccounted": len(unaccounted),
        "unaccounted_parts": unaccounted[:20],
        "lost_with_the_last_batch_of_a_kill": excused,
        "announced_in_a_run_that_was_over": of_another_run, "passed_without_result": len(unproven),
        "opened_without_a_pass_in_the_journal": opened_without_pass, **{f"gaps_{why}": n for why, n in gaps.items()},
    }  # fmt: skip


def main() -> None:
    """The benchmark."""
    flags = argparse.ArgumentParser(description=__doc__)
    flags.add_argument("--hours", type=float, default=1.0)
    flags.add_argument("--seed", type=int, default=1)
    given = flags.parse_args()
    chance = random.Random(given.seed)
    seconds = given.hours * 3600
    killed_ns: list[int] = []
    done: Counter[str] = Counter()
    with (
        tempfile.TemporaryDirectory() as folder,
        Rig(Path(folder), period_ms=1000 / PARTS_HZ, seed=given.seed, replay_results=REPLAY_RESULTS) as rig,
    ):
        rig.until_passes(5)
        started = time.monotonic()
        samples: dict[str, list[dict[str, float]]] = {"daemon": [], "bridge": []}
        next_fault, next_sample = started + 2, started
        while (now := time.monotonic()) < started + seconds:
            if now >= next_sample:
                next_sample = now + SAMPLE_S
                for program in (rig.daemon, rig.bridge):
                    if taken := sample(program, started):
                        samples[program.name].append(taken)
            if now >= next_fault:
                may_kill = now - started < KILL_SHARE * seconds and chance.random() < 0.25
                name, break_it = chance.choice(list((KILLS if may_kill else FAULTS).items()))
                if name == "bridge kill -9":
                    killed_ns.append(time.monotonic_ns())
                done[name] += 1
                break_it(rig, chance)
                next_fault = time.monotonic() + chance.uniform(*PAUSE_S)
            time.sleep(0.05)
        rig.until_passes(5)
        balance = rig.balance()
        took_s = time.monotonic() - started
        rig.bridge.supervised = rig.daemon.supervised = False
        statuses = []
        for program in (rig.bridge, rig.daemon):
            program.send(signal.SIGTERM)
            statuses.append(program.wait_for_end())
        journal = Path(folder) / "var/journal.sqlite"
        figures: dict[str, Any] = {
            "hours": round(took_s / 3600, 3), "parts_hz": PARTS_HZ, "replay_results": REPLAY_RESULTS,
            "faults": dict(done), "exit_statuses": statuses,
            "reconciled": reconcile(journal, rig.plc.parts, killed_ns),
            "lost": balance.lost, "wrongly_passed": balance.wrongly_passed, "violations": balance.violations,
            "opened": balance.opened, "good_rejected": balance.good_rejected,
            "reasons": dict(Counter(why_of(part) for part in rig.plc.parts)),
            "growth": {name: growth(taken) for name, taken in samples.items()},
            "log_bytes_per_hour": {
                p.name: round(p.log.stat().st_size / took_s * 3600) for p in (rig.daemon, rig.bridge)
            },
            "journal_mib": round(journal.stat().st_size / 2**20, 1),
            "load_average": round(os.getloadavg()[1], 1),
        }  # fmt: skip
    save("soak", figures)
    bad = figures["lost"] or figures["wrongly_passed"] or figures["violations"] or figures["reconciled"]["unaccounted"]
    slopes = [each["resident_slope_mib_per_hour"] for each in figures["growth"].values()]
    grows = any(slope is not None and slope >= SLOPE_MIB_PER_HOUR for slope in slopes)
    raise SystemExit(1 if bad or grows else 0)


if __name__ == "__main__":
    main()
