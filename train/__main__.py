"""senbetsu train: normal parts (and defects) -> artifacts/embedding.*, and a picture of the feature space."""

import argparse
import logging
import sys
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from senbetsu import __version__
from senbetsu.backbone import WHEELS, Backbone, find_backbone
from senbetsu.config import Config, TrainSection
from senbetsu.distributed import Group, join_group
from senbetsu.drawing import draw_feature_space
from senbetsu.embedding import Axes, Embedding, normal_moments, save_embedding
from senbetsu.errors import UserError
from senbetsu.features import Features, extract_features
from senbetsu.files import check_writable
from senbetsu.images import find_images, images_by_kind
from senbetsu.places import PlaceFrame
from senbetsu.program import parser, run, set_up_logging, settings_of
from senbetsu.scoring import NOVELTY, STATISTICS
from train.crossfit import CrossFit, cross_fit, hidden_kinds
from train.damage.drawing import draw_damage
from train.depth import Learned, Learner, Tuner
from train.head import principal_head
from train.health import UNLEARNED_SHARE, Curve, is_shrunk
from train.judge import DamagedParts, Pictures, damage_parts
from train.labels import UNKNOWN, require_two_other_labels
from train.losses import LOSSES
from train.pictures import load_pictures
from train.selections import SELECTIONS
from train.teacher import with_damage

log = logging.getLogger("train")

MIN_NORMALS = 4
NORMAL = "normal"
UNKNOWN_KIND = "unknown"
"""Folder under --defects of those that nobody has told apart."""


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
                for name in ("seed", "steps", "loss", "selection", "depth", "teach_damage")
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
    if group.size > 1 and not deep:
        raise UserError(
            f"{group.size} processes: a head is learned by one, in seconds; start without torchrun, or with --depth blocks "
            "or all"
        )
    if group.is_first:
        check_writable(folder)
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
    if defects is not None and LOSSES[config.train.loss].needs_quadruplets:
        known = np.append(labels, labels.max() + 1) if config.train.teach_damage else labels
        require_two_other_labels(known, config.train.labels_per_batch, f"--loss {config.train.loss}")
    for name, count in classes.items():
        log.info("%s: %d unlike pictures", name, count)

    with group.first_goes_ahead():
        damage = judge_by_damage(normal_features, backbone, config, folder / "damage.png" if group.is_first else None)
    tuner = prepare_tuning(normal_features, defects, labels, backbone, config.train, group) if deep else None
    crossed = cross_fit(normal_features, defects, labels, damage, config.train, tuner)
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


def find_parts(normal: Path, defects: Path | None) -> tuple[list[Path], dict[str, list[Path]]]:
    """Pictures of normal parts, and of defects by kind."""
    kinds = {} if defects is None else images_by_kind(defects)
    if defects is not None and NORMAL in kinds:
        raise UserError(f"{defects / NORMAL}: a kind of defect cannot be called {NORMAL!r}; rename the folder")
    return find_images([normal]), kinds


def gather(
    normals: Features, kinds: dict[str, Features]
) -> tuple[Features | None, np.ndarray[Any, Any], dict[str, int]]:
    """All defects as one, the label of every part (normals first), and how many parts each class has.

    Labels number the classes in their order, normal 0; defects of the kind "unknown" come last, as train.labels.UNKNOWN.

    Raises:
        UserError: the same picture is shown as normal and as a defect.
    """
    labels = [np.zeros(len(normals), np.int64)]
    classes = {NORMAL: len(normals)}
    known = dict(zip(normals.sha256, normals.paths, strict=True))
    kinds = dict(sorted(kinds.items(), key=lambda item: item[0] == UNKNOWN_KIND))
    for number, (kind, features) in enumerate(kinds.items(), 1):
        for sha256, path in zip(features.sha256, features.paths, strict=True):
            if sha256 in known:
                raise UserError(
                    f"{path}: the same picture as {known[sha256]}; a part is normal or of one kind of defect"
                )
            known[sha256] = path
        labels.append(np.full(len(features), UNKNOWN if kind == UNKNOWN_KIND else number, np.int64))
        classes[kind] = len(features)
    if not kinds:
        return None, labels[0], classes
    return Features.joined(list(kinds.values())), np.concatenate(labels), classes


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
    folds = min(settings.folds, len(normals))
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


