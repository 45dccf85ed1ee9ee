"""What `calibrate` leaves behind, and what judges: centroids, whitening, weights, threshold, and the claim.

A profile is bound to the model, input size, preprocessing, engine and precision that it was calibrated with, and to the
camera's settings where a camera of the line took the parts; on any other it is refused.
"""

import hashlib
import json
import logging
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from senbetsu.artifacts import Tensors, finite, load_artifact, save_artifact
from senbetsu.camera.interface import CameraSettings
from senbetsu.camera.settings import differences
from senbetsu.config import CameraSection, Config
from senbetsu.conformal import Claim
from senbetsu.distribution import ScoreDistribution
from senbetsu.embedding import Embedding
from senbetsu.engine.load import EngineChoice
from senbetsu.errors import ArtifactError
from senbetsu.fitting import PREPROCESSING
from senbetsu.places import Places
from senbetsu.scoring import Scorer
from senbetsu.whitening import Whitening

log = logging.getLogger(__name__)

NAME = "profile"
PLACES = ("mean", "context_mean", "regression", "whitening", "scale")


NOT_OF_THE_PICTURE = frozenset(("name", "gate", "trigger", "rate_hz", "loop", "buffer_frames", "silent_ms"))
"""Settings of a camera that do not change what it sees. Whatever else there is does."""


@dataclass(frozen=True, slots=True)
class CameraBinding:
    """The camera that the calibration's parts were taken with."""

    name: str
    settings_sha256: str
    """Of the config's."""
    read_back: CameraSettings = field(default_factory=dict)
    """As the camera told them itself; empty where it tells none."""


def camera_settings_sha256(section: CameraSection) -> str:
    """Of all settings that have to do with what the camera sees."""
    settings = section.model_dump(mode="json", exclude=set(NOT_OF_THE_PICTURE))
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True, slots=True, eq=False)
class Profile:
    """Everything that judges a part but the network itself."""

    scorer: Scorer
    threshold: float
    claim: Claim
    input_size: int
    engine_kind: str
    precision: str
    model_sha256: str
    recipe: int
    distribution: ScoreDistribution | None = None
    """Of the calibration's scores, for whoever watches for drift; None: nobody can."""
    preprocessing: int = PREPROCESSING
    """Number of the way from a frame to the network's input."""
    camera: CameraBinding | None = None
    """None: the parts came from a folder."""
    quantised_sha256: str = ""
    """Of the 8-bit backbone that it was calibrated with (senbetsu.engine.quantised); precision int8 alone has one."""
    sha256: str = ""
    """Of profile.json, which carries that of profile.safetensors: it covers the threshold and all numbers."""


def save_profile(folder: Path, profile: Profile, details: dict[str, Any]) -> str:
    """Write `profile.*`; `details` go into the JSON. Returns the profile's SHA-256."""
    tensors: Tensors = {}
    for name in ("metric", "whole", "windows"):
        whitening: Whitening = getattr(profile.scorer, name)
        tensors[f"{name}.centroid"] = whitening.centroid.astype(np.float32)
        tensors[f"{name}.directions"] = whitening.directions.astype(np.float32)
        tensors[f"{name}.variances"] = whitening.variances
        tensors[f"{name}.rest_variance"] = np.array([whitening.rest_variance])
    for name in PLACES:
        tensors[f"places.{name}"] = getattr(profile.scorer.places, name)
    tensors["places.rest"] = np.array([profile.scorer.places.rest])
    document = {
        "model_sha256": profile.model_sha256,
        "input_size": profile.input_size,
        "engine": {
            "kind": profile.engine_kind,
            "precision": profile.precision,
            "int8_sha256": profile.quantised_sha256 or None,
        },
        "preprocessing": profile.preprocessing,
        "camera": None if profile.camera is None else asdict(profile.camera),
        "recipe": profile.recipe,
        "threshold": profile.threshold,
        "claim": asdict(profile.claim),
        "claim_sentence": profile.claim.sentence(),
        "score_distribution": None if profile.distribution is None else asdict(profile.distribution),
        **details,
    }
    save_artifact(folder, NAME, tensors, document)
    return _sha256(folder)


