"""Pictures as the network sees them, kept in a file between the passes over them: each is decoded once.

The file is bounded; what has no room in it is read and decoded again. It has no name, and is gone with the program.
"""

import os
import shutil
import tempfile
from pathlib import Path

import numpy as np

from calibrate.parts import Part
from senbetsu.cache import cache_folder
from senbetsu.errors import ImageError
from senbetsu.fitting import fit
from senbetsu.images import Fill, Picture, content_sha256, decode_image, read_bytes

MOST_BYTES = 4 * 2**30
SHARE_OF_FREE = 0.25
"""Of the disk's free space, at most."""


class FittedPictures:
    """Room for the first pictures, by number; may be used by several threads, each with pictures of its own."""

    def __init__(self, side: int, most_bytes: int = MOST_BYTES) -> None:
        """Pictures are (side, side, 3) uint8."""
        folder = cache_folder()
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115
        except OSError:
            folder = Path(tempfile.gettempdir())
            self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115
        self._size = side * side * 3
        free = shutil.disk_usage(folder).free
        self._kept = np.zeros(int(min(most_bytes, SHARE_OF_FREE * free)) // self._size, bool)

    def close(self) -> None:
        """Give the room back."""
        self._file.close()

    def keep(self, number: int, picture: Picture) -> None:
        """If there is room."""
        if not 0 <= number < len(self._kept):
            return
        try:
            written = os.pwrite(self._file.fileno(), picture.data, number * self._size)
        except OSError:  # the disk is full after all: then it is decoded again
            return
        self._kept[number] = written == self._size

    def open(self, part: Part) -> tuple[str, Fill]:
        """As senbetsu.features.Open: the content that was read at first, and the picture of it."""
        return part.sha256, lambda out: self.read(part, out)

    def read(self, part: Part, out: Picture) -> None:
        """Write it to `out`. Raises ImageError where its file cannot be read any more, or is another one."""
        if 0 <= part.number < len(self._kept) and self._kept[part.number]:
            read = os.preadv(self._file.fileno(), [out.data], part.number * self._size)
            if read == self._size:
                return
        content = read_bytes(part.path)
        if content_sha256(content) != part.sha256:
            raise ImageError(f"{part.path}: has changed")
        fit(decode_image(content, str(part.path), keep_grey=True), out)
