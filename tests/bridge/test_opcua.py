"""The OPC UA server, with a real OPC UA client that knows what docs/plc/opcua.md says and nothing else."""

import asyncio
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from asyncua import Client, ua
from asyncua.crypto.cert_gen import setup_self_signed_certificate
from asyncua.crypto.security_policies import SecurityPolicyBasic256Sha256
from contract_rig import Rig
from cryptography.x509.oid import ExtendedKeyUsageOID
from loop_thread import LoopThread, free_port

from bridge.opcua import OpcUaServer
from bridge.table import GateTable
from senbetsu.config import OpcUaSection
from senbetsu.errors import UserError
from senbetsu.verdict import Reason

NAMESPACE = "urn:senbetsu:bridge"


@dataclass
class Setup:
    thread: LoopThread
    rig: Rig
    table: GateTable
    url: str


def start(section: OpcUaSection) -> tuple[Setup, OpcUaServer, Any]:
    thread = LoopThread()
    rig = Rig().start()
    table = GateTable(rig.contract, lambda _: None, clock_ns=lambda: rig.now_ns)
    server = OpcUaServer({"gate1": table}, section)
    thread.run(server.start())
    publishing = asyncio.run_coroutine_threadsafe(server.publish(), thread.loop)
    return Setup(thread, rig, table, f"opc.tcp://127.0.0.1:{section.port}/senbetsu"), server, publishing


def stop(setup: Setup, server: OpcUaServer, publishing: Any) -> None:
    publishing.cancel()
    setup.thread.run(server.close())
    setup.thread.close()


@pytest.fixture(scope="module")
def served() -> Iterator[Setup]:
    setup, server, publishing = start(OpcUaSection(enabled=True, port=free_port()))
    yield setup
    stop(setup, server, publishing)


@dataclass
class Plc:
    """A client; `node("Header.Run")` is one of gate1's."""

    client: Client
    index: int
    beat: int = 100

    def node(self, path: str) -> Any:
        return self.client.get_node(ua.NodeId(f"gate1.{path}", self.index))

    async def trigger(self, **values: int) -> None:
        """All inputs of the method, by the names that it tells."""
        self.beat += 1
        gate = self.client.get_node(ua.NodeId("gate1", self.index))
        inputs = await (await self.node("Trigger").get_child("0:InputArguments")).read_value()
        given = {"Heartbeat": self.beat, "Control": 1, **values}
        arguments = [ua.Variant(given.get(a.Name, 0), ua.VariantType(a.DataType.Identifier)) for a in inputs]
        await gate.call_method(self.node("Trigger").nodeid, *arguments)

    async def acknowledge(self, acknowledged: int, run: int) -> None:
        self.beat += 1
        gate = self.client.get_node(ua.NodeId("gate1", self.index))
        types = (ua.VariantType.UInt16, ua.VariantType.UInt16, ua.VariantType.UInt16, ua.VariantType.UInt32)
        arguments = [ua.Variant(v, t) for v, t in zip((acknowledged, run, self.beat, 0), types, strict=True)]
        await gate.call_method(self.node("Acknowledge").nodeid, *arguments)

    async def until(self, path: str, wanted: Any) -> Any:
        """Polls a node."""
        async with asyncio.timeout(10):
            while not wanted(value := await self.node(path).read_value()):
                await asyncio.sleep(0.005)
        return value

    async def start(self) -> int:
        """The start-up of docs/plc: enable 0, run r, enable 1, another run, echo it."""
        await self.trigger(Control=0)
        old = await self.node("Header.Run").read_value()
        await self.trigger()
        run = await self.until("Header.Run", lambda run: run != old)
        await self.trigger(RunEcho=run)
        return int(run)


async def connect(url: str) -> Plc:
    client = Client(url, timeout=10)
    await client.connect()
    await client.load_data_type_definitions()
    return Plc(client, await client.get_namespace_index(NAMESPACE))


def judge(setup: Setup, trigger: int, part_id: int, reason: Reason = Reason.OK) -> None:
    setup.thread.call(lambda: setup.rig.judge(trigger, reason, part_id=part_id))


