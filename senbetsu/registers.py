"""The PLC's register table as data, and its encoding: what bridge, simulated PLC and documentation all read.

One gate is one table. Values of 32 bits have their high word first; counters wrap. Codes are fixed numbers, never reused.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from enum import IntFlag

from senbetsu.messages import TRIGGER_MODULUS
from senbetsu.states import State
from senbetsu.verdict import Reason

MAGIC = 0x5342
LAYOUT_VERSION = 1
SLOTS = 16
NO_RATIO = 0xFFFF

INPUT_COUNT = 176
HOLDING_COUNT = 12
MIRROR_AT = 1000
"""Input register n is holding register 1000 + n as well, for PLCs that cannot read input registers."""
WINDOW_AT, WINDOW_COUNT = 20, 124
"""Header and slots: what is read in one request."""
SLOT_AT, SLOT_WORDS = 32, 7
DETAIL_AT, DETAIL_WORDS = 144, 2


@dataclass(frozen=True, slots=True)
class Register:
    """One value of the table: zero-based address, size in words of 16 bits, and what it means."""

    name: str
    address: int
    words: int
    meaning: str


COUNTERS = (
    Register("triggers", 0, 2, "triggers taken in this run"),
    Register("pass", 2, 2, "parts decided PASS in this run"),
    Register("reject", 4, 2, "parts decided REJECT in this run"),
    Register("late", 6, 2, "results that came after the decision; applied to nothing"),
    Register("lost", 8, 2, "slots needed again before they were acknowledged"),
    Register("missed", 10, 2, "triggers never seen, shown by a later one; each REJECT/MISSED"),
    Register("refused_writes", 12, 2, "writes answered with an exception"),
    Register("epoch_low", 14, 2, "low 32 bits of the daemon's epoch"),
)
HEADER = (
    Register("magic", 20, 1, f"always 0x{MAGIC:04X}"),
    Register("layout", 21, 1, f"layout version, {LAYOUT_VERSION}"),
    Register("run", 22, 1, "run number, 1-65535; a new one empties all slots"),
    Register(
        "state", 23, 1, "state, numbered as in PackML: 3 starting, 4 idle, 5 suspended, 6 execute, 9 aborted, 11 held"
    ),
    Register("flags", 24, 1, "flags, also discrete inputs 0-9"),
    Register("heartbeat", 25, 1, "changes every 100 ms while cameras and engine are proven"),
    Register("newest_accepted", 26, 1, "newest trigger taken"),
    Register("newest_decided", 27, 1, "newest trigger decided"),
    Register("recipe", 28, 1, "active recipe"),
    Register("outstanding", 29, 1, "parts that wait for their decision, at most 16"),
    Register("confirmed", 30, 1, "the PLC's heartbeat in its newest write that was taken: that write has come"),
)
SLOT = (
    Register("trigger", 0, 1, "number of the part's trigger"),
    Register("part_id", 1, 2, "the PLC's part id, 0 if none"),
    Register("bits", 3, 1, "0 PASS, 1 FAIL, 2 SIMULATED, 8-14 reason, 15 VALID"),
    Register("good_items", 4, 1, "bit i: item i good in all views; 0 unless the reason is OK or ANOMALY"),
    Register("run", 5, 1, "run in which the part was decided"),
    Register("trigger_again", 6, 1, "the trigger once more: where it differs, the slot is not for use"),
)
DETAIL = (
    Register("score_ratio", 0, 1, "1000 x score / threshold; PASS rounded down, REJECT up and >= 1001; 65535 none"),
    Register("latency", 1, 1, "trigger taken to decision, in 0.1 ms"),
)
HOLDING = (
    Register("acknowledged", 0, 1, "newest trigger acknowledged, with all before it"),
    Register("run_echo", 1, 1, "the run that the PLC works in; not retentive"),
    Register("part_id", 2, 2, "part id of the trigger, 0 if none"),
    Register("trigger", 4, 1, "trigger number, +1 a part, modulo 65536"),
    Register("control", 5, 1, "bit 0 enable, bit 1 allow simulated parts"),
    Register("recipe", 6, 1, "recipe number, 0: not chosen by the PLC"),
    Register("heartbeat", 7, 1, "must change at least once a second"),
    Register("deadline_ms", 8, 1, "deadline in ms, 0: from the config"),
    Register("spare", 9, 1, "write 0"),
    Register("gate_passed", 10, 2, "parts that the gate let pass in this run; more than `pass` is an alarm"),
)


class Flag(IntFlag):
    """Input register 24 and discrete inputs 0-9."""

    READY = 1 << 0
    BUSY = 1 << 1
    FAULT = 1 << 2
    SIMULATED = 1 << 3
    OVERFLOW = 1 << 4
    OUT_OF_STEP = 1 << 5
    RECIPE_DIFFERS = 1 << 6
    DAEMON_LOST = 1 << 7
    PLC_HEARTBEAT_LOST = 1 << 8
    JOURNAL_FAILING = 1 << 9


FLAG_COUNT = 10


class SlotBit(IntFlag):
    """The bits of a slot beside the reason in bits 8-14."""

    PASS = 1 << 0
    FAIL = 1 << 1
    SIMULATED = 1 << 2
    VALID = 1 << 15


RESULT_BITS = {Reason.NONE: 0} | {
    reason: int(SlotBit.VALID | (SlotBit.PASS if reason is Reason.OK else SlotBit.FAIL)) | reason.value << 8
    for reason in Reason
    if reason is not Reason.NONE
}
"""Of a slot's word `bits`, all but SIMULATED. A table of plain numbers: every reading of the registers needs 16 of them."""
SIMULATED_BIT = int(SlotBit.SIMULATED)


