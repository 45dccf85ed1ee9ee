"""Every request gets the answer that the contract names, and no bytes can do more than that."""

import struct
from collections.abc import Sequence

import pytest
from contract_rig import Rig
from hypothesis import given
from hypothesis import strategies as st

from bridge.modbus import answer
from bridge.table import GateTable
from senbetsu.registers import Control, PlcWrite

PLC, OTHER = "plc", "other"


def table_of(rig: Rig) -> GateTable:
    return GateTable(rig.contract, lambda _request: None, clock_ns=lambda: rig.now_ns)


@pytest.fixture
def table() -> GateTable:
    return table_of(Rig().start())


def read(function: int, address: int, count: int) -> bytes:
    return struct.pack(">BHH", function, address, count)


def write(words: Sequence[int], address: int = 0) -> bytes:
    return struct.pack(f">BHHB{len(words)}H", 16, address, len(words), 2 * len(words), *words)


def both(words: Sequence[int], read_at: int = 1020, read_count: int = 124) -> bytes:
    count = len(words)
    return struct.pack(f">BHHHHB{count}H", 23, read_at, read_count, 0, count, 2 * count, *words)


EVENT = PlcWrite(trigger=3, run_echo=9, control=Control.ENABLE, heartbeat=77, part_id=0x1234_5678).words()


@pytest.mark.parametrize("function", [0, 1, 5, 7, 8, 11, 15, 17, 20, 21, 22, 24, 43, 65, 127])
def test_a_function_that_is_not_of_the_contract_is_exception_1(table: GateTable, function: int) -> None:
    assert answer(bytes([function]) + b"\0\0\0\1", table, PLC) == bytes([function | 0x80, 1])


@pytest.mark.parametrize(
    "request_",
    [
        read(2, 0, 11), read(2, 10, 1), read(4, 175, 2), read(4, 176, 1), read(4, 65535, 125), read(3, 11, 2), read(3, 12, 1),
        read(3, 999, 1), read(3, 999, 2), read(3, 1100, 77), read(3, 1176, 1), write([1], 12),
        write([1], 1000), struct.pack(">BHH", 6, 12, 1), struct.pack(">BHH", 6, 1020, 1), both(EVENT, 1170, 7),
    ],
)  # fmt: skip
def test_what_is_outside_the_table_is_exception_2(table: GateTable, request_: bytes) -> None:
    before = table.image()[16:], list(table.holding)
    assert answer(request_, table, PLC) == bytes([request_[0] | 0x80, 2])
    assert (table.image()[16:], table.holding) == before


@pytest.mark.parametrize(
    "request_",
    [
        read(4, 0, 0), read(4, 0, 126), read(3, 0, 0), read(3, 1000, 126), read(2, 0, 0), read(2, 0, 2001), read(4, 0, 1)[:4],
        write(EVENT[:11]), write([*EVENT, 0]), write(EVENT[1:], 1), write([0], 5), write([]), write([0] * 20, 5),
        write(EVENT)[:-1], write(EVENT) + b"\0", struct.pack(">BHH", 6, 0, 1), struct.pack(">BHH", 6, 11, 1), both(EVENT[:3]),
        both(EVENT, 1020, 0), both(EVENT, 1020, 126), both(EVENT)[:-1], write(PlcWrite(deadline_ms=60_001).words()), b"\x10",
        b"\x17\0\0",
    ],
)  # fmt: skip
def test_what_is_not_allowed_is_exception_3_and_changes_nothing(table: GateTable, request_: bytes) -> None:
    before = table.image()[16:], list(table.holding)
    assert answer(request_, table, PLC) == bytes([request_[0] | 0x80, 3])
    assert (table.image()[16:], table.holding) == before


def test_a_write_that_is_refused_is_counted_and_a_read_is_not(table: GateTable) -> None:
    for request in (write([0], 5), struct.pack(">BHH", 6, 0, 1), write([1], 1000), both(EVENT[:3]), read(4, 176, 1)):
        answer(request, table, PLC)
    assert answer(read(4, 12, 2), table, PLC) == bytes([4, 4, 0, 0, 0, 4])


def test_a_write_is_answered_with_its_address_and_count_and_read_back(table: GateTable) -> None:
    assert answer(write(EVENT), table, PLC) == bytes([16, 0, 0, 0, 12])
    assert answer(read(3, 0, 12), table, PLC) == struct.pack(">BB12H", 3, 24, *EVENT)
    assert answer(read(3, 2, 2), table, PLC)[2:] == bytes.fromhex("12345678")  # high word first, each big-endian


def test_holding_1000_and_up_mirrors_every_input_register(table: GateTable) -> None:
    inputs = answer(read(4, 0, 125), table, PLC)[2:] + answer(read(4, 125, 51), table, PLC)[2:]
    mirror = answer(read(3, 1000, 125), table, PLC)[2:] + answer(read(3, 1125, 51), table, PLC)[2:]
    assert mirror == inputs
    assert inputs[40:42] == b"\x53\x42"


def test_function_23_writes_before_it_reads() -> None:
    rig = Rig().start()
    table = table_of(rig)
    event = PlcWrite(trigger=1, part_id=5, run_echo=rig.contract.run, control=Control.ENABLE, heartbeat=99).words()
    words = struct.unpack(">124H", answer(both(event), table, PLC)[2:])
    assert words[0] == 0x5342
    assert words[6] == 1  # newest trigger accepted
    assert words[12 + 7 : 12 + 10] == (1, 0, 5)


def test_discrete_inputs_are_the_flags_from_any_address(table: GateTable) -> None:
    flags = int(table.contract.flags)
    for address in range(10):
        for count in range(1, 11 - address):
            reply = answer(read(2, address, count), table, PLC)
            expected = [flags >> (address + i) & 1 for i in range(count)]
            got = [reply[2 + i // 8] >> (i % 8) & 1 for i in range(count)]
            assert got == expected
            assert reply[1] == len(reply) - 2 == (count + 7) // 8


def test_the_second_writer_waits_until_the_firsts_heartbeat_is_dead() -> None:
    rig = Rig().start()
    table = table_of(rig)
    assert answer(write(EVENT), table, PLC)[0] == 16
    assert answer(write(EVENT), table, OTHER) == b"\x90\x03"
    assert answer(both(EVENT), table, OTHER) == b"\x97\x03"
    assert answer(read(4, 20, 124), table, OTHER)[0] == 4
    rig.wait_ms(1100, plc=False)
    assert answer(write(EVENT), table, OTHER)[0] == 16
    assert answer(write([*EVENT[:7], 78, *EVENT[8:]]), table, OTHER)[0] == 16
    assert answer(write(EVENT), table, PLC) == b"\x90\x03"
    table.release(OTHER)
    assert answer(write(EVENT), table, PLC)[0] == 16


@given(st.one_of(
    st.binary(min_size=1, max_size=253),
    st.tuples(st.sampled_from([2, 3, 4, 6, 16, 23]), st.binary(max_size=252)).map(lambda t: bytes([t[0]]) + t[1]),
))  # fmt: skip
def test_any_bytes_get_one_answer_of_lawful_size_and_only_a_whole_write_changes_holding(request: bytes) -> None:
    table = table_of(Rig().start())
    reply = answer(request, table, PLC)
    assert reply[0] in (request[0], request[0] | 0x80)
    assert len(reply) <= 253
    if reply[0] & 0x80:
        assert len(reply) == 2
        assert reply[1] in (1, 2, 3)
        assert table.holding == [0] * 12
    elif table.holding != [0] * 12:
        assert request[0] in (16, 23)
        assert struct.pack(">12H", *table.holding) == request[-24:]
