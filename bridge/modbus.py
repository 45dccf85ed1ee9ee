"""Modbus requests on one gate's table: a request's bytes in, the answer's bytes out. Pure but for the table itself.

After the MODBUS Application Protocol Specification V1.1b3: the PDU is a function code and its data, big-endian. Functions
02, 03, 04, 06, 16 and 23 are answered; any other gets exception 01, an address outside the table 02, a value, a count or a
write that is not allowed 03. A request is judged whole before it changes anything.
"""

import struct
from collections.abc import Callable
from enum import IntEnum

from bridge.table import GateTable, WriteRefusedError
from senbetsu.registers import FLAG_COUNT, HOLDING_COUNT, INPUT_COUNT, MIRROR_AT

MAX_READ_BITS, MAX_READ, MAX_WRITE, MAX_READ_WRITE = 2000, 125, 123, 121
"""Most discrete inputs, registers read, written (16) and written (23) in one request, by the specification."""


class Function(IntEnum):
    """The function codes that are answered."""

    READ_DISCRETE = 2
    READ_HOLDING = 3
    READ_INPUT = 4
    WRITE_ONE = 6
    WRITE_MANY = 16
    READ_WRITE = 23


WRITES = frozenset({Function.WRITE_ONE, Function.WRITE_MANY, Function.READ_WRITE})


class ExceptionCode(IntEnum):
    """Why a request is not carried out."""

    ILLEGAL_FUNCTION = 1
    ILLEGAL_ADDRESS = 2
    ILLEGAL_VALUE = 3
    NO_SUCH_UNIT = 11
    """Nobody answers under this unit id (gateway target device failed to respond)."""


class _Refusal(Exception):
    def __init__(self, code: ExceptionCode, why: str) -> None:
        super().__init__(why)
        self.code = code


def exception(function: int, code: ExceptionCode) -> bytes:
    """The PDU that says no."""
    return bytes([function & 0x7F | 0x80, code])


def answer(pdu: bytes, table: GateTable, caller: object) -> bytes:
    """The answer to one request.

    Args:
        pdu: function code and data, 1 to 253 bytes.
        table: of the gate that is meant.
        caller: who asks; only one may write at a time.
    """
    function = pdu[0]
    carry_out = _ANSWERS.get(function)
    if carry_out is None:
        return exception(function, ExceptionCode.ILLEGAL_FUNCTION)
    try:
        return carry_out(pdu, table, caller)
    except WriteRefusedError:
        return exception(function, ExceptionCode.ILLEGAL_VALUE)
    except _Refusal as refusal:
        if function in WRITES:
            table.refuse(str(refusal))
        return exception(function, refusal.code)


def _fields(layout: str, pdu: bytes) -> tuple[int, ...]:
    """The fixed fields after the function code. A request that is too short is one of a count that is not allowed."""
    if len(pdu) < 1 + struct.calcsize(layout):
        raise _Refusal(ExceptionCode.ILLEGAL_VALUE, "the request is shorter than its function needs")
    return struct.unpack_from(layout, pdu, 1)


def _check_count(count: int, most: int) -> None:
    if not 1 <= count <= most:
        raise _Refusal(ExceptionCode.ILLEGAL_VALUE, f"a count of {count}; 1 to {most} are allowed")


def _read_discrete(pdu: bytes, table: GateTable, _caller: object) -> bytes:
    address, count = _fields(">HH", pdu)
    _check_count(count, MAX_READ_BITS)
    if address + count > FLAG_COUNT:
        raise _Refusal(ExceptionCode.ILLEGAL_ADDRESS, f"discrete inputs are 0-{FLAG_COUNT - 1}")
    table.contract.tick(table.clock_ns())
    bits = int(table.contract.flags) >> address & ((1 << count) - 1)
    size = (count + 7) // 8
    return bytes([Function.READ_DISCRETE, size]) + bits.to_bytes(size, "little")


def _read_input(pdu: bytes, table: GateTable, _caller: object) -> bytes:
    address, count = _fields(">HH", pdu)
    _check_count(count, MAX_READ)
    if address + count > INPUT_COUNT:
        raise _Refusal(ExceptionCode.ILLEGAL_ADDRESS, f"input registers are 0-{INPUT_COUNT - 1}")
    return _registers(Function.READ_INPUT, table.image()[address : address + count])


def _read_holding(pdu: bytes, table: GateTable, _caller: object) -> bytes:
    address, count = _fields(">HH", pdu)
    _check_holding(address, count)
    return _registers(Function.READ_HOLDING, _holding(table, address, count))


def _write_one(pdu: bytes, _table: GateTable, _caller: object) -> bytes:
    address, _ = _fields(">HH", pdu)
    _check_whole(address, 1)
    raise AssertionError("one register is never the whole")


def _write_many(pdu: bytes, table: GateTable, caller: object) -> bytes:
    address, count, size = _fields(">HHB", pdu)
    _check_count(count, MAX_WRITE)
    words = _words(pdu[6:], count, size)
    _check_whole(address, count)
    table.write(words, caller)
    return pdu[:5]


def _read_write(pdu: bytes, table: GateTable, caller: object) -> bytes:
    """The write comes first; what is read has seen it."""
    read_address, read_count, address, count, size = _fields(">HHHHB", pdu)
    _check_count(count, MAX_READ_WRITE)
    words = _words(pdu[10:], count, size)
    _check_whole(address, count)
    _check_holding(read_address, read_count)
    table.write(words, caller)
    return _registers(Function.READ_WRITE, _holding(table, read_address, read_count))


def _words(data: bytes, count: int, size: int) -> list[int]:
    if size != 2 * count or len(data) != size:
        raise _Refusal(
            ExceptionCode.ILLEGAL_VALUE, f"{count} registers are {2 * count} bytes, not {size} and {len(data)}"
        )
    return list(struct.unpack(f">{count}H", data))


def _check_whole(address: int, count: int) -> None:
    """A write is of holding 0-11, all of it."""
    if address >= HOLDING_COUNT:
        raise _Refusal(ExceptionCode.ILLEGAL_ADDRESS, f"holding registers from {HOLDING_COUNT} are not for writing")
    if (address, count) != (0, HOLDING_COUNT):
        raise _Refusal(
            ExceptionCode.ILLEGAL_VALUE, "holding 0-11 are written whole, in one request (function 16 or 23)"
        )


def _check_holding(address: int, count: int) -> None:
    _check_count(count, MAX_READ)
    own = address + count <= HOLDING_COUNT
    mirror = address >= MIRROR_AT and address + count <= MIRROR_AT + INPUT_COUNT
    if not (own or mirror):
        raise _Refusal(
            ExceptionCode.ILLEGAL_ADDRESS, f"holding registers are 0-11 and {MIRROR_AT}-{MIRROR_AT + INPUT_COUNT - 1}"
        )


def _holding(table: GateTable, address: int, count: int) -> list[int]:
    if address < HOLDING_COUNT:
        return table.holding[address : address + count]
    return table.image()[address - MIRROR_AT :][:count]


def _registers(function: Function, words: list[int]) -> bytes:
    return struct.pack(f">BB{len(words)}H", function, 2 * len(words), *words)


_ANSWERS: dict[int, Callable[[bytes, GateTable, object], bytes]] = {
    Function.READ_DISCRETE: _read_discrete,
    Function.READ_HOLDING: _read_holding,
    Function.READ_INPUT: _read_input,
    Function.WRITE_ONE: _write_one,
    Function.WRITE_MANY: _write_many,
    Function.READ_WRITE: _read_write,
}
