"""senbetsu train: normal parts (and defects) -> artifacts/embedding.*, and a picture of the feature space."""

import argparse
import logging
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from senbetsu.backbone import WHEELS, Backbone, find_backbone
from senbetsu.config import Config, TrainSection
from senbetsu.distributed import Group, join_group
from senbetsu.drawing import draw_feature_space
from senbetsu.embedding import Axes, Embedding, normal_moments, save_embedding
from senbetsu.errors import UserError
from senbetsu.features import Features, extract_features
from senbetsu.files import check_writable
from senbetsu.lots import LotRule
from senbetsu.places import PlaceFrame
from senbetsu.program import parser, run, set_up_logging, settings_of
from train.crossfit import Ground, cross_fit, hidden_kinds
from train.damage.drawing import draw_damage
from train.depth import Learned, Learner, Tuner
from train.head import principal_head
from train.judge import DamagedParts, Pictures, damage_parts
from train.labels import UNKNOWN, require_two_other_labels
from train.losses import LOSSES
from train.pictures import load_pictures
from train.report import details, report_evidence, report_learning
from train.selections import SELECTIONS
from train.shown import NORMAL, UNKNOWN_KIND, find_parts, gather, held_back
from train.teacher import with_damage

log = logging.getLogger("train")

MIN_NORMALS = 4
MIN_LEFT = 2
"""Normal parts that are left where the largest lot is left out."""


def main(arguments: argparse.Namespace) -> int:
    """The program, in each of the processes that torchrun started, or in the only one."""
    with join_group() as group:
        if not group.is_first:
            logging.getLogger().setLevel(logging.ERROR)
        return train(arguments, group)


def train(arguments: argparse.Namespace, group: Group) -> int:
    """What all processes do together; only the first of them writes, logs and draws."""
    config = settings_of(
        arguments,
        {
            **{
                f"train.{name}": getattr(arguments, name)
                for name in ("seed", "steps", "loss", "selection", "depth", "teach_damage", "group", "hold_back")
            },
            "model.backbone": arguments.backbone,
            "model.weights": arguments.weights,
        },
    )
    folder = config.artifacts
    deep = config.train.depth != "head"
    if deep and arguments.defects is None:
        raise UserError(
            f"--depth {config.train.depth}: fine-tuning learns by contrast, and there are no defects; show some with "
            "--defects, or leave --depth out"
        )
    if config.train.teach_damage and (deep or arguments.defects is None or config.train.judge_pictures == 0):
        raise UserError(
            "--teach-damage: damage made on purpose teaches the head beside real defects; it takes --defects, --depth head "
            "and train.judge_pictures > 0"
        )
    if config.train.hold_back and config.train.group is not None:
        raise UserError(
            "--hold-back and --group: parts are held back one by one, which would leave parts of the same lots to learn from; "
            "keep whole lots out of --normal instead, and show them to calibrate"
        )
    if group.size > 1 and not deep:
        raise UserError(
            f"{group.size} processes: a head is learned by one, in seconds; start without torchrun, or with --depth blocks "
            "or all"
        )
    if group.is_first:
        check_writable(folder)
    rule = None if config.train.group is None else LotRule.of(config.train.group, arguments.normal)
    normals, kinds = find_parts(arguments.normal, arguments.defects)
    backbone = find_backbone(config.model)
    log.info("backbone %s at %d px", backbone.name, backbone.input_size)

    with group.first_goes_ahead():
        normal_features = extract_features(normals, backbone, "normal parts")
        kind_features = {kind: extract_features(paths, backbone, f"defects: {kind}") for kind, paths in kinds.items()}
    if len(normal_features) < MIN_NORMALS:
        raise UserError(
            f"{arguments.normal}: {len(normal_features)} unlike readable pictures; learning what is normal takes at least "
            f"{MIN_NORMALS}, and 50 or more are better"
        )
    defects, labels, classes = gather(normal_features, kind_features)
    if config.train.hold_back:
        held = held_back(normal_features, config.train.hold_back, MIN_NORMALS)
        normal_features, labels = normal_features.take(~held), labels[config.train.hold_back :]
        classes[NORMAL] = len(normal_features)
        log.info(
            "%d normal pictures are held back; calibrate with the same folder, and these alone set the threshold",
            config.train.hold_back,
        )
    if defects is not None and LOSSES[config.train.loss].needs_quadruplets:
        known = np.append(labels, labels.max() + 1) if config.train.teach_damage else labels
        require_two_other_labels(known, config.train.labels_per_batch, f"--loss {config.train.loss}")
    for name, count in classes.items():
        log.info("%s: %d unlike pictures", name, count)

    lots = None if rule is None else lots_to_leave_out(normal_features, config.train, rule)
    with group.first_goes_ahead():
        damage = judge_by_damage(normal_features, backbone, config, folder / "damage.png" if group.is_first else None)
    ground = Ground(normal_features, config.train, lots)
    tuner = prepare_tuning(normal_features, defects, labels, ground, backbone, config.train, group) if deep else None
    crossed = cross_fit(normal_features, defects, labels, damage, config.train, tuner, ground)
    learned = learn(normal_features, defects, labels, config, tuner, damage if config.train.teach_damage else None)
    if not group.is_first:
        return 0
    report_evidence(crossed, defects)
    normal_features = learned.seen_by(normal_features, 0)
    axes = Axes(learned.head, PlaceFrame.of(normal_features.context, normal_features.places), learned.tuned)
    embedding = Embedding(
        backbone=axes.backbone(backbone),
        axes=axes,
        fold_axes=crossed.axes,
        moments=normal_moments(axes, normal_features),
        fusion=crossed.fusion,
        rest_weight=crossed.judgement.rest_weight,
        folds=dict(zip(normal_features.sha256, (int(fold) for fold in crossed.normal_fold), strict=True)),
    )
    sha256 = save_embedding(folder, embedding, details(config, classes, learned, crossed))
    names = [UNKNOWN_KIND if label == UNKNOWN else list(classes)[label] for label in labels]
    draw(folder / "feature_space.png", normal_features, defects, names, learned if defects else None)
    log.info("wrote %s/embedding.safetensors, .json (model %s) and feature_space.png", folder, sha256[:12])
    log.info(
        "next: senbetsu calibrate --normal DIR --artifacts %s, best with normal parts that were not used here", folder
    )
    return 0