def report_learning(curve: Curve, settings: TrainSection, what: str) -> None:
    """How it went, and a warning where it hardly went anywhere."""
    final = curve.final
    log.info(
        "%s %d steps, %d of them without a triplet: loss %.3f -> %.3f (that of a point: %.3f), active share of %s "
        "%.2f -> %.2f",
        what, curve.steps, curve.empty_steps, curve.loss[0], curve.loss[-1], curve.point_loss, settings.selection,
        curve.active_share[0], curve.active_share[-1],
    )  # fmt: skip
    log.info(
        "the embedding: mean squared distance %.3f between like parts, %.3f between unlike ones; effective rank %.1f",
        final.positive_distance, final.negative_distance, final.effective_rank,
    )  # fmt: skip
    if is_shrunk(curve, settings):
        log.warning("all parts lie nearly in one point, though in order; --selection semihard spreads them")
    if final.inverted_share > UNLEARNED_SHARE:
        log.warning(
            "in %.0f %% of all triplets the part of another label is still the nearer one (chance: 50 %%); see that no part "
            "lies in the folder of another kind, or give it more --steps",
            100 * final.inverted_share,
        )


def report_evidence(crossed: CrossFit, defects: Features | None) -> None:
    """Say which statistic got which weight, and why."""
    judgement, share = crossed.judgement, crossed.share
    if judgement.auroc:
        for name, weight in zip(NOVELTY, judgement.weights, strict=True):
            log.info(
                "weight of %s: %.2f; it tells damage made on purpose from held-out normals with AUROC %.3f",
                name, weight, judgement.auroc[name],
            )  # fmt: skip
        log.info(
            "places: weight %.1f of what their leading directions leave over (AUROC %s)",
            judgement.rest_weight,
            ", ".join(f"{weight:.1f}: {area:.3f}" for weight, area in judgement.auroc_by_rest_weight.items()),
        )
    else:
        log.info("train.judge_pictures = 0: the statistics of the novelty gauge weigh the same")
    if defects is None:
        return
    if not share.seen:
        log.info("%d defects are too few to prove that the learned distance helps: its weight is 0", len(defects))
        return
    log.info(
        "weight of the learned distance: %.2f; held-out defects of the kinds shown: AUROC %.4f without it, %.4f with it",
        share.weight, share.seen[0.0], share.seen[share.weight],
    )  # fmt: skip
    if share.hidden:
        log.info(
            "kinds hidden from learning: AUROC %.4f without it, %.4f with it (mean over kinds)",
            share.hidden[0.0], share.hidden[share.weight],
        )  # fmt: skip
    else:
        log.info("no second kind of defect to hide, so what it does to unseen kinds is not proven")


def details(config: Config, classes: dict[str, int], learned: Learned, crossed: CrossFit) -> dict[str, Any]:
    """What a person may want to know of this model later."""
    curves = {"curve": learned.head_curve, "tuning_curve": learned.tuning_curve}
    return {
        "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "version": __version__,
        "learned": learned.head_curve is not None,
        "tuned": None
        if learned.tuned is None
        else {"sha256": learned.tuned.sha256, "tensors": len(learned.tuned.tensors)},
        "classes": classes,
        "settings": config.train.model_dump(mode="json"),
        **{
            name: None if curve is None else {**asdict(curve), "final": curve.final._asdict()}
            for name, curve in curves.items()
        },
        "fusion": {"statistics": STATISTICS, **asdict(crossed.fusion)},
        "judgement": asdict(crossed.judgement),
        "metric_weight": asdict(crossed.share),
    }


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
    command.add_argument("--loss", choices=list(LOSSES), help="default: triplet")
    command.add_argument("--selection", choices=list(SELECTIONS), help="triplets to learn from; default: semihard")
    return command


if __name__ == "__main__":
    given = flags().parse_args()
    set_up_logging(verbose=given.verbose)
    sys.exit(run(lambda: main(given), "train"))
