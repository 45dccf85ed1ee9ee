"""senbetsu calibrate: normal parts -> artifacts/profile.* and report.html, with a claim that holds."""

import argparse
import json
import logging
import sqlite3
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from calibrate.account import account_of
from calibrate.fit import Calibration, Fitted
from calibrate.fitted import FittedPictures
from calibrate.flags import flags
from calibrate.kept import details_of, summary
from calibrate.live import finished, take_live
from calibrate.lots import NEW_LOT, Spread, hold_out, name_lots, spread_of
from calibrate.parts import UNSEEN, Part, Parts
from calibrate.quantise import agreement, check_agreement, quantise, set_apart, unquantised
from calibrate.reading import read_list, read_parts, take_out
from calibrate.report import write_report
from senbetsu.config import Config
from senbetsu.conformal import Claim, finite_threshold, percent
from senbetsu.distributed import Group, join_group
from senbetsu.distribution import ScoreDistribution
from senbetsu.embedding import Embedding, load_embedding
from senbetsu.engine import EngineChoice, choose_engine
from senbetsu.engine.quantised import QuantisedMaps, save_quantised
from senbetsu.errors import UserError
from senbetsu.files import check_writable
from senbetsu.lots import LotRule
from senbetsu.profile import CameraBinding, Profile, camera_settings_sha256, save_profile
from senbetsu.program import run, set_up_logging, settings_of
from senbetsu.promise import make_claim

log = logging.getLogger("calibrate")

COMPARED = 100_000
"""Parts that are judged with and without quantisation, at most."""
RANGES_WARNING = (
    "parts that set the threshold also set the ranges of the 8-bit backbone: the claim is a little optimistic; with enough "
    "parts that `train` did not see it is not"
)


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
    folder, camera = source_of_parts(arguments, config, group)
    rule = None if promise.group is None else LotRule.of(promise.group, folder)
    pictures = FittedPictures(embedding.input_size)
    parts = read_parts(folder, embedding.folds, embedding.input_size, pictures, group)
    listed = [] if arguments.confirmed_bad is None else read_list(arguments.confirmed_bad)
    bad = take_out(parts, listed, embedding.folds, folder)
    of_ranges, quantised = quantised_backbone(choice, embedding, parts, group)
    unseen, n_all = parts.count(UNSEEN), parts.count()
    log.info("%d unlike normal parts: %d were not trained on, %d were", n_all, unseen, n_all - unseen)
    claim, warnings = make_claim(
        unseen, n_all, promise.false_reject_rate, promise.confidence, contamination=promise.contamination
    )
    if rule is not None:
        name_lots(parts, rule)
    warnings += hold_out(parts, len(embedding.fold_axes), by_lot=rule is not None and claim.method == "cross")

    def fitted_by(choice: EngineChoice, quantised: QuantisedMaps | None = None) -> Fitted:
        calibration = Calibration(embedding, choice, config.engine.threads, group, pictures, quantised)
        return calibration.fit_and_score(claim, parts, bad, promise.contamination)

    def threshold_of(fitted: Fitted) -> float:
        return finite_threshold(parts.scores_at(fitted.used, [claim.k])[0])

    if quantised is not None:
        log.info("judging the parts without quantisation, to compare")
        plain_threshold = threshold_of(fitted_by(unquantised()))
        parts.keep_scores_to_compare()
    fitted = fitted_by(choice, quantised)
    if not group.is_first:
        return 0
    used, threshold = fitted.used, threshold_of(fitted)
    agreed: dict[str, float] | None = None
    if quantised is not None:
        scores, expected = map(np.array, parts.compared(used, COMPARED))
        agreed = check_agreement(agreement(scores, threshold, expected, plain_threshold))
        warnings += [RANGES_WARNING] if claim.method == "cross" else []
    spread = None
    if rule is not None:
        spread, more = lot_spread(parts, used, claim, threshold)
        warnings += more
    warnings += suspect_warnings(parts.count("suspect"), claim, promise.contamination, unseen < n_all)
    details = details_of(
        parts, used, claim.n, warnings=warnings, bad=bad, int8_agreement=agreed, spread=spread, group=promise.group
    )
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
    sha256 = save_profile(config.artifacts, profile, details)
    account = account_of(embedding, replace(profile, sha256=sha256), details, parts, used, choice, str(folder))
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


def source_of_parts(arguments: argparse.Namespace, config: Config, group: Group) -> tuple[Path, CameraBinding | None]:
    """The folder of normal parts, taken from a camera first where one is named, which the profile is bound to then."""
    if arguments.every is not None and arguments.camera is None:
        raise UserError("--every says when a camera takes a picture; it takes --camera NAME")
    if arguments.camera is None:
        return arguments.normal, None
    if group.size > 1:
        raise UserError("--camera: one process takes the parts of a camera; run it without torchrun")
    folder, section, read_back = take_live(config, arguments.camera, arguments.count, arguments.every)
    return folder, CameraBinding(section.name, camera_settings_sha256(section), read_back)


def quantised_backbone(
    choice: EngineChoice, embedding: Embedding, parts: Parts, group: Group
) -> tuple[list[Part], QuantisedMaps | None]:
    """The backbone in 8-bit integers where the engine wants it, and the parts that its ranges are of."""
    if choice.precision != "int8":
        return [], None
    if group.size > 1:
        raise UserError("engine.precision = 'int8': one process quantises the backbone; run it without torchrun")
    of_ranges = set_apart(parts)
    return of_ranges, quantise(embedding.backbone, [part.path for part in of_ranges])


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


if __name__ == "__main__":
    given = flags().parse_args()
    set_up_logging(verbose=given.verbose)
    sys.exit(run(lambda: main(given), "calibrate"))
