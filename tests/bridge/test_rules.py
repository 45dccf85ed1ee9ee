"""Rules of the PLC contract, by number: those that take a whole PLC, many parts, or numbers at their ends."""

import itertools
import random
from collections import Counter
from dataclasses import replace

import pytest
from contract_rig import MS, Rig
from hypothesis import given
from hypothesis import strategies as st

from senbetsu.gate_rule import Cell, why_shut
from senbetsu.messages import TRIGGER_MODULUS
from senbetsu.registers import COUNTERS, SLOTS, Control, Flag, Window, decode_window, join32
from senbetsu.states import State
from senbetsu.verdict import Reason
from simulated_plc.plc import PartRecord, SimulatedPlc


def may_open(window: Window, rig: Rig, trigger: int, echo: int, *, fresh: bool = True) -> bool:
    cell = Cell(trigger, rig.part_id)
    return why_shut(window, cell, enabled=True, heartbeat_is_fresh=fresh, run_echo=echo, recipe=0) is None


@pytest.mark.parametrize("reason", [Reason.NONE, *(r for r in Reason if r not in (Reason.NONE, Reason.OK))])
def test_rule_1_no_reason_but_ok_opens_the_gate(reason: Reason) -> None:
    rig = Rig().start()
    trigger = rig.part()
    if reason is not Reason.NONE:
        rig.judge(trigger, reason)
    assert not may_open(rig.window, rig, trigger, rig.contract.run)


@pytest.mark.parametrize("number", [0, 2, 19, 100, 127])
def test_rule_2_a_pass_with_a_reason_that_is_not_ok_or_unknown_opens_nothing(number: int) -> None:
    rig = Rig().start()
    trigger = rig.part()
    rig.judge(trigger)
    window = rig.window
    assert may_open(window, rig, trigger, rig.contract.run)
    slots = list(window.slots)
    slot = slots[trigger % SLOTS]
    slots[trigger % SLOTS] = replace(slot, bits=slot.bits & ~(0x7F << 8) | number << 8)
    assert not may_open(replace(window, slots=tuple(slots)), rig, trigger, rig.contract.run)


@given(st.permutations(["cam1", "cam2", "cam3"]), st.integers(0, 3), st.data())
def test_rule_3_several_looks_pass_only_together_and_in_time_in_whatever_order(
    order: list[str], in_time: int, data: st.DataObject
) -> None:
    rig = Rig(cameras=("cam1", "cam2", "cam3")).start()
    trigger = rig.part()
    reasons = [data.draw(st.sampled_from([Reason.OK, Reason.OK, Reason.NONFINITE])) for _ in order]
    for camera, reason in list(zip(order, reasons, strict=True))[:in_time]:
        rig.judge(trigger, reason, camera=camera)
    rig.wait_ms(101)
    verdict = rig.verdict(trigger)
    for camera, reason in list(zip(order, reasons, strict=True))[in_time:]:
        rig.judge(trigger, reason, camera=camera)
    assert rig.verdict(trigger) == verdict, "what comes late changes nothing"
    assert (verdict == "OK") == (in_time == 3 and set(reasons) == {Reason.OK})
    assert rig.counts["late"] == 3 - in_time


def test_rule_4_the_number_wraps_through_all_65536_and_each_part_has_its_own_verdict() -> None:
    rig = Rig(trigger=TRIGGER_MODULUS - 100, acknowledged=TRIGGER_MODULUS - 100).start()
    chance = random.Random(4)
    for n in range(300):
        trigger = rig.part()
        reason = chance.choice([Reason.OK, Reason.ANOMALY])
        rig.judge(trigger, reason)
        assert rig.verdict(trigger) == reason.name, n
        rig.acknowledged = trigger
    assert rig.trigger == 200
    assert rig.counts["triggers"] == 300
    assert rig.counts["lost"] == 0


def test_rule_4_a_trigger_that_is_repeated_is_no_part() -> None:
    rig = Rig().start()
    trigger = rig.part()
    for _ in range(5):
        rig.write()
    rig.judge(trigger)
    rig.write()
    assert rig.counts["triggers"] == 1
    assert [request.trigger for request in rig.sent] == [trigger]
    assert rig.verdict(trigger) == "OK"


def test_rule_4_a_slot_that_is_needed_while_its_part_is_outstanding_rejects_that_part() -> None:
    rig = Rig().start()
    first = rig.part(deadline_ms=60_000)
    for _ in range(15):
        rig.part(deadline_ms=60_000)
    assert rig.counts["outstanding"] == 16
    rig.contract.decided.clear()
    rig.part(deadline_ms=60_000)
    assert [(d.trigger, d.reason) for d in rig.contract.decided] == [(first, Reason.OVERLOAD)]
    assert Flag.OVERFLOW in rig.window.flags
    assert rig.counts["outstanding"] == 16
    rig.judge(first)
    assert rig.verdict(rig.trigger) == "NONE", "the older part's result is not the newer one's"


