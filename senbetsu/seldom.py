"""Warnings about what others send: said at once, then at most once a second, with how many were left out.

Who sends nonsense ten thousand times a second must not fill the disk, nor keep the line busy with writing about it.
"""

import logging
import time
from collections.abc import Callable


class Seldom:
    """One logger's warnings, by kind; `kind` is a fixed text, so that there are few."""

    def __init__(
        self, log: logging.Logger, every_s: float = 1.0, clock_s: Callable[[], float] = time.monotonic
    ) -> None:
        self._log = log
        self._every_s = every_s
        self._clock_s = clock_s
        self._last_s: dict[str, float] = {}
        self._left_out: dict[str, int] = {}

    def warning(self, kind: str, what: str, *arguments: object) -> None:
        """As `logging.Logger.warning`, seldom."""
        now_s = self._clock_s()
        if now_s - self._last_s.get(kind, float("-inf")) < self._every_s:
            self._left_out[kind] = self._left_out.get(kind, 0) + 1
            return
        self._last_s[kind] = now_s
        left_out = self._left_out.pop(kind, 0)
        self._log.warning(what + (f" (and {left_out} more like it before)" if left_out else ""), *arguments)
