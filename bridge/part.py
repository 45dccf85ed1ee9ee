"""One part on its way: the looks that are expected of it, what came, and the verdict they make."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from senbetsu.messages import Result, encode
from senbetsu.registers import NO_RATIO, Slot, score_ratio
from senbetsu.verdict import Reason, Verdict

LookKey = tuple[str, int]
"""Camera and item."""


@dataclass(slots=True)
class Part:
    """A part that was accepted and is not decided yet. Times are the bridge's clock, nanoseconds."""

    trigger: int
    part_id: int
    accepted_at_ns: int
    deadline_ns: int
    expected: frozenset[LookKey]
    items: int
    may_be_simulated: bool
    """The config and the PLC both let simulated parts pass, at the trigger."""
    recipe: int
    """The one that the PLC asks for at the trigger; 0: whichever is active then, for all looks the same [11]."""
    looks: dict[LookKey, Result] = field(default_factory=dict)
    contradicted: bool = False

    def add(self, result: Result) -> bool:
        """Take one look. False if the same one was there already; two that differ spoil the part."""
        key = (result.camera, result.item)
        before = self.looks.get(key)
        if before is not None:
            if same_result(before, result):
                return False
            self.contradicted = True
            return True
        if key not in self.expected or result.items != self.items or (result.part_id or 0) != self.part_id:
            self.contradicted = True
            return True
        self.looks[key] = result
        return True

    @property
    def complete(self) -> bool:
        """Whether it can be decided now."""
        return self.contradicted or len(self.looks) == len(self.expected)

    def reason(self) -> Reason:
        """The verdict that the looks make: OK only if all are there and all passed."""
        if self.contradicted:
            return Reason.OUT_OF_STEP
        recipe = self.recipe or next((result.recipe for result in self.looks.values()), 0)
        for key in sorted(self.looks):
            result = self.looks[key]
            if result.verdict is not Verdict.PASS or result.reason is not Reason.OK:
                return result.reason if result.reason not in (Reason.OK, Reason.NONE) else Reason.LINK
            if result.recipe != recipe:
                return Reason.RECIPE
        if len(self.looks) != len(self.expected):
            return Reason.DEADLINE
        if self.simulated and not self.may_be_simulated:
            return Reason.SIMULATED
        return Reason.OK

    @property
    def simulated(self) -> bool:
        """Whether any look was."""
        return any(result.simulated for result in self.looks.values())


def same_result(a: Result, b: Result) -> bool:
    """To the last field; NaN equals NaN."""
    return encode(a) == encode(b)


def decided_slot(part: Part, reason: Reason, run: int, now_ns: int) -> Slot:
    """What the PLC reads of a decided part."""
    passed = reason is Reason.OK
    ratios = [score_ratio(r.score, r.threshold, passed=passed) for r in part.looks.values()]
    ratios = [ratio for ratio in ratios if ratio != NO_RATIO]
    latency_tenth_ms = min(0xFFFF, max(0, now_ns - part.accepted_at_ns) // 100_000)
    return Slot(
        trigger=part.trigger,
        part_id=part.part_id,
        reason=reason,
        simulated=part.simulated,
        good_items=_good_items(part.looks, part.items) if reason in (Reason.OK, Reason.ANOMALY) else 0,
        run=run,
        score_ratio=max(ratios, default=NO_RATIO),
        latency_tenth_ms=math.floor(latency_tenth_ms),
    )


def _good_items(looks: Mapping[LookKey, Result], items: int) -> int:
    mask = 0
    for item in range(items):
        views = [result for (_, number), result in looks.items() if number == item]
        if views and all(result.verdict is Verdict.PASS for result in views):
            mask |= 1 << item
    return mask
