"""What `train` says of a run in its log, and what it keeps of it beside the model."""

import logging
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from senbetsu import __version__
from senbetsu.config import Config, TrainSection
from senbetsu.features import Features
from senbetsu.scoring import NOVELTY, STATISTICS
from train.crossfit import CrossFit
from train.depth import Learned
from train.health import UNLEARNED_SHARE, Curve, is_shrunk

log = logging.getLogger("train")


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
