"""The PLC contract of one gate as a state machine: pure, with the time as an argument (nanoseconds of the bridge's clock).

Numbers in brackets are the contract's rules. What goes in: a PLC's write, the daemon's results, heartbeats, states and
refusals, and the passing of time. What comes out: the register image, and the triggers to pass on to the daemon.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from bridge.ends import NEVER_NS, DaemonEnd, PlcEnd
from bridge.part import LookKey, Part, decided_slot, same_result
from senbetsu.messages import TRIGGER_MODULUS, Result
from senbetsu.registers import (
    EMPTY_SLOT,
    SLOTS,
    Control,
    Flag,
    Header,
    PlcWrite,
    Slot,
    input_registers,
    trigger_distance,
)
from senbetsu.requests import TriggerRequest
from senbetsu.states import State
from senbetsu.verdict import Reason

COUNTS = ("triggers", "pass", "reject", "late", "lost", "missed")
COUNTER = 0xFFFF_FFFF
STALL_NS = 50_000_000
"""A bridge that has not looked around for longer may have let a trigger wait for as long."""


@dataclass(frozen=True, slots=True)
class GateSettings:
    """What the config says of a gate."""

    name: str
    expected: frozenset[LookKey]
    items: int
    deadline_ns: int
    allow_simulated: bool
    recipe: int
    """The active one, until the daemon tells."""
    daemon_silent_ns: int
    plc_silent_ns: int
    hardware_trigger: bool = False
    """The PLC's pulse goes to the camera too: several counted in one write are as many parts [7]."""


@dataclass(frozen=True, slots=True)
class Decision:
    """A part was decided; for counting and the journal."""

    run: int
    trigger: int
    part_id: int
    reason: Reason
    latency_ns: int