def load_profile(folder: Path, embedding: Embedding) -> Profile:
    """Read `profile.*`.

    Raises:
        ArtifactError: missing, damaged, a threshold that is not a finite positive number, or made for another model.
    """
    tensors, document = load_artifact(folder, NAME, "calibrate")
    where = folder / f"{NAME}.json"
    if document.get("model_sha256") != embedding.sha256:
        raise ArtifactError(
            f"{where}: calibrated for the model {str(document.get('model_sha256'))[:12]}, but {folder}/embedding.* is "
            f"{embedding.sha256[:12]}; run `senbetsu calibrate` again"
        )
    threshold = finite(document, "threshold", where, "calibrate")
    if threshold <= 0:
        raise ArtifactError(f"{where}: threshold = {threshold}: must be over 0; run `senbetsu calibrate` again")
    try:
        scorer = Scorer(
            embedding.axes.head, _whitening(tensors, "metric"), _whitening(tensors, "whole"), _whitening(tensors, "windows"),
            _places(tensors, embedding),
            embedding.fusion,
        )  # fmt: skip
        return Profile(
            scorer=scorer,
            threshold=threshold,
            claim=Claim(**document["claim"]),
            input_size=int(document["input_size"]),
            engine_kind=str(document["engine"]["kind"]),
            precision=str(document["engine"]["precision"]),
            model_sha256=embedding.sha256,
            recipe=int(document["recipe"]),
            distribution=_distribution(document["score_distribution"]),
            preprocessing=int(document["preprocessing"]),
            camera=None if document["camera"] is None else CameraBinding(**document["camera"]),
            quantised_sha256=str(document["engine"].get("int8_sha256") or ""),
            sha256=_sha256(folder),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ArtifactError(f"{where}: incomplete ({error!r}); run `senbetsu calibrate` again") from error


def check_binding(profile: Profile, embedding: Embedding, choice: EngineChoice, folder: Path) -> None:
    """Refuse to judge with another engine, precision, input size or preprocessing than was calibrated.

    Raises:
        ArtifactError: says what differs and what to run.
    """
    bound = (profile.engine_kind, profile.precision, profile.input_size)
    here = (choice.kind, choice.precision, embedding.input_size)
    if bound != here:
        raise ArtifactError(
            f"{folder}/{NAME}.json: calibrated with engine {bound[0]}, {bound[1]}, {bound[2]} px, but here it would run "
            f"with {here[0]}, {here[1]}, {here[2]} px; run `senbetsu calibrate` on this machine, or set engine.kind and "
            "engine.precision to what it was calibrated with"
        )
    if profile.preprocessing != PREPROCESSING:
        raise ArtifactError(
            f"{folder}/{NAME}.json: calibrated with preprocessing {profile.preprocessing}, but this version of senbetsu "
            f"prepares pictures by {PREPROCESSING}; run `senbetsu calibrate` again"
        )


def check_recipe_binding(recipe: int | None, config: Config) -> None:
    """Refuse to watch with a profile of another recipe than these settings are of: it may have been copied or renumbered.

    Args:
        recipe: the profile's; None: nothing is known of it.

    Raises:
        ArtifactError: says which recipe and what to run.
    """
    if recipe is not None and recipe != config.recipe:
        raise ArtifactError(
            f"{config.artifacts}/{NAME}.json: calibrated as recipe {recipe}, but this is recipe {config.recipe} (recipe.toml "
            f"beside it, or `recipe` in the config); run `senbetsu calibrate --artifacts {config.artifacts}` with parts of "
            "this recipe, or give it its number back"
        )


def check_camera_binding(camera: CameraBinding | None, config: Config) -> None:
    """Refuse to watch through a camera that was set otherwise when it took the calibration's parts.

    Raises:
        ArtifactError: says which camera and what to run.
    """
    if camera is None:
        return
    where = f"{config.artifacts}/{NAME}.json: calibrated with pictures of camera {camera.name}"
    again = f"run `senbetsu calibrate --camera {camera.name}` again, or set the camera as it was"
    section = next((section for section in config.cameras if section.name == camera.name), None)
    if section is None:
        raise ArtifactError(f"{where}, which is not configured; {again}")
    if camera_settings_sha256(section) != camera.settings_sha256:
        raise ArtifactError(f"{where}, whose settings (cameras.{camera.name}) have changed since; {again}")
    for other in config.cameras:
        if other.name != camera.name:
            log.warning("%s; the claim says nothing of camera %s", where, other.name)


def check_read_back(camera: CameraBinding | None, found: Callable[[str], CameraSettings]) -> None:
    """As `check_camera_binding`, of what the camera reads back now; nothing is said of one that is not connected."""
    changed = "" if camera is None else differences(camera.read_back, found(camera.name))
    if camera is not None and changed:
        raise ArtifactError(f"calibrated with camera {camera.name} set otherwise: {changed}")


def _distribution(recorded: dict[str, Any] | None) -> ScoreDistribution | None:
    if recorded is None:
        return None
    return ScoreDistribution(tuple(recorded["upper_edges"]), tuple(recorded["counts"]), int(recorded["n"]))


def _whitening(tensors: Tensors, name: str) -> Whitening:
    return Whitening(
        tensors[f"{name}.centroid"].astype(np.float64),
        tensors[f"{name}.directions"].astype(np.float64),
        tensors[f"{name}.variances"].astype(np.float64),
        float(tensors[f"{name}.rest_variance"][0]),
    )


def _places(tensors: Tensors, embedding: Embedding) -> Places:
    mean, context_mean, regression, whitening, scale = (tensors[f"places.{name}"] for name in PLACES)
    rest = float(tensors["places.rest"][0])
    return Places(embedding.axes.frame, mean, context_mean, regression, whitening, scale, rest)


def _sha256(folder: Path) -> str:
    return hashlib.sha256((folder / f"{NAME}.json").read_bytes()).hexdigest()
