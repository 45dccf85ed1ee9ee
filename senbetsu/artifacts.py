"""An artefact is two files: NAME.safetensors with the numbers, NAME.json with what they mean. Never pickle.

The JSON carries the SHA-256 of the other file, so that a pair that does not belong together is refused. Both are written
whole or not at all; the JSON comes last, so that an interrupted write leaves a pair that is refused, not one that lies.
"""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
from numpy.typing import NDArray
from safetensors import SafetensorError

from senbetsu.errors import ArtifactError
from senbetsu.files import sha256_of_file, write_atomically

SCHEMA = 1

Tensors = dict[str, NDArray[Any]]


def save_artifact(folder: Path, name: str, tensors: Tensors, document: dict[str, Any]) -> str:
    """Write both files; returns the SHA-256 of the tensors' file.

    Raises:
        UserError: the folder cannot be written to.
    """
    content = {key: np.ascontiguousarray(value) for key, value in tensors.items()}
    numbers = folder / f"{name}.safetensors"
    write_atomically(numbers, safetensors.numpy.save(content))
    sha256 = sha256_of_file(numbers)
    text = json.dumps({"schema": SCHEMA, "kind": name, "sha256": sha256, **document}, indent=1, allow_nan=False)
    write_atomically(folder / f"{name}.json", text.encode())
    return sha256


def load_artifact(folder: Path, name: str, made_by: str) -> tuple[Tensors, dict[str, Any]]:
    """Read both files.

    Raises:
        ArtifactError: one is missing, damaged, of another schema, or they do not belong together; says which program
            (`made_by`) makes them.
    """
    description, numbers = folder / f"{name}.json", folder / f"{name}.safetensors"
    for path in (description, numbers):
        if not path.is_file():
            raise ArtifactError(
                f"{path}: not there; run `senbetsu {made_by}` with --artifacts {folder}, or name another folder"
            )
    again = f"run `senbetsu {made_by}` again"
    try:
        document = json.loads(description.read_text(encoding="utf-8"))
        tensors = safetensors.numpy.load(numbers.read_bytes())
    except (ValueError, SafetensorError) as error:
        raise ArtifactError(f"{folder}/{name}.*: damaged ({error}); {again}") from error
    except OSError as error:
        raise ArtifactError(f"{error.filename}: cannot be read: {error.strerror}") from error
    if not isinstance(document, dict) or document.get("kind") != name or document.get("schema") != SCHEMA:
        raise ArtifactError(f"{description}: not a {name} of schema {SCHEMA}; {again}")
    if document.get("sha256") != sha256_of_file(numbers):
        raise ArtifactError(f"{description} and {numbers.name} do not belong together (SHA-256 differs); {again}")
    for key, value in tensors.items():
        if not np.isfinite(value).all():
            raise ArtifactError(f"{numbers}: {key} is not finite; {again}")
    return tensors, document


def finite(document: dict[str, Any], key: str, where: Path, made_by: str) -> float:
    """A number of an artefact's JSON. Raises ArtifactError where it is missing or not finite."""
    value = document.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ArtifactError(f"{where}: {key} = {value!r} is not a finite number; run `senbetsu {made_by}` again")
    return float(value)