@dataclass(slots=True)
class GateContract:
    """One gate. `next_run` gives run numbers, never the same twice in a row, and keeps them over restarts [5]."""

    settings: GateSettings
    next_run: Callable[[], int]
    decided: list[Decision] = field(default_factory=list)
    """Decisions since somebody last emptied the list."""

    run: int = 0
    _daemon: DaemonEnd = field(init=False)
    _plc: PlcEnd = field(init=False)
    _trigger: int | None = None
    """Newest trigger number seen in this run; None until the baseline."""
    _acknowledged: int | None = None
    _slots: list[Slot] = field(default_factory=lambda: [EMPTY_SLOT] * SLOTS)
    _parts: dict[int, Part] = field(default_factory=dict)
    _applied: dict[int, Part] = field(default_factory=dict)
    """Decided parts whose slot is not reused yet: to tell the same result twice from a late one."""
    _overflow: bool = False
    _out_of_step: bool = False
    _held: bool = False
    """Pulses and frames no longer match: no PASS until a new run [8]."""
    _newest_decided: int = 0
    _counts: dict[str, int] = field(default_factory=dict)
    totals: dict[str, int] = field(default_factory=lambda: dict.fromkeys(COUNTS, 0))
    """As the run's counters, but over all runs."""
    refused_writes: int = 0
    gate_excess: int = 0
    """Most parts that the gate let pass in this run beyond those that were passed: more than 0, and it breaks the rule [14]."""
    journal_failing: bool = False
    _looked_ns: int | None = None
    _paused_from_ns: int | None = None
    """After a pause, until what waited through it has come."""

    def __post_init__(self) -> None:
        self._daemon = DaemonEnd(self.settings.daemon_silent_ns, self.settings.recipe)
        self._plc = PlcEnd(self.settings.plc_silent_ns)
        self._begin_run(0)

    # -- what comes in ------------------------------------------------------------------------------------------------

    def on_write(self, write: PlcWrite, now_ns: int, came_ns: int | None = None) -> list[TriggerRequest]:
        """Holding 0-11 were written whole: one event [6].

        `came_ns`: the earliest that its trigger may be of, where whoever brings the write knows; deadlines count from there.
        """
        self.tick(now_ns)
        for begins in self._plc.hear(write, now_ns):
            if begins:
                self._begin_run(now_ns)
        if write.run_echo != self.run:
            return []  # triggers and acknowledgements of another run are of the past [5]
        self.gate_excess = max(self.gate_excess, self._plc.gate_passed - self._counts["pass"])
        if self._trigger is None:
            self._trigger = write.trigger
            self._acknowledged = write.acknowledged
            return []  # the baseline, not a part [5]
        self._acknowledge(write.acknowledged)
        return self._take_triggers(write, now_ns, self._came_ns(now_ns) if came_ns is None else min(came_ns, now_ns))

    def on_result(self, result: Result, now_ns: int) -> None:
        """One look's result."""
        if result.gate != self.settings.name or result.trigger is None:
            return  # free run: subscribers hear it, no gate opens by it [9]
        self.tick(now_ns)  # a bridge that was stopped for a while must see first what has run out meanwhile
        self.on_epoch(result.epoch, now_ns)
        if result.epoch != self._daemon.epoch:
            return  # of a daemon that is no more
        part = self._parts.get(result.trigger)
        if part is None or result.run != self.run:
            # A new run may give a part the number of an older one, whose result can still be on its way [5].
            self._late(result)
            return
        part.add(result)
        if self.settings.hardware_trigger and result.reason is Reason.OUT_OF_STEP:
            self._out_of_step = self._held = True
        if part.complete:
            self._decide(part, part.reason(), now_ns)

    def on_refused(self, trigger: int, reason: Reason, now_ns: int) -> None:
        """The daemon did not accept a trigger."""
        part = self._parts.get(trigger)
        if part is not None:
            self._decide(part, reason, now_ns)

    def on_lost(self, now_ns: int) -> None:
        """Results are gone that no replay can bring: which parts they were of cannot be known."""
        for part in list(self._parts.values()):
            self._decide(part, Reason.LOST, now_ns)

    def on_epoch(self, epoch: int, now_ns: int, *, older_too: bool = False) -> None:
        """The daemon's epoch, as any message shows it. A new one begins a new run [5].

        `older_too`: the daemon of the present one is gone, so a smaller one is of a start after the clock was set back.
        """
        daemon = self._daemon
        if daemon.epoch is None:
            daemon.epoch = epoch
        elif epoch > daemon.epoch or (older_too and epoch != daemon.epoch):
            daemon.epoch = epoch
            self._begin_run(now_ns)

    def on_heartbeat(self, epoch: int, counter: int, state: State, now_ns: int, recipe: int | None = None) -> None:
        """The daemon's heartbeat: forwarded, never invented [10]."""
        self.tick(now_ns)
        self.on_epoch(epoch, now_ns)
        if epoch == self._daemon.epoch:
            self._daemon.tell(state, recipe)
            self._daemon.hear_beat(counter, now_ns)

    def on_state(self, epoch: int, state: State, now_ns: int, recipe: int | None = None) -> None:
        """The daemon's state or its active recipe changed."""
        self.on_epoch(epoch, now_ns)
        if epoch == self._daemon.epoch:
            self._daemon.tell(state, recipe)

    def look(self, now_ns: int) -> None:
        """The bridge looks around, as it does all the time. After a pause, what waited may still come until it looks again."""
        before_ns, self._looked_ns = self._looked_ns, now_ns
        paused = before_ns is not None and now_ns - before_ns > STALL_NS
        self._paused_from_ns = before_ns if paused else None
        self.tick(now_ns)

    def tick(self, now_ns: int) -> None:
        """Time has passed: deadlines [3], the daemon's silence and the PLC's [10]."""
        if self._daemon.falls_silent(now_ns):
            for part in list(self._parts.values()):
                self._decide(part, Reason.LINK, now_ns)
        self._plc.look_for_silence(now_ns)
        for part in [part for part in self._parts.values() if part.deadline_ns <= now_ns]:
            self._decide(part, part.reason(), now_ns)

    def next_event_ns(self) -> int:
        """When `tick` has something to do, at the latest."""
        first_ns = min((part.deadline_ns for part in self._parts.values()), default=NEVER_NS)
        return min(first_ns, self._daemon.silent_at_ns(), self._plc.silent_at_ns())

    # -- what comes out -----------------------------------------------------------------------------------------------

    def image(self) -> list[int]:
        """All input registers, one consistent state [6]."""
        counts = self._counts
        header = Header(
            triggers=counts["triggers"], passed=counts["pass"], rejected=counts["reject"], late=counts["late"],
            lost=counts["lost"], missed=counts["missed"], refused_writes=self.refused_writes & COUNTER,
            epoch_low=(self.epoch or 0) & COUNTER, run=self.run, state=self.state, flags=self.flags,
            heartbeat=self._daemon.heartbeat, newest_accepted=self._trigger or 0, newest_decided=self._newest_decided,
            recipe=self._daemon.recipe, outstanding=len(self._parts), confirmed=self._plc.heartbeat or 0,
        )  # fmt: skip
        return input_registers(header, self._slots)

    @property
    def state(self) -> State:
        """What the PLC sees: a daemon that is silent is a fault, a PLC that is silent holds the line."""
        if self._daemon.heard_ns is None:
            return State.STARTING
        if self._daemon.lost:
            return State.ABORTED
        if self._plc.lost or self._held:
            return State.HELD
        return self._daemon.state

    @property
    def flags(self) -> Flag:
        """Input register 24."""
        flags = {
            Flag.READY: self._ready,
            Flag.BUSY: bool(self._parts),
            Flag.FAULT: self.state is State.ABORTED,
            Flag.SIMULATED: any(slot.simulated for slot in self._slots),
            Flag.OVERFLOW: self._overflow,
            Flag.OUT_OF_STEP: self._out_of_step,
            Flag.RECIPE_DIFFERS: self._recipe_differs,
            Flag.DAEMON_LOST: self._daemon.lost,
            Flag.PLC_HEARTBEAT_LOST: self._plc.lost,
            Flag.JOURNAL_FAILING: self.journal_failing,
        }
        return Flag(sum(flag.value for flag, is_set in flags.items() if is_set))

    @property
    def epoch(self) -> int | None:
        """The daemon's; None until one is heard."""
        return self._daemon.epoch

    @property
    def recipe(self) -> int:
        """The daemon's active one."""
        return self._daemon.recipe

    @property
    def plc_is_here(self) -> bool:
        """Whether its heartbeat changes."""
        return not self._plc.lost

    @property
    def daemon_is_here(self) -> bool:
        """Whether its heartbeat is fresh."""
        return not self._daemon.lost

    @property
    def recipe_asked_for(self) -> int:
        """The PLC's choice while it is here, 0 if it chooses none [11]."""
        return 0 if self._plc.lost else self._plc.recipe

    @property
    def counts(self) -> dict[str, int]:
        """This run's counters [14]: triggers = pass + reject + outstanding."""
        return {**self._counts, "outstanding": len(self._parts)}

    # -- how -----------------------------------------------------------------------------------------------------------

    @property
    def _ready(self) -> bool:
        return self._can_judge and Control.ENABLE in self._plc.control and not self._recipe_differs

    @property
    def _can_judge(self) -> bool:
        return self._daemon.accepts_triggers and not self._plc.lost and not self._held

    @property
    def _recipe_differs(self) -> bool:
        return self._plc.recipe not in (0, self._daemon.recipe)

    def _begin_run(self, now_ns: int) -> None:
        """Empty all slots, reject what is outstanding, publish the new number [5]."""
        for part in list(self._parts.values()):
            self._decide(part, Reason.OUT_OF_STEP, now_ns)
        self.run = self.next_run()
        self._slots = [EMPTY_SLOT] * SLOTS
        self._applied.clear()
        self._trigger = None
        self._acknowledged = None
        self._overflow = False
        self._out_of_step = self._held = False
        self._newest_decided = self.gate_excess = 0
        self._counts = dict.fromkeys(COUNTS, 0)

    def _acknowledge(self, acknowledged: int) -> None:
        before = self._acknowledged
        ahead = trigger_distance(acknowledged, before) if before is not None else 0
        taken = trigger_distance(self._trigger or 0, before) if before is not None else 0
        if ahead <= taken:  # what was never triggered cannot be acknowledged
            self._acknowledged = acknowledged

    def _take_triggers(self, write: PlcWrite, now_ns: int, came_ns: int) -> list[TriggerRequest]:
        last = self._trigger
        assert last is not None
        step = trigger_distance(write.trigger, last)
        if step == 0:
            return []
        if step > SLOTS:
            self._begin_run(now_ns)
            self._out_of_step = True
            return []
        if self.settings.hardware_trigger:  # [7]
            sent = []
            for pulse in range(1, step + 1):
                part_id = max(0, write.part_id - (step - pulse))
                trigger = (last + pulse) % TRIGGER_MODULUS
                sent += self._accept(replace(write, trigger=trigger, part_id=part_id), now_ns, came_ns)
            return sent
        for missed in range(1, step):  # [7]
            self._count("missed")
            number = (last + missed) % TRIGGER_MODULUS
            self._reject_at_once(number, 0, Reason.MISSED, now_ns)
        return self._accept(write, now_ns, came_ns)

    def _accept(self, write: PlcWrite, now_ns: int, came_ns: int) -> list[TriggerRequest]:
        refusal = self._refusal()
        if refusal is not None:
            self._reject_at_once(write.trigger, write.part_id, refusal, now_ns)
            return []
        deadline_ns = write.deadline_ms * 1_000_000 or self.settings.deadline_ns
        part = self._open_slot(write.trigger, write.part_id, came_ns, came_ns + deadline_ns)
        self._parts[part.trigger] = part
        return [TriggerRequest(
            gate=self.settings.name, run=self.run, trigger=part.trigger, part_id=part.part_id or None,
            deadline_ms=deadline_ns / 1e6, recipe=part.recipe or None,
        )]  # fmt: skip

    def _came_ns(self, now_ns: int) -> int:
        """The earliest that a write may have come: one that waited for a stopped bridge is of a part that has moved on [3]."""
        if self._looked_ns is not None and now_ns - self._looked_ns > STALL_NS:
            return self._looked_ns
        return now_ns if self._paused_from_ns is None else self._paused_from_ns

    def _refusal(self) -> Reason | None:
        """Why a part cannot be looked at now; None if it can."""
        if self._daemon.lost:
            return Reason.LINK
        if Control.ENABLE not in self._plc.control or not self._can_judge:
            return Reason.NOT_READY  # [13]
        if self._recipe_differs:
            return Reason.RECIPE  # [11]
        return None

    def _reject_at_once(self, trigger: int, part_id: int, reason: Reason, now_ns: int) -> None:
        part = self._open_slot(trigger, part_id, now_ns, now_ns)
        self._parts[trigger] = part
        self._decide(part, reason, now_ns)

    def _open_slot(self, trigger: int, part_id: int, now_ns: int, deadline_ns: int) -> Part:
        """The slot is emptied and takes the new number; the verdict follows [4]."""
        index = trigger % SLOTS
        before = self._slots[index]
        if before.run != 0 or before.trigger in self._parts:
            older = self._parts.get(before.trigger)
            if older is not None:
                self._decide(older, Reason.OVERLOAD, now_ns)
            if not self._is_acknowledged(before.trigger):
                self._overflow = True
                self._count("lost")
        self._applied.pop(before.trigger, None)
        self._slots[index] = Slot(trigger=trigger, part_id=part_id, run=self.run)
        self._trigger = trigger
        self._count("triggers")
        settings = self.settings
        may_be_simulated = settings.allow_simulated and Control.ALLOW_SIMULATED in self._plc.control  # [12]
        return Part(
            trigger, part_id, now_ns, deadline_ns, settings.expected, settings.items, may_be_simulated, self._plc.recipe
        )

    def _is_acknowledged(self, trigger: int) -> bool:
        return self._acknowledged is not None and trigger_distance(self._acknowledged, trigger) < TRIGGER_MODULUS // 2

    def _decide(self, part: Part, reason: Reason, now_ns: int) -> None:
        """Exactly once: the part is outstanding no longer [3]."""
        del self._parts[part.trigger]
        self._slots[part.trigger % SLOTS] = decided_slot(part, reason, self.run, now_ns)
        self._applied[part.trigger] = part
        self._newest_decided = part.trigger
        self._count("pass" if reason is Reason.OK else "reject")
        self.decided.append(Decision(self.run, part.trigger, part.part_id, reason, now_ns - part.accepted_at_ns))

    def _late(self, result: Result) -> None:
        """A result for what is decided or unknown: applied to nothing; counted unless it is one that was applied [3]."""
        part = self._applied.get(result.trigger if result.trigger is not None else -1)
        if part is not None and result.run == self.run:
            applied = part.looks.get((result.camera, result.item))
            if applied is not None and same_result(applied, result):
                return
        self._count("late")

    def _count(self, name: str) -> None:
        self._counts[name] = (self._counts[name] + 1) & COUNTER
        self.totals[name] += 1
