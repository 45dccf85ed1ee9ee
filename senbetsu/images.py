"""Picture files: finding them, and reading them whole or not at all."""

import hashlib
import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from senbetsu.errors import ImageError, UserError
from senbetsu.truncation import JPEG_SIGNATURE, PNG_SIGNATURE, is_webp, jpeg_end, what_is_missing

Picture = NDArray[np.uint8]
Fill = Callable[[Picture], None]
"""Writes a picture as the network takes it, (S, S, 3) BGR. Raises ImageError."""

SUFFIXES = frozenset(
    (
        ".png", ".jpg", ".jpeg", ".jpe", ".jp2", ".bmp", ".dib", ".tif", ".tiff", ".webp", ".avif", ".gif",
        ".pgm", ".ppm", ".pbm", ".pnm", ".pxm", ".sr", ".ras", ".exr", ".hdr", ".pic",
    )
)  # fmt: skip
VIDEO_SUFFIXES = frozenset([".mp4", ".avi", ".mkv", ".mov", ".m4v", ".webm", ".mpg", ".mpeg"])

# Every failure is an ImageError here; OpenCV would print it a second time, in its own words.
cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)

_KNOWN = " ".join(sorted(SUFFIXES))
_PNG_ALPHA_TYPES = (4, 6)
_EXIF = re.compile(rb"(?:eXIf|EXIF.{4})(?:Exif\x00\x00)?(?P<tiff>II\*\x00|MM\x00\*)", re.DOTALL)
_ORIENTATION_TAG = 0x0112
_JPEG_FILLER = 128
_MORE_JPEG_DATA = bytes(range(1, 65))


def find_images(paths: Sequence[Path]) -> list[Path]:
    """All pictures among files and folders; a folder is searched to the bottom, in sorted order, links followed.

    Files named outright are taken whatever their suffix. Hidden files and folders are left out.

    Raises:
        UserError: a path does not exist, or a folder holds no picture.
    """
    return [path for one in paths for path in walk_images(one)]


def walk_images(path: Path, *, ordered: bool = True) -> Iterator[Path]:
    """The same of one file or folder, one after the other; not ordered, nothing is kept that grows with their number.

    Raises:
        UserError: as `find_images`, the folder that holds none at the end.
    """
    if _is_folder(path):
        found = False
        for picture in _pictures_in(path, frozenset(), ordered):
            found = True
            yield picture
        if not found:
            raise UserError(f"{path}: no picture in this folder or below it (looked for {_KNOWN})")
    elif path.exists() or path.is_symlink():  # a link to nothing is a picture that cannot be read, not one less
        yield path
    else:
        raise UserError(f"{path}: no such file or folder")


def images_by_kind(folder: Path) -> dict[str, list[Path]]:
    """Pictures of defects: each sub-folder is a kind, named after it; those right in the folder are of kind "defect".

    Raises:
        UserError: as `find_images`.
    """
    kinds: dict[str, list[Path]] = {}
    for path in find_images([folder]):
        inside = path.relative_to(folder).parts if folder.is_dir() else (path.name,)
        kinds.setdefault(inside[0] if len(inside) > 1 else "defect", []).append(path)
    return dict(sorted(kinds.items()))


def _pictures_in(folder: Path, above: frozenset[tuple[int, int]], ordered: bool) -> Iterator[Path]:
    entries: Iterable[os.DirEntry[str]]
    try:
        status = folder.stat()
        entries = os.scandir(folder)
        if ordered:
            entries = sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        raise UserError(f"{folder}: cannot be read: {error.strerror}") from error
    identity = (status.st_dev, status.st_ino)
    if identity in above:
        return  # a link that leads back up
    for entry in entries:
        if entry.name.startswith("."):
            continue
        path = folder / entry.name
        if _is_folder(path):
            yield from _pictures_in(path, above | {identity}, ordered)
        elif path.suffix.lower() in SUFFIXES:
            yield path


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from error


def content_sha256(content: bytes) -> str:
    """What a picture is known by, whatever its name."""
    return hashlib.sha256(content).hexdigest()