def lots_to_leave_out(normals: Features, settings: TrainSection, rule: LotRule) -> list[str]:
    """The lot of each normal part.

    Raises:
        UserError: a part has none by the rule, there is one lot, or all but one or two parts are of one.
    """
    lots = rule.lots_of(normals.paths)
    sizes = Counter(lots)
    left = len(lots) - max(sizes.values())
    if left < MIN_LEFT:
        raise UserError(
            f"--group {settings.group}: {max(sizes.values())} of {len(lots)} normal parts are of one lot, of {len(sizes)} in "
            f"all; without it {left} are left to learn from. Show parts of two lots or more, or leave --group out"
        )
    log.info("%d lots, left out whole in %d folds", len(sizes), min(settings.folds, len(sizes)))
    return lots


def judge_by_damage(normals: Features, backbone: Backbone, config: Config, picture: Path | None) -> DamagedParts | None:
    """Damaged copies for the judge, and a picture of such damage for a person to judge; None where it is turned off."""
    count = config.train.judge_pictures
    if count == 0:
        return None
    if picture is not None:
        random = np.random.default_rng(config.train.seed)
        draw_damage(picture, Pictures(normals.paths, backbone.input_size), random)
    return damage_parts(normals, backbone, count, config.train.seed)


def prepare_tuning(
    normals: Features,
    defects: Features | None,
    labels: np.ndarray[Any, Any],
    ground: Ground,
    backbone: Backbone,
    settings: TrainSection,
    group: Group,
) -> Tuner:
    """All pictures in memory, for fine-tuning; and how often it will be done.

    Raises:
        UserError: a picture can no longer be read, in any of the processes.
    """
    paths = [*normals.paths, *(() if defects is None else defects.paths)]
    with group.together():
        pictures = load_pictures(paths, backbone.input_size)
    folds = int(ground.normal_fold.max()) + 1
    hidden = sum(len(kinds) for kinds in hidden_kinds(labels, folds).values())
    log.info(
        "fine-tuning %s on %s, %d process%s: %d runs of %d steps (each of %d folds left out, %d kinds of defect hidden, all)",
        settings.depth, group.device, group.size, "es" if group.size > 1 else "", folds + hidden + 1, settings.tune_steps,
        folds, hidden,
    )  # fmt: skip
    return Tuner(backbone, pictures, settings, group)


