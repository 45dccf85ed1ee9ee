"""Modbus TCP: connections, their limits, and which gate a unit id means. What a request is answered with: bridge/modbus.py.

A frame is the MBAP header (transaction, protocol 0, length, unit) and a PDU. Requests are answered in their order, each
from one state, since one event loop runs all; several that come at once are answered one after the other.

No client may stop the others: one that says nothing, stops in the middle of a request, vanishes, floods, or does not read
its answers costs its own connection only.
"""

import asyncio
import logging
import socket
import struct
from collections.abc import Callable, Mapping
from ipaddress import ip_address, ip_network

from bridge.modbus import ExceptionCode, answer, exception
from bridge.table import GateTable
from senbetsu.config import BridgeSection
from senbetsu.errors import UserError
from senbetsu.seldom import Seldom

log = logging.getLogger("bridge")
seldom = Seldom(log)

FIRST_GATE_ALSO = (0, 255)
"""Unit ids under which many PLCs address a device that has no unit id: the first gate."""
HEADER = struct.Struct(">HHHB")
MAX_LENGTH = 254
"""Unit id and PDU, by the specification."""
REQUESTS_A_TURN = 16
"""So many requests of one client are answered before the others have their turn."""
UNREAD_LIMIT = 64 * 1024
"""Bytes of answers that a client may leave unread."""
KEEPALIVE = {"TCP_KEEPIDLE": 5, "TCP_KEEPINTVL": 2, "TCP_KEEPCNT": 3}
"""Seconds of silence, seconds between probes, probes: a link that is half open is seen by the kernel in 11 s."""
SWEEP_S = 0.25


class Connection(asyncio.Protocol):
    """One client's connection."""

    def __init__(self, server: "Server") -> None:
        self._server = server
        self._buffer = bytearray()
        self._turn: asyncio.Handle | None = None
        self.transport: asyncio.Transport | None = None
        self.peer = "?"
        self.heard_s = server.now_s()
        """When the last whole request came; at first, when it connected."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Let in or not."""
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        host, port, *_ = transport.get_extra_info("peername") or ("?", 0)
        self.peer = f"{host}:{port}"
        transport.set_write_buffer_limits(high=UNREAD_LIMIT)
        _watch_link(transport.get_extra_info("socket"))
        self._server.admit(self, host)

    def data_received(self, data: bytes) -> None:
        """Bytes; they may hold half a request or several."""
        self._buffer += data
        if self._turn is None:
            self._serve()

    def _serve(self) -> None:
        self._turn = None
        for _ in range(REQUESTS_A_TURN):
            if self.transport is None or self.transport.is_closing() or not self._answer_next():
                break
        else:  # the others' turn, before the rest of what is here is read
            self._pause()
            self._turn = asyncio.get_running_loop().call_soon(self._serve)
            return
        if self.transport is not None and not self.transport.is_closing():
            self.transport.resume_reading()

    def _pause(self) -> None:
        if self.transport is not None:
            self.transport.pause_reading()

    def _answer_next(self) -> bool:
        """Answer the first request of the buffer; False if it is not whole yet."""
        if len(self._buffer) < HEADER.size:
            return False
        transaction, protocol, length, unit = HEADER.unpack_from(self._buffer)
        if protocol != 0 or not 2 <= length <= MAX_LENGTH:
            self.drop("what it sends is not Modbus TCP")
            return False
        end = HEADER.size - 1 + length
        if len(self._buffer) < end:
            return False
        pdu = bytes(self._buffer[HEADER.size : end])
        del self._buffer[:end]
        self.heard_s = self._server.now_s()
        reply = self._server.answer(unit, pdu, self)
        if self.transport is not None:
            self.transport.write(HEADER.pack(transaction, 0, 1 + len(reply), unit) + reply)
        return True

    def pause_writing(self) -> None:
        """It does not read its answers."""
        self.drop("it does not read its answers")

    def drop(self, why: str) -> None:
        """End this connection now."""
        seldom.warning(why, "Modbus client %s: disconnected: %s", self.peer, why)
        if self.transport is not None:
            self.transport.abort()

    def connection_lost(self, _error: Exception | None) -> None:
        """Gone, from whichever side."""
        self.transport = None
        if self._turn is not None:
            self._turn.cancel()
        self._server.forget(self)