class Control(IntFlag):
    """Holding register 5."""

    ENABLE = 1 << 0
    ALLOW_SIMULATED = 1 << 1


@dataclass(frozen=True, slots=True)
class Slot:
    """One slot's content. `reason` NONE means that there is no result yet."""

    trigger: int = 0
    part_id: int = 0
    reason: Reason = Reason.NONE
    simulated: bool = False
    good_items: int = 0
    run: int = 0
    score_ratio: int = NO_RATIO
    latency_tenth_ms: int = 0

    def words(self) -> list[int]:
        """The 7 words of the window."""
        bits = RESULT_BITS[self.reason]
        if self.simulated:
            bits |= SIMULATED_BIT
        return [self.trigger, *split32(self.part_id), bits, self.good_items, self.run, self.trigger]


EMPTY_SLOT = Slot()


@dataclass(frozen=True, slots=True)
class Header:
    """Input registers 0-15 and 20-30, but for magic and layout."""

    triggers: int = 0
    passed: int = 0
    rejected: int = 0
    late: int = 0
    lost: int = 0
    missed: int = 0
    refused_writes: int = 0
    epoch_low: int = 0
    run: int = 0
    state: State = State.STARTING
    flags: Flag = Flag(0)
    heartbeat: int = 0
    newest_accepted: int = 0
    newest_decided: int = 0
    recipe: int = 0
    outstanding: int = 0
    confirmed: int = 0


HEADER_FIELDS = tuple(each.name for each in fields(Header))


def input_registers(header: Header, slots: Sequence[Slot]) -> list[int]:
    """All 176 input registers."""
    words = [0] * INPUT_COUNT
    values = [getattr(header, name) for name in HEADER_FIELDS]
    for register, value in zip(COUNTERS, values[: len(COUNTERS)], strict=True):
        words[register.address : register.address + 2] = split32(value)
    words[20:22] = MAGIC, LAYOUT_VERSION
    for register, value in zip(HEADER[2:], values[len(COUNTERS) :], strict=True):
        words[register.address] = int(value) & 0xFFFF
    for k, slot in enumerate(slots):
        at = SLOT_AT + SLOT_WORDS * k
        words[at : at + SLOT_WORDS] = slot.words()
        at = DETAIL_AT + DETAIL_WORDS * k
        words[at : at + DETAIL_WORDS] = slot.score_ratio, slot.latency_tenth_ms
    return words