def read_bytes(path: Path) -> bytes:
    """A file's content. Raises ImageError where it cannot be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise ImageError(f"{path}: cannot be read: {error.strerror}") from error


def read_image(path: Path) -> NDArray[np.uint8]:
    """A picture file as (H, W, 3) uint8 BGR. Raises ImageError, see `decode_image`."""
    return decode_image(read_bytes(path), str(path))


def decode_image(content: bytes, name: str, *, keep_grey: bool = False) -> NDArray[np.uint8]:
    """An encoded picture as (H, W, 3) uint8 BGR; with `keep_grey` a grey PNG or JPEG comes as (H, W), which is less work: `fit`
    makes the same of both.

    EXIF turns are applied, 16 bits become 8, grey and palettes become BGR, of several pages the first is taken, and
    what is transparent in a PNG, WebP, GIF or TIFF is laid over black.

    Raises:
        ImageError: not a picture, or not all of it (see `senbetsu.truncation`), or one of floating-point numbers, whose
            range nobody knows.
    """
    if not content:
        raise ImageError(f"{name}: the file is empty")
    missing = what_is_missing(content)
    if missing:
        raise ImageError(f"{name}: {missing}")
    has_alpha = _has_alpha(content)
    # Other formats' decoders do otherwise with grey and with floating-point pictures.
    keep_grey = keep_grey and content.startswith((PNG_SIGNATURE, JPEG_SIGNATURE))
    plain = cv2.IMREAD_ANYCOLOR if keep_grey else cv2.IMREAD_COLOR
    image = _decoded(content, name, cv2.IMREAD_UNCHANGED if has_alpha else plain)
    if has_alpha:
        return _over_black(_turned(image, _exif_turn(content)))
    if image.dtype != np.uint8 or (image.ndim != 3 and not keep_grey):
        raise ImageError(f"{name}: a floating-point picture, whose range is not known; save it with 8 or 16 bits")
    whole = np.asarray(image, np.uint8)
    if content.startswith(JPEG_SIGNATURE) and _ends_in_filler(whole, content, name, plain):
        raise ImageError(f"{name}: a JPEG with an end, but with data missing before it (truncated)")
    return whole


def _decoded(content: bytes, name: str, flag: int) -> NDArray[np.generic]:
    try:
        image = cv2.imdecode(np.frombuffer(content, np.uint8), flag)
    except cv2.error as error:
        raise ImageError(f"{name}: cannot be decoded: {error.err}") from error
    if image is None:
        raise ImageError(f"{name}: damaged, or not a picture that can be decoded (of 8 or 16 bits a channel)")
    return image


def _ends_in_filler(image: NDArray[np.uint8], content: bytes, name: str, flag: int) -> bool:
    """Whether a JPEG's data stop short of its end marker, as where a camera closes a picture that was cut off.

    Then the decoder fills up with exactly this grey. A sound picture may show it too, so the proof is a second decoding
    with more data before the end marker: what was complete stays as it was, filler changes.
    """
    corners = (image[:8, :8], image[:8, -8:], image[-8:, :8], image[-8:, -8:])  # whichever EXIF made of the last one
    if not any(np.all(corner == _JPEG_FILLER) for corner in corners):
        return False
    end = jpeg_end(content)
    return not np.array_equal(image, _decoded(content[:end] + _MORE_JPEG_DATA + content[end:], name, flag))


def _over_black(image: NDArray[np.generic]) -> NDArray[np.uint8]:
    if image.dtype == np.uint16:
        image = (image >> 8).astype(np.uint8)  # type: ignore[operator]
    if image.ndim == 2:
        image = image[:, :, None]
    colour, alpha = image[:, :, :-1], image[:, :, -1:]
    if image.shape[2] not in (2, 4):
        colour, alpha = image, np.full_like(image[:, :, :1], 255)
    laid = (colour.astype(np.uint16) * alpha.astype(np.uint16) + 127) // 255
    return np.ascontiguousarray(np.broadcast_to(laid, (*laid.shape[:2], 3)), np.uint8)


def _has_alpha(content: bytes) -> bool:
    if content.startswith(PNG_SIGNATURE):
        return content[25] in _PNG_ALPHA_TYPES or b"tRNS" in content[: content.find(b"IDAT")]
    if is_webp(content):
        return content[12:16] == b"VP8L" or (content[12:16] == b"VP8X" and bool(content[20] & 0x10))
    return content.startswith(b"GIF8")


def _exif_turn(content: bytes) -> int:
    """EXIF orientation, 1 to 8, of a PNG or WebP: with its alpha the decoder hands out a picture unturned."""
    match = _EXIF.search(content)
    if match is None:
        return 1
    exif = content[match.start("tiff") :]
    order: Literal["little", "big"] = "little" if exif[:2] == b"II" else "big"
    at = int.from_bytes(exif[4:8], order)
    entries = exif[at + 2 : at + 2 + 12 * int.from_bytes(exif[at : at + 2], order)]
    tags = {int.from_bytes(entries[i : i + 2], order): entries[i + 8 : i + 10] for i in range(0, len(entries), 12)}
    return int.from_bytes(tags.get(_ORIENTATION_TAG, b""), order)


def _turned(image: NDArray[np.generic], turn: int) -> NDArray[np.generic]:
    if turn in (5, 6, 7, 8):
        image = image.swapaxes(0, 1)
    if turn in (2, 3, 6, 7):
        image = image[:, ::-1]
    if turn in (3, 4, 7, 8):
        image = image[::-1]
    return image
