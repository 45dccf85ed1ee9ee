"""What the report shows of a calibration, gathered from what was fitted and from the pictures themselves."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from calibrate.parts import Parts
from calibrate.report import LotRow, Report, Shown
from senbetsu.embedding import Embedding
from senbetsu.engine import EngineChoice
from senbetsu.errors import ImageError
from senbetsu.features import Features, extract_features
from senbetsu.fitting import fit
from senbetsu.heat import heat_map, lay_over
from senbetsu.images import read_image
from senbetsu.picture_quality import PictureQuality, quality_of
from senbetsu.profile import Profile
from senbetsu.scoring import STATISTICS

FARTHEST = 12
MOST_SUSPECTS = 48
"""Suspects that are shown as pictures."""
THUMBNAIL = 160
SAMPLE = 300
"""Parts that are drawn in the feature space and measured for exposure and sharpness, evenly chosen: enough to see, and
little enough to keep."""


def account_of(
    embedding: Embedding,
    profile: Profile,
    details: Mapping[str, Any],
    parts: Parts,
    used: str,
    choice: EngineChoice,
    where: str,
) -> Report:
    """Everything on the page.

    Args:
        details: the profile's JSON as far as the page shows it: created_at, version, warnings, scores; suspects
            ({path, score}) and lots ({lots: [{lot, parts, rejected}]}) if there are any.
        parts: all of them.
        used: which set the threshold.
        where: where the parts came from.
    """
    claim = profile.claim
    score_of = {part.path: score for part, score in parts.farthest(used, FARTHEST)}
    farthest = list(score_of)
    suspects = details.get("suspects") or []
    suspected = [Path(suspect["path"]) for suspect in suspects[:MOST_SUSPECTS]]
    chosen = [part.path for part in parts.evenly(used, SAMPLE)]
    wanted = list(dict.fromkeys([*farthest, *suspected, *chosen]))
    features = extract_features(wanted, embedding.backbone, "report")
    shown = _shown(profile, features, [*farthest, *suspected])
    facts = [
        ("date", str(details["created_at"])),
        ("normal parts", where),
        ("method", "split conformal" if claim.method == "split" else "cross-conformal: every part served twice"),
        ("n, k", f"{claim.n}, {claim.k}"),
        ("threshold", f"{profile.threshold:.6f}"),
        (
            "weights of the statistics",
            ", ".join(f"{n} {w:.2f}" for n, w in zip(STATISTICS, profile.scorer.fusion.weights, strict=True)),
        ),
        ("engine", f"{choice.kind}, {choice.precision}"),
        ("input size", f"{profile.input_size} px"),
        ("recipe", str(profile.recipe)),
        ("model SHA-256", profile.model_sha256),
        ("profile SHA-256", profile.sha256),
        ("senbetsu", str(details["version"])),
    ]
    return Report(
        claim=claim.sentence(),
        readings=claim.readings(),
        warnings=details["warnings"],
        scores=np.array(details["scores"]),
        threshold=profile.threshold,
        farthest=[Shown(str(path), score_of[path], *shown[path]) for path in farthest if path in shown],
        facts=facts,
        embeddings=embedding.axes.head.embed(features.head_rows),
        embedded=[str(path) for path in features.paths],
        centroid=profile.scorer.metric.centroid.reshape(-1),
        qualities=_qualities(chosen),
        suspects=[
            Shown(suspect["path"], suspect["score"], *shown[Path(suspect["path"])])
            for suspect in suspects
            if Path(suspect["path"]) in shown
        ],
        suspect_count=parts.count("suspect"),
        lots=[
            LotRow(lot["lot"], lot["parts"], lot["rejected"]) for lot in (details.get("lots") or {"lots": ()})["lots"]
        ],
    )


def _shown(
    profile: Profile, features: Features, paths: Sequence[Path]
) -> dict[Path, tuple[NDArray[np.uint8], NDArray[np.uint8]]]:
    """Each picture as it is and with the heat map over it, both (160, 160, 3) BGR; duplicates of others are missing."""
    at = {path: index for index, path in enumerate(features.paths)}
    here = [path for path in dict.fromkeys(paths) if path in at]
    heats = heat_map(profile.scorer, features.take([at[path] for path in here]))
    shown = {}
    for path, heat in zip(here, heats, strict=True):
        thumbnail = np.zeros((THUMBNAIL, THUMBNAIL, 3), np.uint8)
        fit(read_image(path), thumbnail)
        shown[path] = (thumbnail, lay_over(thumbnail, heat))
    return shown


def _qualities(paths: Sequence[Path]) -> list[tuple[str, PictureQuality]]:
    qualities = []
    for path in tqdm(paths, desc="exposure, sharpness", unit="picture", disable=None, leave=False):
        try:
            qualities.append((str(path), quality_of(read_image(path))))
        except ImageError:
            continue  # it could be read a moment ago; the page only shows what there is to see
    return qualities