@dataclass(frozen=True, slots=True)
class SlotView:
    """A slot as the PLC sees it: nothing is believed of it yet."""

    first: int
    part_id: int
    bits: int
    good_items: int
    run: int
    last: int

    @property
    def reason(self) -> int:
        """The reason's number; it may be one that nobody knows."""
        return self.bits >> 8 & 0x7F


@dataclass(frozen=True, slots=True)
class Window:
    """Header and slots as read by a PLC in one request (registers 20-143)."""

    magic: int
    layout: int
    run: int
    state: int
    flags: Flag
    heartbeat: int
    newest_accepted: int
    newest_decided: int
    recipe: int
    outstanding: int
    confirmed: int
    slots: tuple[SlotView, ...] = field(repr=False)


def decode_window(words: Sequence[int]) -> Window:
    """The 124 words from register 20. Raises ValueError where there are more or fewer."""
    if len(words) != WINDOW_COUNT:
        raise ValueError(f"expected {WINDOW_COUNT} registers from {WINDOW_AT}, found {len(words)}")
    head = [words[register.address - WINDOW_AT] for register in HEADER]
    slots = []
    for k in range(SLOTS):
        w = words[SLOT_AT - WINDOW_AT + SLOT_WORDS * k :][:SLOT_WORDS]
        slots.append(SlotView(w[0], join32(w[1], w[2]), w[3], w[4], w[5], w[6]))
    magic, layout, run, state, flags, *rest = head
    heartbeat, accepted, decided, recipe, outstanding, confirmed = rest
    return Window(
        magic, layout, run, state, Flag(flags), heartbeat, accepted, decided, recipe, outstanding, confirmed, tuple(slots)
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class PlcWrite:
    """Holding registers 0-11, written whole: one event."""

    acknowledged: int = 0
    run_echo: int = 0
    part_id: int = 0
    trigger: int = 0
    control: Control = Control(0)
    recipe: int = 0
    heartbeat: int = 0
    deadline_ms: int = 0
    gate_passed: int = 0

    def words(self) -> list[int]:
        """The 12 words."""
        return [
            self.acknowledged, self.run_echo, *split32(self.part_id), self.trigger, int(self.control), self.recipe,
            self.heartbeat, self.deadline_ms, 0, *split32(self.gate_passed),
        ]  # fmt: skip


MAX_DEADLINE_MS = 60_000


def decode_write(words: Sequence[int]) -> PlcWrite:
    """The 12 words of holding 0-11. Raises ValueError for another count or a value that is not allowed."""
    if len(words) != HOLDING_COUNT:
        raise ValueError(f"holding registers 0-11 are written whole, {HOLDING_COUNT} words; found {len(words)}")
    if words[8] > MAX_DEADLINE_MS:
        raise ValueError(f"deadline {words[8]} ms: at most {MAX_DEADLINE_MS}")
    return PlcWrite(
        words[0], words[1], join32(words[2], words[3]), words[4], Control(words[5] & 3), words[6], words[7], words[8],
        join32(words[10], words[11]),
    )  # fmt: skip


def split32(value: int) -> tuple[int, int]:
    """High word, low word; wraps."""
    return value >> 16 & 0xFFFF, value & 0xFFFF


def join32(high: int, low: int) -> int:
    """The 32-bit value of two words."""
    return high << 16 | low


def score_ratio(score: float, threshold: float, *, passed: bool) -> int:
    """1000 x score / threshold for the PLC: PASS rounds down, REJECT up and to 1001 at least, 65535 where there is none."""
    if not (math.isfinite(score) and math.isfinite(threshold)) or threshold <= 0 or score < 0:
        return NO_RATIO
    ratio = 1000 * score / threshold
    if passed:
        return min(math.floor(ratio), 1000)
    return max(1001, math.ceil(min(ratio, NO_RATIO - 1)))


def trigger_distance(newer: int, older: int) -> int:
    """How many triggers `newer` is ahead, 0-65535, modulo 65536."""
    return (newer - older) % TRIGGER_MODULUS
