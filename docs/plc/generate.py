"""Writes the tables of docs/plc/README.md and docs/plc/tags.csv from senbetsu/registers.py. A test keeps them current."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from senbetsu.registers import (
    COUNTERS,
    DETAIL,
    DETAIL_AT,
    DETAIL_WORDS,
    HEADER,
    HOLDING,
    INPUT_COUNT,
    MIRROR_AT,
    SLOT,
    SLOT_AT,
    SLOT_WORDS,
    SLOTS,
    Flag,
    Register,
)
from senbetsu.verdict import REASON_MEANINGS, Reason

PAGE = Path(__file__).with_name("README.md")
TAGS = Path(__file__).with_name("tags.csv")
BEGIN, END = "<!-- generated: begin -->", "<!-- generated: end -->"


def table(title: str, registers: Sequence[Register], prefix: str = "") -> str:
    """One Markdown table."""
    rows = [f"### {title}", "", "| address | name | meaning |", "|---|---|---|"]
    for register in registers:
        address = f"{register.address}" if register.words == 1 else f"{register.address}-{register.address + 1}"
        rows.append(f"| {prefix}{address} | `{register.name}` | {register.meaning} |")
    return "\n".join(rows)


def generated() -> str:
    """All tables."""
    flags = "\n".join(
        f"| {flag.value.bit_length() - 1} | {flag.name.lower().replace('_', ' ')} |" for flag in Flag if flag.name
    )
    reasons = "\n".join(f"| {reason.value} | {reason.name} | {REASON_MEANINGS[reason]} |" for reason in Reason)
    slot_at = f"{SLOT_AT} + {SLOT_WORDS} k + "
    detail_at = f"{DETAIL_AT} + {DETAIL_WORDS} k + "
    return "\n\n".join(
        [
            table("The PLC writes: holding registers 0-11, whole, in one request", HOLDING),
            table("The PLC reads: header (input registers; 1000 higher as holding registers)", HEADER),
            table("The PLC reads: slot of trigger t, k = t mod 16", SLOT, slot_at),
            table("For displays: detail of slot k", DETAIL, detail_at),
            table("For monitoring: counters of this run (32 bits, high word first)", COUNTERS),
            f"### Flags: bits of register 24, and discrete inputs\n\n| bit | flag |\n|---|---|\n{flags}",
            f"### Reasons\n\n| number | reason | meaning |\n|---|---|---|\n{reasons}",
        ]
    )


def page(current: str) -> str:
    """The page with its generated part made anew."""
    head, rest = current.split(BEGIN)
    _, tail = rest.split(END)
    return f"{head}{BEGIN}\n\n{generated()}\n\n{END}{tail}"


def tags() -> str:
    """Every value as one line of CSV: for import into a PLC's tag list, and as the layout of a block that is written into.

    `s7` is the place in a data block whose table begins at byte 0 and whose PLC words follow it at byte 352.
    """
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["tag", "type", "who_writes", "input_register", "holding_register", "s7", "meaning"])

    def row(tag: str, register: Register, at: int, *, from_plc: bool = False) -> None:
        kind = ("WORD", "DBW") if register.words == 1 else ("DWORD", "DBD")
        word = INPUT_COUNT + at if from_plc else at
        places = ["", at] if from_plc else [at, MIRROR_AT + at]
        who = "PLC" if from_plc else "Senbetsu"
        writer.writerow([f"Senbetsu_{tag}", kind[0], who, *places, f"{kind[1]}{2 * word}", register.meaning])

    for register in (*COUNTERS, *HEADER):
        row(register.name, register, register.address)
    for k in range(SLOTS):
        for register in SLOT:
            row(f"slot{k:02}_{register.name}", register, SLOT_AT + SLOT_WORDS * k + register.address)
    for k in range(SLOTS):
        for register in DETAIL:
            row(f"slot{k:02}_{register.name}", register, DETAIL_AT + DETAIL_WORDS * k + register.address)
    for register in HOLDING:
        row(f"plc_{register.name}", register, register.address, from_plc=True)
    return out.getvalue()


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    TAGS.write_text(tags(), encoding="utf-8")
