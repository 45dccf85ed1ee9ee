"""The table written into a PLC: real Modbus and S7 servers are the PLC's memory, the simulated PLC's program runs on it."""

import asyncio
import random
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import pytest
from contract_rig import Rig
from loop_thread import LoopThread, free_port, wait_for
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice
from snap7.server import Server as S7Server
from snap7.type import SrvArea

from bridge.modbus_memory import ModbusMemory
from bridge.plc_writer import PlcLinkError, PlcMemory, PlcWriter
from bridge.s7_memory import S7Memory
from bridge.table import GateTable
from senbetsu.config import PlcClientSection
from senbetsu.registers import SLOT_AT, SLOT_WORDS, Control, PlcWrite, decode_window
from senbetsu.requests import TriggerRequest
from senbetsu.verdict import Reason
from simulated_plc.plc import SimulatedPlc

TABLE_AT, PLC_AT, WORDS = 0, 176, 188


@dataclass
class WatchedMemory:
    """A PLC that looks after every single word, and a link that breaks when `breaks` says so."""

    breaks: Callable[[], bool] = lambda: False
    watch: Callable[[list[int]], None] = lambda _words: None
    words: list[int] = field(default_factory=lambda: [0] * WORDS)
    requests: list[tuple[int, list[int]]] = field(default_factory=list)

    @property
    def where(self) -> str:
        return "here"

    async def connect(self) -> None:
        pass

    async def close(self) -> None:
        pass

    async def read_plc(self) -> list[int]:
        return self.words[PLC_AT : PLC_AT + 12]

    async def write_table(self, address: int, words: list[int]) -> None:
        if self.breaks():
            raise PlcLinkError("cut")
        self.requests.append((address, words))
        for offset, word in enumerate(words):
            self.words[address + offset] = word
            self.watch(self.words)


@dataclass
class PlcOnMemory:
    """Writes its 12 words as the rig's PLC would."""

    rig: Rig
    memory: WatchedMemory
    table: GateTable
    writer: PlcWriter
    beat: int = 0
    trigger: int = 0

    def write(self, **values: Any) -> None:
        self.beat += 1
        event = PlcWrite(**{
            "run_echo": self.rig.contract.run, "trigger": self.trigger, "part_id": self.trigger, "heartbeat": self.beat,
            "control": Control.ENABLE, **values,
        })  # fmt: skip
        self.memory.words[PLC_AT:] = event.words()

    async def start(self) -> None:
        await self.writer.connect()
        for values in ({"control": Control(0), "run_echo": 0}, {"run_echo": 0}, {}):
            self.write(**values)
            await self.writer.cycle()


def made(memory: WatchedMemory) -> PlcOnMemory:
    rig = Rig()
    rig.beat()
    table = GateTable(rig.contract, lambda _: None, clock_ns=lambda: rig.now_ns)
    return PlcOnMemory(rig, memory, table, PlcWriter(table, memory, 0.001))


def test_a_slot_is_written_as_bits_0_then_data_then_bits_and_the_header_last() -> None:
    async def scene() -> None:
        plc = made(WatchedMemory())
        await plc.start()
        plc.trigger = 1
        plc.write()
        await plc.writer.cycle()
        plc.rig.judge(1, part_id=1)
        plc.rig.beat()
        plc.memory.requests.clear()
        await plc.writer.cycle()
        at = SLOT_AT + SLOT_WORDS
        writes = [(address, words) for address, words in plc.memory.requests if address >= 20 and address < 144]
        run = plc.rig.contract.run
        assert writes[0] == (at, [1, 0, 1, 0, 1, run, 1])  # its bits were 0 already
        assert writes[1] == (at + 3, [0x8101])
        assert writes[2][0] == 20
        assert len(writes) == 3
        plc.trigger = 17
        for trigger in range(2, 18):
            plc.trigger = trigger
            plc.write()
            plc.memory.requests.clear()
            await plc.writer.cycle()
        addresses = [(address, words) for address, words in plc.memory.requests if at <= address < at + 7]
        assert addresses[0] == (at + 3, [0])  # the old verdict goes first
        assert addresses[1] == (at, [17, 0, 17, 0, 0, run, 17])

    asyncio.run(scene())


