"""One gate's table written into a PLC's own memory, by whatever protocol reaches it; the PLC's 12 words are read from there.

A PLC may look at its memory in the middle of a write. So a slot is written in three steps, each awaited: its bits 0 (no
result), its other words, its bits. The header with the heartbeat comes last: where anything before it failed, the heartbeat
stands still and the PLC rejects. A link that was down is taken up with all bits 0 first, and tried for ever.

No PLC waits for a confirmation here, so the bridge answers for the age of a trigger: what one reading shows and the one before
did not is no older than when that one was asked for, also over a link that was held up or down. Deadlines count from there.
"""

import asyncio
import logging
from typing import Protocol

from bridge.table import GateTable, WriteRefusedError
from senbetsu.registers import COUNTERS, DETAIL_AT, HEADER, HOLDING_COUNT, INPUT_COUNT, SLOT_AT, SLOT_WORDS, SLOTS

log = logging.getLogger("bridge")

BITS_AT = 3
"""Where a slot's bits lie in it."""
HEADER_AT = HEADER[0].address
RUN_AT, CONFIRMED_AT = (
    next(register.address for register in HEADER if register.name == name) for name in ("run", "confirmed")
)
DISPLAY_EVERY = 10
"""Counters and details, which no gate looks at, are written every so many cycles."""
RECONNECT_S = 0.5
TIMEOUT_S = 0.5


class PlcLinkError(Exception):
    """The PLC could not be reached, or did not carry out a request."""


class PlcMemory(Protocol):
    """Words of 16 bits in a PLC. Every method raises PlcLinkError."""

    @property
    def where(self) -> str:
        """Address, for the log."""

    async def connect(self) -> None:
        """Anew, whatever was before."""

    async def read_plc(self) -> list[int]:
        """What the PLC writes: the 12 words of holding 0-11, in one request."""

    async def write_table(self, address: int, words: list[int]) -> None:
        """Words of the table from this input-register address on, in one request. Returns when the PLC has confirmed it."""

    async def close(self) -> None:
        """Let go."""


class PlcWriter:
    """`run` for ever, or `connect` and then `cycle`."""

    def __init__(self, table: GateTable, memory: PlcMemory, cycle_s: float) -> None:
        self._table, self._memory, self._cycle_s = table, memory, cycle_s
        self._written: list[int | None] = [None] * INPUT_COUNT
        """What the PLC's memory is known to hold."""
        self._heard: list[int] | None = None
        self._read_ns: int | None = None
        """When the newest reading that came was asked for: over all links, since what it did not show is younger."""
        self._cycles = 0
        self._refused = False

    async def run(self) -> None:
        """Keep the PLC's memory current, and take up the link again whenever it fails."""
        was_up: bool | None = None
        while True:
            try:
                await self.connect()
                log.info("PLC %s: connected", self._memory.where)
                was_up = True
                while True:
                    await self.cycle()
                    _end_if_cancelled()
                    await asyncio.sleep(self._cycle_s)
            except PlcLinkError as error:
                if was_up is not False:
                    log.warning(
                        "PLC %s: link down: %s; trying again every %g s", self._memory.where, error, RECONNECT_S
                    )
                was_up = False
                self._table.release(self)
                await self._memory.close()
                _end_if_cancelled()
            await asyncio.sleep(RECONNECT_S)

    async def connect(self) -> None:
        """Take up the link. What the PLC holds is not known, so no slot of it may stay valid."""
        await self._memory.connect()
        self._written = [None] * INPUT_COUNT
        self._heard = None
        self._cycles = 0
        for k in range(SLOTS):
            await self._write(SLOT_AT + SLOT_WORDS * k + BITS_AT, [0])

    async def cycle(self) -> None:
        """Read the PLC's words, then write what changed: slots, displays, and last the header."""
        asked_ns = self._table.clock_ns()
        words = await self._memory.read_plc()
        if len(words) != HOLDING_COUNT:
            raise PlcLinkError(f"{len(words)} words came, not {HOLDING_COUNT}")
        before_ns, self._read_ns = self._read_ns, asked_ns
        if words != self._heard:
            self._heard = words
            try:
                self._table.write(words, self, before_ns)
                self._refused = False
            except WriteRefusedError:  # counted and told by the table
                self._refused = True
        image = self._table.image()
        if self._refused:
            _withhold(image)
        for k in range(SLOTS):
            await self._write_slot(image, SLOT_AT + SLOT_WORDS * k)
        if self._cycles % DISPLAY_EVERY == 0:
            await self._write_changed(image, COUNTERS[0].address, HEADER_AT)
            await self._write_changed(image, DETAIL_AT, INPUT_COUNT)
        self._cycles += 1
        await self._write_changed(image, HEADER_AT, SLOT_AT)

    async def _write_slot(self, image: list[int], at: int) -> None:
        slot = image[at : at + SLOT_WORDS]
        if self._written[at : at + SLOT_WORDS] == slot:
            return
        bits_at = at + BITS_AT
        if self._written[bits_at] != 0:
            await self._write(bits_at, [0])
        await self._write(at, [*slot[:BITS_AT], 0, *slot[BITS_AT + 1 :]])
        if slot[BITS_AT]:
            await self._write(bits_at, [slot[BITS_AT]])

    async def _write_changed(self, image: list[int], begin: int, end: int) -> None:
        if self._written[begin:end] != image[begin:end]:
            await self._write(begin, image[begin:end])

    async def _write(self, address: int, words: list[int]) -> None:
        await self._memory.write_table(address, words)
        self._written[address : address + len(words)] = words


def _end_if_cancelled() -> None:
    """Python 3.11's `asyncio.wait_for`, by which pymodbus waits, loses a cancellation that comes together with the answer."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


def _withhold(image: list[int]) -> None:
    """A PLC whose words were refused gets no exception as a Modbus client would. So it gets no run, no confirmation and no
    verdict, lest it take those of another PLC, with the same numbers, for its own."""
    image[RUN_AT] = image[CONFIRMED_AT] = 0
    image[SLOT_AT : SLOT_AT + SLOT_WORDS * SLOTS] = [0] * (SLOT_WORDS * SLOTS)
