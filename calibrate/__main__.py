"""senbetsu calibrate: normal parts -> artifacts/profile.* and report.html, with a claim that holds."""

import argparse
import json
import logging
import sqlite3
import sys
from dataclasses import asdict, replace
from datetime import UTC, datetime
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from calibrate.account import account_of
from calibrate.fit import Calibration
from calibrate.fitted import FittedPictures
from calibrate.live import finished, take_live
from calibrate.lots import NEW_LOT, Spread, hold_out, name_lots, spread_of
from calibrate.parts import UNSEEN, Part, Parts
from calibrate.quantise import agreement, check_agreement, quantise, set_apart, unquantised
from calibrate.reading import read_list, read_parts, take_out
from calibrate.report import write_report
from calibrate.shots import Every
from senbetsu import __version__
from senbetsu.conformal import Claim, finite_threshold, percent
from senbetsu.distributed import Group, join_group
from senbetsu.distribution import ScoreDistribution
from senbetsu.embedding import load_embedding
from senbetsu.engine import choose_engine
from senbetsu.engine.quantised import save_quantised
from senbetsu.errors import UserError
from senbetsu.files import check_writable
from senbetsu.lots import LotRule
from senbetsu.profile import CameraBinding, Profile, camera_settings_sha256, save_profile
from senbetsu.program import parser, run, set_up_logging, settings_of
from senbetsu.promise import make_claim

log = logging.getLogger("calibrate")

SCORES_KEPT = 10_000
"""In profile.json: of more, so many evenly spaced ranks, lowest and highest among them."""
PARTS_KEPT = 10_000
"""Content hashes in profile.json; `parts_sha256` is one hash over all of them, sorted, a line each."""
SUSPECTS_KEPT = 10_000
"""In profile.json, the highest scores."""
COMPARED = 100_000
"""Parts that are judged with and without quantisation, at most."""


