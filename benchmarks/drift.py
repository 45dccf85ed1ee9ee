"""How many parts pass until drift is told, how many good ones are rejected by then, and how often nothing is the matter; and
how many pass after a repair until the alarm is over.

Solar cells (ELPV, probability 0, the demo's split): 700 are learned. The 808 others are the population. Each change is done to
their pictures, which are scored by the line's engine. Every stream has a calibration of its own: 408 scores are drawn from the
unchanged population, and the stream from the changed one, both independently and with replacement; a hair of noise makes all
scores unlike, so that population and draws are as the detector's theory supposes and a calibration differs from the line by
chance alone, as much as 408 parts do. "without repeats" draws nothing twice: the 808 cells are shuffled, 408 calibrate and the
other 400 are the stream, and the statement is a strict one, so that 400 parts can put it to the test.
"""

import math
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.conditions import save
from demo.elpv import split
from senbetsu.config import load_config
from senbetsu.distribution import ScoreDistribution
from senbetsu.drift import DriftDetector, Expected
from senbetsu.embedding import load_embedding
from senbetsu.engine import EngineChoice, build_engine
from senbetsu.fitting import fit
from senbetsu.images import read_image
from senbetsu.profile import load_profile

STREAMS, LONGEST = 200, 10_000
UNCHANGED_STREAMS = 1000
GOOD_BEFORE = 5000
"""Unchanged parts before the change, in the streams in which it comes late."""
LASTS = 2000
"""Changed parts after the alarm, before the change is repaired."""
STRICT = 1000
"""`false_alarm_parts` of the streams without repeats."""
HAIR = 1e-9
Picture = NDArray[np.uint8]
Scores = NDArray[np.float64]


def moved(picture: Picture, pixels: int) -> Picture:
    """To the right and down, the border repeated."""
    shifted = cv2.copyMakeBorder(picture, pixels, 0, pixels, 0, cv2.BORDER_REPLICATE)
    return np.asarray(shifted[: picture.shape[0], : picture.shape[1]], np.uint8)


