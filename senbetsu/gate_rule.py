"""The gate's rule, clause by clause: the gate's rest position is reject, and all of this must hold to open it once."""

from dataclasses import dataclass

from senbetsu.registers import LAYOUT_VERSION, MAGIC, SLOTS, SlotBit, Window
from senbetsu.verdict import Reason


@dataclass(frozen=True, slots=True)
class Cell:
    """What the PLC's shift register carries with a part to the gate."""

    trigger: int
    part_id: int


def why_shut(
    window: Window, cell: Cell, *, enabled: bool, heartbeat_is_fresh: bool, run_echo: int, recipe: int
) -> str | None:
    """The first clause that keeps the gate shut; None if it may open for this part.

    Args:
        window: registers 20-143, from one request.
        cell: the part at the gate.
        enabled: the PLC's own enable.
        heartbeat_is_fresh: the heartbeat register changed within the last 500 ms.
        run_echo: the run that this PLC works in.
        recipe: the recipe that this PLC wants, 0 for whatever is active.
    """
    slot = window.slots[cell.trigger % SLOTS]
    clauses = (
        (enabled, "not enabled"),
        (heartbeat_is_fresh, "heartbeat stale"),
        (window.magic == MAGIC and window.layout == LAYOUT_VERSION, "magic or layout wrong"),
        (recipe in (0, window.recipe), "recipe differs"),
        (slot.run == window.run == run_echo != 0, "run differs"),
        (slot.first == slot.last == cell.trigger, "slot is of another part"),
        (bool(slot.bits & SlotBit.VALID), "no verdict"),
        (bool(slot.bits & SlotBit.PASS), "not PASS"),
        (not slot.bits & SlotBit.FAIL, "FAIL"),
        (slot.reason == Reason.OK, "reason is not OK"),
        (slot.part_id == cell.part_id, "part id differs"),
    )
    return next((why for holds, why in clauses if not holds), None)


def has_verdict(window: Window, cell: Cell, run_echo: int) -> bool:
    """Whether the slot holds a decision on this part."""
    slot = window.slots[cell.trigger % SLOTS]
    mine = slot.first == slot.last == cell.trigger and slot.run == window.run == run_echo
    return mine and bool(slot.bits & SlotBit.VALID)