def test_rule_5_a_plc_that_restarts_with_a_stale_snapshot_in_its_hands_opens_nothing() -> None:
    rig = Rig().start()
    trigger = rig.part()
    rig.judge(trigger)
    stale, run = rig.window, rig.contract.run
    assert may_open(stale, rig, trigger, run)
    # The PLC restarts: its echo is not retentive, the snapshot in a retentive memory is.
    assert not may_open(stale, rig, trigger, 0)
    rig.write(control=Control(0), echo=0)
    rig.write(echo=0)
    fresh = rig.window
    assert fresh.run != run
    assert not may_open(stale, rig, trigger, fresh.run)
    assert not may_open(fresh, rig, trigger, fresh.run)
    assert not may_open(stale, rig, trigger, run, fresh=False), "and the heartbeat in it stands still"


@pytest.mark.parametrize("step", [17, 100, 40_000, 65_535])
def test_rule_5_a_jump_or_a_step_back_begins_a_new_run_and_asks_the_daemon_for_nothing(step: int) -> None:
    rig = Rig().start()
    outstanding = rig.part()
    run, sent = rig.contract.run, len(rig.sent)
    rig.part(step=step)
    assert rig.contract.run != run
    assert Flag.OUT_OF_STEP in rig.window.flags
    assert len(rig.sent) == sent
    assert rig.verdict(outstanding) == "of another part"
    assert (rig.contract.decided[-1].trigger, rig.contract.decided[-1].reason) == (outstanding, Reason.OUT_OF_STEP)


@given(st.integers(0, 65535), st.integers(0, 65535))
def test_rule_5_an_acknowledgement_of_what_was_never_triggered_or_of_another_run_counts_for_nothing(
    first: int, acknowledged: int
) -> None:
    rig = Rig(trigger=first, acknowledged=first).start()
    for _ in range(3):
        rig.judge(rig.part())
    rig.write(acknowledged=acknowledged, echo=rig.contract.run + 1)
    if (acknowledged - first) % TRIGGER_MODULUS > 3:
        rig.write(acknowledged=acknowledged)
    for _ in range(14):
        rig.judge(rig.part())
    assert rig.counts["lost"] == 1


@given(st.integers(2, 16), st.integers(0, 65535))
def test_rule_7_a_step_of_up_to_16_rejects_those_between_and_asks_for_the_last(step: int, first: int) -> None:
    rig = Rig(trigger=first, acknowledged=first).start()
    trigger = rig.part(step=step)
    between = [(trigger - n) % TRIGGER_MODULUS for n in range(1, step)]
    assert [rig.verdict(number) for number in between] == ["MISSED"] * (step - 1)
    assert [request.trigger for request in rig.sent] == [trigger]
    rig.judge(trigger)
    assert rig.verdict(trigger) == "OK"
    assert rig.counts["missed"] == step - 1


def test_rule_11_the_recipe_is_fixed_at_the_trigger() -> None:
    rig = Rig().start()
    before = rig.part()
    rig.recipe = 2
    rig.write()
    rig.judge(before)
    assert rig.verdict(before) == "OK", "asked for by the next part, not by this one"
    during = rig.part()
    assert rig.verdict(during) == "RECIPE"
    assert rig.sent[-1].trigger == before, "the daemon is not asked"
    rig.recipe = 1
    after = rig.part()
    assert rig.sent[-1].recipe == 1, "the daemon is told which one has to judge"
    rig.judge(after, recipe=2)
    assert rig.verdict(after) == "RECIPE", "judged by another recipe than the one that was asked for"


def test_rule_11_where_the_plc_chooses_none_whichever_is_active_judges_but_all_looks_by_the_same() -> None:
    rig = Rig(cameras=("cam1", "cam2")).start()
    one, two = rig.part(), rig.part()
    assert [request.recipe for request in rig.sent] == [None, None]
    for camera, recipe_of_one, recipe_of_two in (("cam1", 2, 1), ("cam2", 2, 2)):
        rig.judge(one, camera=camera, recipe=recipe_of_one, part_id=1)
        rig.judge(two, camera=camera, recipe=recipe_of_two)
    assert rig.verdict(one) == "OK"
    assert rig.verdict(two) == "RECIPE"


