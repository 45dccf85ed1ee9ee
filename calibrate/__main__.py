"""senbetsu calibrate: normal parts -> artifacts/profile.* and report.html, with a claim that holds."""

import argparse
import json
import logging
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calibrate.account import account_of
from calibrate.fit import Calibration, Fitted, folds_of
from calibrate.live import finished, take_live
from calibrate.lots import Spread, lots_of, spread_of
from calibrate.parts import Part, read_list, read_parts, take_out
from calibrate.quantise import agreement, check_agreement, quantise, set_apart, unquantised
from calibrate.report import write_report
from senbetsu import __version__
from senbetsu.conformal import Claim, percent, threshold_at
from senbetsu.distributed import Group, join_group
from senbetsu.drift import ScoreDistribution
from senbetsu.embedding import load_embedding
from senbetsu.engine import choose_engine
from senbetsu.engine.quantised import save_quantised
from senbetsu.errors import UserError
from senbetsu.files import check_writable
from senbetsu.images import content_sha256, find_images
from senbetsu.profile import CameraBinding, Profile, camera_settings_sha256, save_profile
from senbetsu.program import parser, run, set_up_logging, settings_of
from senbetsu.promise import make_claim

log = logging.getLogger("calibrate")

SCORES_KEPT = 10_000
"""In profile.json: of more, so many evenly spaced ranks, lowest and highest among them."""
PARTS_KEPT = 10_000
"""Content hashes in profile.json; `parts_sha256` is one hash over all of them, sorted, a line each."""


def main(arguments: argparse.Namespace) -> int:
    """The program, in each of the processes that torchrun started, or in the only one."""
    with join_group() as group:
        if not group.is_first:
            logging.getLogger().setLevel(logging.ERROR)
        return calibrate(arguments, group)


