"""One gate's registers between its contract and the protocols: what every protocol reads, and the one way to write.

One writer at a time over all protocols: the first whose heartbeat is alive. All may read.
"""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from bridge.contract import GateContract
from senbetsu.registers import HOLDING_COUNT, decode_write
from senbetsu.requests import TriggerRequest

log = logging.getLogger("bridge")

TELL_AGAIN_NS = 1_000_000_000


class WriteRefusedError(ValueError):
    """A write changed nothing; the text says why."""


@dataclass(slots=True)
class GateTable:
    """One gate. `holding` is what the PLC wrote last, 12 words."""

    contract: GateContract
    send_trigger: Callable[[TriggerRequest], None]
    clock_ns: Callable[[], int] = time.monotonic_ns
    holding: list[int] = field(default_factory=lambda: [0] * HOLDING_COUNT)
    _writer: object | None = None
    _told_ns: int = -TELL_AGAIN_NS
    _untold: int = 0

    def write(self, words: list[int], writer: object, came_ns: int | None = None) -> None:
        """Holding 0-11, whole: one event. `writer` is whoever is asked to stay the only one.

        `came_ns`: the earliest that its trigger may be of, where the writer knows it.
        Raises WriteRefusedError, and nothing has changed, for a value that is not allowed and while another one writes.
        """
        contract = self.contract
        now_ns = self.clock_ns()
        contract.tick(now_ns)
        if self._writer is not None and self._writer is not writer and contract.plc_is_here:
            raise self.refuse("another client with a live heartbeat writes this gate")
        try:
            event = decode_write(words)
        except ValueError as error:
            raise self.refuse(str(error)) from error
        self._writer = writer
        self.holding = list(words)
        for request in contract.on_write(event, now_ns, came_ns):
            self.send_trigger(request)

    def refuse(self, why: str) -> WriteRefusedError:
        """Count a write that is not carried out; the log hears of it once a second at most."""
        self.contract.refused_writes += 1
        self._untold += 1
        now_ns = self.clock_ns()
        if now_ns - self._told_ns >= TELL_AGAIN_NS:
            log.warning("gate %s: %d write(s) refused: %s", self.contract.settings.name, self._untold, why)
            self._told_ns, self._untold = now_ns, 0
        return WriteRefusedError(why)

    def release(self, writer: object) -> None:
        """That one is gone: the place of the writer is free again."""
        if self._writer is writer:
            self._writer = None

    def is_live_writer(self, writer: object) -> bool:
        """Whether that one writes this gate, with a live heartbeat."""
        return self._writer is writer and self.contract.plc_is_here

    def image(self) -> list[int]:
        """All 176 input registers now."""
        self.contract.tick(self.clock_ns())
        return self.contract.image()
