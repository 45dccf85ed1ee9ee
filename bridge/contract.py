"""The PLC contract of one gate as a state machine: pure, with the time as an argument (nanoseconds of the bridge's clock).

Numbers in brackets are the contract's rules. What goes in: a PLC's write, the daemon's results, heartbeats, states and
refusals, and the passing of time. What comes out: the register image, and the triggers to pass on to the daemon.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from bridge.ends import NEVER_NS, DaemonEnd, PlcEnd
from bridge.gate_run import COUNTER, COUNTS, Decision, GateRun
from bridge.part import LookKey, Part
from senbetsu.messages import TRIGGER_MODULUS, Result
from senbetsu.registers import SLOTS, Control, Flag, Header, PlcWrite, input_registers, trigger_distance
from senbetsu.requests import TriggerRequest
from senbetsu.states import State
from senbetsu.verdict import Reason

LEAST_NS = 1_000
"""Is left, for the daemon, of a deadline that has passed: it counts every trigger."""
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


@dataclass(slots=True)
class GateContract:
    """One gate. `next_run` gives run numbers, never the same twice in a row, and keeps them over restarts [5]."""

    settings: GateSettings
    next_run: Callable[[], int]
    decided: list[Decision] = field(default_factory=list)
    """Decisions since somebody last emptied the list."""
    totals: dict[str, int] = field(default_factory=lambda: dict.fromkeys(COUNTS, 0))
    """As the run's counters, but over all runs."""
    refused_writes: int = 0
    journal_failing: bool = False
    _daemon: DaemonEnd = field(init=False)
    _plc: PlcEnd = field(init=False)
    _run: GateRun = field(init=False)
    _looked_ns: int | None = None
    _paused_from_ns: int | None = None
    """After a pause, until what waited through it has come."""

    def __post_init__(self) -> None:
        self._daemon = DaemonEnd(self.settings.daemon_silent_ns, self.settings.recipe)
        self._plc = PlcEnd(self.settings.plc_silent_ns)
        self._run = self._new_run()

    # -- what comes in ------------------------------------------------------------------------------------------------

    def on_write(self, write: PlcWrite, now_ns: int, came_ns: int | None = None) -> list[TriggerRequest]:
        """Holding 0-11 were written whole: one event [6].

        `came_ns`: the earliest that its trigger may be of, where whoever brings the write knows; deadlines count from there.
        """
        self.tick(now_ns)
        for begins in self._plc.hear(write, now_ns):
            if begins:
                self._begin_run(now_ns)
        run = self._run
        if write.run_echo != run.number:
            return []  # triggers and acknowledgements of another run are of the past [5]
        run.gate_passed(self._plc.gate_passed)
        if run.trigger is None:
            run.begin_at(write.trigger, write.acknowledged)
            return []
        run.acknowledge(write.acknowledged)
        return self._take_triggers(write, now_ns, self._came_ns(now_ns) if came_ns is None else min(came_ns, now_ns))

    def on_result(self, result: Result, now_ns: int) -> None:
        """One look's result."""
        if result.gate != self.settings.name or result.trigger is None:
            return  # free run: subscribers hear it, no gate opens by it [9]
        self.tick(now_ns)  # a bridge that was stopped for a while must see first what has run out meanwhile
        self.on_epoch(result.epoch, now_ns)
        if result.epoch != self._daemon.epoch:
            return  # of a daemon that is no more
        part = self._run.part_of(result)
        if part is None:
            return
        part.add(result)
        if self.settings.hardware_trigger and result.reason is Reason.OUT_OF_STEP:
            self._run.out_of_step = self._run.held = True
        if part.complete:
            self._run.decide(part, part.reason(), now_ns)

    def on_refused(self, trigger: int, reason: Reason, now_ns: int) -> None:
        """The daemon did not accept a trigger."""
        part = self._run.parts.get(trigger)
        if part is not None:
            self._run.decide(part, reason, now_ns)

    def on_lost(self, now_ns: int) -> None:
        """Results are gone that no replay can bring: which parts they were of cannot be known."""
        self._run.decide_all(Reason.LOST, now_ns)

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
            self._run.decide_all(Reason.LINK, now_ns)
        self._plc.look_for_silence(now_ns)
        self._run.decide_overdue(now_ns)

    def next_event_ns(self) -> int:
        """When `tick` has something to do, at the latest."""
        first_ns = min((part.deadline_ns for part in self._run.parts.values()), default=NEVER_NS)
        return min(first_ns, self._daemon.silent_at_ns(), self._plc.silent_at_ns())

    # -- what comes out -----------------------------------------------------------------------------------------------

    def image(self) -> list[int]:
        """All input registers, one consistent state [6]."""
        run, counts = self._run, self._run.counts
        header = Header(
            triggers=counts["triggers"], passed=counts["pass"], rejected=counts["reject"], late=counts["late"],
            lost=counts["lost"], missed=counts["missed"], refused_writes=self.refused_writes & COUNTER,
            epoch_low=(self.epoch or 0) & COUNTER, run=run.number, state=self.state, flags=self.flags,
            heartbeat=self._daemon.heartbeat, newest_accepted=run.trigger or 0, newest_decided=run.newest_decided,
            recipe=self._daemon.recipe, outstanding=len(run.parts), confirmed=self._plc.heartbeat or 0,
        )  # fmt: skip
        return input_registers(header, run.slots)

    @property
    def state(self) -> State:
        """What the PLC sees: a daemon that is silent is a fault, a PLC that is silent holds the line."""
        if self._daemon.heard_ns is None:
            return State.STARTING
        if self._daemon.lost:
            return State.ABORTED
        if self._plc.lost or self._run.held:
            return State.HELD
        return self._daemon.state

    @property
    def flags(self) -> Flag:
        """Input register 24."""
        flags = {
            Flag.READY: self._ready,
            Flag.BUSY: bool(self._run.parts),
            Flag.FAULT: self.state is State.ABORTED,
            Flag.SIMULATED: any(slot.simulated for slot in self._run.slots),
            Flag.OVERFLOW: self._run.overflow,
            Flag.OUT_OF_STEP: self._run.out_of_step,
            Flag.RECIPE_DIFFERS: self._recipe_differs,
            Flag.DAEMON_LOST: self._daemon.lost,
            Flag.PLC_HEARTBEAT_LOST: self._plc.lost,
            Flag.JOURNAL_FAILING: self.journal_failing,
        }
        return Flag(sum(flag.value for flag, is_set in flags.items() if is_set))

    @property
    def run(self) -> int:
        """The running one's number."""
        return self._run.number

    @property
    def gate_excess(self) -> int:
        """Most parts that the gate let pass in this run beyond those that were passed [14]."""
        return self._run.gate_excess

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
        return {**self._run.counts, "outstanding": len(self._run.parts)}

    # -- how -----------------------------------------------------------------------------------------------------------

    @property
    def _ready(self) -> bool:
        return self._can_judge and Control.ENABLE in self._plc.control and not self._recipe_differs

    @property
    def _can_judge(self) -> bool:
        return self._daemon.accepts_triggers and not self._plc.lost and not self._run.held

    @property
    def _recipe_differs(self) -> bool:
        return self._plc.recipe not in (0, self._daemon.recipe)

    def _begin_run(self, now_ns: int) -> None:
        """Reject what is outstanding, empty all slots, publish the new number [5]."""
        self._run.decide_all(Reason.OUT_OF_STEP, now_ns)
        self._run = self._new_run()

    def _new_run(self) -> GateRun:
        return GateRun(self.next_run(), self.decided, self.totals)

    def _take_triggers(self, write: PlcWrite, now_ns: int, came_ns: int) -> list[TriggerRequest]:
        last = self._run.trigger
        assert last is not None
        step = trigger_distance(write.trigger, last)
        if step == 0:
            return []
        if step > SLOTS:
            self._begin_run(now_ns)
            self._run.out_of_step = True
            return []
        if self.settings.hardware_trigger:  # [7]
            sent = []
            for pulse in range(1, step + 1):
                part_id = max(0, write.part_id - (step - pulse))
                trigger = (last + pulse) % TRIGGER_MODULUS
                sent += self._accept(replace(write, trigger=trigger, part_id=part_id), now_ns, came_ns)
            return sent
        for missed in range(1, step):  # [7]
            self._run.count("missed")
            number = (last + missed) % TRIGGER_MODULUS
            self._reject_at_once(number, 0, Reason.MISSED, now_ns)
        return self._accept(write, now_ns, came_ns)

    def _accept(self, write: PlcWrite, now_ns: int, came_ns: int) -> list[TriggerRequest]:
        refusal = self._refusal()
        if refusal is not None:
            self._reject_at_once(write.trigger, write.part_id, refusal, now_ns)
            return []
        deadline_ns = write.deadline_ms * 1_000_000 or self.settings.deadline_ns
        part = self._open(write.trigger, write.part_id, came_ns, came_ns + deadline_ns, now_ns)
        return [TriggerRequest(
            gate=self.settings.name, run=self._run.number, trigger=part.trigger, part_id=part.part_id or None,
            deadline_ms=max(LEAST_NS, part.deadline_ns - now_ns) / 1e6, recipe=part.recipe or None,
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
        self._run.decide(self._open(trigger, part_id, now_ns, now_ns, now_ns), reason, now_ns)

    def _open(self, trigger: int, part_id: int, came_ns: int, deadline_ns: int, now_ns: int) -> Part:
        settings = self.settings
        may_be_simulated = settings.allow_simulated and Control.ALLOW_SIMULATED in self._plc.control  # [12]
        part = Part(
            trigger,
            part_id,
            came_ns,
            deadline_ns,
            settings.expected,
            settings.items,
            may_be_simulated,
            self._plc.recipe,
        )
        self._run.open(part, now_ns)
        return part
