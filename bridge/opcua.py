"""OPC UA server: the gates' tables as typed nodes, what the PLC writes as methods, each result as one structured value.

Under Objects/Senbetsu, for each gate (node ids are strings, as `gate1.Header.Run`):

- `Window`: header and all slots in one structure, so that one read is one consistent state; `Result`: the slot decided last;
  `Slots/Slot00`-`Slot15`: a structure each; `Header/*`, `Counters/*`, `Flags/*`: each value by itself, for displays;
- `Trigger` and `Acknowledge`: methods; either is one event of the PLC contract, refused with BadInvalidState while another
  client writes the gate and BadOutOfRange for a value that is not allowed;
- `VisionStateMachine/CurrentState` and the event `ResultReadyEventType`, named and numbered after OPC 40100-1 (machine
  vision). It is a subset in a name space of its own: no recipe or configuration management, no jobs, no methods of the state
  machine; ids are plain strings.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Any

from asyncua import Server, ua
from asyncua.server.internal_server import InternalServer
from asyncua.server.internal_session import InternalSession

from bridge.opcua_nodes import GateNodes, node_id, session, structure_types
from bridge.opcua_security import Access, secure
from bridge.table import GateTable
from senbetsu.config import OpcUaSection
from senbetsu.errors import UserError

log = logging.getLogger("bridge")

NAMESPACE = "urn:senbetsu:bridge"
PUBLISH_S = 0.01
MAX_CONNECTIONS, MAX_SUBSCRIPTIONS = 16, 64
LOG_IN_WITHIN_S, LONGEST_SESSION_MS = 10.0, 60_000.0
"""A connection that has not logged in by then is closed; a session that says nothing for so long ends."""


class _Session(InternalSession):
    """A client's session: methods learn who calls, and the place of the writer is free when it ends."""

    async def call(self, params: list[ua.CallMethodRequest]) -> list[ua.CallMethodResult]:
        session.set(self)
        return await super().call(params)

    async def close_session(self, delete_subs: bool = True) -> None:
        assert isinstance(self.iserver, _InternalServer)
        self.iserver.on_session_end(self)
        await super().close_session(delete_subs)


class _InternalServer(InternalServer):
    def __init__(self, access: Access, on_session_end: Callable[[object], None]) -> None:
        super().__init__(user_manager=access)
        self.on_session_end = on_session_end
        self.allow_remote_admin = False
        self.max_connections = MAX_CONNECTIONS
        self.max_subscriptions = MAX_SUBSCRIPTIONS
        self.max_pending_activation_seconds = LOG_IN_WITHIN_S
        self.max_session_timeout_ms = LONGEST_SESSION_MS

    def create_session(self, name: str, user: Any = None, external: bool = False) -> InternalSession:
        given = {} if user is None else {"user": user}
        return _Session(self, self.aspace, self.subscription_service, name, external=external, **given)


class OpcUaServer:
    """All gates on one port: `start`, `publish` for ever, `close`."""

    def __init__(self, tables: Mapping[str, GateTable], section: OpcUaSection) -> None:
        """`tables` by the gate's name."""
        self._tables = tables
        self._section = section
        self._gates: list[GateNodes] = []
        self._server: Server | None = None

    async def start(self) -> None:
        """Listen. Raises UserError for a port that is taken, and for settings that would leave it open."""
        section = self._section
        access = Access(section)
        self._server = server = Server(iserver=_InternalServer(access, self._forget))
        await server.init()
        await secure(server, section, access)
        server.set_endpoint(f"opc.tcp://{section.host}:{section.port}/senbetsu")
        server.set_server_name("Senbetsu")
        index = await server.register_namespace(NAMESPACE)
        folder = await server.nodes.objects.add_folder(node_id("Senbetsu", index), ua.QualifiedName("Senbetsu", index))
        types = await structure_types(server, index)
        for name, table in self._tables.items():
            nodes = GateNodes(name, table, index, types)
            await nodes.build(server, folder)
            self._gates.append(nodes)
        try:
            await server.start()
        except OSError as error:
            raise UserError(
                f"bridge.opcua.port = {section.port}: cannot listen on {section.host}:{section.port}: {error.strerror}; choose "
                "a free port"
            ) from error

    async def publish(self) -> None:
        """Carry what changed to the nodes, for ever."""
        while True:
            for gate in self._gates:
                await gate.publish()
            await asyncio.sleep(PUBLISH_S)

    async def close(self) -> None:
        """End all sessions."""
        if self._server is not None:
            await self._server.stop()

    def _forget(self, session: object) -> None:
        for table in self._tables.values():
            table.release(session)
