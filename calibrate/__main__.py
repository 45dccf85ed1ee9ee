"""senbetsu calibrate: normal parts -> artifacts/profile.* and report.html, with a claim that holds."""

import argparse
import logging
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from calibrate.fit import fit_and_score
from calibrate.parts import Part, read_parts
from calibrate.report import Report, write_report
from senbetsu import __version__
from senbetsu.conformal import Claim, make_claim, threshold_at
from senbetsu.embedding import load_embedding
from senbetsu.engine import EngineChoice, choose_engine
from senbetsu.files import check_writable
from senbetsu.images import find_images, fit, read_image
from senbetsu.profile import Profile, save_profile
from senbetsu.program import parser, run, set_up_logging, settings_of
from senbetsu.scoring import STATISTICS

log = logging.getLogger("calibrate")

FARTHEST = 12
THUMBNAIL = 160


def main(arguments: argparse.Namespace) -> int:
    """The program."""
    overrides = {
        "calibrate.false_reject_rate": arguments.false_reject_rate,
        "calibrate.confidence": arguments.confidence,
    }
    config = settings_of(arguments, overrides)
    embedding = load_embedding(config.artifacts, config.model)
    check_writable(config.artifacts)
    choice = choose_engine(config.engine)
    parts = read_parts(find_images([arguments.normal]), embedding.folds, arguments.normal)
    unseen = sum(part.fold is None for part in parts)
    log.info("%d unlike normal parts: %d were not trained on, %d were", len(parts), unseen, len(parts) - unseen)
    promise = config.calibrate
    claim, warnings = make_claim(unseen, len(parts), promise.false_reject_rate, promise.confidence)
    scorer, used, scores = fit_and_score(embedding, claim, parts, choice, config.engine.threads)
    threshold = threshold_at(scores.tolist(), claim.k)
    profile = Profile(
        scorer=scorer,
        threshold=threshold,
        claim=claim,
        input_size=embedding.input_size,
        engine_kind=choice.kind,
        precision=choice.precision,
        model_sha256=embedding.sha256,
        recipe=config.recipe,
    )
    now = datetime.now(UTC).isoformat(timespec="seconds")
    details = {
        "created_at": now,
        "version": __version__,
        "warnings": warnings,
        "scores": [round(score, 6) for score in sorted(scores.tolist())],
        "parts": [part.sha256 for part in used],
    }
    sha256 = save_profile(config.artifacts, profile, details)
    write_report(
        config.artifacts / "report.html",
        make_report(profile, sha256, warnings, used, scores, now, choice, arguments.normal),
    )
    for warning in warnings:
        log.warning("%s", warning)
    say_claim(claim, threshold)
    log.info("wrote %s/profile.safetensors, .json (profile %s) and report.html", config.artifacts, sha256[:12])
    return 0


def say_claim(claim: Claim, threshold: float) -> None:
    """The claim, and both readings, always."""
    log.info("threshold %.4f: the %d. smallest of %d scores (%s)", threshold, claim.k, claim.n, claim.method)
    log.info("%s", claim.sentence())
    for what, reading in claim.readings():
        log.info("  %s: %s", what, reading)


def make_report(
    profile: Profile,
    sha256: str,
    warnings: list[str],
    parts: Sequence[Part],
    scores: NDArray[np.float64],
    now: str,
    choice: EngineChoice,
    where: Path,
) -> Report:
    """What the report shows."""
    claim = profile.claim
    farthest = []
    for index in np.argsort(-scores)[:FARTHEST]:
        thumbnail = np.zeros((THUMBNAIL, THUMBNAIL, 3), np.uint8)
        fit(read_image(parts[index].path), thumbnail)
        farthest.append((str(parts[index].path), float(scores[index]), thumbnail))
    weights = ", ".join(f"{n} {w:.2f}" for n, w in zip(STATISTICS, profile.scorer.fusion.weights, strict=True))
    facts = [
        ("date", now),
        ("normal parts", str(where)),
        ("method", "split conformal" if claim.method == "split" else "cross-conformal: every part served twice"),
        ("n, k", f"{claim.n}, {claim.k}"),
        ("threshold", f"{profile.threshold:.6f}"),
        ("weights of the statistics", weights),
        ("engine", f"{choice.kind}, {choice.precision}"),
        ("input size", f"{profile.input_size} px"),
        ("recipe", str(profile.recipe)),
        ("model SHA-256", profile.model_sha256),
        ("profile SHA-256", sha256),
        ("senbetsu", __version__),
    ]
    return Report(claim.sentence(), claim.readings(), warnings, scores, profile.threshold, farthest, facts)


def flags() -> argparse.ArgumentParser:
    """The command line."""
    command = parser("calibrate", "Find centroid, threshold and the claim they support, from normal parts.")
    command.add_argument("--normal", type=Path, required=True, metavar="DIR", help="pictures of normal parts")
    command.add_argument(
        "--false-reject-rate", type=float, metavar="R", help="promise: the share of good parts rejected, on average"
    )
    command.add_argument(
        "--confidence", type=float, metavar="C", help="make the promise a bound that holds with this confidence"
    )
    return command


if __name__ == "__main__":
    given = flags().parse_args()
    set_up_logging(verbose=given.verbose)
    sys.exit(run(lambda: main(given), "calibrate"))
