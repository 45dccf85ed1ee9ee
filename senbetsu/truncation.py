"""Whether an encoded picture is all there.

A decoder fills what is missing with grey or black and says nothing, and the part would be judged on half a picture.
So each format's own bookkeeping is checked first: a PNG's chunks and checksums, a JPEG's end marker, the length that a
WebP or BMP states. The other formats' decoders refuse a file that is cut off.
"""

import re
import zlib

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
JPEG_SIGNATURE = b"\xff\xd8"

# A marker in entropy-coded JPEG data is 0xFF followed by anything but a stuffed zero, a restart or a fill byte.
_JPEG_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
_SOS, _EOI = 0xDA, 0xD9


def is_webp(content: bytes) -> bool:
    """By its first bytes."""
    return content[:4] == b"RIFF" and content[8:12] == b"WEBP"


def what_is_missing(content: bytes) -> str:
    """What is wrong with an encoded picture, in words; empty if nothing is known to be.

    Bytes after the end are no fault: cameras and editors put notes there.
    """
    if content.startswith(PNG_SIGNATURE):
        return _missing_of_png(content)
    if content.startswith(JPEG_SIGNATURE):
        return "" if jpeg_end(content) is not None else "a JPEG that ends before its picture does (truncated)"
    if is_webp(content):
        return _shorter("WebP", int.from_bytes(content[4:8], "little") + 8, content)
    if content.startswith(b"BM") and len(content) >= 6:
        return _shorter("BMP", int.from_bytes(content[2:6], "little"), content)
    return ""


def _shorter(kind: str, size: int, content: bytes) -> str:
    return f"a {kind} of {size} bytes of which {len(content)} are there (truncated)" if len(content) < size else ""


def _missing_of_png(content: bytes) -> str:
    at = len(PNG_SIGNATURE)
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


def jpeg_end(content: bytes) -> int | None:
    """Where a JPEG's end-of-image marker stands, or None without one.

    The segments are followed, so that the end of a thumbnail inside one of them does not count.
    """
    at = 2
    while at + 4 <= len(content):
        if content[at] != 0xFF:
            return None
        marker = content[at + 1]
        if marker == 0xFF:
            at += 1
            continue
        if marker == _EOI:
            return at
        at += 2 + int.from_bytes(content[at + 2 : at + 4], "big")
        if marker == _SOS:
            match = _JPEG_MARKER.search(content, at)
            if match is None:
                return None
            at = match.start()
    return at if content[at : at + 2] == b"\xff\xd9" else None
