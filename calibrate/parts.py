"""The normal parts that are shown, and which of them the model has seen before."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from senbetsu.errors import ImageError, UserError
from senbetsu.images import content_sha256, decode_image, read_bytes

log = logging.getLogger("calibrate")


@dataclass(frozen=True, slots=True)
class Part:
    """One picture of a normal part; `fold` is the one it was in when it was trained on, None if it was not."""

    path: Path
    sha256: str
    fold: int | None


def read_parts(paths: Sequence[Path], folds: dict[str, int], where: Path) -> list[Part]:
    """Every readable picture, each content once.

    Raises:
        UserError: none is readable.
    """
    parts: dict[str, Part] = {}
    duplicates = 0
    first_error = ""
    for path in tqdm(paths, desc="reading", unit="picture", disable=None, leave=False):
        try:
            content = read_bytes(path)
            sha256 = content_sha256(content)
            if sha256 in parts:
                duplicates += 1
                continue
            decode_image(content, str(path))
        except ImageError as error:
            log.warning("left out: %s", error)
            first_error = first_error or str(error)
            continue
        parts[sha256] = Part(path, sha256, folds.get(sha256))
    if not parts:
        raise UserError(f"{where}: none of the {len(paths)} pictures can be read; the first: {first_error}")
    if duplicates:
        log.warning("%d pictures have the same content as another one and count once", duplicates)
    return list(parts.values())
