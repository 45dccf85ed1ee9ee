"""senbetsu calibrate: normal parts -> artifacts/profile.* and report.html, with a claim that holds."""

import argparse
import json
import logging
import sys
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from calibrate.account import account_of
from calibrate.fit import fit_and_score
from calibrate.live import finished, take_live
from calibrate.parts import read_parts
from calibrate.report import write_report
from senbetsu import __version__
from senbetsu.conformal import Claim, make_claim, threshold_at
from senbetsu.drift import ScoreDistribution
from senbetsu.embedding import load_embedding
from senbetsu.engine import choose_engine
from senbetsu.files import check_writable
from senbetsu.images import find_images
from senbetsu.profile import CameraBinding, Profile, camera_settings_sha256, save_profile
from senbetsu.program import parser, run, set_up_logging, settings_of

log = logging.getLogger("calibrate")


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
    folder, camera = arguments.normal, None
    if arguments.camera is not None:
        folder, section = take_live(config, arguments.camera, arguments.count)
        camera = CameraBinding(section.name, camera_settings_sha256(section))
    parts = read_parts(find_images([folder]), embedding.folds, folder)
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
        camera=camera,
        distribution=ScoreDistribution.of(scores.tolist(), claim.k),
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
    account = account_of(embedding, replace(profile, sha256=sha256), details, used, scores, choice, str(folder))
    write_report(config.artifacts / "report.html", account)
    if camera is not None:
        finished(folder)
    for warning in warnings:
        log.warning("%s", warning)
    say_claim(claim, threshold)
    log.info("wrote %s/profile.safetensors, .json (profile %s) and report.html", config.artifacts, sha256[:12])
    if arguments.json:
        print(json.dumps(summary(profile, sha256, details), allow_nan=False))  # noqa: T201
    return 0


def summary(profile: Profile, sha256: str, details: dict[str, Any]) -> dict[str, Any]:
    """What `--json` prints: the claim with all its numbers, and the profile's JSON but for the lists of parts."""
    claim = profile.claim
    return {
        "claim": claim.sentence(),
        **asdict(claim),
        "guaranteed_rate": claim.guaranteed_rate,
        "threshold": profile.threshold,
        "model_sha256": profile.model_sha256,
        "profile_sha256": sha256,
        "engine": {"kind": profile.engine_kind, "precision": profile.precision},
        "input_size": profile.input_size,
        "recipe": profile.recipe,
        **{key: value for key, value in details.items() if key not in ("scores", "parts")},
    }


def say_claim(claim: Claim, threshold: float) -> None:
    """The claim, and both readings, always."""
    log.info("threshold %.4f: the %d. smallest of %d scores (%s)", threshold, claim.k, claim.n, claim.method)
    log.info("%s", claim.sentence())
    for what, reading in claim.readings():
        log.info("  %s: %s", what, reading)


def positive(text: str) -> int:
    """A whole number from 1. Raises ValueError."""
    number = int(text)
    if number < 1:
        raise ValueError(text)
    return number


def flags() -> argparse.ArgumentParser:
    """The command line."""
    command = parser("calibrate", "Find centroid, threshold and the claim they support, from normal parts.")
    source = command.add_mutually_exclusive_group(required=True)
    source.add_argument("--normal", type=Path, metavar="DIR", help="pictures of normal parts")
    source.add_argument("--camera", metavar="NAME", help="take normal parts from this camera of the config, live")
    command.add_argument(
        "--count", type=positive, default=500, metavar="N", help="with --camera: how many (default: %(default)s)"
    )
    command.add_argument(
        "--false-reject-rate", type=float, metavar="R", help="promise: the share of good parts rejected, on average"
    )
    command.add_argument(
        "--confidence", type=float, metavar="C", help="make the promise a bound that holds with this confidence"
    )
    command.add_argument("--json", action="store_true", help="print one JSON object with the claim")
    return command


if __name__ == "__main__":
    given = flags().parse_args()
    set_up_logging(verbose=given.verbose)
    sys.exit(run(lambda: main(given), "calibrate"))
