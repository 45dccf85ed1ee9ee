"""Connections: real sockets, clients of other hands, and clients that misbehave and must cost nobody but themselves."""

import socket
import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from contract_rig import Rig
from loop_thread import LoopThread, free_port, wait_for
from pymodbus.client import ModbusTcpClient
from pyModbusTCP.client import ModbusClient

from bridge.server import Server
from bridge.table import GateTable
from senbetsu.config import BridgeSection
from senbetsu.errors import UserError
from senbetsu.registers import Control, PlcWrite

READ_STATE = bytes.fromhex("0000 0006 01 04 0017 0001")  # less the transaction


@dataclass
class Setup:
    thread: LoopThread
    rigs: list[Rig]
    server: Server
    sockets: list[socket.socket] = field(default_factory=list)

    @property
    def port(self) -> int:
        return self.server.port

    def connect(self) -> socket.socket:
        made = socket.create_connection(("127.0.0.1", self.port), timeout=10)
        self.sockets.append(made)
        return made


def setting_up(**settings: object) -> Setup:
    thread = LoopThread()
    rigs = [Rig().start(), Rig().start()]
    section = BridgeSection(modbus_port=free_port(), **settings)  # type: ignore[arg-type]

    def clock(rig: Rig):
        return lambda: rig.now_ns

    tables = {
        unit: GateTable(rig.contract, lambda _: None, clock_ns=clock(rig))
        for unit, rig in zip((1, 2), rigs, strict=True)
    }
    server = thread.call(Server, tables, section)
    thread.run(server.start())
    return Setup(thread, rigs, server)


@pytest.fixture
def settings() -> dict[str, object]:
    return {}


@pytest.fixture
def setup(settings: dict[str, object]) -> Iterator[Setup]:
    made = setting_up(**settings)
    yield made
    for each in made.sockets:
        each.close()
    made.thread.run(made.server.close())
    made.thread.close()


def ask(connection: socket.socket, transaction: int = 7) -> int:
    """The state register, by hand."""
    connection.sendall(struct.pack(">H", transaction) + READ_STATE)
    reply = receive(connection, 11)
    assert struct.unpack(">H", reply[:2]) == (transaction,)
    return int.from_bytes(reply[9:], "big")


