"""Statistics of pictures on the disk, by the content of each picture and by the code that measured it."""

import hashlib
import logging
import os
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from senbetsu.backbone import Backbone
from senbetsu.cache import cache_folder
from senbetsu.files import sha256_of_code
from senbetsu.statistics import Statistics

log = logging.getLogger(__name__)

LEAST_FREE = 0.1
NAMES = Statistics._fields
CODE = (
    "backbone",
    "backbone_network",
    "stages",
    "network",
    "statistics",
    "images",
    "fitting",
    "truncation",
    "tuned",
    "two_fold",
)
"""Modules that the statistics of a picture depend on."""

Row = tuple[NDArray[np.float32], ...]
"""One picture's statistics."""


class FeatureCache:
    """One small file a picture; written whole; a folder that cannot be written to costs time, nothing else.

    Where less than LEAST_FREE of the disk is free, nothing is added.
    """

    def __init__(self, backbone: Backbone) -> None:
        # A picture once kept is not decoded again.
        code = sha256_of_code(*(f"senbetsu.{module}" for module in CODE))
        key = hashlib.sha256(repr((backbone.identity, code)).encode()).hexdigest()[:16]
        self._names = NAMES if backbone.tuned is None else (*NAMES, "tuned")
        self._folder = cache_folder() / "features" / key
        self._works = True

    def _file(self, sha256: str) -> Path:
        return self._folder / sha256[:2] / f"{sha256}.npz"

    def get(self, sha256: str) -> Row | None:
        """A row, or None where it is not there or damaged."""
        try:
            with np.load(self._file(sha256), allow_pickle=False) as stored:
                row = tuple(np.asarray(stored[name], np.float32) for name in self._names)
        except (OSError, ValueError, EOFError, KeyError, BadZipFile):
            return None
        return row if all(np.isfinite(statistic).all() for statistic in row) else None

    def put(self, sha256: str, row: Row) -> None:
        """Keep a row for the next time; half as large where no more is needed."""
        if not self._works:
            return
        path = self._file(sha256)
        temporary = path.with_suffix(f".{os.getpid()}.tmp")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            disk = os.statvfs(path.parent)
            if disk.f_bavail < LEAST_FREE * disk.f_blocks:
                self._works = False
                log.warning(
                    "%s: less than %.0f %% of the disk is free: features are not kept, and computed again next time",
                    self._folder, 100 * LEAST_FREE,
                )  # fmt: skip
                return
            named: dict[str, Any] = dict(zip(self._names, row, strict=True))
            named["places"] = named["places"].astype(np.float16)
            with temporary.open("wb") as file:
                np.savez(file, **named)
            temporary.replace(path)
        except OSError as error:
            self._works = False
            log.warning(
                "%s: features cannot be kept (%s); they are computed again next time", self._folder, error.strerror
            )