class Server:
    """All gates on one port. `start`, then `close`."""

    def __init__(
        self,
        tables: Mapping[int, GateTable],
        section: BridgeSection,
        on_refused: Callable[[], None] = lambda: None,
    ) -> None:
        """`tables` by unit id, the first gate first; `on_refused`: called for each client that is not let in."""
        self._on_refused = on_refused
        self._units = dict(tables)
        self._tables = list(tables.values())
        for unit in FIRST_GATE_ALSO:
            self._units.setdefault(unit, self._tables[0])
        self._section = section
        self._allowed = [ip_network(network) for network in section.modbus_allowed]
        self._connections: set[Connection] = set()
        self._listener: asyncio.Server | None = None
        self._sweeper: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Listen. Raises UserError where the port is taken or the address is not this machine's."""
        host, port = self._section.modbus_host, self._section.modbus_port
        try:
            loop = asyncio.get_running_loop()
            self._listener = await loop.create_server(lambda: Connection(self), host, port, reuse_address=True)
        except OSError as error:
            raise UserError(
                f"bridge.modbus_port = {port}: cannot listen on {host}:{port}; is another bridge running? Choose a free port "
                f"(those under 1024 need the right to): {error.strerror}"
            ) from error
        self._sweeper = asyncio.create_task(self._sweep(), name="modbus idle clients")

    async def close(self) -> None:
        """Stop listening and end all connections."""
        if self._sweeper is not None:
            self._sweeper.cancel()
        if self._listener is not None:
            self._listener.close()
        for connection in list(self._connections):
            if connection.transport is not None:
                connection.transport.abort()
        await asyncio.sleep(0)

    @property
    def port(self) -> int:
        """Where it listens; of use where the port in the config is 0."""
        assert self._listener is not None
        return int(self._listener.sockets[0].getsockname()[1])

    @staticmethod
    def now_s() -> float:
        """The event loop's clock."""
        return asyncio.get_running_loop().time()

    def answer(self, unit: int, pdu: bytes, caller: Connection) -> bytes:
        """One request's answer."""
        table = self._units.get(unit)
        if table is None:
            return exception(pdu[0], ExceptionCode.NO_SUCH_UNIT)
        return answer(pdu, table, caller)

    def allows(self, host: str) -> bool:
        """Whether that address may connect: as `bridge.modbus_allowed` says; without it this PC alone."""
        try:
            address = ip_address(host.partition("%")[0])
        except ValueError:
            return False
        address = getattr(address, "ipv4_mapped", None) or address
        if not self._allowed:
            return address.is_loopback
        return any(address in network for network in self._allowed)

    def admit(self, connection: Connection, host: str) -> None:
        """A new client. Where all places are taken, whoever was silent for the longest goes, but never a live writer."""
        if not self.allows(host):
            self._on_refused()
            connection.drop("its address is not in bridge.modbus_allowed")
            return
        if len(self._connections) >= self._section.modbus_clients:
            others = [other for other in self._connections if not self._is_live_writer(other)]
            if not others:
                connection.drop(
                    f"bridge.modbus_clients = {self._section.modbus_clients}: all places are taken by writers"
                )
                return
            oldest = min(others, key=lambda other: other.heard_s)
            self._connections.discard(oldest)
            oldest.drop(f"bridge.modbus_clients = {self._section.modbus_clients}: another one needs its place")
        self._connections.add(connection)

    def forget(self, connection: Connection) -> None:
        """A client is gone."""
        self._connections.discard(connection)
        for table in self._tables:
            table.release(connection)

    def _is_live_writer(self, connection: Connection) -> bool:
        return any(table.is_live_writer(connection) for table in self._tables)

    async def _sweep(self) -> None:
        """End connections without a whole request for too long, whatever bytes they drip."""
        idle_s = self._section.modbus_idle_ms / 1000
        while True:
            await asyncio.sleep(min(SWEEP_S, idle_s / 2))
            for connection in list(self._connections):
                if self.now_s() - connection.heard_s > idle_s:
                    connection.drop(f"no whole request for {idle_s:g} s (bridge.modbus_idle_ms)")


def _watch_link(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for name, value in KEEPALIVE.items():
        if hasattr(socket, name):
            connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