def dusty(picture: Picture) -> Picture:
    """A faint grain of dust on the lens, at one place of every picture."""
    spot = np.zeros(picture.shape[:2], np.float32)
    cv2.circle(spot, (picture.shape[1] // 3, picture.shape[0] // 3), picture.shape[0] // 40, 1.0, -1, cv2.LINE_AA)
    shade = cv2.GaussianBlur(spot, (0, 0), 3)[:, :, None]
    return np.rint(picture * (1 - 0.2 * shade)).astype(np.uint8)


CHANGES: dict[str, Callable[[Picture], Picture]] = {
    "unchanged": lambda picture: picture,
    "5 % darker": lambda picture: np.asarray(cv2.convertScaleAbs(picture, alpha=0.95), np.uint8),
    "20 % darker": lambda picture: np.asarray(cv2.convertScaleAbs(picture, alpha=0.8), np.uint8),
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


@dataclass(frozen=True, slots=True)
class Stated:
    """What the detector is set to, and how the threshold is set."""

    n: int
    k: int
    window: int
    false_alarm_parts: int

    def detector(self, calibration: Scores) -> DriftDetector:
        """Of n scores."""
        distribution = ScoreDistribution.of(calibration.tolist(), self.k)
        return DriftDetector(Expected.of(distribution, self.window, self.false_alarm_parts))


def until_told(detector: DriftDetector, stream: Scores) -> tuple[int | None, str, int]:
    """Parts until the first alarm (None: none came), which test gave it, and rejects by then."""
    threshold, rejected = detector.expected.distribution.upper_edges[-1], 0
    for number, score in enumerate(stream.tolist(), 1):
        passed = score <= threshold
        rejected += not passed
        if detector.see(score, passed=passed) and detector.alarms:
            return number, next(iter(detector.alarms)), rejected
    return None, "", rejected


def until_over(detector: DriftDetector, stream: Scores) -> int | None:
    """Parts until no alarm of scores is left."""
    threshold = detector.expected.distribution.upper_edges[-1]
    for number, score in enumerate(stream.tolist(), 1):
        detector.see(score, passed=score <= threshold)
        if not {"level", "shape"} & set(detector.alarms):
            return number
    return None


def after(
    detector: DriftDetector, unchanged: Scores, changed: Scores, random: np.random.Generator
) -> tuple[bool, int | None]:
    """An alarm has come: whether it ends though the change lasts, LASTS parts more; else parts until it does after a repair."""
    if until_over(detector, drawn(changed, LASTS, random)) is not None:
        return True, None
    return False, until_over(detector, drawn(unchanged, 4 * LONGEST, random))


def drawn(scores: Scores, count: int, random: np.random.Generator) -> Scores:
    """With replacement, and no two alike."""
    return random.choice(scores, count) + random.normal(0, HAIR, count)


def figures_of(unchanged: Scores, changed: Scores, stated: Stated, before: int, streams: int) -> dict[str, Any]:
    """One row: `before` unchanged parts, then LONGEST of the changed population. What alarms before the change is set aside."""
    ends, repairs = [], []
    early = 0
    for seed in range(streams):
        random = np.random.default_rng(seed)
        detector = stated.detector(drawn(unchanged, stated.n, random))
        early += until_told(detector, drawn(unchanged, before, random))[0] is not None
        if not detector.alarms:
            ends.append(until_told(detector, drawn(changed, LONGEST, random)))
            if changed is not unchanged and {"level", "shape"} & set(detector.alarms):
                repairs.append(after(detector, unchanged, changed, random))
    parts = sorted(number for number, _, _ in ends if number is not None)
    tests = [test for _, test, _ in ends if test]
    row: dict[str, Any] = {
        "unchanged_parts_before": before,
        "streams": streams,
        "alarmed_before_the_change": early,
        f"alarmed_within_{LONGEST}_parts": round(len(parts) / len(ends), 4),
        "first_alarm_by": {test: round(tests.count(test) / len(ends), 4) for test in sorted(set(tests))},
    }
    until = {what: math.ceil(share * len(ends)) for what, share in (("median", 0.5), ("p95", 0.95))}
    row["parts_until_alarm"] = {what: parts[rank - 1] if rank <= len(parts) else None for what, rank in until.items()}
    if repairs:
        row["ended_though_it_lasted"] = {
            "of": len(repairs),
            "ended": sum(ended for ended, _ in repairs),
            "parts": LASTS,
        }
        over = sorted(4 * LONGEST if parts is None else parts for ended, parts in repairs if not ended)
        row["parts_until_over"] = {
            what: over[math.ceil(share * len(over)) - 1]
            for what, share in (("median", 0.5), ("p95", 0.95), ("longest", 1.0))
        }
    if parts:
        row["rejected_until_alarm"] = round(float(np.mean([end[2] for end in ends if end[0] is not None])), 2)
    return row


def without_repeats(unchanged: Scores, stated: Stated) -> dict[str, Any]:
    """Every score is used once: the share of streams that alarm at all, and the alarms stated."""
    alarmed = 0
    for seed in range(UNCHANGED_STREAMS):
        shuffled = np.random.default_rng(seed).permutation(unchanged)
        shuffled = shuffled + np.random.default_rng(seed).normal(0, HAIR, len(shuffled))
        alarmed += until_told(stated.detector(shuffled[: stated.n]), shuffled[stated.n :])[0] is not None
    length = len(unchanged) - stated.n
    return {
        "false_alarm_parts": stated.false_alarm_parts, "parts": length, "streams": UNCHANGED_STREAMS,
        "alarmed": alarmed / UNCHANGED_STREAMS, "stated_at_most": length / stated.false_alarm_parts,
    }  # fmt: skip


def main() -> None:
    """The benchmark."""
    parts = split()
    cells = parts.calibrate_normal + [path for path, defective in parts.line if not defective]
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        artifacts = root / "artifacts"
        senbetsu("train", "--normal", link_all(root / "train", parts.train_normal), "--artifacts", artifacts)
        senbetsu("calibrate", "--normal", link_all(root / "cal", parts.calibrate_normal), "--artifacts", artifacts)
        embedding = load_embedding(artifacts)
        profile = load_profile(artifacts, embedding)
    assert profile.distribution is not None
    settings = load_config(None).daemon
    stated = Stated(profile.claim.n, profile.claim.k, settings.drift_window, settings.drift_false_alarm_parts)
    choice = EngineChoice(profile.engine_kind, profile.precision, "cpu")  # type: ignore[arg-type]
    engine = build_engine(profile.scorer, embedding.backbone, choice, 0, (1,))
    scores: dict[str, Scores] = {}
    for name, change in CHANGES.items():
        own = []
        for path in cells:
            fit(change(read_image(path)), engine.inputs[0])
            own.append(float(engine.run(1).score[0]))
        scores[name] = np.array(own)
    unchanged = scores["unchanged"]
    threshold = float(np.sort(unchanged)[math.ceil(len(unchanged) * stated.k / (stated.n + 1)) - 1])
    good = np.sort(unchanged[unchanged <= threshold])
    rows = {}
    for name, changed in scores.items():
        ranks = np.searchsorted(good, changed[changed <= threshold]) / len(good)
        streams = UNCHANGED_STREAMS if name == "unchanged" else STREAMS
        rows[name] = {
            "false_rejects": round(float((changed > threshold).mean()), 4),
            "mean_rank_of_passed": round(float(ranks.mean()), 3),
            "from_the_first_part": figures_of(unchanged, changed, stated, 0, streams),
        }
        if name != "unchanged":
            rows[name]["later"] = figures_of(unchanged, changed, stated, GOOD_BEFORE, STREAMS)
        print(name, rows[name], flush=True)
    save(
        "drift",
        {
            "engine": f"{profile.engine_kind} {profile.precision}",
            "population": len(unchanged),
            "n": stated.n,
            "k": stated.k,
            "window": stated.window,
            "false_alarm_parts": stated.false_alarm_parts,
            "longest": LONGEST,
            "parts_in_a_row_without_reject": Expected.of(
                profile.distribution, stated.window, stated.false_alarm_parts
            ).patience,
            "stated_alarms_of_unchanged": LONGEST / stated.false_alarm_parts,
            "without_repeats": without_repeats(unchanged, replace(stated, false_alarm_parts=STRICT)),
            "changes": rows,
        },
    )


if __name__ == "__main__":
    main()
