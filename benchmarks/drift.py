"""How many parts pass until drift is told, and how many good ones are rejected by then.

Solar cells (ELPV, probability 0, the demo's split): 700 are learned, 408 set the threshold, 400 others are the line. Each
change is done to the 400 pictures, which are then scored by the line's engine; streams are drawn from them at random, with
replacement, and go through the daemon's detector as it is set by default. "unchanged" shows what the 400 do as they are:
they are other cells than the 408, so in the long run they may be found to differ.
"""

import math
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from conditions import save
from numpy.typing import NDArray

from demo.elpv import split
from senbetsu.config import load_config
from senbetsu.drift import DriftDetector, Expected
from senbetsu.embedding import load_embedding
from senbetsu.engine import EngineChoice, build_engine
from senbetsu.images import fit, read_image
from senbetsu.profile import load_profile

STREAMS, LONGEST = 200, 10_000
Picture = NDArray[np.uint8]


def moved(picture: Picture, pixels: int) -> Picture:
    """To the right and down, the border repeated."""
    shifted = cv2.copyMakeBorder(picture, pixels, 0, pixels, 0, cv2.BORDER_REPLICATE)
    return np.asarray(shifted[: picture.shape[0], : picture.shape[1]], np.uint8)


def dusty(picture: Picture) -> Picture:
    """A faint grain of dust on the lens, at one place of every picture."""
    spot = np.zeros(picture.shape[:2], np.float32)
    cv2.circle(spot, (picture.shape[1] // 3, picture.shape[0] // 3), picture.shape[0] // 40, 1.0, -1, cv2.LINE_AA)
    spot = cv2.GaussianBlur(spot, (0, 0), 3)[:, :, None]
    return np.rint(picture * (1 - 0.2 * spot)).astype(np.uint8)


CHANGES: dict[str, Callable[[Picture], Picture]] = {
    "unchanged": lambda picture: picture,
    "5 % darker": lambda picture: cv2.convertScaleAbs(picture, alpha=0.95),
    "20 % darker": lambda picture: cv2.convertScaleAbs(picture, alpha=0.8),
    "blurred, sigma 0.7 px": lambda picture: np.asarray(cv2.GaussianBlur(picture, (0, 0), 0.7), np.uint8),
    "blurred, sigma 1 px": lambda picture: np.asarray(cv2.GaussianBlur(picture, (0, 0), 1), np.uint8),
    "moved by 1 px": lambda picture: moved(picture, 1),
    "moved by 6 px": lambda picture: moved(picture, 6),
    "noise of 2 grey values": lambda picture: np.clip(
        picture + np.random.default_rng(int(picture.sum())).normal(0, 2, picture.shape), 0, 255
    ).astype(np.uint8),
    "a faint grain of dust": dusty,
}


def senbetsu(*arguments: str | Path) -> None:
    """Run a program to its end."""
    command = [sys.executable, "-P", "-m", "senbetsu.cli", *map(str, arguments)]
    subprocess.run(command, check=True, capture_output=True, text=True)


def link_all(folder: Path, paths: list[Path]) -> Path:
    """A folder of links."""
    folder.mkdir(parents=True)
    for path in paths:
        (folder / path.name).symlink_to(path)
    return folder


def until_told(scores: NDArray[np.float64], threshold: float, expected: Expected) -> list[tuple[int | None, str, int]]:
    """Of each stream: parts until the first alarm (None: none came), which test gave it, and rejects by then."""
    random = np.random.default_rng(0)
    ends: list[tuple[int | None, str, int]] = []
    for _ in range(STREAMS):
        detector, rejected = DriftDetector(expected), 0
        end: tuple[int | None, str, int] = (None, "", 0)
        for number, score in enumerate(random.choice(scores, LONGEST).tolist(), 1):
            passed = score <= threshold
            rejected += not passed
            if detector.see(score, passed=passed) and detector.alarms:
                end = (number, next(iter(detector.alarms)), rejected)
                break
        ends.append(end)
    return ends


def figures_of(scores: NDArray[np.float64], threshold: float, expected: Expected) -> dict[str, Any]:
    """One row."""
    ends = until_told(scores, threshold, expected)
    parts = sorted(number for number, _, _ in ends if number is not None)
    tests = [test for _, test, _ in ends if test]
    row: dict[str, Any] = {
        "false_rejects": float((~(scores <= threshold)).mean()),
        "median_score": float(np.median(scores)),
        f"alarmed_within_{LONGEST}_parts": len(parts) / STREAMS,
        "first_alarm_by": {test: tests.count(test) / STREAMS for test in sorted(set(tests))},
    }
    until = {what: math.ceil(share * STREAMS) for what, share in (("median", 0.5), ("p95", 0.95))}
    row["parts_until_alarm"] = {what: parts[rank - 1] if rank <= len(parts) else None for what, rank in until.items()}
    if len(parts) == STREAMS:
        row["rejected_until_alarm"] = float(np.mean([rejected for number, _, rejected in ends if number is not None]))
    return row


def main() -> None:
    """The benchmark."""
    parts = split()
    line = [path for path, defective in parts.line if not defective]
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        artifacts = root / "artifacts"
        senbetsu("train", "--normal", link_all(root / "train", parts.train_normal), "--artifacts", artifacts)
        senbetsu("calibrate", "--normal", link_all(root / "cal", parts.calibrate_normal), "--artifacts", artifacts)
        embedding = load_embedding(artifacts)
        profile = load_profile(artifacts, embedding)
    assert profile.distribution is not None
    settings = load_config(None).daemon
    expected = Expected.of(profile.distribution, settings.drift_window, settings.drift_false_alarm_parts)
    choice = EngineChoice(profile.engine_kind, profile.precision, "cpu")  # type: ignore[arg-type]
    engine = build_engine(profile.scorer, embedding.backbone, choice, 0, (1,))
    rows = {}
    for name, change in CHANGES.items():
        scores = []
        for path in line:
            fit(change(read_image(path)), engine.inputs[0])
            scores.append(float(engine.run(1).score[0]))
        rows[name] = figures_of(np.array(scores), profile.threshold, expected)
    save(
        "drift",
        {
            "claim": profile.claim.sentence(),
            "engine": f"{profile.engine_kind} {profile.precision}",
            "window": settings.drift_window,
            "false_alarm_parts": settings.drift_false_alarm_parts,
            "parts_in_a_row_without_reject": expected.patience,
            "streams": STREAMS,
            "changes": rows,
        },
    )


if __name__ == "__main__":
    main()
