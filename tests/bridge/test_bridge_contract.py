"""Every rule of the PLC contract that concerns Modbus and software triggers, by its number."""

from dataclasses import replace

import pytest
from contract_rig import EPOCH, MS, Rig

from senbetsu.messages import TRIGGER_MODULUS
from senbetsu.registers import Control, Flag
from senbetsu.states import State
from senbetsu.verdict import Reason


def test_rule_1_before_anything_was_proven_nothing_is_asserted() -> None:
    rig = Rig()
    assert all(slot.bits == 0 for slot in rig.window.slots)
    assert rig.window.state == State.STARTING
    assert Flag.READY not in rig.window.flags


def test_rule_2_pass_is_asserted_with_reason_ok_only() -> None:
    rig = Rig().start()
    for reason in Reason:
        if reason is Reason.NONE:
            continue
        trigger = rig.part()
        rig.judge(trigger, reason)
        assert rig.verdict(trigger) == reason.name


def test_rule_3_the_first_decision_stands_and_what_comes_later_is_counted_late() -> None:
    rig = Rig().start()
    trigger = rig.part()
    rig.wait_ms(101)
    assert rig.verdict(trigger) == "DEADLINE"
    rig.judge(trigger)
    assert rig.verdict(trigger) == "DEADLINE"
    assert rig.counts["late"] == 1


def test_rule_3_a_result_that_is_heard_after_the_deadline_is_late_even_before_any_tick() -> None:
    """The bridge was stopped for a while: the result waited in a socket and the deadline ran out meanwhile."""
    rig = Rig().start()
    trigger = rig.part()
    rig.now_ns += 100 * MS
    rig.judge(trigger)
    assert rig.verdict(trigger) == "DEADLINE"


def test_rule_3_a_trigger_that_waited_for_a_stopped_bridge_counts_from_when_it_may_have_come() -> None:
    rig = Rig().start()
    rig.contract.look(rig.now_ns)
    rig.now_ns += 150 * MS
    waited = rig.part()
    rig.judge(waited)
    assert rig.verdict(waited) == "DEADLINE", "the picture shows what came after it"
    rig.contract.look(rig.now_ns)
    also_waited = rig.part()
    rig.judge(also_waited)
    assert rig.verdict(also_waited) == "DEADLINE"
    rig.now_ns += 20 * MS
    rig.contract.look(rig.now_ns)
    fresh = rig.part()
    rig.judge(fresh)
    assert rig.verdict(fresh) == "OK"


def test_rule_3_the_same_result_twice_changes_nothing_and_is_not_late() -> None:
    rig = Rig(cameras=("cam1", "cam2")).start()
    trigger = rig.part()
    first = rig.judge(trigger, camera="cam1")
    rig.contract.on_result(first, rig.now_ns)
    assert rig.verdict(trigger) == "NONE"
    second = rig.judge(trigger, camera="cam2")
    assert rig.verdict(trigger) == "OK"
    rig.contract.on_result(second, rig.now_ns)
    assert rig.verdict(trigger) == "OK"
    assert rig.counts["late"] == 0


def test_rule_3_two_results_for_one_look_that_differ_reject() -> None:
    rig = Rig(cameras=("cam1", "cam2")).start()
    trigger = rig.part()
    rig.judge(trigger, Reason.ANOMALY, camera="cam1")
    rig.judge(trigger, Reason.OK, camera="cam1")
    rig.judge(trigger, Reason.OK, camera="cam2")
    assert rig.verdict(trigger) == "OUT_OF_STEP"


@pytest.mark.parametrize("wrong", [{"camera": "cam9"}, {"items": 2}, {"part_id": 99}, {"recipe": 2}])
def test_rule_3_a_look_that_was_not_expected_rejects(wrong: dict) -> None:
    rig = Rig(recipe=1).start()
    trigger = rig.part()
    rig.judge(trigger, **wrong)
    assert rig.verdict(trigger) not in ("OK", "NONE")


