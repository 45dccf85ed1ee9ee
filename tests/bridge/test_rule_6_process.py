"""One request, one state, on real sockets: clients that read without a pause while verdicts are written see no mixed slot."""

import threading
from dataclasses import replace
from typing import Any

from contract_rig import Rig
from pymodbus.client import ModbusTcpClient
from test_bridge_process import Plc, Setup, StandInDaemon, setup, wait_for

from senbetsu.messages import encode
from senbetsu.registers import Window, decode_window
from senbetsu.requests import TriggerRequest
from senbetsu.verdict import Reason

assert setup
PARTS = 400
READERS = 2


def faults_of(window: Window, decided: dict[tuple[int, int], int]) -> list[str]:
    """What cannot be in a state that was ever whole."""
    faults = []
    outstanding = 0
    for k, slot in enumerate(window.slots):
        if slot.first != slot.last:
            faults.append(f"slot {k} begins with {slot.first} and ends with {slot.last}")
        if slot.run == 0:
            continue
        valid, passed, failed = bool(slot.bits & 0x8000), bool(slot.bits & 1), bool(slot.bits & 2)
        outstanding += not valid
        if slot.run != window.run:
            faults.append(f"slot {k} is of run {slot.run} in run {window.run}")
        if slot.part_id != slot.first or slot.first % 16 != k:
            faults.append(f"slot {k} holds trigger {slot.first} of part {slot.part_id}")
        if (valid, passed != failed, passed) not in ((False, False, False), (True, True, slot.reason == Reason.OK)):
            faults.append(f"slot {k} has bits {slot.bits:016b}")
        # A multiple of three was rejected; see below.
        if valid and slot.reason != (Reason.ANOMALY if slot.first % 3 == 0 else Reason.OK):
            faults.append(f"slot {k} says {slot.reason} of trigger {slot.first}")
        if valid and decided.setdefault((slot.run, slot.first), slot.bits) != slot.bits:
            faults.append(f"slot {k}: a decision has changed")
        if (slot.run, slot.first) in decided and not valid:
            faults.append(f"slot {k}: a decision was taken back")
    if outstanding != window.outstanding:
        faults.append(f"{outstanding} slots wait, and {window.outstanding} parts are outstanding")
    newest = window.slots[window.newest_accepted % 16]
    if newest.run and newest.first != window.newest_accepted:
        faults.append(f"newest trigger {window.newest_accepted}, its slot holds {newest.first}")
    return faults


def judge(daemon: StandInDaemon, request: TriggerRequest) -> None:
    result = daemon.make(request, Reason.ANOMALY if request.trigger % 3 == 0 else Reason.OK)
    daemon.pub.send_multipart(encode(result))


def test_rule_6_clients_that_hammer_reads_while_verdicts_are_written_never_see_a_mixed_slot(setup: Setup) -> None:
    setup.daemon.on_trigger = judge
    stop = threading.Event()
    faults: list[str] = []
    reads = [0] * READERS

    def hammer(number: int) -> None:
        decided: dict[tuple[int, int], int] = {}
        with ModbusTcpClient("127.0.0.1", port=setup.port, timeout=10) as client:
            while not stop.is_set():
                answer: Any = client.read_input_registers(20, count=124)
                faults.extend(faults_of(decode_window(answer.registers), decided))
                reads[number] += 1

    threads = [threading.Thread(target=hammer, args=(number,)) for number in range(READERS)]
    for thread in threads:
        thread.start()
    plc: Plc = setup.plc
    for _ in range(PARTS):
        trigger = plc.part()
        if trigger % 8 == 0:
            wait_for(lambda t=trigger: plc.reason(t) != "NONE")
            assert plc.write(acknowledged=trigger)
    wait_for(lambda: plc.window().outstanding == 0)
    stop.set()
    for thread in threads:
        thread.join()
    assert faults == []
    assert min(reads) > PARTS / 10, "they did read meanwhile"
    high, low, *_ = plc.client.read_input_registers(4, count=2).registers
    assert high << 16 | low == PARTS // 3


def test_the_check_of_this_file_finds_what_was_mixed() -> None:
    rig = Rig(part_id=0).start()
    for reason in (Reason.OK, Reason.OK, Reason.ANOMALY):
        rig.judge(rig.part(), reason)
    window, decided = rig.window, {}
    assert faults_of(window, decided) == []
    slot = window.slots[3]
    for wrong in (
        replace(slot, last=19),
        replace(slot, part_id=19),
        replace(slot, run=slot.run + 1),
        replace(slot, bits=slot.bits | 1),
        replace(slot, bits=0),
        replace(slot, bits=slot.bits ^ 3 ^ (Reason.OK ^ Reason.ANOMALY) << 8),
    ):
        slots = (*window.slots[:3], wrong, *window.slots[4:])
        assert faults_of(replace(window, slots=slots), dict(decided)) != [], wrong
