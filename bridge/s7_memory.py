"""A Siemens S7 PLC's data block as python-snap7 reaches it (S7-300, 400, 1200, 1500; a block that is not optimised).

Word n of the table is at byte 2 n, high byte first, as S7 has its WORDs.
"""

import asyncio
import struct
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TypeVar

from snap7.client import Client
from snap7.error import S7Error

from bridge.plc_writer import PlcLinkError
from senbetsu.config import PlcClientSection
from senbetsu.registers import HOLDING_COUNT

Answer = TypeVar("Answer")


class S7Memory:
    """The table from word `table_at` of the data block on (176 words); the PLC's 12 words from `plc_at` on."""

    def __init__(self, section: PlcClientSection) -> None:
        self._section = section
        self._client: Client | None = None
        self._thread = ThreadPoolExecutor(
            1, thread_name_prefix="s7"
        )  # the library blocks, and takes one call at a time

    @property
    def where(self) -> str:
        """Host, port and block."""
        return f"{self._section.host}:{self._section.port} (S7, DB{self._section.data_block})"

    async def connect(self) -> None:
        """Raises PlcLinkError."""
        await self.close()
        section = self._section
        self._client = client = Client()
        await self._do(lambda: client.connect(section.host, section.rack, section.slot, section.port))

    async def read_plc(self) -> list[int]:
        """Raises PlcLinkError."""
        section, client = self._section, self._up
        data = await self._do(lambda: client.db_read(section.data_block, 2 * section.plc_at, 2 * HOLDING_COUNT))
        return list(struct.unpack(f">{len(data) // 2}H", bytes(data)))

    async def write_table(self, address: int, words: list[int]) -> None:
        """Raises PlcLinkError."""
        section, client = self._section, self._up
        data = bytearray(struct.pack(f">{len(words)}H", *words))
        await self._do(lambda: client.db_write(section.data_block, 2 * (section.table_at + address), data))

    @property
    def _up(self) -> Client:
        if self._client is None:
            raise PlcLinkError("not connected")
        return self._client

    async def _do(self, call: Callable[[], Answer]) -> Answer:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, call)
        except (S7Error, OSError, RuntimeError, ValueError) as error:  # all that the library raises
            raise PlcLinkError(str(error)) from error

    async def close(self) -> None:
        """Let go."""
        client, self._client = self._client, None
        if client is not None:
            with suppress(PlcLinkError):  # it was down already
                await self._do(client.disconnect)