def test_rule_11_the_active_recipe_is_the_daemons_and_parts_are_taken_once_it_is_the_one_that_is_asked_for() -> None:
    rig = Rig().start()
    rig.recipe = 2
    assert rig.verdict(rig.part()) == "RECIPE"
    assert Flag.RECIPE_DIFFERS in rig.window.flags
    assert rig.contract.recipe_asked_for == 2
    rig.contract.on_state(rig.epoch, State.EXECUTE, rig.now_ns, 2)
    assert rig.window.recipe == 2
    assert Flag.RECIPE_DIFFERS not in rig.window.flags
    trigger = rig.part()
    rig.judge(trigger, recipe=2)
    assert rig.verdict(trigger) == "OK"
    rig.contract.on_heartbeat(rig.epoch, 1, State.EXECUTE, rig.now_ns, 1)
    assert rig.verdict(rig.part()) == "RECIPE"


def test_rule_12_whether_simulated_parts_may_pass_is_fixed_at_the_trigger() -> None:
    rig = Rig(allow_simulated=True).start()
    trigger = rig.part()
    rig.control = Control.ENABLE | Control.ALLOW_SIMULATED
    rig.write()
    rig.judge(trigger, simulated=True)
    assert rig.verdict(trigger) == "SIMULATED"


def test_rule_13_a_state_never_opens_a_gate() -> None:
    rig = Rig().start()
    trigger = rig.part()
    for state in State:
        rig.contract.on_state(rig.epoch, state, rig.now_ns)
        assert rig.verdict(trigger) == "NONE"
        assert not may_open(rig.window, rig, trigger, rig.contract.run)


@given(st.lists(st.sampled_from(["part", "pass", "reject", "missed", "wait", "silence", "run", "twice"]), max_size=60))
def test_rule_14_in_the_registers_triggers_are_pass_and_reject_and_outstanding(happenings: list[str]) -> None:
    rig = Rig().start()
    for happening in happenings:
        match happening:
            case "part":
                rig.part()
            case "pass" | "reject" if rig.sent:
                rig.judge(
                    rig.sent[-1].trigger, Reason.OK if happening == "pass" else Reason.ANOMALY, run=rig.sent[-1].run
                )
            case "missed":
                rig.part(step=3)
            case "wait":
                rig.wait_ms(60)
            case "silence":
                rig.wait_ms(600, daemon=False)
                rig.beat()
            case "run":
                rig.write(control=Control(0))
                rig.write()
                rig.write()
            case "twice":
                rig.write()
        words = rig.contract.image()
        counts = {r.name: join32(words[r.address], words[r.address + 1]) for r in COUNTERS}
        window = decode_window(words[20:144])
        assert counts["triggers"] == counts["pass"] + counts["reject"] + window.outstanding
        assert window.outstanding <= SLOTS
        shown = Counter(slot.reason == Reason.OK for slot in window.slots if slot.bits & 0x8000)
        assert shown[True] <= counts["pass"]
        assert shown[False] <= counts["reject"]


@pytest.mark.parametrize("latency_ms", [4, 35])
def test_a_plc_that_polls_every_50_ms_sees_every_verdict_at_100_parts_a_second(latency_ms: int) -> None:
    """Five parts come between two reads, and 16 slots hold 160 ms of them: none is overwritten unread."""
    rig = Rig()
    rig.beat()
    decided: list[PartRecord] = []
    plc = SimulatedPlc(
        period_ns=10 * MS, travel_ns=300 * MS, allow_simulated=False, parts=1000, first_trigger=65_000,
        on_decision=decided.append,
    )  # fmt: skip
    chance = random.Random(100)
    waiting: list[tuple[int, int, Reason]] = []
    begun_ns, asked = rig.now_ns, 0
    truth: dict[int, Reason] = {}
    for millisecond in itertools.count():
        rig.now_ns = begun_ns + millisecond * MS
        if millisecond % 100 == 0:
            rig.beat()
        writes = [plc.trigger_due(rig.now_ns)]
        if millisecond % 50 == 0:
            writes.append(plc.scan(rig.window, rig.now_ns))
        for write in writes:
            if write is not None:
                rig.sent += rig.contract.on_write(write, rig.now_ns)
        for request in rig.sent[asked:]:
            reason = chance.choice([Reason.OK] * 9 + [Reason.ANOMALY])
            waiting.append((rig.now_ns + latency_ms * MS, asked, reason))
            truth[request.part_id or 0] = reason
            asked += 1
        while waiting and waiting[0][0] <= rig.now_ns:
            _, which, reason = waiting.pop(0)
            request = rig.sent[which]
            rig.judge(request.trigger, reason, part_id=request.part_id, run=request.run)
        rig.contract.tick(rig.now_ns)
        if plc.done or millisecond > 20_000:
            break
    assert len(decided) == 1000
    assert rig.counts["lost"] == 0
    assert Flag.OVERFLOW not in rig.window.flags
    for record in decided:
        assert record.opened == (truth[record.part_id] is Reason.OK), record
        assert record.decided_at_ns <= record.gate_at_ns
