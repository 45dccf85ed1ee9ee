"""The network as an OpenVINO model: exported once, kept in the cache, its constants filled in when an engine is built.

Conversion takes seconds and depends only on the network; what a profile brings arrives as extra inputs, which are turned
into constants here. So a daemon starts quickly, and a new profile needs no conversion.
"""

import hashlib
import importlib.metadata
import logging
import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
import openvino as ov
from numpy.typing import NDArray
from openvino.frontend import OpConversionFailure

from senbetsu.backbone import Backbone
from senbetsu.cache import cache_folder
from senbetsu.engine.compact import constant_of
from senbetsu.engine.quantised import QuantisedMaps
from senbetsu.errors import ConfigError
from senbetsu.files import sha256_of_code, sha256_of_file

if TYPE_CHECKING:
    from torch import nn

log = logging.getLogger(__name__)

Constants = Sequence[NDArray[np.float32]]
GRAPH, SUMS = ("graph.xml", "graph.bin"), "sha256"


CODE = (
    "backbone", "backbone_network", "stages", "network", "statistics", "places", "scoring", "scoring_network", "tuned",
    "two_fold", "maps", "weights", "whitening", "engine.convert",
)  # fmt: skip
"""Modules that the exported graph depends on."""


class MakesNetwork(Protocol):
    """A class of networks, or what imports it only when it is called."""

    @property
    def __name__(self) -> str:
        """For the key of the cache."""

    def __call__(self, backbone: Backbone, /) -> "nn.Module":
        """The network; it takes pictures (B, S, S, 3) uint8 and then the constants."""


def openvino_model(
    network: MakesNetwork,
    backbone: Backbone,
    constants: Constants = (),
    compact: bool = False,
    quantised: QuantisedMaps | None = None,
) -> ov.Model:
    """The network as a model with one input, (?, S, S, 3) uint8.

    Args:
        network: called only if the cache has no graph: only then is torch imported.
        backbone: its input size is S.
        constants: values of all further arguments, folded in.
        compact: large matrices among them as integers, see senbetsu.engine.compact.
        quantised: takes the backbone's place, with what `network` makes of maps behind it.
    """
    if quantised is None:
        pictures = np.zeros((2, backbone.input_size, backbone.input_size, 3), np.uint8)
        model = _cached_model(network.__name__, lambda: network(backbone), backbone, pictures, constants)
    else:
        model = _behind(quantised, network, backbone, constants)
    for parameter, value in zip(list(model.get_parameters())[1:], constants, strict=True):
        _fill_in(parameter, value, compact)
        model.remove_parameter(parameter)
    model.validate_nodes_and_infer_types()
    return model


def _fill_in(parameter: ov.Node, values: NDArray[np.float32], compact: bool) -> None:
    """Put values in a parameter's place; as integers where products, and nothing else, read them."""
    for user in parameter.output(0).get_target_inputs():
        as_integers = compact and user.get_node().get_type_name() == "MatMul"
        user.replace_source_output(constant_of(values, as_integers).output(0))


def _behind(quantised: QuantisedMaps, network: MakesNetwork, backbone: Backbone, constants: Constants) -> ov.Model:
    """Pictures -> quantised maps -> what the network makes of them."""
    front = quantised.model()
    front.reshape([-1, backbone.input_size, backbone.input_size, 3])
    maps = [
        np.zeros((2, *(size.get_length() for size in list(m.get_partial_shape())[1:])), np.float32)
        for m in front.outputs
    ]

    def make() -> "nn.Module":
        from senbetsu.maps import from_maps

        return from_maps(network, backbone)

    behind = _cached_model(f"{network.__name__} from maps", make, backbone, maps, constants)
    taken, left = behind.get_parameters()[: len(maps)], behind.get_parameters()[len(maps) :]
    for parameter, result in zip(taken, front.get_results(), strict=True):
        parameter.output(0).replace(result.input_value(0))
    return ov.Model(behind.get_results(), [*front.get_parameters(), *left])


def _cached_model(
    name: str,
    make: Callable[[], "nn.Module"],
    backbone: Backbone,
    example: NDArray[np.uint8] | list[NDArray[np.float32]],
    constants: Constants,
) -> ov.Model:
    folder = cache_folder() / "graphs" / _key(name, backbone, constants)
    if folder.is_dir():
        try:
            if _sums(folder) != (folder / SUMS).read_text(encoding="ascii"):
                raise RuntimeError("its content is not what was written")
            return ov.Core().read_model(folder / "graph.xml")
        except (RuntimeError, OSError, UnicodeDecodeError) as error:
            log.warning("%s: cached graph is damaged (%s); converting again", folder, error)
            shutil.rmtree(folder, ignore_errors=True)
    from senbetsu.engine.convert import convert  # with it comes torch

    log.info("converting the network for OpenVINO (once; kept in %s)", cache_folder())
    try:
        model = convert(make(), example, constants)
    except OpConversionFailure as error:
        reason = str(error).strip().splitlines()[-1].removeprefix("-- ")
        raise ConfigError(
            f"model.backbone = {backbone.name!r}: OpenVINO cannot run it ({reason}); set another backbone"
        ) from error
    _keep(model, folder)
    return model


def _sums(folder: Path) -> str:
    """Of a damaged one only a little would be noticed by whoever reads it: its weights are any numbers."""
    return " ".join(sha256_of_file(folder / name) for name in GRAPH)


def _key(name: str, backbone: Backbone, constants: Constants) -> str:
    """Whatever the exported graph depends on: code, weights, versions, shapes."""
    facts = [
        name, backbone.identity, [constant.shape for constant in constants],
        sha256_of_code(__name__, *(f"senbetsu.{module}" for module in CODE)),
        importlib.metadata.version("torch"), ov.get_version(),
    ]  # fmt: skip
    return hashlib.sha256(repr(facts).encode()).hexdigest()[:32]


def _keep(model: ov.Model, folder: Path) -> None:
    """Into the cache, whole or not at all. A cache that cannot be written costs time at the next start, nothing else."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent) as temporary:
            made = Path(temporary) / "made"
            made.mkdir()
            ov.save_model(model, made / "graph.xml", compress_to_fp16=False)
            (made / SUMS).write_text(_sums(made), encoding="ascii")
            made.rename(folder)
    except OSError as error:
        log.warning("%s: cannot keep the converted graph (%s); the next start converts again", folder, error.strerror)
