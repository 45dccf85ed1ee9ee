"""Writes docs/plc/rules.md and docs/plc/timing/: each rule of the contract, its timing diagram, and the tests that hold it."""

import ast
import re
import runpy
from functools import cache
from pathlib import Path

FOLDER = Path(__file__).parent
REPOSITORY = FOLDER.parents[1]

RULES: dict[int, str] = {
    1: "**Rejected until proven good.** The PLC owns the gate, whose rest position is reject. There is no bypass here: a PLC that lets parts through uninspected does so, and counts them, itself.",
    2: "**PASS is asserted, never inferred**: complementary bits PASS and FAIL (00 no result, 11 fault). Only reason OK goes with PASS; a number that nobody knows rejects.",
    3: "**Each trigger is decided exactly once**: when all looks are in, or at the deadline by the bridge's own clock, counted from the earliest that the trigger may have come. The first decision stands; what comes later is counted late and applied to nothing. The same result twice changes nothing; two for one look that differ reject.",
    4: "**The trigger number ties part, frame and verdict together**: 16 bits, +1 a part, modulo 65 536; its slot is `trigger mod 16`. At the trigger the slot is emptied and takes the new number; the verdict follows. A slot needed again before it was acknowledged: overflow flag, counted lost.",
    5: "**The run number rules out the past.** It changes when the bridge starts, the daemon's epoch changes (a smaller one counts once the present one is silent: its clock was set back), enable goes 0 -> 1, the PLC's heartbeat comes back, or counts fell out of step: all slots are emptied, outstanding parts rejected. Triggers and acknowledgements count only in a write that echoes the current run; the first such write is the baseline, not a part. A result counts only for the run in which its part was announced.",
    6: "**One request, one consistent state.** Registers change in one call between two requests; header and window are one read. The first and the last word of a slot are the trigger number. The PLC writes holding 0-11 in one request, which is one event; any other write to them gets exception 03 and changes nothing.",
    7: "**Triggers**: +1 is a part; +2 to +16: those between were missed, each REJECT/MISSED; more, or less: out of step, a new run.",
    8: "**Hardware trigger**: frames and triggers are joined by count, never by \"the next one\". A frame exposed before its trigger is never used.",
    9: "**Free run**: without the PLC's own part id no PASS is asserted to a gate; subscribers still get all results.",
    10: "**Heartbeat from progress**: the daemon sends it only while cameras and engine are proven; the bridge forwards it, never invents it. Unchanged for 500 ms: parts are rejected, LINK. The PLC's own unchanged for 1 s: HELD, triggers refused.",
    11: "**Recipe**: fixed at the trigger. While the requested one is not the active one, every part is REJECT/RECIPE. One that cannot load leaves the old one loaded, never judging for the new.",
    12: "**Simulated**: such a result carries its bit, and no PASS unless the config and the PLC's control bit allow it, both at the trigger.",
    13: "**State**: not IDLE or EXECUTE, or not enabled: triggers are counted and REJECT/NOT_READY. State never opens a gate.",
    14: "**Counters** are the bridge's, per run: triggers = pass + reject + outstanding (<= 16). The PLC counts what its gate let pass in the run (holding 10-11): more than `pass` is an alarm, in the bridge's log and as `senbetsu_plc_gate_excess`.",
    15: "**One writer at a time**, the first with a live heartbeat; others read.",
}  # fmt: skip

ALSO: dict[int, tuple[str, ...]] = {
    1: ("tests/simulated_plc/test_gate_rule.py: test_any_one_clause_keeps_it_shut",),
    3: (
        "tests/bridge/test_bridge_contract.py: test_a_part_passes_only_when_all_its_looks_passed_in_time",
        "tests/simulated_plc/test_plc.py: test_a_part_passes_only_if_its_trigger_was_confirmed_in_time",
        "tests/bridge/test_bridge_properties.py: a_pass_was_proven",
        "tests/bridge/test_bridge_properties.py: a_decision_never_changes",
    ),
    4: ("tests/bridge/test_rules.py: test_a_plc_that_polls_every_50_ms_sees_every_verdict_at_100_parts_a_second",),
    8: ("tests/daemon/test_daemon_capture.py: test_one_frame_is_never_given_to_two_parts",),
    14: ("tests/bridge/test_bridge_properties.py: the_books_balance",),
}
"""Tests that hold a rule beside those with its number in their names."""


@cache
def tests() -> dict[int, list[str]]:
    """`FILE: NAME` of every test, by the rule's number in its name, and those of ALSO; each is checked to be there."""
    found: dict[int, list[str]] = {number: [] for number in RULES}
    everything = set()
    for path in sorted((REPOSITORY / "tests").rglob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef):
                where = f"{path.relative_to(REPOSITORY)}: {node.name}"
                everything.add(where)
                if number := re.match(r"test_rule_(\d+)_", node.name):
                    found[int(number[1])].append(where)
    for number, names in ALSO.items():
        if missing := set(names) - everything:
            raise LookupError(f"rule {number}: there is no {missing.pop()}")
        found[number] += names
    return found


def pages() -> dict[Path, str]:
    """Every generated file and what belongs into it."""
    draw, makes = (
        runpy.run_path(str(FOLDER / file))[name] for file, name in (("timing.py", "draw"), ("scenes.py", "SCENES"))
    )
    scenes = {scene.rule: scene for scene in (make() for make in makes)}
    files = {FOLDER / "timing" / f"rule_{number}.svg": draw(scene) for number, scene in scenes.items()}
    parts = [
        "# The rules of the contract, and what holds them",
        "Generated by docs/plc/generate_rules.py. The diagrams are recorded from the bridge's contract itself, with a clock that is\n"
        "set by hand (docs/plc/scenes.py): green is PASS, red a reject with its reason, yellow a slot that waits for its verdict.",
    ]
    for number, text in RULES.items():
        parts.append(f"## {number}\n\n{text}")
        if number in scenes:
            parts.append(f"![Timing of rule {number}](timing/rule_{number}.svg)")
        rows = []
        for where in tests()[number]:
            file, name = where.split(": ")
            rows.append(
                f"- {name.removeprefix('test_').removeprefix(f'rule_{number}_').replace('_', ' ')} ([{Path(file).name}](../../{file}))"
            )
        parts.append("\n".join(rows))
    return {FOLDER / "rules.md": "\n\n".join(parts) + "\n", **files}


if __name__ == "__main__":
    for path, text in pages().items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