def test_a_plc_whose_words_are_refused_gets_no_run_and_no_verdict_of_another() -> None:
    async def scene() -> None:
        plc = made(WatchedMemory())
        await plc.start()
        plc.table.release(plc.writer)
        other = PlcWrite(control=Control.ENABLE, run_echo=plc.rig.contract.run, trigger=1, part_id=1, heartbeat=77)
        plc.table.write(other.words(), "another PLC")
        plc.rig.judge(1, part_id=1)
        plc.trigger = 1
        plc.write()
        await plc.writer.cycle()
        assert plc.rig.verdict(1) == "OK"
        seen = decode_window(plc.memory.words[20:144])
        assert (seen.run, seen.confirmed) == (0, 0)
        assert not any(slot.bits for slot in seen.slots)
        plc.rig.now_ns += 1_100_000_000  # the other one's heartbeat is dead now
        plc.rig.beat()
        plc.write()
        await plc.writer.cycle()
        seen = decode_window(plc.memory.words[20:144])
        assert (seen.run, seen.confirmed) == (plc.rig.contract.run, plc.beat)

    asyncio.run(scene())


@pytest.mark.parametrize("link_fails", [False, True])
@pytest.mark.parametrize(("held_ms", "verdict"), [(5, "OK"), (99, "OK"), (100, "DEADLINE"), (400, "DEADLINE")])
def test_rule_3_a_trigger_that_is_read_counts_from_the_reading_before_also_over_a_link_that_failed(
    link_fails: bool, held_ms: int, verdict: str
) -> None:
    async def scene() -> None:
        plc = made(WatchedMemory())
        await plc.start()
        await plc.writer.cycle()
        plc.trigger = 1
        plc.write()  # right after that reading; the next one comes so much later, and the part is judged at once
        plc.rig.now_ns += held_ms * 1_000_000
        plc.rig.beat()
        if link_fails:
            await plc.writer.connect()
        await plc.writer.cycle()
        plc.rig.judge(1, part_id=1)
        assert plc.rig.verdict(1) == verdict

    asyncio.run(scene())


@pytest.mark.parametrize("seed", range(4))
def test_whenever_the_plc_looks_and_wherever_the_link_breaks_a_valid_slot_is_one_that_the_contract_had(
    seed: int,
) -> None:
    chance = random.Random(seed)

    async def scene() -> None:
        memory = WatchedMemory(breaks=lambda: chance.random() < 0.03)
        plc = made(memory)
        lawful: set[tuple[int, ...]] = set()

        def slots(words: list[int]) -> list[tuple[int, ...]]:
            return [tuple(words[SLOT_AT + SLOT_WORDS * k :][:SLOT_WORDS]) for k in range(16)]

        def watch(words: list[int]) -> None:
            lawful.update(slots(plc.rig.contract.image()))
            for slot in slots(words):
                assert not slot[3] & 0x8000 or slot in lawful, f"torn: {slot}"

        memory.watch = watch
        up = False
        passed = 0
        for _ in range(250):
            try:
                if not up:
                    await plc.start()
                    up = True
                    plc.trigger = plc.table.holding[4]
                await plc.writer.cycle()
            except PlcLinkError:
                up = False
                continue
            if chance.random() < 0.7:
                plc.trigger = (plc.trigger + 1) % 65536
            plc.write(acknowledged=plc.trigger)
            for trigger in list(plc.rig.contract._run.parts):
                if chance.random() < 0.5:
                    reason = chance.choice([Reason.OK, Reason.OK, Reason.ANOMALY])
                    plc.rig.judge(trigger, reason, part_id=trigger)
                    passed += reason is Reason.OK
            plc.rig.now_ns += 5_000_000
            plc.rig.beat()
        assert passed > 10

    asyncio.run(scene())


class Cable:
    """Between the bridge and a PLC: while it is held, what is sent arrives only when that is over."""

    def __init__(self, thread: LoopThread, target_port: int) -> None:
        self.port = free_port()
        self._thread, self._target_port = thread, target_port
        self._well = asyncio.Event()
        self._well.set()
        thread.run(asyncio.start_server(self._connect, "127.0.0.1", self.port))

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target_port)
        await asyncio.gather(self._relay(reader, far_writer), self._relay(far_reader, writer))

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(4096):
            await self._well.wait()
            writer.write(data)
        writer.close()

    def hold(self) -> None:
        self._thread.call(self._well.clear)

    def release(self) -> None:
        self._thread.call(self._well.set)