def test_a_part_passes_only_when_all_its_looks_passed_in_time() -> None:
    rig = Rig(cameras=("cam1", "cam2"), items=2).start()
    looks = [(camera, item) for camera in ("cam1", "cam2") for item in (0, 1)]
    trigger = rig.part()
    for camera, item in looks[:-1]:
        rig.judge(trigger, camera=camera, item=item)
        assert rig.verdict(trigger) == "NONE"
    rig.judge(trigger, camera="cam2", item=1)
    assert rig.verdict(trigger) == "OK"
    assert rig.slot(trigger).good_items == 0b11
    trigger = rig.part()
    for camera, item in looks:
        rig.judge(trigger, Reason.ANOMALY if (camera, item) == ("cam2", 0) else Reason.OK, camera=camera, item=item)
    assert rig.verdict(trigger) == "ANOMALY"
    assert rig.slot(trigger).good_items == 0b10
    trigger = rig.part()
    for camera, item in looks[:-1]:
        rig.judge(trigger, camera=camera, item=item)
    rig.wait_ms(101)
    assert rig.verdict(trigger) == "DEADLINE"
    assert rig.slot(trigger).good_items == 0


def test_a_look_without_a_frame_is_told_by_its_name_when_it_comes_before_the_deadline() -> None:
    rig = Rig(cameras=("cam1", "cam2")).start()
    trigger = rig.part()
    rig.judge(trigger, Reason.OK, camera="cam1")
    rig.wait_ms(95)
    rig.judge(trigger, Reason.NO_FRAME, camera="cam2")
    assert rig.verdict(trigger) == "NO_FRAME"


def test_the_daemon_has_only_what_is_left_of_a_deadline() -> None:
    rig = Rig().start()
    rig.contract.look(rig.now_ns)
    rig.now_ns += 80_000_000  # the bridge was stopped for so long
    rig.part()
    assert [request.deadline_ms for request in rig.sent] == [20.0]
    rig = Rig().start()
    rig.contract.look(rig.now_ns)
    rig.now_ns += 120_000_000
    late = rig.part()
    assert [0 < request.deadline_ms < 0.01 for request in rig.sent] == [True]
    rig.wait_ms(1)
    assert rig.verdict(late) == "DEADLINE"


def test_rule_4_at_the_trigger_the_slot_is_emptied_and_takes_the_new_number() -> None:
    rig = Rig().start()
    first = rig.part()
    rig.judge(first)
    for _ in range(15):
        rig.judge(rig.part())
    rig.acknowledged = rig.trigger
    again = rig.part()
    assert again % 16 == first % 16
    assert rig.verdict(again) == "NONE"
    assert rig.slot(again).part_id == rig.part_id
    assert rig.counts["lost"] == 0
    assert Flag.OVERFLOW not in rig.window.flags


def test_rule_4_a_slot_needed_before_it_was_acknowledged_is_counted_lost() -> None:
    rig = Rig().start()
    for _ in range(17):
        rig.judge(rig.part())
    assert rig.counts["lost"] == 1
    assert Flag.OVERFLOW in rig.window.flags


def test_rule_4_the_number_wraps() -> None:
    rig = Rig(trigger=TRIGGER_MODULUS - 2, acknowledged=TRIGGER_MODULUS - 2).start()
    for expected in (65535, 0, 1):
        assert rig.part() == expected
        rig.judge(expected)
        assert rig.verdict(expected) == "OK"
    assert rig.counts["triggers"] == 3


def test_rule_5_a_new_run_empties_all_slots_and_rejects_what_is_outstanding() -> None:
    rig = Rig().start()
    passed = rig.part()
    rig.judge(passed)
    outstanding = rig.part()
    run = rig.contract.run
    rig.epoch += 1
    rig.beat()
    assert rig.window.run != run
    assert all(slot.bits == 0 and slot.run == 0 for slot in rig.window.slots)
    assert [d.reason for d in rig.contract.decided][-1] is Reason.OUT_OF_STEP
    assert rig.counts["triggers"] == 0
    rig.epoch -= 1
    rig.judge(outstanding)
    assert rig.verdict(outstanding) == "of another part"


def test_rule_5_each_cause_of_a_new_run() -> None:
    rig = Rig().start()
    seen = {rig.contract.run}

    def is_new() -> bool:
        new = rig.contract.run not in seen
        seen.add(rig.contract.run)
        return new

    rig.epoch += 1
    rig.beat()
    assert is_new(), "the daemon's epoch changed"
    rig.write(control=Control(0))
    assert not is_new(), "enable 1 -> 0"
    rig.write()
    assert is_new(), "enable 0 -> 1"
    rig.wait_ms(1100, plc=False)
    assert rig.window.state == State.HELD
    rig.write()
    assert is_new(), "the PLC's heartbeat came back"
    rig.write()
    rig.part(step=17)
    assert is_new(), "counts fell out of step"
    assert Flag.OUT_OF_STEP in rig.window.flags


