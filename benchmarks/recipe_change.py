"""What a change of recipe costs the line: parts at an even rate while recipes are loaded one after the other without a pause.

The demo's artefacts, twice, as two recipes (the demo is run first where there are none); a real daemon and its engine. Beside
what became of the parts and how long they took: what one change takes, and the memory after each, which shows whether that of
the recipe before was freed. On few cores loading and judging share the processor; `load_average_before` tells what else did.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import zmq

from bench.line import running_line
from benchmarks.conditions import resident_mib, save
from demo.__main__ import REPOSITORY
from demo.report import ARTIFACTS, ROOT
from senbetsu.config import Config
from senbetsu.requests import Answer, RecipeRequest, encode_request

RATE_HZ, SECONDS, DEADLINE_MS, CHANGES = 20.0, 40.0, 500.0, 12


def change(dealer: "zmq.Socket[bytes]", number: int) -> float:
    """Seconds until it judges."""
    began_s = time.perf_counter()
    dealer.send(encode_request(RecipeRequest(number=number)))
    assert dealer.poll(120_000), "no answer"
    answer = Answer.decode(dealer.recv())
    assert answer.ok, answer.body
    return time.perf_counter() - began_s


def daemons_mib() -> float:
    """Of the daemon, which is this process's only child."""
    (child,) = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    return round(resident_mib(child), 1)


def run(folder: Path) -> dict[str, Any]:
    """All figures."""
    for name, number in (("one", 1), ("two", 2)):
        shutil.copytree(ARTIFACTS, folder / "recipes" / name)
        (folder / "recipes" / name / "recipe.toml").write_text(f"recipe = {number}\n")
    # A profile is bound to the number that it was calibrated under.
    calibrate = ("calibrate", "--artifacts", folder / "recipes/two", "--normal", ROOT / "data/calibrate/normal")
    subprocess.run([sys.executable, "-m", *map(str, calibrate)], check=True, cwd=folder, capture_output=True)
    settings = Config(artifacts=folder / "recipes/one")
    with running_line(folder, settings, (256, 256)) as line, zmq.Context() as context:
        endpoint = (folder / "bench.toml").read_text().split('request = "')[1].split('"')[0]
        dealer: zmq.Socket[bytes] = context.socket(zmq.DEALER)
        dealer.connect(endpoint)
        line.client.open_loop(RATE_HZ, 5, DEADLINE_MS)  # warms up
        at_rest = line.client.open_loop(RATE_HZ, SECONDS, DEADLINE_MS)
        seconds: list[float] = []
        stop = threading.Event()

        def change_on_and_on() -> None:
            while not stop.is_set():
                seconds.append(change(dealer, 2 - len(seconds) % 2))

        changer = threading.Thread(target=change_on_and_on)
        changer.start()
        changing = line.client.open_loop(RATE_HZ, SECONDS, DEADLINE_MS)
        stop.set()
        changer.join()
        under_load = len(seconds)
        memory = []
        for _ in range(CHANGES):
            seconds.append(change(dealer, 2 - len(seconds) % 2))
            memory.append(daemons_mib())
        dealer.close(0)
    took = seconds[:under_load]
    return {
        "parts_at_rest": asdict(at_rest),
        "parts_while_changing": asdict(changing),
        "changes_under_load": under_load,
        "change_under_load_s": {"mean": round(sum(took) / under_load, 2), "max": round(max(took), 2)},
        "resident_mib_after_each_further_change": memory,
    }  # fmt: skip


def main() -> None:
    """The benchmark."""
    if not (ARTIFACTS / "profile.json").exists():
        subprocess.run([sys.executable, "-m", "demo"], cwd=REPOSITORY, check=True)
    load = round(os.getloadavg()[0], 1)
    with tempfile.TemporaryDirectory() as temporary:
        figures = run(Path(temporary))
    save("recipe_change", {"load_average_before": load, "rate_hz": RATE_HZ, "deadline_ms": DEADLINE_MS, **figures})


if __name__ == "__main__":
    main()