class ModbusPlc:
    """pymodbus's server is the PLC's memory."""

    def __init__(self, port: int) -> None:
        self.port = self.reached_at = port
        self.thread = LoopThread()
        self.words = [0] * WORDS
        self.server: Any = None

    def section(self) -> PlcClientSection:
        return PlcClientSection(
            protocol="modbus", host="127.0.0.1", port=self.reached_at, table_at=TABLE_AT, plc_at=PLC_AT
        )

    def memory(self) -> PlcMemory:
        return ModbusMemory(self.section())

    async def _start(self) -> None:
        device = SimDevice(1, simdata=[SimData(0, count=WORDS, values=0, datatype=DataType.REGISTERS)])
        self.server = ModbusTcpServer(device, address=("127.0.0.1", self.port))
        await self.server.async_setValues(1, 16, 0, self.words)
        await self.server.serve_forever(background=True)

    def start(self) -> None:
        self.thread.run(self._start())

    def stop(self) -> None:
        self.words = self.read()
        self.thread.run(self.server.shutdown())

    def read(self) -> list[int]:
        return list(self.thread.run(self.server.async_getValues(1, 3, 0, WORDS)))

    def write(self, words: list[int]) -> None:
        self.thread.run(self.server.async_setValues(1, 16, PLC_AT, words))

    def close(self) -> None:
        self.thread.close()


class S7Plc:
    """python-snap7's server is the PLC's data block 1."""

    def __init__(self, port: int) -> None:
        self.port = self.reached_at = port
        self.block = bytearray(2 * WORDS)
        self.server: Any = None

    def memory(self) -> PlcMemory:
        return S7Memory(
            PlcClientSection(protocol="s7", host="127.0.0.1", port=self.reached_at, table_at=TABLE_AT, plc_at=PLC_AT)
        )

    def start(self) -> None:
        self.server = S7Server(log=False)
        self.server.register_area(SrvArea.DB, 1, self.block)
        self.server.start(self.port)

    def stop(self) -> None:
        self.server.stop()
        self.server.destroy()

    def read(self) -> list[int]:
        block = bytes(self.block)
        return [int.from_bytes(block[2 * n : 2 * n + 2], "big") for n in range(WORDS)]

    def write(self, words: list[int]) -> None:
        self.block[2 * PLC_AT :] = b"".join(word.to_bytes(2, "big") for word in words)

    def close(self) -> None:
        pass


@dataclass
class Line:
    """A gate whose daemon judges at once: odd part ids are good."""

    thread: LoopThread
    rig: Rig
    running: Any


@pytest.fixture(params=[ModbusPlc, S7Plc])
def plc(request: pytest.FixtureRequest) -> Iterator[Any]:
    made = request.param(free_port())
    made.start()
    yield made
    made.stop()
    made.close()


@pytest.fixture
def cable(plc: Any) -> Iterator[Cable]:
    thread = LoopThread()
    cable = Cable(thread, plc.port)
    plc.reached_at = cable.port
    yield cable
    cable.release()
    thread.close()


@pytest.fixture(params=[100])
def line(plc: Any, request: pytest.FixtureRequest) -> Iterator[Line]:
    thread = LoopThread()
    rig = Rig(deadline_ms=request.param)

    def judge(request: TriggerRequest) -> None:
        rig.now_ns = time.monotonic_ns()
        good = (request.part_id or 0) % 2
        thread.loop.call_soon(
            lambda: rig.judge(request.trigger, Reason.OK if good else Reason.ANOMALY, part_id=request.part_id)
        )

    async def run() -> None:
        async def beat() -> None:
            while True:
                rig.now_ns = time.monotonic_ns()
                rig.beat()
                await asyncio.sleep(0.05)

        async with asyncio.TaskGroup() as group:
            group.create_task(beat())
            group.create_task(PlcWriter(GateTable(rig.contract, judge), plc.memory(), 0.002).run())

    running = asyncio.run_coroutine_threadsafe(run(), thread.loop)
    yield Line(thread, rig, running)
    assert not running.done(), running.exception()
    running.cancel()
    thread.close()


def work(plc: Any, program: SimulatedPlc, until: Callable[[], bool]) -> None:
    """The PLC's scan, on its own memory."""
    deadline = time.monotonic() + 30
    while not until():
        assert time.monotonic() < deadline, f"{program.phase}, {len(program.records)} parts"
        if event := program.trigger_due(time.monotonic_ns()):
            plc.write(event.words())
        if event := program.scan(decode_window(plc.read()[20:144]), time.monotonic_ns()):
            plc.write(event.words())
        time.sleep(0.002)