def test_a_part_goes_through_trigger_result_and_acknowledgement(served: Setup) -> None:
    async def plc() -> None:
        me = await connect(served.url)
        try:
            run = await me.start()
            await me.trigger(RunEcho=run, Trigger=1, PartId=70_000)
            window = await me.node("Window").read_value()
            assert (window.Magic, window.Layout, window.Run, window.NewestAccepted) == (0x5342, 1, run, 1)
            assert (window.Slots[1].Trigger, window.Slots[1].Valid, window.Slots[1].Pass) == (1, False, False)
            await asyncio.to_thread(judge, served, 1, 70_000)
            result = await me.until("Result", lambda result: result.Valid)
            assert (result.Trigger, result.PartId, result.Run, result.Reason) == (1, 70_000, run, Reason.OK)
            assert (result.Pass, result.Fail, result.Simulated) == (True, False, False)
            assert await me.node("Slots.Slot01").read_value() == result
            assert (await me.node("Window").read_value()).Slots[1] == result
            await me.acknowledge(1, run)
            assert served.table.holding[0] == 1
            assert await me.node("Counters.Pass").read_value() == 1
            assert (await me.node("Counters.Pass").read_data_type_as_variant_type()) == ua.VariantType.UInt32
            assert await me.node("Flags.Ready").read_value() is True
            await me.trigger(RunEcho=run, Trigger=3, Acknowledged=1)
            missed = await me.node("Slots.Slot02").read_value()
            assert (missed.Reason, missed.Pass, missed.Fail) == (Reason.MISSED, False, True)
            await asyncio.to_thread(judge, served, 3, 0)  # or its result would still be owed to the next run's number 3
        finally:
            await me.client.disconnect()

    asyncio.run(plc())


def test_every_result_is_one_event_with_one_structured_value(served: Setup) -> None:
    class Handler:
        def __init__(self) -> None:
            self.events: list[Any] = []

        def event_notification(self, event: Any) -> None:
            self.events.append(event)

    async def plc() -> None:
        me = await connect(served.url)
        try:
            run = await me.start()
            handler = Handler()
            subscription = await me.client.create_subscription(20, handler)
            types = await me.client.nodes.base_event_type.get_child(f"{me.index}:ResultReadyEventType")
            await subscription.subscribe_events(me.client.get_node(ua.NodeId("gate1", me.index)), types)
            for trigger in range(1, 6):
                await me.trigger(RunEcho=run, Trigger=trigger, PartId=trigger)
                await asyncio.to_thread(judge, served, trigger, trigger, Reason.OK if trigger != 3 else Reason.NO_FRAME)
            async with asyncio.timeout(10):
                while len(handler.events) < 5:
                    await asyncio.sleep(0.01)
            results = [event.ResultContent for event in handler.events]
            assert [(r.Trigger, r.PartId, r.Pass, r.Run) for r in results] == [(t, t, t != 3, run) for t in range(1, 6)]
            assert [event.ResultState for event in handler.events] == [1, 1, 4, 1, 1]
            assert [event.PartId for event in handler.events] == ["1", "2", "3", "4", "5"]
            assert not any(event.IsPartial for event in handler.events)
        finally:
            await me.client.disconnect()

    asyncio.run(plc())


def test_the_state_is_named_and_numbered_as_in_machine_vision(served: Setup) -> None:
    async def plc() -> None:
        me = await connect(served.url)
        try:
            await me.start()
            name = await me.until("VisionStateMachine.CurrentState", lambda text: text.Text == "Operational")
            assert name.Text == "Operational"
            assert await me.node("VisionStateMachine.CurrentState.Number").read_value() == 4
        finally:
            await me.client.disconnect()

    asyncio.run(plc())


def test_one_session_writes_the_others_read_and_nobody_writes_a_node(served: Setup) -> None:
    async def plc() -> None:
        me, other = await connect(served.url), await connect(served.url)
        try:
            run = await me.start()
            with pytest.raises(ua.UaStatusCodeError) as refused:
                await other.trigger(RunEcho=run, Trigger=1)
            assert refused.value.code == ua.StatusCodes.BadInvalidState
            with pytest.raises(ua.UaStatusCodeError) as refused:
                await me.trigger(RunEcho=run, DeadlineMs=60_001)
            assert refused.value.code == ua.StatusCodes.BadOutOfRange
            assert await other.node("Header.Run").read_value() == run
            with pytest.raises(ua.UaStatusCodeError):
                await me.node("Header.Run").write_value(ua.Variant(7, ua.VariantType.UInt16))
            await me.client.disconnect()
            await other.start()
        finally:
            await other.client.disconnect()

    asyncio.run(plc())


def test_a_client_that_says_nothing_or_noise_stops_nobody(served: Setup) -> None:
    port = int(served.url.split(":")[2].split("/")[0])

    async def plc() -> None:
        me = await connect(served.url)
        try:
            assert await me.node("Header.Magic").read_value() == 0x5342
        finally:
            await me.client.disconnect()

    with socket.create_connection(("127.0.0.1", port)), socket.create_connection(("127.0.0.1", port)) as noise:
        noise.sendall(b"GET / HTTP/1.1\r\n\r\n" + bytes(1000))
        asyncio.run(plc())


