"""A gate's contract with a clock, a PLC and a daemon that do as they are told."""

import itertools
import math
from dataclasses import dataclass, field

from bridge.contract import GateContract, GateSettings
from senbetsu.messages import Result
from senbetsu.registers import Control, PlcWrite, SlotView, Window, decode_window
from senbetsu.requests import TriggerRequest
from senbetsu.states import State
from senbetsu.verdict import Reason, Verdict

MS = 1_000_000
EPOCH = 1000


@dataclass
class Rig:
    """`now_ns` is moved by `wait_ms`; every write changes the PLC's heartbeat, every wait keeps both sides alive."""

    cameras: tuple[str, ...] = ("cam1",)
    items: int = 1
    allow_simulated: bool = False
    hardware_trigger: bool = False
    deadline_ms: int = 100
    now_ns: int = 10**12
    epoch: int = EPOCH
    seq: int = 0
    trigger: int = 0
    part_id: int = 0
    control: Control = Control.ENABLE
    recipe: int = 0
    acknowledged: int = 0
    sent: list[TriggerRequest] = field(default_factory=list)

    def __post_init__(self) -> None:
        expected = frozenset((camera, item) for camera in self.cameras for item in range(self.items))
        settings = GateSettings(
            "gate1", expected, self.items, self.deadline_ms * MS, self.allow_simulated, 1, 500 * MS, 1000 * MS,
            self.hardware_trigger,
        )  # fmt: skip
        self.beats = itertools.count(1)
        self.runs = itertools.count(7)
        self.plc_heartbeat = 0
        self.contract = GateContract(settings, lambda: next(self.runs))

    # the PLC

    def write(self, *, echo: int | None = None, beat: bool = True, **changes: int) -> None:
        self.plc_heartbeat = (self.plc_heartbeat + beat) & 0xFFFF
        values: dict[str, int | Control] = {
            "acknowledged": self.acknowledged, "run_echo": self.contract.run if echo is None else echo,
            "part_id": self.part_id, "trigger": self.trigger, "control": self.control, "recipe": self.recipe,
            "heartbeat": self.plc_heartbeat, **changes,
        }  # fmt: skip
        self.sent += self.contract.on_write(PlcWrite(**values), self.now_ns)  # type: ignore[arg-type]

    def start(self) -> "Rig":
        """Daemon alive, PLC through its start-up."""
        self.beat()
        self.write(control=Control(0), echo=0)
        self.write(echo=0)
        self.write()
        assert self.window.run != 0
        return self

    def part(self, step: int = 1, **changes: int) -> int:
        """The next trigger; returns its number."""
        self.trigger = (self.trigger + step) % 65536
        self.part_id += 1
        self.write(**changes)
        return self.trigger

    @property
    def window(self) -> Window:
        return decode_window(self.contract.image()[20:144])

    def slot(self, trigger: int) -> SlotView:
        return self.window.slots[trigger % 16]

    def verdict(self, trigger: int) -> str:
        """OPEN only if the slot says so in every way; else the reason."""
        slot = self.slot(trigger)
        assert slot.first == slot.last
        if slot.first != trigger:
            return "of another part"
        valid, passed, failed = bool(slot.bits & 0x8000), bool(slot.bits & 1), bool(slot.bits & 2)
        if not valid:
            assert not passed
            assert not failed
            return "NONE"
        assert passed != failed
        assert passed == (slot.reason == Reason.OK)
        return Reason(slot.reason).name

    # the daemon

    def beat(self, state: State = State.EXECUTE) -> None:
        self.contract.on_heartbeat(self.epoch, next(self.beats), state, self.now_ns)

    def result(self, trigger: int, reason: Reason = Reason.OK, **changes: object) -> Result:
        self.seq += 1
        values: dict[str, object] = {
            "instance": "line1", "epoch": self.epoch, "seq": self.seq, "reject_seq": 0, "gate": "gate1", "trigger": trigger,
            "run": self.contract.run,
            "part_id": self.part_id or None, "camera": self.cameras[0], "frame_id": 1, "items": self.items,
            "verdict": Verdict.PASS if reason is Reason.OK else Verdict.REJECT, "reason": reason,
            "score": 0.5 if reason is Reason.OK else 2.5, "threshold": 1.0, "metric_distance": math.nan,
            "novelty_distance": 1.0, "triggered_at_ns": 1, "exposed_at_ns": 2, "decided_at_ns": 3, "boot_id": "b",
            "wall_time": "t", "recipe": 1, "model_sha256": "m", "profile_sha256": "p", "simulated": False, **changes,
        }  # fmt: skip
        return Result(**values)  # type: ignore[arg-type]

    def judge(self, trigger: int, reason: Reason = Reason.OK, **changes: object) -> Result:
        result = self.result(trigger, reason, **changes)
        self.contract.on_result(result, self.now_ns)
        return result

    def wait_ms(self, milliseconds: float, *, daemon: bool = True, plc: bool = True) -> None:
        """Time passes in steps of 50 ms at most, in which whoever is alive beats."""
        until_ns = self.now_ns + round(milliseconds * MS)
        while self.now_ns < until_ns:
            self.now_ns = min(self.now_ns + 50 * MS, until_ns)
            if daemon:
                self.beat()
            if plc:
                self.write()
            self.contract.tick(self.now_ns)

    @property
    def counts(self) -> dict[str, int]:
        counts = self.contract.counts
        assert counts["triggers"] == counts["pass"] + counts["reject"] + counts["outstanding"]
        assert counts["outstanding"] <= 16
        return counts
