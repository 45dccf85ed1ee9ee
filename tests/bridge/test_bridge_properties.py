"""Whatever PLC, daemon and clock do in whatever order: no part passes that was not proven good, and the books balance."""

import itertools
from dataclasses import replace

from contract_rig import MS, Rig
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from senbetsu.messages import Result
from senbetsu.registers import SLOTS, Control
from senbetsu.states import State
from senbetsu.verdict import Reason

CAMERAS = ("cam1", "cam2")


class ContractMachine(RuleBasedStateMachine):
    """An independent record of what was proven about each part, against what the slots assert."""

    @initialize()
    def begin(self) -> None:
        self.rig = Rig(cameras=CAMERAS).start()
        self.contract = self.rig.contract
        self.ids = itertools.count(1)
        self.history: list[Result] = []
        self.good: dict[tuple[int, int, int], set[str]] = {}
        """(run, trigger, part id) -> cameras that passed it in time, by results made for just that part."""
        self.accepted: dict[tuple[int, int, int], int] = {}
        """-> deadline."""
        self.decided: dict[tuple[int, int, int], int] = {}

    # a line that works: most of what happens

    @rule()
    def all_are_alive(self) -> None:
        self.rig.beat()
        self.write()

    @rule(deadline_ms=st.sampled_from([0, 0, 50, 5000]))
    def trigger(self, deadline_ms: int) -> None:
        self.write(step=1, deadline_ms=deadline_ms)

    @rule(deadline_ms=st.sampled_from([0, 0, 50, 5000]))
    def trigger_again(self, deadline_ms: int) -> None:
        self.write(step=1, deadline_ms=deadline_ms)

    @rule(data=st.data(), reason=st.sampled_from([Reason.OK] * 6 + [Reason.ANOMALY]))
    def judge_newest(self, data: st.DataObject, reason: Reason) -> None:
        """Both cameras, one after the other, maybe with time in between."""
        for camera in data.draw(st.permutations(CAMERAS)):
            self.judge(-1, camera, reason)
            self.pass_time(data.draw(st.sampled_from([0, 0, 0, 5, 60])), tick=False)

    @rule(
        which=st.integers(-20, -1),
        camera=st.sampled_from(CAMERAS),
        reason=st.sampled_from([Reason.OK] * 4 + [Reason.NONFINITE]),
    )
    def judge(self, which: int, camera: str, reason: Reason) -> None:
        if len(self.rig.sent) >= -which:
            request = self.rig.sent[which]
            self.deliver(
                self.rig.result(request.trigger, reason, camera=camera, part_id=request.part_id, run=request.run)
            )

    @rule(milliseconds=st.sampled_from([0, 1, 10, 49, 120]), tick=st.booleans())
    def pass_time(self, milliseconds: int, tick: bool) -> None:
        self.rig.now_ns += milliseconds * MS
        if tick:
            self.contract.tick(self.rig.now_ns)

    # and what goes wrong with it

    @rule(data=st.data())
    def fault(self, data: st.DataObject) -> None:
        rig, contract = self.rig, self.contract
        match data.draw(st.integers(0, 12)):
            case 0:
                self.write(step=data.draw(st.sampled_from([0, 2, 16, 17, 40_000])))
            case 1:
                self.write(step=1, enable=False)
            case 2:
                self.write(step=1, echo=contract.run - 1)
            case 3:
                self.write(step=1, recipe=2)
            case 4:
                self.write(step=1, beat=False)
            case 5:
                # The PLC starts anew and counts again from where it was some parts ago.
                rig.trigger = (rig.trigger - data.draw(st.integers(1, 4))) % 65536
                self.write(enable=False)
                self.write()
                self.write()
            case 6 if self.history:
                self.deliver(data.draw(st.sampled_from(self.history[-20:])))
            case 7 if self.history:
                contract.on_result(replace(data.draw(st.sampled_from(self.history)), epoch=1), rig.now_ns)
            case 8:
                rig.beat(data.draw(st.sampled_from(list(State))))
            case 9:
                rig.epoch += 1
                rig.beat()
            case 10 if rig.sent:
                reason = data.draw(st.sampled_from([Reason.BAD_TRIGGER, Reason.NOT_READY, Reason.LINK]))
                contract.on_refused(data.draw(st.sampled_from(rig.sent[-5:])).trigger, reason, rig.now_ns)
            case 11:
                contract.on_lost(rig.now_ns)
            case 12:
                self.pass_time(data.draw(st.sampled_from([200, 600, 1500])), tick=data.draw(st.booleans()))

    def write(
        self, step: int = 0, *, enable: bool = True, echo: int | None = None, beat: bool = True, deadline_ms: int = 0,
        recipe: int = 0,
    ) -> None:  # fmt: skip
        rig = self.rig
        if step:
            rig.trigger = (rig.trigger + step) % 65536
            rig.part_id = next(self.ids)
        rig.control = Control.ENABLE if enable else Control(0)
        rig.recipe = recipe
        sent = len(rig.sent)
        rig.write(beat=beat, deadline_ms=deadline_ms, echo=echo)
        for request in rig.sent[sent:]:
            key = (self.contract.run, request.trigger, request.part_id or 0)
            self.accepted[key] = rig.now_ns + round(request.deadline_ms * MS)
            self.good[key] = set()

    def deliver(self, result: Result) -> None:
        """What a part was told counts for it only in time, and in its own run and epoch."""
        self.history.append(result)
        key = (result.run, result.trigger, result.part_id)
        in_time = key in self.accepted and self.rig.now_ns < self.accepted[key]
        if in_time and result.reason is Reason.OK and result.epoch == self.contract.epoch:
            self.good[key].add(result.camera)
        self.contract.on_result(result, self.rig.now_ns)

    # what must hold

    @invariant()
    def a_pass_was_proven(self) -> None:
        if not hasattr(self, "rig"):
            return
        window = self.rig.window
        for slot in window.slots:
            if slot.bits & 1:
                assert slot.run == window.run
                assert slot.reason == Reason.OK
                assert self.good[slot.run, slot.first, slot.part_id] == set(CAMERAS)

    @invariant()
    def a_decision_never_changes(self) -> None:
        if not hasattr(self, "rig"):
            return
        for slot in self.rig.window.slots:
            assert slot.first == slot.last
            if slot.bits & 0x8000:
                key = (slot.run, slot.first, slot.part_id)
                assert self.decided.setdefault(key, slot.bits) == slot.bits

    @invariant()
    def the_books_balance(self) -> None:
        if not hasattr(self, "rig"):
            return
        counts = self.rig.counts
        assert counts["outstanding"] == self.rig.window.outstanding <= SLOTS


ContractMachine.TestCase.settings = settings(max_examples=150, stateful_step_count=60, deadline=None)
TestContract = ContractMachine.TestCase
