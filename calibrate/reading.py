"""The first pass over the normal parts: which there are, which can be read, and which a person has found to be bad."""

import logging
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import numpy as np
from tqdm import tqdm

from calibrate.fitted import FittedPictures
from calibrate.parts import CHUNK, Part, Parts
from senbetsu.ahead import in_order
from senbetsu.distributed import Group
from senbetsu.errors import ImageError, UserError
from senbetsu.fitting import fit
from senbetsu.images import Picture, content_sha256, decode_image, read_bytes, walk_images

log = logging.getLogger("calibrate")


def read_parts(where: Path, folds: dict[str, int], side: int, kept: FittedPictures, group: Group) -> Parts:
    """Every readable picture, each content once; the processes of the group share the reading.

    Args:
        where: a folder.
        folds: of what was trained on, by content SHA-256.
        side: of the picture that the network sees, pixels.
        kept: takes the pictures in.
        group: the processes.

    Raises:
        UserError: none is readable.
    """
    parts = Parts()
    paths = parts.list_paths(walk_images(where, ordered=False))

    def read(one: tuple[int, Path]) -> str | ImageError:
        number, path = one
        picture: Picture = np.empty((side, side, 3), np.uint8)
        try:
            content = read_bytes(path)
            fit(decode_image(content, str(path), keep_grey=True), picture)
        except ImageError as error:
            return error
        kept.keep(number, picture)
        return content_sha256(content)

    bar = tqdm(total=paths, desc="reading", unit="picture", disable=None if group.is_first else True, leave=False)
    own = in_order((one for chunk in parts.listed(group) for one in chunk), read)
    readable, first_error = 0, ""
    for _ in range(-(-paths // (CHUNK * group.size))):
        # A chunk of each process: the order is that of the paths, however many processes there are.
        rows = [row for rows in group.gather_objects(list(islice(own, CHUNK))) for row in rows]
        errors = [str(found) for _, found in rows if isinstance(found, ImageError)]
        for text in errors:
            log.warning("left out: %s", text)
            first_error = first_error or text
        readable += len(rows) - len(errors)
        parts.add([Part(path, found, folds.get(found), n) for (n, path), found in rows if isinstance(found, str)])
        bar.update(len(rows))
    bar.close()
    if not readable:
        raise UserError(f"{where}: none of the {paths} pictures can be read; the first: {first_error}")
    if (unlike := parts.count()) < readable:
        log.warning("%d pictures have the same content as another one and count once", readable - unlike)
    return parts


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


def take_out(parts: Parts, bad: Sequence[Path], folds: dict[str, int], where: Path) -> list[Part]:
    """Remove the parts that are not normal after all, told by content; those that were shown or trained on.

    A picture that was trained on can be listed without being among the parts shown.

    Raises:
        UserError: no normal part is left.
    """
    listed = {content_sha256(read_bytes(path)): path for path in bad}
    count = parts.count()
    shown = parts.take_out(listed)
    for sha256 in listed.keys() - shown - folds.keys():
        log.warning("%s is listed as bad, but was neither shown nor trained on: nothing to take out", listed[sha256])
    if not parts.count():
        raise UserError(f"{where}: all {count} pictures are listed as bad (--confirmed-bad); show normal parts")
    return [
        Part(path, sha256, folds.get(sha256)) for sha256, path in listed.items() if sha256 in shown or sha256 in folds
    ]