def test_rule_5_a_smaller_epoch_is_taken_only_when_the_one_before_is_silent() -> None:
    rig = Rig().start()
    run = rig.contract.run
    rig.contract.on_epoch(EPOCH - 1, rig.now_ns)
    assert (rig.contract.run, rig.contract.epoch) == (run, EPOCH)
    rig.contract.on_epoch(EPOCH - 1, rig.now_ns, older_too=True)
    assert rig.contract.run != run
    assert rig.contract.epoch == EPOCH - 1


def test_rule_5_triggers_count_only_with_the_run_echoed_and_the_first_is_the_baseline() -> None:
    rig = Rig().start()
    run = rig.contract.run
    rig.part(echo=run - 1)
    assert rig.counts["triggers"] == 0
    rig.epoch += 1
    rig.beat()
    rig.part()
    assert rig.counts["triggers"] == 0
    assert rig.sent == []
    trigger = rig.part()
    assert rig.counts["triggers"] == 1
    assert [request.trigger for request in rig.sent] == [trigger]


def test_rule_5_a_result_of_the_run_before_is_not_taken_for_a_part_with_the_same_number() -> None:
    rig = Rig().start()
    trigger, run = rig.part(), rig.contract.run
    rig.write(control=Control(0))
    rig.write()
    rig.trigger -= 1
    rig.write()
    rig.part_id -= 1
    assert rig.part() == trigger
    rig.judge(trigger, run=run)
    rig.judge(trigger, run=None)
    assert rig.verdict(trigger) == "NONE", "these were made for the first one, and for somebody else"
    assert rig.counts["late"] == 2
    rig.judge(trigger, Reason.ANOMALY)
    assert rig.verdict(trigger) == "ANOMALY"


def test_rule_7_triggers_in_between_were_missed() -> None:
    rig = Rig().start()
    trigger = rig.part(step=4)
    assert [rig.verdict(trigger - n) for n in (3, 2, 1)] == ["MISSED"] * 3
    assert rig.verdict(trigger) == "NONE"
    assert rig.counts["missed"] == 3
    assert rig.counts["triggers"] == 4
    assert [request.trigger for request in rig.sent] == [trigger]


def test_rule_9_a_free_run_result_moves_no_slot() -> None:
    rig = Rig().start()
    trigger = rig.part()
    rig.contract.on_result(replace(rig.result(trigger), trigger=None, part_id=None), rig.now_ns)
    assert rig.verdict(trigger) == "NONE"


def test_rule_10_the_heartbeat_is_forwarded_and_never_invented() -> None:
    rig = Rig().start()
    before = rig.window.heartbeat
    rig.wait_ms(400, daemon=False)
    assert rig.window.heartbeat == before
    rig.beat()
    assert rig.window.heartbeat == before + 1


def test_rule_10_a_silent_daemon_rejects_and_so_does_a_silent_plc() -> None:
    rig = Rig().start()
    trigger = rig.part(deadline_ms=5000)
    rig.wait_ms(501, daemon=False)
    assert rig.verdict(trigger) == "LINK"
    assert Flag.DAEMON_LOST | Flag.FAULT in rig.window.flags
    assert rig.window.state == State.ABORTED
    assert rig.verdict(rig.part()) == "LINK"
    rig.beat()
    assert rig.window.state == State.EXECUTE
    rig.wait_ms(1001, plc=False)
    assert rig.window.state == State.HELD
    rig.trigger += 1
    rig.write(beat=False)
    assert rig.verdict(rig.trigger) == "NOT_READY"


def test_rule_11_while_another_recipe_is_asked_for_every_part_is_rejected() -> None:
    rig = Rig().start()
    rig.recipe = 2
    assert rig.verdict(rig.part()) == "RECIPE"
    assert Flag.RECIPE_DIFFERS in rig.window.flags
    rig.recipe = 1
    trigger = rig.part()
    rig.judge(trigger)
    assert rig.verdict(trigger) == "OK"


