"""The simulated PLC's own rules beside the gate's: what it does not believe even where the slot says PASS."""

from senbetsu.registers import Header, Slot, Window, decode_window, input_registers
from senbetsu.states import State
from senbetsu.verdict import Reason
from simulated_plc.plc import SimulatedPlc

MS = 1_000_000


def window(run: int, heartbeat: int, slot: Slot | None = None) -> Window:
    slots = [Slot()] * 16
    if slot is not None:
        slots[slot.trigger % 16] = slot
    return decode_window(input_registers(Header(run=run, state=State.EXECUTE, heartbeat=heartbeat), slots)[20:144])


def started() -> SimulatedPlc:
    plc = SimulatedPlc(
        period_ns=50 * MS, travel_ns=300 * MS, allow_simulated=False, parts=9, first_trigger=4, answer_ns=20 * MS
    )
    for turn, run in enumerate((7, 7, 8, 8, 8), 1):
        plc.scan(window(run, turn), turn * MS)
    return plc


def opens(took_ms: float, *, written: bool = True) -> bool:
    """Whether the gate opens for a part whose slot says PASS, after its trigger's write took so long."""
    plc = started()
    now_ns = 10 * MS
    assert plc.trigger_due(now_ns) is not None
    now_ns += round(took_ms * MS)
    plc.confirm(now_ns, written=written)
    plc.scan(window(8, 9, Slot(trigger=5, part_id=1, reason=Reason.OK, run=8)), now_ns)
    assert plc.records[0].decided_at_ns
    return plc.records[0].opened


def test_a_part_passes_only_if_its_trigger_was_confirmed_in_time() -> None:
    assert opens(20)
    assert not opens(21)
    assert not opens(1, written=False)
