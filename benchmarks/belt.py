"""Parts on a moving belt: is each found once, and what becomes of it? Against what was counted by eye (belt_truth.json).

The belt's parts are found by the product's own `senbetsu.items`. What lies along the tracks of all white parts but the last
trains and calibrates, by the programs `senbetsu train` and `calibrate`; then every part is scored by `senbetsu score` on
the one picture that the belt gave out: the last white part has to pass, each cone has to be rejected.

    python -m benchmarks.belt --video belt_topdown_960x540.mp4
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from benchmarks.conditions import save
from senbetsu.items import Belt, BeltPart

TRUTH = Path(__file__).with_name("belt_truth.json")
FRAMES_A_SECOND = 90
SETTINGS = {"width": 320, "height": 224, "difference": 100, "least_area": 2000, "within": (0, 60, 960, 400)}
EVERY = 3
"""Of the views along a track: neighbours are all but the same picture."""
NEAR_FRAMES = 12
"""A part that is given out was whole at its best frame, by eye as well, to so many frames."""


def find(video: Path) -> tuple[list[BeltPart], Belt, float]:
    """All parts in the order in which they were given out, and the milliseconds a frame took."""
    belt = Belt(**SETTINGS, keep_looks=True)  # type: ignore[arg-type]
    capture = cv2.VideoCapture(str(video))
    parts: list[BeltPart] = []
    frame_id = took_ns = 0
    while True:
        there, image = capture.read()
        if not there:
            break
        picture = np.asarray(image, np.uint8)
        began_ns = time.perf_counter_ns()
        parts += belt.add(picture, frame_id, round(frame_id * 1e9 / FRAMES_A_SECOND))
        took_ns += time.perf_counter_ns() - began_ns
        frame_id += 1
    if frame_id == 0:
        raise SystemExit(f"{video}: not a video that can be read")
    return parts + belt.finish(), belt, took_ns / frame_id / 1e6


def agrees(part: BeltPart, seen: dict[str, Any]) -> bool:
    """Whether the frame on which a part was judged is one in which that part was whole, by eye."""
    gone_by = seen["gone_by"] or 10**9
    return part.image is not None and seen["whole_from"] - NEAR_FRAMES <= part.frame_id < gone_by


def senbetsu(program: str, *arguments: str) -> None:
    """One of the product's programs."""
    subprocess.run([sys.executable, "-m", program, *arguments], check=True)


def main() -> None:
    """Find, train, calibrate, score; fail where it does not come out as seen."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--video", type=Path, required=True)
    video = parser.parse_args().video
    truth = json.loads(TRUTH.read_text())["parts"]
    parts, belt, ms_a_frame = find(video)
    found_right = [part.number for part in parts] == [seen["number"] for seen in truth] and all(
        agrees(part, seen) for part, seen in zip(parts, truth, strict=True)
    )
    whites = [seen["number"] for seen in truth if seen["kind"] == "white"]
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        pictures: dict[str, int] = {}
        for number in whites[:-1]:
            views = belt.looks_at(number)[::EVERY]
            pictures[f"part {number}"] = len(views)
            for view in views:
                write(folder / "normal" / f"part{number}" / f"{view.frame_id:04d}.png", view)
        for part in parts:
            write(folder / "test" / f"part{part.number}.png", part)
        artifacts, scores = str(folder / "artifacts"), folder / "scores.jsonl"
        normal = ["--normal", str(folder / "normal"), "--artifacts", artifacts]
        senbetsu("train", *normal)
        senbetsu("calibrate", *normal)
        senbetsu("score", "--artifacts", artifacts, str(folder / "test"), "--output", str(scores))
        lines = [json.loads(line) for line in scores.read_text().splitlines()]
        claim = json.loads((folder / "artifacts" / "profile.json").read_text())["claim_sentence"]
    rows = []
    for part, seen, line in zip(parts, truth, lines, strict=True):
        ratio = round(line["score"] / line["threshold"], 3)
        rows.append({**seen, "judged_on_frame": part.frame_id, "verdict": line["verdict"], "score_to_threshold": ratio})
        print(rows[-1])
    last_white = next(row for row in rows if row["number"] == whites[-1])
    cones = [row for row in rows if row["kind"] == "cone"]
    bars = {
        "one item a part, as seen by eye": found_right,
        "the last white part passes": last_white["verdict"] == "PASS",
        "every cone is rejected": all(cone["verdict"] == "REJECT" for cone in cones),
    }
    figures = {"settings": SETTINGS, "ms_a_frame": round(ms_a_frame, 2), "trained_on": pictures, "claim": claim}
    save("belt", {**figures, "parts": rows, "bars": bars})
    if not all(bars.values()):
        raise SystemExit("not as it should be: " + ", ".join(bar for bar, kept in bars.items() if not kept))


def write(path: Path, part: BeltPart) -> None:
    """Its picture."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if part.image is None or not cv2.imwrite(str(path), part.image):
        raise SystemExit(f"part {part.number}: {part.error or 'its picture cannot be written'}")


if __name__ == "__main__":
    main()
