"""All pictures of a run in memory, decoded once: every step of fine-tuning looks at some of them again."""

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from senbetsu.errors import ImageError, UserError
from senbetsu.fitting import fit
from senbetsu.images import read_image

log = logging.getLogger("train")


def load_pictures(paths: Sequence[Path], side: int) -> NDArray[np.uint8]:
    """(N, S, S, 3) uint8 BGR, fitted as on the line: 3 S^2 bytes a picture, 150 kB at 224 px, in every process.

    Raises:
        UserError: a picture can no longer be read, or they do not fit into memory.
    """
    shape = (len(paths), side, side, 3)
    size = int(np.prod(shape, dtype=np.int64))
    log.info("keeping %d pictures in memory: %.0f MB", len(paths), size / 1e6)
    try:
        pictures = np.zeros(shape, np.uint8)
    except MemoryError:
        raise UserError(
            f"{len(paths)} pictures of {side} px take {size / 1e9:.1f} GB of memory, which is not free here; show fewer, set "
            "model.input_size lower, or train.depth = 'head'"
        ) from None
    for path, out in zip(
        tqdm(paths, desc="decoding", unit="picture", disable=None, leave=False), pictures, strict=True
    ):
        try:
            fit(read_image(path), out)
        except ImageError as error:
            raise UserError(f"{error} (it could be read a moment ago)") from error
    return pictures
