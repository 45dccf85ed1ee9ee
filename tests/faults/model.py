"""What the contract promises of every window that a PLC reads, held against all that came before it."""

from dataclasses import dataclass, field

from senbetsu.registers import SlotBit, Window
from senbetsu.verdict import Reason

KEPT_RUNS = 8


@dataclass
class ContractModel:
    """`violations` says in words what was broken; it must stay empty."""

    violations: list[str] = field(default_factory=list)
    windows: int = 0
    runs: list[int] = field(default_factory=list)
    _decided: dict[tuple[int, int, int], int] = field(default_factory=dict)
    """(run, trigger, part id) -> bits of the slot."""

    def see(self, window: Window) -> None:
        """One reading of registers 20-143."""
        self.windows += 1
        self._see_run(window.run)
        if window.outstanding > 16:
            self._broken(f"{window.outstanding} parts outstanding")
        for slot in window.slots:
            passed, failed = bool(slot.bits & SlotBit.PASS), bool(slot.bits & SlotBit.FAIL)
            if slot.first != slot.last:
                self._broken(f"slot of {slot.first} ends as {slot.last}")
            if bool(slot.bits & SlotBit.VALID) != (passed or failed) or (passed and failed):
                self._broken(f"slot of {slot.first}: bits {slot.bits:016b}")
            if passed != (slot.reason == Reason.OK):
                self._broken(f"slot of {slot.first}: PASS {passed} with reason {slot.reason}")
            if slot.run not in (0, window.run):
                self._broken(f"slot of {slot.first} is of run {slot.run} in run {window.run}")
            if slot.bits & SlotBit.VALID:
                self._see_decision((slot.run, slot.first, slot.part_id), slot.bits)

    def _see_run(self, run: int) -> None:
        if self.runs and run == self.runs[-1]:
            return
        if run == 0 or run in self.runs[-KEPT_RUNS:]:
            self._broken(f"run {run} again, after {self.runs[-KEPT_RUNS:]}")
        self.runs.append(run)

    def _see_decision(self, part: tuple[int, int, int], bits: int) -> None:
        before = self._decided.setdefault(part, bits)
        if before != bits:
            self._broken(f"run, trigger, part {part} was decided {before:016b}, and then {bits:016b}")

    def _broken(self, what: str) -> None:
        if what not in self.violations:
            self.violations.append(what)
