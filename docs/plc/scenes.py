"""The contract's rules as scenes; what each shows is drawn beside its words in rules.md."""

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

sys.path.append(str(Path(__file__).parent))

from timing import Rig, Scene

from senbetsu.registers import Control
from senbetsu.states import State
from senbetsu.verdict import Reason


def rule_1() -> Scene:
    s = Scene(1, "rejected until proven good: an empty slot opens nothing", (1, 2))
    s.begin()
    s.wait(20)
    s.part()
    s.wait(40)
    s.judge(1)
    s.wait(40)
    return s


def rule_2() -> Scene:
    s = Scene(2, "PASS is asserted with reason OK alone", (1, 2))
    s.begin()
    s.part()
    s.wait(10)
    s.judge(1)
    s.wait(10)
    s.part()
    s.wait(10)
    s.judge(2, Reason.ANOMALY)
    s.wait(20)
    return s


def rule_3() -> Scene:
    s = Scene(
        3,
        "decided once: at the deadline without its result, which is late and changes nothing",
        (1,),
        ("trigger", "late"),
    )
    s.begin()
    s.part()
    s.wait(100)
    s.note("deadline")
    s.wait(20)
    s.judge(1, said="result of 1 comes: late")
    s.wait(30)
    return s


def rule_4() -> Scene:
    s = Scene(4, "at the trigger the slot is emptied and takes the new number", (1, 17), ("trigger", "lost", "flags"))
    s.begin()
    s.part()
    s.judge(1)
    s.wait(20)
    for _ in range(15):
        s.rig.judge(s.rig.part())
    s.note("15 more parts")
    s.wait(20)
    s.part()
    s.wait(20)
    s.judge(17)
    s.wait(20)
    return s


def rule_5() -> Scene:
    s = Scene(
        5,
        "a new run: slots are empty, what was outstanding is rejected, the first echo is no part",
        (1, 2, 3),
        ("trigger", "run", "outstanding"),
    )
    s.begin()
    old = s.rig.contract.run
    s.part()
    s.wait(10)
    s.judge(1)
    s.part()
    s.wait(20)
    s.rig.epoch += 1
    s.rig.beat()
    s.note("the daemon was restarted: another epoch")
    s.wait(20, plc=False)
    s.write("PLC still echoes the old run", echo=old)
    s.wait(20, plc=False)
    s.write("PLC echoes the new run: the baseline")
    s.wait(20)
    s.part()
    s.judge(3)
    s.wait(10)
    return s


def rule_6() -> Scene:
    s = Scene(
        6,
        "one write is one event, one read one state: header and slots change together",
        (1,),
        ("trigger", "outstanding", "flags"),
    )
    s.begin()
    s.part()
    s.wait(20)
    s.judge(1)
    s.wait(20)
    return s


def rule_7() -> Scene:
    s = Scene(7, "numbers that were left out were missed, each with its own reject", (1, 2, 3, 4), ("trigger",))
    s.begin()
    s.part()
    s.judge(1)
    s.wait(20)
    s.part(step=3)
    s.wait(20)
    s.judge(4)
    s.wait(20)
    return s


def rule_9() -> Scene:
    s = Scene(9, "a result without a trigger (free run) moves no slot", (1,))
    s.begin()
    s.part()
    s.wait(20)
    s.rig.contract.on_result(replace(s.rig.result(1), trigger=None, part_id=None), s.rig.now_ns)
    s.note("a result in free run")
    s.wait(20)
    s.judge(1)
    s.wait(20)
    return s


def rule_10() -> Scene:
    s = Scene(
        10,
        "the heartbeat is forwarded, never invented: 500 ms of silence reject",
        (1, 2),
        ("trigger", "heartbeat", "state"),
    )
    s.begin()
    s.part(deadline_ms=5000)
    s.wait(100)
    s.note("the daemon falls silent")
    s.wait(520, daemon=False)
    s.part()
    s.wait(50, daemon=False)
    s.rig.beat()
    s.note("it is heard again")
    s.wait(50)
    return s


def rule_11() -> Scene:
    s = Scene(
        11,
        "the recipe is fixed at the trigger; while another is asked for, parts are rejected",
        (1, 2, 3),
        ("trigger", "flags"),
    )
    s.begin()
    s.part()
    s.wait(10)
    s.rig.recipe = 2
    s.write("PLC asks for recipe 2; 1 is active")
    s.wait(10)
    s.judge(1)
    s.part()
    s.wait(20)
    s.rig.recipe = 1
    s.part()
    s.judge(3)
    s.wait(10)
    return s


def rule_12() -> Scene:
    s = Scene(
        12,
        "a simulated part passes only where config and PLC allow it",
        (1, 2),
        ("trigger", "flags"),
        Rig(allow_simulated=True),
    )
    s.begin()
    s.part()
    s.wait(10)
    s.judge(1, simulated=True, said="simulated result of 1")
    s.wait(10)
    s.rig.control = Control.ENABLE | Control.ALLOW_SIMULATED
    s.write("PLC sets control bit 1")
    s.part()
    s.wait(10)
    s.judge(2, simulated=True, said="simulated result of 2")
    s.wait(20)
    return s


def rule_13() -> Scene:
    s = Scene(
        13, "in any other state, or not enabled, triggers are counted and rejected", (1, 2, 3), ("trigger", "state")
    )
    s.begin()
    s.rig.contract.on_state(s.rig.epoch, State.SUSPENDED, s.rig.now_ns)
    s.note("daemon suspended")
    s.part()
    s.wait(20, daemon=False)
    s.rig.beat()
    s.note("daemon goes on")
    s.wait(10)
    s.rig.control = Control(0)
    s.part()
    s.wait(20)
    return s


def rule_14() -> Scene:
    s = Scene(14, "triggers = pass + reject + outstanding, at any moment", (1, 2, 3), ("trigger", "outstanding"))
    s.begin()
    for _ in range(3):
        s.part()
        s.wait(10)
    s.judge(2)
    s.wait(10)
    s.judge(1, Reason.ANOMALY)
    s.wait(70)
    return s


SCENES: tuple[Callable[[], Scene], ...] = (
    rule_1, rule_2, rule_3, rule_4, rule_5, rule_6, rule_7, rule_9, rule_10, rule_11, rule_12, rule_13, rule_14,
)  # fmt: skip
