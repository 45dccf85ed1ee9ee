"""The PLC's program: one call a scan, pure but for the time it is given (nanoseconds). Sockets stand outside.

Start-up: enable 0, read run r, enable 1, wait until the run is not r, echo it. Each step follows once the window shows the
write before it as taken: a trigger that came in the place of a lost echo would be the run's baseline, not a part. From then
on a part is triggered every period; a part's gate is decided when its slot holds a verdict, at the latest when it reaches
the gate. When the run changes, whatever is under way is rejected, and the new run is echoed.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum

from senbetsu.gate_rule import Cell, has_verdict, why_shut
from senbetsu.messages import TRIGGER_MODULUS
from senbetsu.registers import SLOTS, Control, PlcWrite, SlotView, Window
from senbetsu.verdict import Reason

HEARTBEAT_FRESH_NS = 500_000_000
WRITE_EVERY_NS = 100_000_000
ANSWER_NS = 100_000_000


class Phase(Enum):
    """Where the start-up stands."""

    DISABLED = "write enable 0, then read the run"
    ENABLING = "write enable 1, wait for another run"
    ECHOING = "echo the run: the baseline"
    RUNNING = "trigger parts"


@dataclass(slots=True)
class PartRecord:
    """One part, for the report."""

    trigger: int
    part_id: int
    run: int
    written_at_ns: int
    gate_at_ns: int
    decided_at_ns: int = 0
    opened: bool = False
    why: str = ""
    reason: int = 0
    slot: SlotView | None = None
    was_announced: bool = True
    """Its trigger was confirmed in time. Else the camera may have seen what came after it."""


@dataclass(slots=True)
class SimulatedPlc:
    """`scan` takes what was read (None: the link is down) and gives what is to be written, or None."""

    period_ns: int
    travel_ns: int
    allow_simulated: bool
    parts: int
    recipe: int = 0
    first_trigger: int = 0
    answer_ns: int = ANSWER_NS
    """A part whose trigger is not confirmed within this stays rejected; with the deadline, no longer than a part stays."""
    phase: Phase = Phase.DISABLED
    run_echo: int = 0
    records: list[PartRecord] = field(default_factory=list)
    waiting: list[PartRecord] = field(default_factory=list)
    on_decision: Callable[[PartRecord], None] = lambda _record: None
    runs_seen: int = 0
    _old_run: int = 0
    _trigger: int = 0
    _acknowledged: int = 0
    _heartbeat: int = 0
    _their_heartbeat: int = -1
    _their_heartbeat_ns: int = 0
    _next_part_ns: int = 0
    _last_write_ns: int = 0

    def __post_init__(self) -> None:
        self._trigger = self._acknowledged = self.first_trigger % TRIGGER_MODULUS

    @property
    def done(self) -> bool:
        """All parts have passed the gate's decision."""
        return len(self.records) >= self.parts and not self.waiting

    @property
    def next_part_ns(self) -> int:
        """When the next part is due; far away while none is."""
        return self._next_part_ns if self.phase is Phase.RUNNING and len(self.records) < self.parts else 1 << 63

    def scan(self, window: Window | None, now_ns: int) -> PlcWrite | None:
        """One scan."""
        if window is not None:
            if window.heartbeat != self._their_heartbeat:
                self._their_heartbeat = window.heartbeat
                self._their_heartbeat_ns = now_ns
            self._follow_run(window, now_ns)
        self._decide_gates(window, now_ns)
        return self._write(now_ns)

    def trigger_due(self, now_ns: int) -> PlcWrite | None:
        """A part is at the trigger: the write that announces it."""
        if now_ns < self.next_part_ns:
            return None
        self._next_part_ns = max(self._next_part_ns + self.period_ns, now_ns - self.period_ns)
        self._trigger = (self._trigger + 1) % TRIGGER_MODULUS
        record = PartRecord(self._trigger, len(self.records) + 1, self.run_echo, now_ns, now_ns + self.travel_ns)
        self.records.append(record)
        self.waiting.append(record)
        return self._now(now_ns)

    def confirm(self, now_ns: int, *, written: bool) -> None:
        """Whether, and when, the write that announced the newest part was confirmed."""
        record = self.records[-1]
        record.was_announced = written and now_ns - record.written_at_ns <= self.answer_ns

    def _follow_run(self, window: Window, now_ns: int) -> None:
        match self.phase:
            case Phase.DISABLED:
                if self._is_taken(window):
                    self._old_run = window.run
                    self.phase = Phase.ENABLING
                    self._last_write_ns = 0
            case Phase.ENABLING:
                if window.run != self._old_run:
                    self._echo(window.run)
            case Phase.ECHOING:
                if window.run != self.run_echo:
                    self._echo(window.run)
                elif self._is_taken(window):
                    self.phase = Phase.RUNNING
                    self._next_part_ns = max(self._next_part_ns, now_ns)
            case Phase.RUNNING:
                if window.run != self.run_echo:
                    self._reject_waiting("run changed", now_ns)
                    self._echo(window.run)

    def _is_taken(self, window: Window) -> bool:
        """Whether the newest write of this phase has come."""
        return self._last_write_ns != 0 and window.confirmed == self._heartbeat != 0

    def _echo(self, run: int) -> None:
        self.run_echo = run
        self.runs_seen += 1
        self.phase = Phase.ECHOING
        self._last_write_ns = 0

    def _decide_gates(self, window: Window | None, now_ns: int) -> None:
        fresh = now_ns - self._their_heartbeat_ns <= HEARTBEAT_FRESH_NS
        for record in list(self.waiting):
            cell = Cell(record.trigger, record.part_id)
            at_gate = now_ns >= record.gate_at_ns
            if not record.was_announced:
                self._decide(record, "trigger not confirmed in time", None, now_ns)
                continue
            if window is None:
                if at_gate:
                    self._decide(record, "link down", None, now_ns)
                continue
            if not (at_gate or (fresh and has_verdict(window, cell, self.run_echo))):
                continue
            why = why_shut(
                window, cell, enabled=self.phase is Phase.RUNNING, heartbeat_is_fresh=fresh, run_echo=self.run_echo,
                recipe=self.recipe,
            )  # fmt: skip
            self._decide(record, why, window.slots[record.trigger % SLOTS], now_ns)

    def _reject_waiting(self, why: str, now_ns: int) -> None:
        for record in list(self.waiting):
            self._decide(record, why, None, now_ns)

    def _decide(self, record: PartRecord, why: str | None, slot: SlotView | None, now_ns: int) -> None:
        record.opened = why is None
        record.why = why or ""
        record.slot = slot
        record.reason = slot.reason if slot is not None and slot.first == record.trigger else Reason.NONE
        record.decided_at_ns = now_ns
        self.waiting.remove(record)
        self._acknowledged = (self.waiting[0].trigger - 1) % TRIGGER_MODULUS if self.waiting else self._trigger
        self.on_decision(record)

    def _write(self, now_ns: int) -> PlcWrite | None:
        if self._last_write_ns and now_ns - self._last_write_ns < WRITE_EVERY_NS:
            return None
        return self._now(now_ns)

    def _now(self, now_ns: int) -> PlcWrite:
        """What the holding registers should be now; the heartbeat changes with every write."""
        self._last_write_ns = now_ns
        self._heartbeat = (self._heartbeat + 1) & 0xFFFF
        control = Control(0) if self.phase is Phase.DISABLED else Control.ENABLE
        if self.allow_simulated:
            control |= Control.ALLOW_SIMULATED
        newest = self.records[-1].part_id if self.records else 0
        return PlcWrite(
            acknowledged=self._acknowledged, run_echo=self.run_echo, part_id=newest, trigger=self._trigger, control=control,
            recipe=self.recipe, heartbeat=self._heartbeat, gate_passed=self.passed_in_run,
        )  # fmt: skip

    @property
    def passed_in_run(self) -> int:
        """Parts that the gate let through in this run."""
        return sum(record.opened for record in self.records if record.run == self.run_echo)