def test_more_connections_than_allowed_do_not_disturb_those_that_are_in(served: Setup) -> None:
    port = int(served.url.split(":")[2].split("/")[0])

    async def plc() -> None:
        me = await connect(served.url)
        crowd = [socket.create_connection(("127.0.0.1", port), timeout=10) for _ in range(20)]
        try:
            assert await asyncio.to_thread(crowd[-1].recv, 1) == b"", "one too many is not let in"
            assert await me.node("Header.Magic").read_value() == 0x5342
        finally:
            for each in crowd:
                each.close()
            await me.client.disconnect()
        async with asyncio.timeout(10):
            while True:
                try:
                    again = await connect(served.url)
                    break
                except (ConnectionError, TimeoutError, ua.UaError):
                    await asyncio.sleep(0.05)
        assert await again.node("Header.Magic").read_value() == 0x5342
        await again.client.disconnect()

    asyncio.run(plc())


async def _certificate(folder: Path, name: str, usage: Any) -> tuple[Path, Path]:
    folder.mkdir(exist_ok=True)
    key, certificate = folder / f"{name}.pem", folder / f"{name}.der"
    await setup_self_signed_certificate(
        key, certificate, f"urn:test:{name}", "localhost", [usage], {"organizationName": "test"}
    )
    return certificate, key


@dataclass
class Encrypted:
    url: str
    mine: tuple[Path, Path]
    strangers: tuple[Path, Path]
    servers: Path


@pytest.fixture(scope="module")
def encrypted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Encrypted]:
    folder = tmp_path_factory.mktemp("opcua")

    async def certificates() -> list[tuple[Path, Path]]:
        return [
            await _certificate(folder / "server", "server", ExtendedKeyUsageOID.SERVER_AUTH),
            await _certificate(folder / "mine", "mine", ExtendedKeyUsageOID.CLIENT_AUTH),
            await _certificate(folder / "strangers", "stranger", ExtendedKeyUsageOID.CLIENT_AUTH),
        ]

    server, mine, strangers = asyncio.run(certificates())
    trusted = folder / "trusted"
    trusted.mkdir()
    (trusted / "plc.der").write_bytes(mine[0].read_bytes())
    (folder / "password").write_text("correct horse\n")
    setup, running, publishing = start(
        OpcUaSection(
            enabled=True, port=free_port(), certificate=server[0], private_key=server[1], trusted=trusted, user="plc",
            password_file=folder / "password",
        )
    )  # fmt: skip
    yield Encrypted(setup.url, mine, strangers, server[0])
    stop(setup, running, publishing)


async def _ask(encrypted: Encrypted, who: tuple[Path, Path] | None, user: str | None, password: str | None) -> int:
    client = Client(encrypted.url, timeout=10)
    if who is not None:
        client.application_uri = f"urn:test:{who[0].stem}"
        await client.set_security(
            SecurityPolicyBasic256Sha256, *map(str, who), server_certificate=str(encrypted.servers)
        )
    if user is not None:
        client.set_user(user)
        client.set_password(password or "")
    await client.connect()
    try:
        index = await client.get_namespace_index(NAMESPACE)
        return int(await client.get_node(ua.NodeId("gate1.Header.Magic", index)).read_value())
    finally:
        await client.disconnect()


def test_a_trusted_certificate_and_the_right_password_get_in(encrypted: Encrypted) -> None:
    assert asyncio.run(_ask(encrypted, encrypted.mine, "plc", "correct horse")) == 0x5342


@pytest.mark.parametrize(
    ("who", "user", "password"),
    [
        ("mine", "plc", "wrong"),
        ("mine", "admin", "correct horse"),
        ("mine", None, None),
        ("strangers", "plc", "correct horse"),
        (None, "plc", "correct horse"),
        (None, None, None),
    ],
)
def test_anybody_else_does_not(encrypted: Encrypted, who: str | None, user: str | None, password: str | None) -> None:
    with pytest.raises((ua.UaError, ConnectionError, TimeoutError)):
        asyncio.run(_ask(encrypted, getattr(encrypted, who) if who else None, user, password))


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"host": "0.0.0.0"}, "bridge.opcua.host"),
        ({"user": "plc", "password_file": Path("x")}, "in clear"),
        ({"user": "plc"}, "password_file"),
        ({"certificate": Path("x")}, "private_key"),
        ({"certificate": Path("x"), "private_key": Path("y")}, "bridge.opcua.trusted"),
        ({"certificate": Path("x"), "private_key": Path("y"), "trusted": Path("/nowhere")}, "nobody could connect"),
    ],
)
def test_settings_that_leave_it_open_or_shut_for_all_are_refused_at_the_start(
    settings: dict[str, Any], said: str
) -> None:
    thread = LoopThread()
    with pytest.raises(UserError, match=said):
        thread.run(OpcUaServer({}, OpcUaSection(enabled=True, port=free_port(), **settings)).start())
    thread.close()