def learn(
    normals: Features,
    defects: Features | None,
    labels: np.ndarray[Any, Any],
    config: Config,
    tuner: Tuner | None,
    teacher: DamagedParts | None,
) -> Learned:
    """The head, or more, on all parts; without defects there is nothing to learn, and the log says what is done instead."""
    if defects is None:
        log.warning(
            "no defects (--defects): nothing can be learned by contrast. The score is the novelty distance of the frozen "
            "backbone's features alone; the 64-d embedding is the normals' leading directions and has no share in it. "
            "Train again when there are defects to show"
        )
        return Learned(principal_head(normals.head_rows), normals.head_rows, None, None, None)
    rows = np.concatenate([normals.head_rows, defects.head_rows])
    rows, labels = with_damage(rows, labels, teacher)
    learned = Learner(rows, labels, config.train, tuner).learn(np.ones(len(labels), bool), "learning")
    learned = replace(learned, rows=learned.rows[: len(normals) + len(defects)])  # the real parts'
    for what, curve in (("the head learned", learned.head_curve), ("fine-tuned", learned.tuning_curve)):
        if curve is not None:
            report_learning(curve, config.train, what)
    return learned


def draw(
    path: Path,
    normals: Features,
    defects: Features | None,
    names: list[str],
    learned: Learned | None,
) -> None:
    """The feature space before and after learning."""
    normal_rows = normals.frozen_rows
    rows = normal_rows if defects is None else np.concatenate([normal_rows, defects.frozen_rows])
    before = (rows - normal_rows.mean(0)) / np.maximum(normal_rows.std(0), 1e-3)
    after = None if learned is None else learned.head.embed(learned.rows)
    draw_feature_space(path, before, after, names, centroid_label=NORMAL)


def flags() -> argparse.ArgumentParser:
    """The command line."""
    command = parser("train", "Learn the embedding from normal parts, and from defects where there are some.")
    command.add_argument("--normal", type=Path, required=True, metavar="DIR", help="pictures of normal parts")
    command.add_argument(
        "--defects", type=Path, metavar="DIR",
        help="pictures of defects, one folder a kind; unknown: of kinds that nobody has told apart",
    )  # fmt: skip
    command.add_argument(
        "--backbone", metavar="NAME", help=f"feature network: {', '.join(WHEELS)}, or any model of timm with --weights"
    )
    command.add_argument(
        "--weights", type=Path, metavar="FILE", help="its weights (.safetensors, .pth, .bin), timm's names"
    )
    command.add_argument(
        "--hold-back", type=int, metavar="N",
        help="learn from all normal pictures but N; `calibrate` with the same folder then sets the threshold with these",
    )  # fmt: skip
    command.add_argument("--seed", type=int, help="same seed, same result")
    command.add_argument("--steps", type=int, help="gradient steps")
    command.add_argument(
        "--depth", choices=["head", "blocks", "all"],
        help="what is learned: a head on frozen features (default), or with it the backbone's last blocks, or all of it; "
        "for several GPUs start it as torchrun --nproc-per-node N -m train ...",
    )  # fmt: skip
    command.add_argument(
        "--teach-damage", action="store_true", default=None,
        help="learn from damage made on purpose as one more kind of defect; a quadruplet loss with one real kind needs it",
    )  # fmt: skip
    command.add_argument(
        "--group", metavar="RULE",
        help="what tells lots apart, as for calibrate: a regular expression on paths ('^(lot[0-9]+)_'), a CSV of path,lot, or "
        "gap:MINUTES; the parts of a lot are left out together where what was learned is judged",
    )  # fmt: skip
    command.add_argument("--loss", choices=list(LOSSES), help="default: triplet")
    command.add_argument("--selection", choices=list(SELECTIONS), help="triplets to learn from; default: semihard")
    return command


if __name__ == "__main__":
    given = flags().parse_args()
    set_up_logging(verbose=given.verbose)
    sys.exit(run(lambda: main(given), "train"))
