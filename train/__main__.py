"""senbetsu train: normal parts (and defects) -> artifacts/embedding.*, and a picture of the feature space."""

import argparse
import logging
import sys
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from senbetsu import __version__
from senbetsu.backbone import WHEELS, find_backbone
from senbetsu.config import Config, TrainSection
from senbetsu.drawing import draw_feature_space
from senbetsu.embedding import Embedding, normal_moments, save_embedding
from senbetsu.errors import UserError
from senbetsu.features import Features, extract_features
from senbetsu.files import check_writable
from senbetsu.images import find_images, images_by_kind
from senbetsu.program import parser, run, set_up_logging, settings_of
from senbetsu.scoring import STATISTICS, Head
from train.crossfit import CrossFit, cross_fit
from train.head import learn_head, principal_head
from train.health import UNLEARNED_SHARE, Curve, is_shrunk
from train.labels import UNKNOWN, require_two_other_labels
from train.losses import LOSSES
from train.selections import SELECTIONS

log = logging.getLogger("train")

MIN_NORMALS = 4
NORMAL = "normal"
UNKNOWN_KIND = "unknown"
"""Folder under --defects of those that nobody has told apart."""


def main(arguments: argparse.Namespace) -> int:
    """The program."""
    config = settings_of(
        arguments,
        {
            **{f"train.{name}": getattr(arguments, name) for name in ("seed", "steps", "loss", "selection")},
            "model.backbone": arguments.backbone,
            "model.weights": arguments.weights,
        },
    )
    folder = config.artifacts
    check_writable(folder)
    normals, kinds = find_parts(arguments.normal, arguments.defects)
    backbone = find_backbone(config.model)
    log.info("backbone %s at %d px", backbone.name, backbone.input_size)

    normal_features = extract_features(normals, backbone, "normal parts")
    if len(normal_features) < MIN_NORMALS:
        raise UserError(
            f"{arguments.normal}: {len(normal_features)} unlike readable pictures; learning what is normal takes at least "
            f"{MIN_NORMALS}, and 50 or more are better"
        )
    kind_features = {kind: extract_features(paths, backbone, f"defects: {kind}") for kind, paths in kinds.items()}
    defects, labels, classes = gather(normal_features, kind_features)
    if defects is not None and LOSSES[config.train.loss].needs_quadruplets:
        require_two_other_labels(labels, config.train.labels_per_batch, f"--loss {config.train.loss}")
    for name, count in classes.items():
        log.info("%s: %d unlike pictures", name, count)

    crossed = cross_fit(normal_features, defects, labels, config.train)
    head, curve = learn(normal_features, defects, labels, config)
    report_evidence(crossed, defects)
    embedding = Embedding(
        backbone=backbone,
        head=head,
        fold_heads=crossed.heads,
        moments=normal_moments(head, normal_features.whole, normal_features.windows),
        fusion=crossed.fusion,
        folds=dict(zip(normal_features.sha256, (int(fold) for fold in crossed.normal_fold), strict=True)),
    )
    sha256 = save_embedding(folder, embedding, details(config, classes, curve, crossed))
    names = [UNKNOWN_KIND if label == UNKNOWN else list(classes)[label] for label in labels]
    draw(folder / "feature_space.png", normal_features, defects, names, head if defects else None)
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
    each = list(kinds.values())
    defects = Features(
        tuple(path for f in each for path in f.paths),
        tuple(sha256 for f in each for sha256 in f.sha256),
        np.concatenate([f.whole for f in each]),
        np.concatenate([f.windows for f in each]),
        (),
        0,
    )
    return defects, np.concatenate(labels), classes


def learn(
    normals: Features, defects: Features | None, labels: np.ndarray[Any, Any], config: Config
) -> tuple[Head, Curve | None]:
    """The head on all parts; without defects there is nothing to learn from, and the log says what is done instead."""
    if defects is None:
        log.warning(
            "no defects (--defects): nothing can be learned by contrast. The score is the novelty distance of the frozen "
            "backbone's features alone; the 64-d embedding is the normals' leading directions and has no share in it. "
            "Train again when there are defects to show"
        )
        return principal_head(normals.whole), None
    whole = np.concatenate([normals.whole, defects.whole])
    head, curve = learn_head(whole, labels, np.arange(len(whole)) < len(normals), config.train, "learning")
    if curve is not None:
        report_learning(curve, config.train)
    return head, curve


def report_learning(curve: Curve, settings: TrainSection) -> None:
    """How it went, and a warning where it hardly went anywhere."""
    final = curve.final
    log.info(
        "learned %d steps, %d of them without a triplet: loss %.3f -> %.3f (that of a point: %.3f), active share of %s "
        "%.2f -> %.2f",
        curve.steps, curve.empty_steps, curve.loss[0], curve.loss[-1], curve.point_loss, settings.selection,
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
    weights = ", ".join(f"{n} {w:.2f}" for n, w in zip(STATISTICS, crossed.fusion.weights, strict=True))
    log.info("weights of the statistics in the score: %s", weights)
    if defects is None:
        return
    share = crossed.fusion.weights[0]
    if not crossed.auroc_by_share:
        log.info("%d defects are too few to prove that the learned distance helps: it has no share", len(defects))
    else:
        log.info(
            "held-out defects against held-out normals: AUROC %.4f without the learned distance, %.4f with a share of %.2f",
            crossed.auroc_by_share[0.0], crossed.auroc_by_share[share], share,
        )  # fmt: skip


def details(config: Config, classes: dict[str, int], curve: Curve | None, crossed: CrossFit) -> dict[str, Any]:
    """What a person may want to know of this model later."""
    return {
        "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "version": __version__,
        "learned": curve is not None,
        "classes": classes,
        "settings": config.train.model_dump(mode="json"),
        "curve": None if curve is None else {**asdict(curve), "final": curve.final._asdict()},
        "fusion": {"statistics": STATISTICS, **asdict(crossed.fusion)},
        "held_out_auroc_by_metric_share": {f"{s:.2f}": round(v, 6) for s, v in crossed.auroc_by_share.items()},
    }


def draw(
    path: Path,
    normals: Features,
    defects: Features | None,
    names: list[str],
    head: Head | None,
) -> None:
    """The feature space before and after learning."""
    whole = normals.whole if defects is None else np.concatenate([normals.whole, defects.whole])
    spread = np.maximum(normals.whole.std(0), 1e-3)
    before = (whole - normals.whole.mean(0)) / spread
    after = None if head is None else head.embed(whole)
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
    command.add_argument("--loss", choices=list(LOSSES), help="default: triplet")
    command.add_argument("--selection", choices=list(SELECTIONS), help="triplets to learn from; default: semihard")
    return command


if __name__ == "__main__":
    given = flags().parse_args()
    set_up_logging(verbose=given.verbose)
    sys.exit(run(lambda: main(given), "train"))
