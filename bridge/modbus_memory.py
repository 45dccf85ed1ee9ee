"""A PLC's holding registers as a Modbus TCP client reaches them."""

from pymodbus.client import AsyncModbusTcpClient
from pymodbus.exceptions import ModbusException

from bridge.plc_writer import TIMEOUT_S, PlcLinkError
from senbetsu.config import PlcClientSection
from senbetsu.registers import HOLDING_COUNT


class ModbusMemory:
    """The table from holding register `table_at` on (176 words); the PLC's 12 words from `plc_at` on."""

    def __init__(self, section: PlcClientSection) -> None:
        self._section = section
        self._client: AsyncModbusTcpClient | None = None

    @property
    def where(self) -> str:
        """Host and port."""
        return f"{self._section.host}:{self._section.port} (Modbus TCP)"

    async def connect(self) -> None:
        """Raises PlcLinkError."""
        await self.close()
        section = self._section
        # It reconnects by being made anew: a reconnection in secret would hide that the PLC's memory may have changed.
        client = AsyncModbusTcpClient(section.host, port=section.port, timeout=TIMEOUT_S, retries=0, reconnect_delay=0)
        self._client = client
        if not await client.connect():
            raise PlcLinkError("no connection")

    async def read_plc(self) -> list[int]:
        """Raises PlcLinkError."""
        try:
            answer = await self._up.read_holding_registers(
                self._section.plc_at, count=HOLDING_COUNT, device_id=self._section.unit_id
            )
        except (ModbusException, OSError) as error:
            raise PlcLinkError(str(error)) from error
        if answer.isError():
            raise PlcLinkError(f"reading holding registers {self._section.plc_at} and up: {answer}")
        return list(answer.registers)

    async def write_table(self, address: int, words: list[int]) -> None:
        """Raises PlcLinkError."""
        at = self._section.table_at + address
        try:
            answer = await self._up.write_registers(at, words, device_id=self._section.unit_id)
        except (ModbusException, OSError) as error:
            raise PlcLinkError(str(error)) from error
        if answer.isError():
            raise PlcLinkError(f"writing {len(words)} holding registers from {at}: {answer}")

    @property
    def _up(self) -> AsyncModbusTcpClient:
        if self._client is None or not self._client.connected:
            raise PlcLinkError("not connected")
        return self._client

    async def close(self) -> None:
        """Let go."""
        if self._client is not None:
            self._client.close()
            self._client = None