@pytest.mark.parametrize(
    ("config", "plc", "verdict"),
    [(False, False, "SIMULATED"), (True, False, "SIMULATED"), (False, True, "SIMULATED"), (True, True, "OK")],
)
def test_rule_12_a_simulated_part_passes_only_where_config_and_plc_both_allow_it(config, plc, verdict) -> None:
    rig = Rig(allow_simulated=config)
    rig.control = Control.ENABLE | (Control.ALLOW_SIMULATED if plc else Control(0))
    rig.start()
    trigger = rig.part()
    rig.judge(trigger, simulated=True)
    assert rig.verdict(trigger) == verdict
    assert rig.slot(trigger).bits & 4
    assert Flag.SIMULATED in rig.window.flags


@pytest.mark.parametrize("state", [s for s in State if s not in (State.IDLE, State.EXECUTE)])
def test_rule_13_in_no_other_state_is_a_part_looked_at(state: State) -> None:
    rig = Rig().start()
    rig.contract.on_state(EPOCH, state, rig.now_ns)
    assert rig.verdict(rig.part()) == "NOT_READY"
    assert rig.counts["triggers"] == rig.counts["reject"] == 1


def test_rule_13_nor_while_not_enabled() -> None:
    rig = Rig().start()
    assert rig.verdict(rig.part(control=Control(0))) == "NOT_READY"


def test_results_that_no_replay_can_bring_reject_what_is_outstanding() -> None:
    rig = Rig().start()
    trigger = rig.part()
    rig.contract.on_lost(rig.now_ns)
    assert rig.verdict(trigger) == "LOST"


def test_a_trigger_that_the_daemon_refuses_is_rejected_with_its_reason() -> None:
    rig = Rig().start()
    trigger = rig.part()
    rig.contract.on_refused(trigger, Reason.BAD_TRIGGER, rig.now_ns)
    assert rig.verdict(trigger) == "BAD_TRIGGER"


def test_the_plc_may_name_its_own_deadline() -> None:
    rig = Rig().start()
    trigger = rig.part(deadline_ms=20)
    assert rig.sent[-1].deadline_ms == 20
    rig.wait_ms(19)
    assert rig.verdict(trigger) == "NONE"
    rig.wait_ms(1)
    assert rig.verdict(trigger) == "DEADLINE"


def test_rule_7_pulses_counted_in_one_write_are_as_many_parts_with_ids_rising_by_one() -> None:
    rig = Rig(hardware_trigger=True).start()
    rig.part_id = 40
    rig.part(step=3)
    assert [(sent.trigger, sent.part_id, sent.run) for sent in rig.sent] == [
        (number, part_id, rig.contract.run) for number, part_id in ((1, 39), (2, 40), (3, 41))
    ]
    assert rig.counts["missed"] == 0
    for trigger, part_id in ((1, 39), (2, 40), (3, 41)):
        rig.judge(trigger, part_id=part_id)
        assert rig.verdict(trigger) == "OK"


def test_rule_8_a_part_out_of_step_holds_the_gate_until_a_new_run() -> None:
    rig = Rig(hardware_trigger=True).start()
    first, second = rig.part(), rig.part()
    rig.judge(first, Reason.OUT_OF_STEP, part_id=1)
    assert rig.verdict(first) == "OUT_OF_STEP"
    assert (rig.window.state, Flag.OUT_OF_STEP in rig.window.flags) == (State.HELD, True)
    rig.wait_ms(10)
    assert rig.verdict(rig.part()) == "NOT_READY"
    rig.judge(second, part_id=2)
    rig.write(control=Control(0))
    rig.write()
    assert (rig.window.state, Flag.OUT_OF_STEP in rig.window.flags) == (State.EXECUTE, False)
    rig.write()
    trigger = rig.part()
    rig.judge(trigger)
    assert rig.verdict(trigger) == "OK"


def test_rule_14_a_gate_that_lets_more_pass_than_were_passed_is_an_alarm_until_the_next_run() -> None:
    rig = Rig().start()
    for _ in range(2):
        rig.judge(rig.part())
    rig.judge(rig.part(), Reason.ANOMALY)
    rig.write(gate_passed=2)
    assert rig.contract.gate_excess == 0
    rig.write(gate_passed=3)
    assert rig.contract.gate_excess == 1
    rig.judge(rig.part(gate_passed=3))
    assert rig.contract.gate_excess == 1, "that a later part is passed makes nothing good"
    rig.write(gate_passed=9, echo=rig.contract.run - 1)
    assert rig.contract.gate_excess == 1, "what counts another run says nothing of this one"
    rig.write(control=Control(0))
    rig.write(control=Control.ENABLE)
    assert rig.contract.gate_excess == 0
