"""The register tables as a Modbus TCP server. All of a request is answered from one state, since one event loop runs all.

pymodbus gives no caller to a device's action, so the connection is carried in a context variable: one client may write,
the first whose heartbeat is alive; all may read.
"""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import partial
from ipaddress import ip_address, ip_network
from typing import Any

from pymodbus.constants import ExcCodes
from pymodbus.pdu import ExceptionResponse
from pymodbus.server import ModbusTcpServer
from pymodbus.server.requesthandler import ServerRequestHandler
from pymodbus.simulator import DataType, SimData, SimDevice

from bridge.contract import GateContract
from senbetsu.errors import UserError
from senbetsu.messages import TriggerRequest
from senbetsu.registers import FLAG_COUNT, HOLDING_COUNT, INPUT_COUNT, MIRROR_AT, decode_write
from senbetsu.seldom import Seldom

log = logging.getLogger("bridge")
seldom = Seldom(log)

READ_DISCRETE, READ_HOLDING, READ_INPUT, WRITE_ONE, WRITE_MANY, READ_WRITE = 2, 3, 4, 6, 16, 23
FUNCTIONS = frozenset({READ_DISCRETE, READ_HOLDING, READ_INPUT, WRITE_ONE, WRITE_MANY, READ_WRITE})
FIRST_GATE_ALSO = (0, 255)
"""Unit ids under which many PLCs address a device that has no unit id: the first gate."""

_caller: ContextVar["Connection | None"] = ContextVar("caller", default=None)


class Connection(ServerRequestHandler):
    """One client's connection."""

    async def handle_request(self) -> None:
        """As pymodbus does, but for what the contract answers with an exception of its own."""
        pdu = self.last_pdu
        if pdu is not None and (code := self._refusal(pdu)) is not None:
            response = ExceptionResponse(pdu.function_code, code, device_id=pdu.dev_id, transaction=pdu.transaction_id)
            self.server_send(response, self.last_addr)  # type: ignore[no-untyped-call]
            return
        _caller.set(self)
        await super().handle_request()  # type: ignore[no-untyped-call]

    def _refusal(self, pdu: Any) -> ExcCodes | None:
        if pdu.function_code not in FUNCTIONS:
            return ExcCodes.ILLEGAL_FUNCTION
        if pdu.dev_id not in self.server.units:
            return ExcCodes.GATEWAY_NO_RESPONSE
        if pdu.function_code == READ_DISCRETE and pdu.address + pdu.count > FLAG_COUNT:
            return ExcCodes.ILLEGAL_ADDRESS  # pymodbus looks after whole registers only
        return None

    def callback_connected(self) -> None:
        """Who is not allowed is gone before a word is read."""
        super().callback_connected()
        peer = self.transport.get_extra_info("peername")
        if not self.server.allows(peer):
            self.server.refuse(peer)
            self.transport.abort()  # type: ignore[attr-defined]  # that of a TCP connection

    def callback_disconnected(self, exc: Exception | None) -> None:
        """The place of the writer is free again."""
        super().callback_disconnected(exc)
        for table in self.server.tables:
            table.release(self)


