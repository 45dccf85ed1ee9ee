"""The simulated PLC's own rules beside the gate's: what it does not believe even where the slot says PASS."""

from senbetsu.registers import Control, Header, Slot, Window, decode_window, input_registers
from senbetsu.states import State
from senbetsu.verdict import Reason
from simulated_plc.plc import Phase, SimulatedPlc

MS = 1_000_000


def window(run: int, heartbeat: int, slot: Slot | None = None, confirmed: int = 0) -> Window:
    slots = [Slot()] * 16
    if slot is not None:
        slots[slot.trigger % 16] = slot
    header = Header(run=run, state=State.EXECUTE, heartbeat=heartbeat, confirmed=confirmed)
    return decode_window(input_registers(header, slots)[20:144])


def made() -> SimulatedPlc:
    return SimulatedPlc(
        period_ns=50 * MS, travel_ns=300 * MS, allow_simulated=False, parts=9, first_trigger=4, answer_ns=20 * MS
    )


def started() -> SimulatedPlc:
    plc = made()
    taken = 0
    for turn, run in enumerate((7, 7, 8, 8, 8), 1):
        if write := plc.scan(window(run, turn, confirmed=taken), turn * MS):
            taken = write.heartbeat
    assert plc.phase is Phase.RUNNING
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


def test_no_part_is_announced_before_the_echo_of_its_run_was_taken() -> None:
    plc = started()
    echo = plc.scan(window(9, 6, confirmed=3), 6 * MS)
    assert echo is not None
    assert echo.run_echo == 9
    for turn in range(7, 20):  # the echo is lost on its way: the window shows what was taken before
        plc.scan(window(9, turn, confirmed=3), turn * MS)
        assert plc.trigger_due(turn * 50 * MS) is None
    again = plc.scan(window(9, 20, confirmed=3), 106 * MS)
    assert again is not None
    plc.scan(window(9, 21, confirmed=again.heartbeat), 107 * MS)
    assert plc.trigger_due(2000 * MS) is not None


def test_it_enables_only_once_it_was_seen_to_be_disabled() -> None:
    plc = made()
    off = plc.scan(window(7, 1), 1 * MS)
    assert off is not None
    assert Control.ENABLE not in off.control
    plc.scan(window(7, 2), 2 * MS)
    assert plc.phase is Phase.DISABLED
    on = plc.scan(window(7, 3, confirmed=off.heartbeat), 3 * MS)
    assert on is not None
    assert Control.ENABLE in on.control