def receive(connection: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        more = connection.recv(count - len(data))
        assert more, "the other side closed"
        data += more
    return data


def is_closed(connection: socket.socket) -> bool:
    """Waits for the end of a connection."""
    try:
        return connection.recv(1) == b""
    except ConnectionError:
        return True


def test_a_client_of_another_hand_reads_and_writes_it_all(setup: Setup) -> None:
    rig = setup.rigs[0]
    client = ModbusClient(host="127.0.0.1", port=setup.port, unit_id=1, timeout=5, auto_open=True)
    window = client.read_input_registers(20, 124)
    assert window is not None
    assert window[:3] == [0x5342, 1, rig.contract.run]
    assert client.read_holding_registers(1020, 124) == window
    event = PlcWrite(
        trigger=1, part_id=70_000, run_echo=rig.contract.run, control=Control.ENABLE, heartbeat=99, gate_passed=65_537
    ).words()
    assert client.write_multiple_registers(0, event)
    assert client.read_holding_registers(0, 12) == event
    read = client.write_read_multiple_registers(0, [*event[:7], 100, *event[8:]], 1026, 1)
    assert read == [1]
    setup.thread.call(lambda: rig.judge(1, part_id=70_000))
    slot = client.read_input_registers(39, 7)
    assert slot == [1, 1, 70_000 - 65_536, 0x8101, 1, rig.contract.run, 1]
    flags = client.read_input_registers(24, 1)
    assert flags is not None
    assert client.read_discrete_inputs(0, 10) == [bool(flags[0] >> n & 1) for n in range(10)]
    for refused, code in (
        (lambda: client.read_coils(0, 1), 1),
        (lambda: client.write_single_coil(0, True), 1),
        (lambda: client.read_input_registers(176, 1), 2),
        (lambda: client.read_holding_registers(12, 1), 2),
        (lambda: client.write_multiple_registers(1000, [1]), 2),
        (lambda: client.write_single_register(4, 2), 3),
        (lambda: client.write_multiple_registers(0, event[:11]), 3),
    ):
        assert not refused()
        assert client.last_except == code
    client.close()


def test_units_0_1_and_255_are_the_first_gate_2_the_second_and_others_exception_11(setup: Setup) -> None:
    setup.thread.call(setup.rigs[0].part)
    with ModbusTcpClient("127.0.0.1", port=setup.port, timeout=5) as client:
        seen = {unit: client.read_input_registers(0, count=2, device_id=unit).registers[1] for unit in (0, 1, 255, 2)}
        assert seen == {0: 1, 1: 1, 255: 1, 2: 0}
        assert client.read_input_registers(0, count=2, device_id=3).exception_code == 11


def test_requests_that_come_together_or_in_pieces_are_each_answered_once_and_in_order(setup: Setup) -> None:
    client = setup.connect()
    together = b"".join(struct.pack(">H", n) + READ_STATE for n in range(300))
    for start in range(0, len(together), 7):
        client.sendall(together[start : start + 7])
    replies = receive(client, 300 * 11)
    assert [int.from_bytes(replies[11 * n : 11 * n + 2], "big") for n in range(300)] == list(range(300))


def test_one_client_that_floods_leaves_the_others_their_turn(setup: Setup) -> None:
    flood, quiet = setup.connect(), setup.connect()
    flood.sendall(b"".join(struct.pack(">H", n) + READ_STATE for n in range(2000)))
    ask(quiet)
    replies = receive(flood, 2000 * 11)
    assert int.from_bytes(replies[-11:-9], "big") == 1999


@pytest.mark.parametrize(
    "noise",
    [
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        bytes.fromhex("0001 0001 0006 01 04 0017 0001"),
        bytes.fromhex("0001 0000 0001 01"),
        bytes.fromhex("0001 0000 00ff 01") + bytes(254),
        bytes(64),
    ],
)
def test_what_is_not_modbus_ends_its_own_connection_only(setup: Setup, noise: bytes) -> None:
    good, bad = setup.connect(), setup.connect()
    bad.sendall(noise)
    assert is_closed(bad)
    assert ask(good) == setup.rigs[0].window.state


@pytest.mark.parametrize("settings", [{"modbus_idle_ms": 1000}])
def test_a_client_that_says_nothing_is_disconnected_and_one_that_asks_is_not(setup: Setup) -> None:
    silent, active = setup.connect(), setup.connect()
    silent.setblocking(False)

    def gone() -> bool:
        ask(active)
        try:
            return silent.recv(1) == b""
        except BlockingIOError:
            return False
        except ConnectionError:
            return True

    wait_for(gone)
    ask(active)


@pytest.mark.parametrize("settings", [{"modbus_idle_ms": 1000}])
def test_half_a_request_that_drips_in_stops_nobody_and_is_ended(setup: Setup) -> None:
    slow, other = setup.connect(), setup.connect()
    request = struct.pack(">H", 1) + bytes.fromhex("0000 001f 01 10 0000 000c 18") + bytes(24)
    slow.setblocking(False)
    sent = 0

    def gone() -> bool:
        nonlocal sent
        ask(other)
        time.sleep(0.1)
        try:
            if sent < len(request) - 1:
                sent += slow.send(request[sent : sent + 1])
            return slow.recv(1) == b""
        except BlockingIOError:
            return False
        except ConnectionError:
            return True

    wait_for(gone)
    assert sent < len(request) - 1, "bytes that drip in must not count as life"


@pytest.mark.parametrize("settings", [{"modbus_idle_ms": 1000}])
def test_a_writer_that_vanishes_without_a_goodbye_leaves_its_place_to_the_next(setup: Setup) -> None:
    rig = setup.rigs[0]
    vanished = setup.connect()
    event = struct.pack(">12H", *PlcWrite(control=Control.ENABLE, heartbeat=500).words())
    vanished.sendall(struct.pack(">H", 1) + bytes.fromhex("0000 001f 01 10 0000 000c 18") + event)
    assert receive(vanished, 12)[7] == 16
    # From here on it sends nothing, not even FIN: as a PLC whose cable was pulled.
    with ModbusTcpClient("127.0.0.1", port=setup.port, timeout=5) as client:
        words = PlcWrite(control=Control.ENABLE, heartbeat=1).words()
        assert client.write_registers(0, words, device_id=1).exception_code == 3
        setup.thread.call(lambda: rig.wait_ms(900.0, plc=False))
        assert client.write_registers(0, words, device_id=1).exception_code == 3
        setup.thread.call(lambda: rig.wait_ms(200.0, plc=False))
        assert not client.write_registers(0, words, device_id=1).isError()
    assert is_closed(vanished)


@pytest.mark.parametrize("settings", [{"modbus_clients": 3}])
def test_one_client_too_many_takes_the_place_of_the_longest_silent_but_not_of_the_writer(setup: Setup) -> None:
    with ModbusTcpClient("127.0.0.1", port=setup.port, timeout=5) as writer:
        assert not writer.write_registers(
            0, PlcWrite(control=Control.ENABLE, heartbeat=9).words(), device_id=1
        ).isError()
        silent, reader = setup.connect(), setup.connect()
        ask(silent)
        ask(reader)
        for _ in range(5):
            newcomer = setup.connect()
            ask(newcomer)
            assert is_closed(silent)
            silent = newcomer
            ask(reader)
            ask(newcomer)
            ask(reader)
        assert not writer.write_registers(
            0, PlcWrite(control=Control.ENABLE, heartbeat=10).words(), device_id=1
        ).isError()


@pytest.mark.parametrize("settings", [{"modbus_clients": 1}])
def test_a_full_house_of_live_writers_lets_nobody_in(setup: Setup) -> None:
    with ModbusTcpClient("127.0.0.1", port=setup.port, timeout=5) as writer:
        assert not writer.write_registers(
            0, PlcWrite(control=Control.ENABLE, heartbeat=9).words(), device_id=1
        ).isError()
        assert is_closed(setup.connect())
        assert not writer.write_registers(
            0, PlcWrite(control=Control.ENABLE, heartbeat=10).words(), device_id=1
        ).isError()


def test_a_client_that_does_not_read_its_answers_is_ended(setup: Setup) -> None:
    glutton, other = setup.connect(), setup.connect()
    glutton.setblocking(False)
    request = b"".join(struct.pack(">H", n) + bytes.fromhex("0000 0006 01 04 0014 007c") for n in range(500))

    def gone() -> bool:
        ask(other)
        try:
            glutton.send(request)
        except BlockingIOError:
            return False
        except ConnectionError:
            return True
        return False

    wait_for(gone, 30)


@pytest.mark.parametrize("settings", [{"modbus_allowed": ("192.0.2.0/24",)}])
def test_a_client_that_is_not_on_the_list_is_not_let_in(setup: Setup) -> None:
    assert is_closed(setup.connect())


@pytest.mark.parametrize("settings", [{"modbus_allowed": ("192.0.2.1", "127.0.0.0/8")}])
def test_a_client_that_is_on_the_list_is_let_in(setup: Setup) -> None:
    ask(setup.connect())


def test_a_taken_port_is_an_error_that_names_the_setting(setup: Setup) -> None:
    second = setup.thread.call(Server, {1: None}, BridgeSection(modbus_port=setup.port))
    with pytest.raises(UserError, match=f"modbus_port = {setup.port}"):
        setup.thread.run(second.start())
