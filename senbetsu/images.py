"""Picture files and frames: finding them, reading them whole or not at all, and fitting them to the network's input.

`fit` is the one pre-processing of every program: train, calibrate, score and daemon agree to the bit.
"""

import hashlib
import os
import re
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from senbetsu.errors import ImageError, UserError

SUFFIXES = frozenset(
    ".png .jpg .jpeg .jpe .jp2 .bmp .dib .tif .tiff .webp .avif .pgm .ppm .pbm .pnm .pxm .sr .ras .exr .hdr .pic".split()
)
VIDEO_SUFFIXES = frozenset(".mp4 .avi .mkv .mov .m4v .webm .mpg .mpeg".split())

# Every failure is an ImageError here; OpenCV would print it a second time, in its own words.
cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)

_PNG = b"\x89PNG\r\n\x1a\n"
_PNG_ALPHA_TYPES = (4, 6)
# A marker in entropy-coded JPEG data is 0xFF followed by anything but a stuffed zero, a restart or a fill byte.
_JPEG_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
_JPEG_SOS, _JPEG_EOI = 0xDA, 0xD9


def find_images(paths: Sequence[Path]) -> list[Path]:
    """All pictures among files and folders; a folder is searched to the bottom, in sorted order, links followed.

    Files named outright are taken whatever their suffix. Hidden files and folders are left out.

    Raises:
        UserError: a path does not exist, or a folder holds no picture.
    """
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            inside = list(_pictures_in(path, frozenset()))
            if not inside:
                raise UserError(f"{path}: no picture in this folder (looked for {' '.join(sorted(SUFFIXES))}, to the bottom)")
            found += inside
        elif path.exists():
            found.append(path)
        else:
            raise UserError(f"{path}: no such file or folder")
    return found


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


def _pictures_in(folder: Path, above: frozenset[tuple[int, int]]) -> Iterator[Path]:
    try:
        status = folder.stat()
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError as error:
        raise UserError(f"{folder}: cannot be read: {error.strerror}") from error
    identity = (status.st_dev, status.st_ino)
    if identity in above:
        return  # a link that leads back up
    for entry in entries:
        if entry.name.startswith("."):
            continue
        path = folder / entry.name
        if entry.is_dir():
            yield from _pictures_in(path, above | {identity})
        elif path.suffix.lower() in SUFFIXES:
            yield path


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


def decode_image(content: bytes, name: str) -> NDArray[np.uint8]:
    """An encoded picture as (H, W, 3) uint8 BGR.

    EXIF turns are applied, 16 bits become 8, grey becomes BGR, of several pages the first is taken, and what is
    transparent is laid over black.

    Raises:
        ImageError: not a picture, or not all of it: a decoder would fill the rest of a truncated file with grey, and the
            part would be judged on half a picture.
    """
    if not content:
        raise ImageError(f"{name}: the file is empty")
    missing = _what_is_missing(content)
    if missing:
        raise ImageError(f"{name}: {missing}")
    has_alpha = _has_alpha(content)
    flag = cv2.IMREAD_UNCHANGED if has_alpha else cv2.IMREAD_COLOR_BGR
    try:
        image = cv2.imdecode(np.frombuffer(content, np.uint8), flag)
    except cv2.error as error:
        raise ImageError(f"{name}: cannot be decoded: {error.err}") from error
    if image is None:
        raise ImageError(f"{name}: not a picture that can be decoded, or damaged")
    return _over_black(image) if has_alpha else np.asarray(image, np.uint8)


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
    if content.startswith(_PNG):
        return content[25] in _PNG_ALPHA_TYPES
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return content[12:16] == b"VP8L" or (content[12:16] == b"VP8X" and bool(content[20] & 0x10))
    return False


def _what_is_missing(content: bytes) -> str:
    """In words, for the formats that decoders accept in part; empty if the file is whole."""
    if content.startswith(_PNG):
        return _missing_of_png(content)
    if content.startswith(b"\xff\xd8"):
        return "" if _jpeg_is_whole(content) else "a JPEG that ends before its picture does (truncated)"
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        size = int.from_bytes(content[4:8], "little") + 8
        return f"a WebP of {size} bytes of which {len(content)} are there (truncated)" if len(content) < size else ""
    if content.startswith(b"BM") and len(content) >= 6:
        size = int.from_bytes(content[2:6], "little")
        return f"a BMP of {size} bytes of which {len(content)} are there (truncated)" if len(content) < size else ""
    return ""


def _missing_of_png(content: bytes) -> str:
    at = len(_PNG)
    while at + 12 <= len(content):
        length = int.from_bytes(content[at : at + 4], "big")
        kind = content[at + 4 : at + 8]
        end = at + 12 + length
        if end > len(content):
            break
        if zlib.crc32(content[at + 4 : end - 4]) != int.from_bytes(content[end - 4 : end], "big"):
            return f"a PNG with a damaged {kind.decode('latin-1')} chunk"
        if kind == b"IEND":
            return ""
        at = end
    return "a PNG that ends before its picture does (truncated)"


def _jpeg_is_whole(content: bytes) -> bool:
    """Follow the segments to the end-of-image marker; a thumbnail's own end is inside a segment and does not count."""
    at = 2
    while at + 4 <= len(content):
        if content[at] != 0xFF:
            return False
        marker = content[at + 1]
        if marker == 0xFF:
            at += 1
            continue
        if marker == _JPEG_EOI:
            return True
        at += 2 + int.from_bytes(content[at + 2 : at + 4], "big")
        if marker == _JPEG_SOS:
            match = _JPEG_MARKER.search(content, at)
            if match is None:
                return False
            at = match.start()
    return content[at : at + 2] == b"\xff\xd9"


def fit(frame: NDArray[np.uint8], out: NDArray[np.uint8]) -> None:
    """Squeeze a whole frame into the network's square input, in place: the one copy on a part's way.

    Shrinking averages (INTER_AREA, so that fine texture does not alias), growing interpolates. The aspect ratio is not
    kept: every part of a line is framed alike, so nothing is lost by it, and no pixel is spent on padding.

    Args:
        frame: (H, W), (H, W, 1), (H, W, 3) BGR or (H, W, 4) BGRA, uint8.
        out: (S, S, 3) uint8, C-contiguous, overwritten. Nothing is allocated for a BGR frame.

    Raises:
        ValueError: the frame is empty or of another shape.
    """
    height, width = out.shape[:2]
    if frame.ndim not in (2, 3) or 0 in frame.shape or (frame.ndim == 3 and frame.shape[2] not in (1, 3, 4)):
        raise ValueError(f"a frame of shape {frame.shape} is no picture")
    shrinks = frame.shape[0] >= height and frame.shape[1] >= width
    how = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    if frame.ndim == 3 and frame.shape[2] == 3:
        if frame.shape[:2] == (height, width):
            np.copyto(out, frame)
        else:
            cv2.resize(frame, (width, height), dst=out, interpolation=how)
        return
    small = cv2.resize(frame, (width, height), interpolation=how)
    cv2.cvtColor(small, cv2.COLOR_BGRA2BGR if small.ndim == 3 else cv2.COLOR_GRAY2BGR, dst=out)
