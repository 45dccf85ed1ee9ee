"""Writes the tables of docs/plc/README.md from senbetsu/registers.py. A test keeps the page current."""

from collections.abc import Sequence
from pathlib import Path

from senbetsu.registers import (
    COUNTERS,
    DETAIL,
    DETAIL_AT,
    DETAIL_WORDS,
    HEADER,
    HOLDING,
    SLOT,
    SLOT_AT,
    SLOT_WORDS,
    Flag,
    Register,
)
from senbetsu.verdict import REASON_MEANINGS, Reason

PAGE = Path(__file__).with_name("README.md")
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


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
