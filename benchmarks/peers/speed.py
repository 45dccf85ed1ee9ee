"""How long a picture takes, ours beside anomalib's: `python -m benchmarks.peers.speed --data DIR --peers PYTHON`.

PYTHON is the interpreter of the peers' environment (README.md beside this file). A picture is a uint8 frame of 224 x 224 in
memory, and what is timed goes from there to its score as a Python number, one picture at a time. Both sides learned from the
same magnetic tiles on the same backbone. Each side is a process of its own environment; they take turns, block by block, so
that whatever else the machine does falls on both. A ratio is the median over rounds of the ratio of a round's medians.

That the timed graphs do detect is seen from the AUROC on the frames that are timed: test normals, and defects of every kind.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.conditions import RESULTS, save
from benchmarks.peers.turns import Frames, Worker
from calibrate.quantise import MOST_PICTURES, quantise
from senbetsu.auroc import auroc
from senbetsu.embedding import load_embedding
from senbetsu.engine.quantised import save_quantised
from senbetsu.fitting import fit
from senbetsu.images import read_image

REPOSITORY = RESULTS.parents[1]
SET = "magnetic_tile"
SIZE = 224
ROUNDS = 25
BLOCK_MS = 150.0
"""A block is as many calls as take about so long, 3 at the least."""
REST_S = 0.15
"""Between two blocks, so that the other process's threads have gone to sleep."""
FRAMES = 40
"""Of normal parts, and as many of defects."""
BARS = (
    ("PaDiM", "OpenVINO", "ours, bf16", 2.7), ("PaDiM", "OpenVINO", "ours, int8", 4.0),
    ("PaDiM", "torch", "ours, bf16", 12.0), ("PatchCore 10 %", "OpenVINO", "ours, bf16", 40.0),
)  # fmt: skip
"""Peer, by what it runs, our way, and how many times as long the peer has to take. Held against the faster of its two calls."""


def run(*command: str) -> str:
    """A program of ours; the last line that it wrote if it refused, else nothing."""
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run(
        [sys.executable, "-P", "-m", *command], cwd=REPOSITORY, env=environment, text=True, stderr=subprocess.PIPE,
        check=False,
    )  # fmt: skip
    print(done.stderr, file=sys.stderr)
    return done.stderr.splitlines()[-1] if done.returncode else ""


def artefacts(data: Path, split: dict[str, Any], folder: Path) -> str:
    """Trained on all that set no threshold, calibrated with the others; and what `calibrate` said if it refused int8.

    Then the 8-bit backbone is made by its own function all the same: a refusal is about verdicts, what is timed is the graph.
    """
    refusal = folder / "int8_refused.txt"
    if not refusal.exists():
        with tempfile.TemporaryDirectory() as made:
            shown, all_ = Path(made) / "train", Path(made) / "all"
            for where in (shown, all_):
                where.mkdir()
            for name in split["train_normal"]:
                file = (data / SET / name).resolve()
                (all_ / file.name).symlink_to(file)
                if name not in set(split["calib_normal"]):
                    (shown / file.name).symlink_to(file)
            calibrate = ["calibrate", "--normal", str(all_), "--artifacts", str(folder)]
            if run("train", "--normal", str(shown), "--artifacts", str(folder)) or run(*calibrate):
                raise SystemExit("see above")
            refused = run(*calibrate, "--set", "engine.precision=int8")
            if refused:
                embedding = load_embedding(folder)
                ranges = sorted(shown.iterdir())[:MOST_PICTURES]
                save_quantised(folder, quantise(embedding.backbone, ranges), embedding.sha256, {})
            refusal.write_text(refused, encoding="utf-8")
    return refusal.read_text(encoding="utf-8")


def frames_of(data: Path, split: dict[str, Any]) -> tuple[Frames, np.ndarray[Any, np.dtype[np.bool_]]]:
    """Test normals and defects of all kinds, evenly drawn, fitted to the network's size; and which are defects."""
    defects = [name for names in split["test_defect"].values() for name in names]
    names = [
        some[i] for some in (split["test_normal"], defects) for i in np.linspace(0, len(some) - 1, FRAMES).astype(int)
    ]
    frames = np.zeros((len(names), SIZE, SIZE, 3), np.uint8)
    for name, frame in zip(names, frames, strict=True):
        fit(read_image(data / SET / name), frame)
    return frames, np.arange(len(names)) >= FRAMES