def main(arguments: argparse.Namespace) -> int:
    """The program, in each of the processes that torchrun started, or in the only one."""
    with join_group() as group:
        if not group.is_first:
            logging.getLogger().setLevel(logging.ERROR)
        try:
            return calibrate(arguments, group)
        except sqlite3.OperationalError as error:
            raise UserError(
                f"the list of parts cannot be kept on the disk: {error}; free some space in /var/tmp, or name a folder that "
                "has some in SQLITE_TMPDIR"
            ) from error


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
    if arguments.every is not None and arguments.camera is None:
        raise UserError("--every says when a camera takes a picture; it takes --camera NAME")
    if arguments.camera is not None:
        if group.size > 1:
            raise UserError("--camera: one process takes the parts of a camera; run it without torchrun")
        folder, section = take_live(config, arguments.camera, arguments.count, arguments.every)
        camera = CameraBinding(section.name, camera_settings_sha256(section))
    pictures = FittedPictures(embedding.input_size)
    parts = read_parts(folder, embedding.folds, embedding.input_size, pictures, group)
    listed = [] if arguments.confirmed_bad is None else read_list(arguments.confirmed_bad)
    bad = take_out(parts, listed, embedding.folds, folder)
    quantised = None
    of_ranges: list[Part] = []
    if choice.precision == "int8":
        if group.size > 1:
            raise UserError("engine.precision = 'int8': one process quantises the backbone; run it without torchrun")
        of_ranges = set_apart(parts)
        quantised = quantise(embedding.backbone, [part.path for part in of_ranges])
    unseen, n_all = parts.count(UNSEEN), parts.count()
    log.info("%d unlike normal parts: %d were not trained on, %d were", n_all, unseen, n_all - unseen)
    claim, warnings = make_claim(
        unseen, n_all, promise.false_reject_rate, promise.confidence, contamination=promise.contamination
    )
    if promise.group is not None:
        name_lots(parts, LotRule.of(promise.group, folder))
    warnings += hold_out(parts, len(embedding.fold_axes), by_lot=promise.group is not None and claim.method == "cross")
    if quantised is not None:
        log.info("judging the parts without quantisation, to compare")
        plain = Calibration(embedding, unquantised(), config.engine.threads, group, pictures)
        plain_used = plain.fit_and_score(claim, parts, bad, promise.contamination).used
        plain_threshold = finite_threshold(parts.scores_at(plain_used, [claim.k])[0])
        parts.keep_scores_to_compare()
    calibration = Calibration(embedding, choice, config.engine.threads, group, pictures, quantised)
    fitted = calibration.fit_and_score(claim, parts, bad, promise.contamination)
    if not group.is_first:
        return 0
    used = fitted.used
    threshold = finite_threshold(parts.scores_at(used, [claim.k])[0])
    agreed: dict[str, float] | None = None
    if quantised is not None:
        scores, expected = map(np.array, parts.compared(used, COMPARED))
        agreed = check_agreement(agreement(scores, threshold, expected, plain_threshold))
        if claim.method == "cross":
            warnings.append(
                "parts that set the threshold also set the ranges of the 8-bit backbone: the claim is a little optimistic; "
                "with enough parts that `train` did not see it is not"
            )
    spread = None
    if promise.group is not None:
        spread, more = lot_spread(parts, used, claim, threshold)
        warnings += more
    warnings += suspect_warnings(parts.count("suspect"), claim, promise.contamination, unseen < n_all)
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
        distribution=ScoreDistribution.from_ranks(
            claim.n, claim.k, parts.scores_at(used, ScoreDistribution.ranks(claim.k)), partial(parts.count_upto, used)
        ),
    )
    if quantised is not None:
        made_of = {"ranges_from": [part.sha256 for part in of_ranges]}
        int8_sha256 = save_quantised(config.artifacts, quantised, embedding.sha256, made_of)
        profile = replace(profile, quantised_sha256=int8_sha256)
    now = datetime.now(UTC).isoformat(timespec="seconds")
    kept = parts.scores_at(used, evenly(claim.n, SCORES_KEPT))
    details = {
        "created_at": now,
        "version": __version__,
        "warnings": warnings,
        "scores": [round(score, 6) for score in kept],
        "parts": [part.sha256 for part in islice(parts.every(used), PARTS_KEPT)],
        "parts_sha256": parts.content(used),
        "suspects": [
            {"path": str(part.path), "score": round(score, 6)}
            for part, score in parts.farthest("suspect", SUSPECTS_KEPT)
        ],
        "confirmed_bad": [str(part.path) for part in bad],
        "int8_agreement": agreed,
        "lots": None if spread is None else {"group": promise.group, **asdict(spread)},
    }
    sha256 = save_profile(config.artifacts, profile, details)
    account = account_of(embedding, replace(profile, sha256=sha256), details, parts, used, kept, choice, str(folder))
    write_report(config.artifacts / "report.html", account)
    pictures.close()
    parts.close()
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
        "engine": {
            "kind": profile.engine_kind,
            "precision": profile.precision,
            "int8_sha256": profile.quantised_sha256 or None,
        },
        "input_size": profile.input_size,
        "recipe": profile.recipe,
        **{key: value for key, value in details.items() if key not in ("scores", "parts")},
    }


def evenly(n: int, count: int) -> list[int]:
    """At most `count` of the ranks 1 to n, evenly spaced, the first and the last included."""
    return [int(rank) for rank in np.linspace(1, n, min(n, count)).round()]


def lot_spread(parts: Parts, used: str, claim: Claim, threshold: float) -> tuple[Spread, list[str]]:
    """How the lots differ at the threshold, and where the claim is optimistic for it."""
    warnings = []
    held_out = used
    if claim.method == "split":
        new = f"({used}) AND {NEW_LOT}"
        if parts.count(new) < claim.n:
            warnings.append(
                f"{claim.n - parts.count(new)} of the parts that set the threshold are of lots of which others were trained "
                "on; they say nothing of a new lot, and make the threshold a little low for one"
            )
        if parts.count(new):
            held_out = new
    spread = spread_of(parts.scores_of_lots(held_out), threshold)
    return spread, warnings + spread.warnings(claim.headline_rate)


def suspect_warnings(suspects: int, claim: Claim, contamination: float, some_were_trained_on: bool) -> list[str]:
    """What a person has to do about the suspects, and what could not be looked at."""
    warnings = []
    if suspects:
        warnings.append(
            f"{suspects} suspects, the least normal of the parts, were kept out of centroid, whitening and "
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


def pace(text: str) -> Every:
    """Seconds, or `enter`. Raises ValueError."""
    if text == "enter":
        return "enter"
    seconds = float(text)
    if not 0 < seconds < float("inf"):
        raise ValueError(text)
    return seconds


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
        "--every", type=pace, metavar="SECONDS",
        help="with --camera: a picture every so many seconds at most, or `enter`: each time that you press Enter; needed where "
        "the camera waits for a software trigger",
    )  # fmt: skip
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
