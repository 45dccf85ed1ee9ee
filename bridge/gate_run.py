"""One run of a gate: the parts on their way, the slots that the PLC reads, and the counts. Pure.

A new run forgets all of it [5]. Times are the bridge's own clock, nanoseconds. Numbers in brackets are the contract's rules.
"""

from dataclasses import dataclass, field

from bridge.part import Part, decided_slot, same_result
from senbetsu.messages import TRIGGER_MODULUS, Result
from senbetsu.registers import EMPTY_SLOT, SLOTS, Slot, trigger_distance
from senbetsu.verdict import Reason

COUNTS = ("triggers", "pass", "reject", "late", "lost", "missed")
COUNTER = 0xFFFF_FFFF


@dataclass(frozen=True, slots=True)
class Decision:
    """A part was decided; for counting and the journal."""

    run: int
    trigger: int
    part_id: int
    reason: Reason
    latency_ns: int


@dataclass(slots=True)
class GateRun:
    """`decided` and `totals` are the gate's and outlive the run: each decision is put on the one and counted in the other."""

    number: int
    decided: list[Decision]
    totals: dict[str, int]
    trigger: int | None = None
    """Newest trigger number seen; None until the baseline."""
    parts: dict[int, Part] = field(default_factory=dict)
    """Those that wait for their decision, by trigger."""
    slots: list[Slot] = field(default_factory=lambda: [EMPTY_SLOT] * SLOTS)
    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(COUNTS, 0))
    newest_decided: int = 0
    overflow: bool = False
    out_of_step: bool = False
    held: bool = False
    """Pulses and frames no longer match: no PASS until a new run [8]."""
    gate_excess: int = 0
    """Most parts that the gate let pass beyond those that were passed: more than 0, and it breaks the rule [14]."""
    _acknowledged: int | None = None
    _applied: dict[int, Part] = field(default_factory=dict)
    """Decided parts whose slot is not reused yet: to tell the same result twice from a late one."""

    def begin_at(self, trigger: int, acknowledged: int) -> None:
        """The baseline: the first write that echoes this run is no part [5]."""
        self.trigger, self._acknowledged = trigger, acknowledged

    def acknowledge(self, acknowledged: int) -> None:
        """The PLC has read so far. What was never triggered cannot be acknowledged."""
        before = self._acknowledged
        if before is None or self.trigger is None:
            return
        if trigger_distance(acknowledged, before) <= trigger_distance(self.trigger, before):
            self._acknowledged = acknowledged

    def gate_passed(self, parts: int) -> None:
        """The PLC tells how many the gate let pass."""
        self.gate_excess = max(self.gate_excess, parts - self.counts["pass"])

    def open(self, part: Part, now_ns: int) -> None:
        """The part's slot is emptied and takes the new number; the verdict follows [4]."""
        index = part.trigger % SLOTS
        before = self.slots[index]
        if before.run != 0 or before.trigger in self.parts:
            older = self.parts.get(before.trigger)
            if older is not None:
                self.decide(older, Reason.OVERLOAD, now_ns)
            if not self._is_acknowledged(before.trigger):
                self.overflow = True
                self.count("lost")
        self._applied.pop(before.trigger, None)
        self.slots[index] = Slot(trigger=part.trigger, part_id=part.part_id, run=self.number)
        self.trigger = part.trigger
        self.parts[part.trigger] = part
        self.count("triggers")

    def decide(self, part: Part, reason: Reason, now_ns: int) -> None:
        """Exactly once: the part is outstanding no longer [3]."""
        del self.parts[part.trigger]
        self.slots[part.trigger % SLOTS] = decided_slot(part, reason, self.number, now_ns)
        self._applied[part.trigger] = part
        self.newest_decided = part.trigger
        self.count("pass" if reason is Reason.OK else "reject")
        self.decided.append(Decision(self.number, part.trigger, part.part_id, reason, now_ns - part.accepted_at_ns))

    def decide_all(self, reason: Reason, now_ns: int) -> None:
        """Whatever waits."""
        for part in list(self.parts.values()):
            self.decide(part, reason, now_ns)

    def decide_overdue(self, now_ns: int) -> None:
        """Whose deadline is over [3]."""
        for part in [part for part in self.parts.values() if part.deadline_ns <= now_ns]:
            self.decide(part, part.reason(), now_ns)

    def part_of(self, result: Result) -> Part | None:
        """Whose look this is. None: of what is decided, unknown, or of another run, which may use the same numbers [5].

        Then it is counted late, and applied to nothing, unless it is one that was applied before [3].
        """
        of_this_run = result.run == self.number and result.trigger is not None
        part = self.parts.get(result.trigger or 0) if of_this_run else None
        if part is None and not (of_this_run and self._was_applied(result)):
            self.count("late")
        return part

    def count(self, name: str) -> None:
        """One more, in this run and in all."""
        self.counts[name] = (self.counts[name] + 1) & COUNTER
        self.totals[name] += 1

    def _was_applied(self, result: Result) -> bool:
        part = self._applied.get(result.trigger or 0)
        applied = None if part is None else part.looks.get((result.camera, result.item))
        return applied is not None and same_result(applied, result)

    def _is_acknowledged(self, trigger: int) -> bool:
        return self._acknowledged is not None and trigger_distance(self._acknowledged, trigger) < TRIGGER_MODULUS // 2