def summary(times: dict[str, list[list[float]]]) -> dict[str, dict[str, float]]:
    """Milliseconds of all calls."""
    return {
        way: {
            "p50_ms": round(float(np.median(np.concatenate(blocks))), 3),
            "p99_ms": round(float(np.quantile(np.concatenate(blocks), 0.99)), 3),
            "calls": sum(map(len, blocks)),
        }
        for way, blocks in times.items()
    }


def ratio(times: dict[str, list[list[float]]], slow: str, fast: str) -> dict[str, Any]:
    """How many times as long: median over rounds, with the tenth and ninetieth percentile."""
    of_round = [np.median(s) / np.median(f) for s, f in zip(times[slow], times[fast], strict=True)]
    low, median, high = (round(float(q), 2) for q in np.quantile(of_round, [0.1, 0.5, 0.9]))
    return {"of": slow, "to": fast, "ratio": median, "p10_p90": [low, high]}


def main() -> None:
    """The benchmark."""
    command = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    command.add_argument("--data", type=Path, required=True, help="folder that holds magnetic_tile/ and splits/")
    command.add_argument("--peers", required=True, help="interpreter of the peers' environment")
    command.add_argument("--work", type=Path, help="folder that keeps what is fitted and exported for the next run")
    command.add_argument("--prepare", action="store_true", help="fit and export only")
    command.add_argument("--rounds", type=int, default=ROUNDS)
    given = command.parse_args()
    data = given.data.resolve()
    split = json.loads((data / "splits" / f"{SET}.json").read_text(encoding="utf-8"))
    with tempfile.TemporaryDirectory() as made:
        work = (given.work or Path(made)).resolve()
        for name in ("ours", "theirs"):
            (work / name).mkdir(parents=True, exist_ok=True)
        refused = artefacts(data, split, work / "ours")
        frames, is_defect = frames_of(data, split)
        np.save(work / "frames.npy", frames)
        stored = str(work / "frames.npy")
        theirs = Worker(
            given.peers, "benchmarks.peers.speed_theirs", [str(data), str(work / "theirs"), stored], work / "theirs",
            [REPOSITORY],
        )  # fmt: skip
        ours = Worker(
            sys.executable, "benchmarks.peers.speed_ours", [str(work / "ours"), stored], work / "ours",
            [REPOSITORY],
        )  # fmt: skip
        if not given.prepare:
            measure(ours, theirs, is_defect, given.rounds, refused)
        for worker in (ours, theirs):
            worker.close()


def measure(
    ours: Worker, theirs: Worker, is_defect: np.ndarray[Any, np.dtype[np.bool_]], rounds: int, refused: str
) -> None:
    """Time, compare, save."""
    ways = [(worker, way) for worker in (ours, theirs) for way in worker.ways]
    calls = {}
    for worker, way in ways:
        calls[way] = max(3, round(BLOCK_MS / float(np.median(worker.times(way, 5)))))
    load_before = os.getloadavg()
    times: dict[str, list[list[float]]] = {way: [] for _, way in ways}
    for number in range(rounds):
        for worker, way in ways if number % 2 == 0 else ways[::-1]:
            time.sleep(REST_S)
            times[way].append(worker.times(way, calls[way]))
    load_after = os.getloadavg()
    detected = {}
    for worker, way in ways:
        if not way.startswith("bare"):
            scores = np.array(worker.scores(way))
            detected[way] = round(auroc(scores[~is_defect], scores[is_defect]), 4)
    bars = []
    for peer, by, our, bar in BARS:
        if our not in times:
            continue  # this CPU has no bf16
        both = [way for way in times if way.startswith(f"{peer}, ") and by in way]
        faster = min(both, key=lambda way: float(np.median(np.concatenate(times[way]))))
        found = {**ratio(times, faster, our), "bar": bar}
        bars.append({**found, "met": found["ratio"] >= bar})
    plain, int8, bare = ours.ways
    figures = {
        "ours": ours.about,
        "theirs": theirs.about,
        "load_average": {"before": load_before, "after": load_after},
        "rounds": rounds,
        "one_picture": summary(times),
        "auroc_of_the_timed_frames": detected,
        "calibrate_said_of_int8": refused or "accepted",
        "bars": bars,
        "times_ours": [ratio(times, way, our) for way in theirs.ways for our in (plain, int8)],
        "ours_to_the_bare_backbone": ratio(times, plain, bare),
    }
    save("speed_peers", figures)


if __name__ == "__main__":
    main()