# Where all parts are to be decided by what they are, a busy PC's pause must not be what decides.
@pytest.mark.parametrize("line", [1000], indirect=True)
def test_good_parts_pass_the_gate_and_bad_ones_do_not(plc: Any, line: Line) -> None:
    program = SimulatedPlc(period_ns=30_000_000, travel_ns=2_000_000_000, allow_simulated=False, parts=24)
    work(plc, program, lambda: program.done)
    assert program.runs_seen >= 1
    in_run = [record for record in program.records if record.run == program.run_echo]
    assert [record.opened for record in in_run] == [bool(record.part_id % 2) for record in in_run], in_run
    assert len(in_run) >= 20


def test_a_link_that_goes_down_rejects_and_is_taken_up_again_under_a_new_run(plc: Any, line: Line) -> None:
    program = SimulatedPlc(period_ns=30_000_000, travel_ns=700_000_000, allow_simulated=False, parts=10_000)
    work(plc, program, lambda: sum(record.opened for record in program.records) >= 3)
    run = program.run_echo
    plc.stop()
    wait_for(lambda: not line.rig.contract.plc_is_here)
    plc.start()
    # What lies in the memory is old, and its heartbeat stands still until the bridge has written all of it anew.
    passed = sum(record.opened for record in program.records)
    work(plc, program, lambda: program.run_echo != run and sum(r.opened for r in program.records) >= passed + 3)
    assert all(record.part_id % 2 for record in program.records if record.opened)


def test_rule_3_a_trigger_that_the_link_held_up_is_of_a_part_that_has_moved_on(
    plc: Any, cable: Cable, line: Line
) -> None:
    program = SimulatedPlc(period_ns=250_000_000, travel_ns=700_000_000, allow_simulated=False, parts=10_000)
    parts = program.records
    work(plc, program, lambda: any(part.opened for part in parts) and parts[-1].part_id % 2 == 0)
    cable.hold()
    at = len(parts)
    work(plc, program, lambda: len(parts) > at)
    time.sleep(0.15)
    cable.release()
    work(plc, program, lambda: parts[at].decided_at_ns and any(part.opened for part in parts[at + 1 :]))
    held = parts[at]
    assert not held.opened, "a good part, but the camera may have seen another one"
    assert held.reason == Reason.DEADLINE or held.run != program.run_echo


def test_a_plc_that_is_not_there_is_tried_for_ever() -> None:
    port = free_port()
    thread = LoopThread()
    rig = Rig()
    table = GateTable(rig.contract, lambda _: None, clock_ns=lambda: rig.now_ns)
    memory = ModbusMemory(PlcClientSection(protocol="modbus", host="127.0.0.1", port=port))
    running = asyncio.run_coroutine_threadsafe(PlcWriter(table, memory, 0.002).run(), thread.loop)
    time.sleep(0.7)
    assert not running.done()
    plc = ModbusPlc(port)
    plc.start()
    wait_for(lambda: plc.read()[20] == 0x5342)
    running.cancel()
    plc.stop()
    plc.close()
    thread.close()


@pytest.mark.parametrize("kind", [ModbusPlc, S7Plc])
def test_a_plc_that_takes_the_connection_and_says_nothing_is_a_failed_link(kind: Any) -> None:
    async def ask(memory: PlcMemory) -> None:
        try:
            await memory.connect()
            await memory.read_plc()
        finally:
            await memory.close()

    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(PlcLinkError):
        asyncio.run(asyncio.wait_for(ask(kind(silent.getsockname()[1]).memory()), 30))


def test_a_cancellation_that_a_library_swallowed_ends_it_all_the_same() -> None:
    class Swallows(WatchedMemory):
        async def read_plc(self) -> list[int]:
            with suppress(asyncio.CancelledError):
                await asyncio.sleep(0.05)
            return await super().read_plc()

    async def scene() -> None:
        plc = made(Swallows())
        running = asyncio.create_task(plc.writer.run())
        while not plc.memory.requests:
            await asyncio.sleep(0.001)
        await asyncio.sleep(0.01)
        running.cancel()
        done, _ = await asyncio.wait([running], timeout=10)
        assert done
        assert running.cancelled()

    asyncio.run(scene())


def test_areas_that_overlap_are_refused() -> None:
    with pytest.raises(ValueError, match="plc_at = 175"):
        PlcClientSection(table_at=0, plc_at=175)
    with pytest.raises(ValueError, match="plc_at = 0"):
        PlcClientSection(table_at=11, plc_at=0)