def calibrate(arguments: argparse.Namespace, group: Group) -> int:
    """What all processes do together; only the first of them writes."""
    overrides = {
        f"calibrate.{name}": getattr(arguments, name)
        for name in ("false_reject_rate", "confidence", "contamination", "group")
    }
    config = settings_of(arguments, overrides)
    promise = config.calibrate
    embedding = load_embedding(config.artifacts, config.model)
    if group.is_first:
        check_writable(config.artifacts)
    choice = choose_engine(config.engine)
    folder, camera = arguments.normal, None
    if arguments.camera is not None:
        if group.size > 1:
            raise UserError("--camera: one process takes the parts of a camera; run it without torchrun")
        folder, section = take_live(config, arguments.camera, arguments.count)
        camera = CameraBinding(section.name, camera_settings_sha256(section))
    shown = read_parts(find_images([folder]), embedding.folds, folder, group)
    listed = [] if arguments.confirmed_bad is None else read_list(arguments.confirmed_bad)
    parts, bad = take_out(shown, listed, embedding.folds, folder)
    quantised = None
    of_ranges: list[Part] = []
    if choice.precision == "int8":
        if group.size > 1:
            raise UserError("engine.precision = 'int8': one process quantises the backbone; run it without torchrun")
        of_ranges, parts = set_apart(parts)
        quantised = quantise(embedding.backbone, [part.path for part in of_ranges])
    unseen = sum(part.fold is None for part in parts)
    log.info("%d unlike normal parts: %d were not trained on, %d were", len(parts), unseen, len(parts) - unseen)
    claim, warnings = make_claim(
        unseen, len(parts), promise.false_reject_rate, promise.confidence, contamination=promise.contamination
    )
    lots = None if promise.group is None else lots_of([part.path for part in parts], promise.group, folder)
    folds, more = folds_of(parts, lots if claim.method == "cross" else None, len(embedding.fold_axes))
    warnings += more
    calibration = Calibration(embedding, choice, config.engine.threads, group, quantised)
    fitted = calibration.fit_and_score(claim, parts, folds, bad, promise.contamination)
    if not group.is_first:
        return 0
    used, scores = fitted.used, fitted.scores
    threshold = threshold_at(scores, claim.k)
    agreed: dict[str, float] | None = None
    if quantised is not None:
        log.info("judging the same parts without quantisation, to compare")
        plain = Calibration(embedding, unquantised(), config.engine.threads, group)
        expected = plain.fit_and_score(claim, parts, folds, bad, promise.contamination).scores
        agreed = check_agreement(agreement(scores, threshold, expected, threshold_at(expected, claim.k)))
        if claim.method == "cross":
            warnings.append(
                "parts that set the threshold also set the ranges of the 8-bit backbone: the claim is a little optimistic; "
                "with enough parts that `train` did not see it is not"
            )
    spread = None
    if lots is not None:
        spread, more = lot_spread(parts, lots, fitted, claim, threshold)
        warnings += more
    warnings += suspect_warnings(fitted, claim, promise.contamination, unseen < len(parts))
    profile = Profile(
        scorer=fitted.scorer,
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
    if quantised is not None:
        made_of = {"ranges_from": [part.sha256 for part in of_ranges]}
        int8_sha256 = save_quantised(config.artifacts, quantised, embedding.sha256, made_of)
        profile = replace(profile, quantised_sha256=int8_sha256)
    now = datetime.now(UTC).isoformat(timespec="seconds")
    details = {
        "created_at": now,
        "version": __version__,
        "warnings": warnings,
        "scores": [round(float(score), 6) for score in evenly(np.sort(scores), SCORES_KEPT)],
        "parts": [part.sha256 for part in used[:PARTS_KEPT]],
        "parts_sha256": content_sha256("\n".join(sorted(part.sha256 for part in used)).encode()),
        "suspects": [{"path": str(part.path), "score": round(score, 6)} for part, score in fitted.suspects],
        "confirmed_bad": [str(part.path) for part in bad],
        "int8_agreement": agreed,
        "lots": None if spread is None else {"group": promise.group, **asdict(spread)},
    }
    sha256 = save_profile(config.artifacts, profile, details)
    account = account_of(embedding, replace(profile, sha256=sha256), details, used, scores, choice, str(folder))
    write_report(config.artifacts / "report.html", account)
    if camera is not None:
        finished(folder)
    for warning in warnings:
        log.warning("%s", warning)
    say_claim(claim, threshold)
    if spread is not None:
        log.info("  %s: %s", *spread.reading())
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


def evenly(ordered: NDArray[np.float64], count: int) -> NDArray[np.float64]:
    """At most `count` of (n,) sorted numbers, evenly spaced in rank, the first and the last included."""
    ranks = np.linspace(0, len(ordered) - 1, min(len(ordered), count)).round().astype(int)
    spaced: NDArray[np.float64] = ordered[ranks]
    return spaced


def lot_spread(
    parts: Sequence[Part], lots: Sequence[str], fitted: Fitted, claim: Claim, threshold: float
) -> tuple[Spread, list[str]]:
    """How the lots differ at the threshold, and where the claim is optimistic for it."""
    lot_of = {part.sha256: lot for part, lot in zip(parts, lots, strict=True)}
    of_used = [lot_of[part.sha256] for part in fitted.used]
    warnings = []
    held_out = np.ones(len(of_used), bool)
    if claim.method == "split":
        trained = {lot for part, lot in zip(parts, lots, strict=True) if part.fold is not None}
        held_out = np.array([lot not in trained for lot in of_used])
        if not held_out.all():
            warnings.append(
                f"{int((~held_out).sum())} of the parts that set the threshold are of lots of which others were trained on; "
                "they say nothing of a new lot, and make the threshold a little low for one"
            )
        if not held_out.any():
            held_out[:] = True
    spread = spread_of(
        [lot for lot, out in zip(of_used, held_out, strict=True) if out], fitted.scores[held_out], threshold
    )
    return spread, warnings + spread.warnings(claim.headline_rate)


def suspect_warnings(fitted: Fitted, claim: Claim, contamination: float, some_were_trained_on: bool) -> list[str]:
    """What a person has to do about the suspects, and what could not be looked at."""
    warnings = []
    if fitted.suspects:
        warnings.append(
            f"{len(fitted.suspects)} suspects, the least normal of the parts, were kept out of centroid, whitening and "
            f"threshold; the claim counts them as good parts that are rejected. Look at them, list the bad ones in a file "
            "(--confirmed-bad), and calibrate again with a smaller --contamination or none: the claim gets tighter"
        )
    if contamination and not claim.suspects:
        warnings.append(
            f"{percent(contamination)} of {claim.n} parts is less than one: none is kept out (--contamination)"
        )
    if contamination and claim.method == "split" and not some_were_trained_on:
        warnings.append(
            "the parts that the model was trained on are not among those shown, so bad ones among them were not looked for; "
            "show them as well"
        )
    return warnings


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
    command.add_argument(
        "--contamination", type=float, metavar="SHARE",
        help="up to this share of the pictures may be bad: the least normal ones are suspects and do not count",
    )  # fmt: skip
    command.add_argument(
        "--confirmed-bad", type=Path, metavar="FILE",
        help="pictures that a person has found to be bad, one path a line: taken out of all that is fitted",
    )  # fmt: skip
    command.add_argument(
        "--group", metavar="RULE",
        help="what tells lots apart: a regular expression on paths ('^(lot[0-9]+)_'), a CSV of path,lot, or gap:MINUTES",
    )  # fmt: skip
    command.add_argument("--json", action="store_true", help="print one JSON object with the claim")
    return command


if __name__ == "__main__":
    given = flags().parse_args()
    set_up_logging(verbose=given.verbose)
    sys.exit(run(lambda: main(given), "calibrate"))
