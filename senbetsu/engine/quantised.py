"""The backbone in 8-bit integers, as `calibrate` made it: pictures -> maps, kept as an artefact beside the profile.

It is OpenVINO's own graph, so that nothing but OpenVINO is needed to run it. It is bound to the model whose backbone it is,
and a profile that was calibrated with it names its SHA-256: another one, even of the same model, is refused.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import openvino as ov

from senbetsu.artifacts import load_artifact, save_artifact
from senbetsu.errors import ArtifactError

NAME = "int8"


@dataclass(frozen=True, slots=True, eq=False)
class QuantisedMaps:
    """A graph with one input, (?, S, S, 3) uint8 BGR, and the maps of senbetsu.maps.MapsNetwork as outputs."""

    graph: bytes
    """OpenVINO's XML."""
    weights: bytes
    rest: Literal["bf16", "fp32"]
    """What all that is not in 8 bits is computed in."""
    sha256: str = ""

    def model(self) -> ov.Model:
        """A copy of the graph, for the caller to change."""
        return ov.Core().read_model(self.graph, self.weights)


def save_quantised(folder: Path, quantised: QuantisedMaps, model_sha256: str, details: dict[str, Any]) -> str:
    """Write `int8.*`; `details` go into the JSON. Returns the SHA-256 that the profile names."""
    tensors = {
        "graph": np.frombuffer(quantised.graph, np.uint8),
        "weights": np.frombuffer(quantised.weights, np.uint8),
    }
    return save_artifact(folder, NAME, tensors, {"model_sha256": model_sha256, "rest": quantised.rest, **details})


def load_quantised(folder: Path, model_sha256: str, sha256: str) -> QuantisedMaps:
    """Read `int8.*`.

    Args:
        model_sha256: the model that is going to judge.
        sha256: of the 8-bit backbone that the profile was calibrated with.

    Raises:
        ArtifactError: missing, damaged, of another model or profile, or made on a CPU that computes otherwise.
    """
    from senbetsu.engine.openvino import cpu_has_bf16

    tensors, document = load_artifact(folder, NAME, "calibrate --set engine.precision=int8")
    where, again = f"{folder}/{NAME}.json", "run `senbetsu calibrate --set engine.precision=int8` again"
    if document.get("model_sha256") != model_sha256:
        raise ArtifactError(
            f"{where}: made of the model {str(document.get('model_sha256'))[:12]}, but {folder}/embedding.* is "
            f"{model_sha256[:12]}; {again}"
        )
    if document["sha256"] != sha256:
        raise ArtifactError(
            f"{where}: is {document['sha256'][:12]}, but the profile was calibrated with {sha256[:12] or 'none'}; {again}"
        )
    rest = document.get("rest")
    if rest not in ("bf16", "fp32") or not {"graph", "weights"} <= tensors.keys():
        raise ArtifactError(f"{where}: incomplete; {again}")
    if rest == "bf16" and not cpu_has_bf16():
        raise ArtifactError(f"{where}: made on a CPU that computes in bf16, which this one does not; {again} here")
    return QuantisedMaps(
        tensors["graph"].tobytes(), tensors["weights"].tobytes(), cast(Literal["bf16", "fp32"], rest), sha256
    )
