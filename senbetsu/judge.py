"""What every program that judges parts loads: the model, the profile, and the engine that they are folded into."""

from dataclasses import dataclass

from senbetsu.config import Config
from senbetsu.distribution import ScoreDistribution
from senbetsu.embedding import load_embedding
from senbetsu.engine import Engine, batch_sizes_up_to, build_engine, choose_engine, streams_of
from senbetsu.engine.quantised import load_quantised
from senbetsu.profile import CameraBinding, check_binding, load_profile


@dataclass(frozen=True, slots=True)
class Judge:
    """An engine ready to score, and the threshold that decides."""

    engine: Engine
    threshold: float
    model_sha256: str
    profile_sha256: str
    samples: int
    """Normal parts behind the threshold."""
    false_reject_bound: float
    """Share of good parts rejected, as claimed."""
    distribution: ScoreDistribution | None = None
    """Of the calibration's scores; None: drift cannot be watched for."""
    camera: CameraBinding | None = None
    """The camera that took the calibration's parts; None: they came from a folder."""
    recipe: int | None = None
    """The number that was calibrated as; None: not known."""
    backbone: str = ""
    """Name of the network behind the features."""


def load_judge(config: Config, *, for_line: bool = False) -> Judge:
    """Load and warm up what judges: pictures in batches, or `for_line` whatever comes, as soon as possible.

    Raises:
        ArtifactError: artefacts are missing, damaged, or bound to another model, engine or precision.
        ConfigError: the engine that is asked for is not here.
    """
    embedding = load_embedding(config.artifacts, config.model)
    profile = load_profile(config.artifacts, embedding)
    choice = choose_engine(config.engine)
    check_binding(profile, embedding, choice, config.artifacts)
    sizes = batch_sizes_up_to(config.engine.max_batch)
    quantised = None
    if choice.precision == "int8":
        quantised = load_quantised(config.artifacts, embedding.sha256, profile.quantised_sha256)
    streams = streams_of(config.engine, choice) if for_line else 1
    engine = build_engine(profile.scorer, embedding.backbone, choice, config.engine.threads, sizes, quantised, streams)
    claim = profile.claim
    return Judge(
        engine,
        profile.threshold,
        profile.model_sha256,
        profile.sha256,
        claim.n,
        claim.headline_rate,
        profile.distribution,
        profile.camera,
        profile.recipe,
        embedding.backbone.name,
    )
