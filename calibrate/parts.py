"""The normal parts that are shown, which of them the model has seen before, and which a person has found to be bad."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from senbetsu.distributed import Group
from senbetsu.errors import ImageError, UserError
from senbetsu.images import content_sha256, decode_image, read_bytes

log = logging.getLogger("calibrate")

CHUNK = 128
"""Pictures that are read, measured and scored at a time: memory does not grow beyond what they take."""


@dataclass(frozen=True, slots=True)
class Part:
    """One picture of a normal part; `fold` is the one it was in when it was trained on, None if it was not."""

    path: Path
    sha256: str
    fold: int | None


def read_parts(paths: Sequence[Path], folds: dict[str, int], where: Path, group: Group) -> list[Part]:
    """Every readable picture, each content once; the processes of the group share the reading.

    Raises:
        UserError: none is readable.
    """
    found: list[tuple[int, str]] = []
    errors: list[tuple[int, str]] = []
    chunks = [number for chunk in group.chunks(len(paths), CHUNK) for number in chunk]
    for number in tqdm(chunks, desc="reading", unit="picture", disable=None if group.is_first else True, leave=False):
        try:
            content = read_bytes(paths[number])
            decode_image(content, str(paths[number]))
        except ImageError as error:
            errors.append((number, str(error)))
        else:
            found.append((number, content_sha256(content)))
    found = sorted(row for rows in group.gather_objects(found) for row in rows)
    errors = sorted(row for rows in group.gather_objects(errors) for row in rows)
    for _, text in errors:
        log.warning("left out: %s", text)
    parts: dict[str, Part] = {}
    for number, sha256 in found:
        parts.setdefault(sha256, Part(paths[number], sha256, folds.get(sha256)))
    if not parts:
        raise UserError(f"{where}: none of the {len(paths)} pictures can be read; the first: {errors[0][1]}")
    if len(found) > len(parts):
        log.warning("%d pictures have the same content as another one and count once", len(found) - len(parts))
    return list(parts.values())


def read_list(path: Path) -> list[Path]:
    """Pictures that a person listed, one path a line; relative ones start at the list's folder, # begins a remark.

    Raises:
        UserError: the list cannot be read, or a picture in it is not there.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(
            f"--confirmed-bad {path}: cannot be read ({error}); expected one path of a picture a line"
        ) from error
    listed = []
    for number, line in enumerate(lines, 1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        picture = path.parent / text  # an absolute path stays what it is
        if not picture.is_file():
            raise UserError(
                f"--confirmed-bad {path}, line {number}: {picture} is not there; give its path as in the report"
            )
        listed.append(picture)
    return listed


def take_out(
    parts: Sequence[Part], bad: Sequence[Path], folds: dict[str, int], where: Path
) -> tuple[list[Part], list[Part]]:
    """Parts that are normal, and those that are not after all, told by content.

    A picture that was trained on can be listed without being among the parts shown.

    Raises:
        UserError: no normal part is left.
    """
    listed = {content_sha256(read_bytes(path)): path for path in bad}
    shown = {part.sha256 for part in parts}
    for sha256 in listed.keys() - shown - folds.keys():
        log.warning("%s is listed as bad, but was neither shown nor trained on: nothing to take out", listed[sha256])
    kept = [part for part in parts if part.sha256 not in listed]
    if not kept:
        raise UserError(f"{where}: all {len(parts)} pictures are listed as bad (--confirmed-bad); show normal parts")
    return kept, [
        Part(path, sha256, folds.get(sha256)) for sha256, path in listed.items() if sha256 in shown or sha256 in folds
    ]