@dataclass(slots=True)
class GateTable:
    """One gate's registers between the contract and the wire."""

    contract: GateContract
    send_trigger: Callable[[TriggerRequest], None]
    clock_ns: Callable[[], int] = time.monotonic_ns
    holding: list[int] = field(default_factory=lambda: [0] * HOLDING_COUNT)
    _writer: object | None = None

    def release(self, connection: object) -> None:
        """That client is gone."""
        if self._writer is connection:
            self._writer = None

    def write(self, words: list[int], connection: object) -> ExcCodes | None:
        """Holding 0-11, whole. One writer at a time: the first with a live heartbeat."""
        contract = self.contract
        now_ns = self.clock_ns()
        contract.tick(now_ns)
        if self._writer is not None and self._writer is not connection and contract.plc_is_here:
            return self._refuse("another client with a live heartbeat writes this gate")
        try:
            event = decode_write(words)
        except ValueError as error:
            return self._refuse(str(error))
        self._writer = connection
        self.holding = list(words)
        for request in contract.on_write(event, now_ns):
            self.send_trigger(request)
        return None

    def _refuse(self, why: str) -> ExcCodes:
        self.contract.refused_writes += 1
        seldom.warning("write", "gate %s: write refused: %s", self.contract.settings.name, why)
        return ExcCodes.ILLEGAL_VALUE

    def image(self) -> list[int]:
        """All input registers now."""
        self.contract.tick(self.clock_ns())
        return self.contract.image()

    async def act(
        self, function: int, _start: int, address: int, count: int, registers: list[int], values: list[Any] | None
    ) -> ExcCodes | None:
        """pymodbus's action: called for every request, before it is answered from `registers`."""
        if values is not None:
            if address < HOLDING_COUNT:
                if function == WRITE_ONE or address != 0 or count != HOLDING_COUNT:
                    return self._refuse("holding registers 0-11 are written whole, in one request (function 16 or 23)")
                return self.write(values, _caller.get())
            self.contract.refused_writes += 1
            return ExcCodes.ILLEGAL_ADDRESS
        if function == READ_DISCRETE:
            registers[0] = int(self.contract.flags)
        elif function == READ_INPUT:
            registers[:INPUT_COUNT] = self.image()
        else:
            registers[:HOLDING_COUNT] = self.holding
            registers[MIRROR_AT : MIRROR_AT + INPUT_COUNT] = self.image()
        return None


class Server(ModbusTcpServer):
    """All gates on one port."""

    def __init__(
        self,
        tables: Mapping[int, GateTable],
        host: str,
        port: int,
        allow: Sequence[str] = (),
        on_refused: Callable[[], None] = lambda: None,
    ) -> None:
        """`tables` by unit id, the first gate first; `allow`: addresses and networks beside this PC's own."""
        self._allow = [ip_network(text) for text in allow]
        self._on_refused = on_refused
        units = dict(tables)
        for unit in FIRST_GATE_ALSO:
            units.setdefault(unit, next(iter(tables.values())))
        self.units = frozenset(units)
        self.tables = list(tables.values())
        self._where = (host, port)
        super().__init__([_device(unit, table) for unit, table in units.items()], address=(host, port))

    def callback_new_connection(self) -> Connection:
        """A client connects."""
        return Connection(self, self.trace_packet, self.trace_pdu, self.trace_connect)  # type: ignore[no-untyped-call]

    def allows(self, peer: tuple[Any, ...] | None) -> bool:
        """Whether that address may connect."""
        if not peer:
            return False
        address = ip_address(str(peer[0]).partition("%")[0])
        address = getattr(address, "ipv4_mapped", None) or address
        return address.is_loopback or any(address in network for network in self._allow)

    def refuse(self, peer: tuple[Any, ...] | None) -> None:
        """Count it, and say so now and then."""
        self._on_refused()
        where = peer[0] if peer else "an unknown address"
        seldom.warning("connection", "connection from %s refused: not in bridge.modbus_allow", where)

    async def start(self) -> None:
        """Listen. Raises UserError where the port is taken."""
        host, port = self._where
        try:
            await self.serve_forever(background=True)
        except (OSError, RuntimeError) as error:
            raise UserError(
                f"bridge.modbus_port = {port}: cannot listen on {host}:{port}; is another bridge running? Choose a free port "
                "(those under 1024 need the right to)"
            ) from error


def _device(unit: int, table: GateTable) -> SimDevice:
    zeros = [SimData(0, count=1, values=False, datatype=DataType.BITS)]
    flags = [SimData(0, count=16, values=False, datatype=DataType.BITS)]
    holding = [
        SimData(0, count=HOLDING_COUNT, values=0, datatype=DataType.REGISTERS),
        SimData(MIRROR_AT, count=INPUT_COUNT, values=0, datatype=DataType.REGISTERS),
    ]
    inputs = [SimData(0, count=INPUT_COUNT, values=0, datatype=DataType.REGISTERS)]

    async def action(*request: Any) -> ExcCodes | None:
        return await table.act(*request)

    return SimDevice(unit, simdata=(zeros, flags, holding, inputs), action=partial(action))
