"""The gate's rule, one clause at a time: take any one away and the gate stays shut."""

from dataclasses import replace

import pytest

from senbetsu.gate_rule import Cell, why_shut
from senbetsu.registers import Flag, Header, Slot, SlotView, Window, decode_window, input_registers
from senbetsu.states import State
from senbetsu.verdict import Reason

CELL = Cell(trigger=21, part_id=70_000)
GOOD = Slot(trigger=21, part_id=70_000, reason=Reason.OK, run=9)


def window(slot: Slot = GOOD) -> Window:
    slots = [Slot()] * 16
    slots[21 % 16] = slot
    header = Header(run=9, state=State.EXECUTE, flags=Flag.READY, recipe=4)
    return decode_window(input_registers(header, slots)[20:144])


def ask(seen: Window, cell: Cell = CELL, **changes: object) -> str | None:
    conditions: dict[str, object] = {"enabled": True, "heartbeat_is_fresh": True, "run_echo": 9, "recipe": 4, **changes}
    return why_shut(seen, cell, **conditions)  # type: ignore[arg-type]


def with_slot(**changes: int) -> Window:
    seen = window()
    slots = list(seen.slots)
    slots[5] = replace(slots[5], **changes)
    return replace(seen, slots=tuple(slots))


def test_it_opens_when_everything_holds() -> None:
    assert ask(window()) is None
    assert ask(window(), recipe=0) is None


@pytest.mark.parametrize(
    ("seen", "changes", "why"),
    [
        (window(), {"enabled": False}, "not enabled"),
        (window(), {"heartbeat_is_fresh": False}, "heartbeat stale"),
        (replace(window(), magic=0), {}, "magic or layout wrong"),
        (replace(window(), layout=2), {}, "magic or layout wrong"),
        (window(), {"recipe": 5}, "recipe differs"),
        (window(), {"run_echo": 8}, "run differs"),
        (replace(window(), run=8), {}, "run differs"),
        (with_slot(run=8), {}, "run differs"),
        (with_slot(first=5), {}, "slot is of another part"),
        (with_slot(last=5), {}, "slot is of another part"),
        (with_slot(first=37, last=37), {}, "slot is of another part"),
        (with_slot(bits=0x0101), {}, "no verdict"),
        (with_slot(bits=0x8100), {}, "not PASS"),
        (with_slot(bits=0x8103), {}, "FAIL"),
        (with_slot(bits=0x8001), {}, "reason is not OK"),
        (with_slot(bits=0x8201), {}, "reason is not OK"),
        (with_slot(bits=0xFF01), {}, "reason is not OK"),
        (with_slot(part_id=70_001), {}, "part id differs"),
    ],
)
def test_any_one_clause_keeps_it_shut(seen: Window, changes: dict, why: str) -> None:
    assert ask(seen, **changes) == why


def test_run_zero_is_never_right() -> None:
    nothing = replace(with_slot(run=0), run=0)
    assert ask(nothing, run_echo=0) == "run differs"


def test_a_slot_view_of_zeros_opens_nothing() -> None:
    empty = replace(window(), slots=tuple(SlotView(0, 0, 0, 0, 0, 0) for _ in range(16)))
    assert ask(empty, Cell(0, 0)) is not None
