"""docs/plc/gate.st is run: its rule against gate_rule.py, its function block against the bridge's own contract."""

import asyncio
import random
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from contract_rig import MS, Rig
from hypothesis import given, settings
from hypothesis import strategies as st
from structured_text import Array, Instance, Program, load

from bridge.plc_writer import PlcWriter
from bridge.table import GateTable
from senbetsu.gate_rule import Cell, why_shut
from senbetsu.registers import Header, Slot, decode_window, decode_write, input_registers
from senbetsu.requests import TriggerRequest
from senbetsu.verdict import Reason

TEXT = (Path(__file__).parents[2] / "docs/plc/gate.st").read_text()
CLAUSES = (
    "not enabled", "heartbeat stale", "magic or layout wrong", "recipe differs", "run differs", "slot is of another part",
    "no verdict", "not PASS", "FAIL", "reason is not OK", "part id differs",
)  # fmt: skip


@pytest.fixture(scope="module")
def program() -> Program:
    return load(TEXT)


def window_of(words: list[int]) -> Array:
    return Array({20 + n: word for n, word in enumerate(words)})


@pytest.mark.slow
def test_an_independent_parser_of_structured_text_reads_it() -> None:
    blark = pytest.importorskip("blark.parse")
    items = list(blark.parse_source_code(TEXT).transform().items)
    assert [type(item).__name__ for item in items] == ["DataTypeDeclaration"] * 2 + ["Function", "FunctionBlock"]


def test_a_grammar_of_the_standards_structured_text_finds_no_error_in_it() -> None:
    tree_sitter = pytest.importorskip("tree_sitter")
    grammar = pytest.importorskip("tree_sitter_iec61131_3_st")
    parser = tree_sitter.Parser(tree_sitter.Language(grammar.language()))
    root = parser.parse(TEXT.encode()).root_node
    assert not root.has_error
    kinds = ["comment", "type_declaration", "type_declaration", "function_declaration", "function_block_declaration"]
    assert [node.type for node in root.children] == kinds
    for end in ("END_IF;", "THEN", ":="):
        assert parser.parse(TEXT.replace(end, "", 1).encode()).root_node.has_error, f"it cannot tell a missing {end}"


class Draw:
    """A window in which all holds, then some words of it changed."""

    words = st.integers(0, 0xFFFF)
    near = st.sampled_from([0, 1, 2, 3, 0x8101, 0x8103, 0x8100, 0x8001, 0x0101, 0x8201, 0xFF01, 0x5342, 21, 9, 4, 37])
    places = st.one_of(st.sampled_from([20, 21, 22, 28, *range(67, 74)]), st.integers(20, 143))
    changes = st.lists(st.tuples(places, st.one_of(near, words)), max_size=3)


@settings(max_examples=400, deadline=None)
@given(
    changes=Draw.changes,
    trigger=st.sampled_from([21, 21, 21, 5, 37, 65535]),
    part_id=st.sampled_from([70_000, 70_000, 0, 4464]),
    enabled=st.sampled_from([True, True, True, False]),
    fresh=st.sampled_from([True, True, True, False]),
    echo=st.sampled_from([9, 9, 9, 0, 8]),
    recipe=st.sampled_from([0, 4, 5]),
)
def test_its_rule_says_the_same_as_the_simulated_plcs_clause_by_clause(
    program: Program, changes: list[tuple[int, int]], trigger: int, part_id: int, enabled: bool, fresh: bool, echo: int,
    recipe: int,
) -> None:  # fmt: skip
    slots = [Slot()] * 16
    slots[5] = Slot(trigger=21, part_id=70_000, reason=Reason.OK, run=9)
    words = input_registers(Header(run=9, recipe=4), slots)[20:144]
    for at, value in changes:
        words[at - 20] = value
    expected = why_shut(
        decode_window(words),
        Cell(trigger, part_id),
        enabled=enabled,
        heartbeat_is_fresh=fresh,
        run_echo=echo,
        recipe=recipe,
    )
    clause = program.call(
        "SenbetsuWhyShut", Window=window_of(words), Trigger=trigger, PartHigh=part_id >> 16, PartLow=part_id & 0xFFFF,
        Enabled=enabled, HeartbeatIsFresh=fresh, RunEcho=echo, Recipe=recipe,
    )  # fmt: skip
    assert (CLAUSES[clause - 1] if clause else None) == expected


@dataclass
class Line:
    """The block in a PLC that scans every 5 ms, on the bridge's real contract; the belt moves a cell every 20 ms."""

    rig: Rig
    block: Instance
    link_up: bool = True
    daemon_alive: bool = True
    time_ms: int = 0
    confirmed: int = 0
    write_ms: int = 10
    in_flight: tuple[list[int], int] | None = None
    part_id: int = 0
    on_belt: list[int] = field(default_factory=list)
    judged: dict[int, Reason] = field(default_factory=dict)
    answer: Any = staticmethod(lambda _part_id: Reason.OK)
    passed: list[int] = field(default_factory=list)
    rejected: list[tuple[int, int]] = field(default_factory=list)

    def scan(self, *, part: bool = False, step: bool = False) -> dict[str, Any]:
        rig = self.rig
        self.time_ms += 5
        rig.now_ns += 5 * MS
        if self.daemon_alive and self.time_ms % 100 == 0:
            rig.beat()
        rig.contract.tick(rig.now_ns)
        if part:
            self.part_id += 1
        inputs: dict[str, Any] = {"WindowIsNew": self.link_up}
        if self.link_up:
            inputs["Window"] = window_of(rig.contract.image()[20:144])
        out = self.block(
            Enable=1, PartAtSensor=int(part), PartHigh=self.part_id >> 16, PartLow=self.part_id & 0xFFFF, BeltStep=int(step),
            Confirmed=self.confirmed, NowMs=self.time_ms & 0xFFFF_FFFF, **inputs,
        )  # fmt: skip
        if not self.link_up:
            self.in_flight = None
        elif self.in_flight is None and out["WriteNow"]:
            self.in_flight = [out["Request"][n] for n in range(12)], self.time_ms + self.write_ms
        if self.in_flight is not None and self.time_ms >= self.in_flight[1]:
            event = decode_write(self.in_flight[0])
            self.in_flight = None
            self.confirmed = event.heartbeat
            self.judge(rig.contract.on_write(event, rig.now_ns))
        return out

    def judge(self, requests: list[TriggerRequest]) -> None:
        for request in requests:
            reason = self.answer(request.part_id)
            if reason is not None:
                self.judged[request.part_id or 0] = reason
                self.rig.judge(request.trigger, reason, part_id=request.part_id)

    def feed(self, parts: int) -> None:
        """A part every second belt step. Which part is at the gate is known here by the belt alone."""
        for n in range(2 * parts):
            for scan in range(4):
                out = self.scan(part=scan == 0 and n % 2 == 0, step=scan == 3)
                if scan == 0 and n % 2 == 0:
                    self.on_belt.append(self.part_id)
                if out["PartAtGate"]:
                    part_id = self.on_belt.pop(0)
                    if out["OpenGate"]:
                        self.passed.append(part_id)
                    else:
                        self.rejected.append((part_id, out["WhyShut"]))
                else:
                    assert not out["OpenGate"]


@pytest.fixture
def line(program: Program) -> Line:
    made = Line(Rig(), program.instance("SenbetsuGate"))
    made.rig.beat()
    for _ in range(60):
        made.scan()
    assert made.block.values["Phase"] == 3
    return made


def test_good_parts_open_the_gate_bad_ones_do_not_and_each_is_acknowledged(line: Line) -> None:
    line.answer = lambda part_id: Reason.ANOMALY if part_id % 3 == 0 else Reason.OK
    line.feed(100)
    assert line.passed == [part_id for part_id in range(1, len(line.passed) + len(line.rejected) + 1) if part_id % 3]
    assert {clause for _, clause in line.rejected} == {8}
    counts = line.rig.counts
    assert counts["lost"] == counts["missed"] == counts["late"] == 0
    assert counts["triggers"] == 100
    assert line.block.values["Passed"] == len(line.passed)


def test_a_part_without_an_answer_and_a_silent_daemon_keep_it_shut(line: Line) -> None:
    line.answer = lambda part_id: None if part_id == 5 else Reason.OK
    line.feed(12)
    assert 5 not in line.passed
    line.daemon_alive = False
    line.feed(30)
    passed = len(line.passed)
    line.feed(20)
    assert len(line.passed) == passed
    assert line.block.values["Alarm"] == 1
    assert line.rejected[-1][1] == 2


def test_a_link_that_is_cut_keeps_it_shut_and_what_was_under_way_never_passes(line: Line) -> None:
    line.feed(10)
    line.link_up = False
    line.feed(40)  # 1.6 s: the snapshot goes stale, the bridge holds
    passed = list(line.passed)
    line.feed(10)
    assert line.passed == passed
    cut_at = line.part_id
    line.link_up = True
    line.feed(40)
    new = [part_id for part_id in line.passed if part_id not in passed]
    assert new
    assert min(new) > cut_at
    assert set(line.passed) <= {part_id for part_id, reason in line.judged.items() if reason is Reason.OK}


def test_a_part_whose_trigger_is_confirmed_too_late_never_passes(line: Line) -> None:
    line.feed(4)
    before = set(line.passed)
    line.write_ms = 150
    held_up = line.part_id + 1
    line.feed(1)
    line.write_ms = 0
    line.feed(20)
    assert held_up not in line.passed
    assert (held_up, 12) in line.rejected
    assert len(line.passed) > len(before), "those after it pass again"


def test_two_parts_in_one_cell_reject(line: Line) -> None:
    line.scan(part=True)
    line.scan()
    line.scan(part=True)
    line.scan()
    outs = [dict(line.scan(step=True)) for _ in range(10)]
    assert [out["PartAtGate"] for out in outs].count(1) == 1
    assert not any(out["OpenGate"] for out in outs)


@pytest.mark.parametrize("seed", range(4))
def test_whatever_fails_only_parts_that_were_proven_good_pass(program: Program, seed: int) -> None:
    chance = random.Random(seed)
    line = Line(Rig(), program.instance("SenbetsuGate"))
    line.rig.beat()
    line.answer = lambda _part_id: chance.choice([Reason.OK, Reason.OK, Reason.ANOMALY, Reason.NO_FRAME, None])
    for _ in range(60):
        line.write_ms = chance.choice([0, 5, 10, 30, 120])
        match chance.randrange(6):
            case 0:
                line.link_up = not line.link_up
            case 1:
                line.daemon_alive = not line.daemon_alive
            case 2:
                line.rig.epoch += 1
                line.rig.beat()
            case _:
                line.link_up = line.daemon_alive = True
        line.feed(chance.randrange(1, 12))
    assert len(line.passed) > 20
    assert set(line.passed) <= {part_id for part_id, reason in line.judged.items() if reason is Reason.OK}
    assert len(set(line.passed)) == len(line.passed)


def test_the_stand_in_for_a_compiler_refuses_what_it_does_not_know() -> None:
    body = "FUNCTION F : INT\nVAR_INPUT\n A : INT;\nEND_VAR\n{}\nEND_FUNCTION"
    assert load(body.format("F := A * 2 + 1;")).call("F", A=4) == 9
    assert load(body.format("F := (A AND 6) OR 1;")).call("F", A=4) == 5
    for wrong in ("F := B;", "WHILE A DO F := 1; END_WHILE;", "F := A", "F := A ** 2;", "IF A THEN F := 1;"):
        with pytest.raises((SyntaxError, AssertionError)):
            load(body.format(wrong))
    with pytest.raises(AssertionError):
        load(body.format("F := A * 20000;")).call("F", A=4)


class PlcMemory:
    """The PLC's own words, that the bridge reads and writes: the table, then the PLC's 12."""

    where = "here"

    def __init__(self) -> None:
        self.words = [0] * 188

    async def connect(self) -> None: ...

    async def close(self) -> None: ...

    async def read_plc(self) -> list[int]:
        return self.words[176:]

    async def write_table(self, address: int, words: list[int]) -> None:
        self.words[address : address + len(words)] = words


class WrittenInto(Line):
    """The same where the bridge is the client: a round of it every 5 ms, unless the link is held up."""

    def __init__(self, rig: Rig, block: Instance) -> None:
        super().__init__(rig, block)
        self.memory = PlcMemory()
        self.requests: list[TriggerRequest] = []
        self.writer = PlcWriter(
            GateTable(rig.contract, self.requests.append, clock_ns=lambda: rig.now_ns), self.memory, 0.005
        )
        self.seen = (-1, -1)
        asyncio.run(self.writer.connect())

    def scan(self, *, part: bool = False, step: bool = False) -> dict[str, Any]:
        rig = self.rig
        self.time_ms += 5
        rig.now_ns += 5 * MS
        if self.time_ms % 100 == 0:
            rig.beat()
        if self.link_up:
            asyncio.run(self.writer.cycle())
            self.judge(self.requests)
            self.requests.clear()
        self.part_id += part
        window = self.memory.words[20:144]
        before, self.seen = self.seen, (window[25 - 20], window[30 - 20])
        out = self.block(
            Enable=1, PartAtSensor=int(part), PartHigh=self.part_id >> 16, PartLow=self.part_id & 0xFFFF, BeltStep=int(step),
            Confirmed=window[30 - 20], NowMs=self.time_ms, Window=window_of(window), WindowIsNew=self.seen != before,
        )  # fmt: skip
        self.memory.words[176:] = [out["Request"][n] for n in range(12)]
        return out


def test_written_into_it_starts_up_passes_good_parts_and_keeps_out_what_the_link_held_up(program: Program) -> None:
    line = WrittenInto(Rig(), program.instance("SenbetsuGate"))
    line.answer = lambda part_id: Reason.OK if part_id % 3 else Reason.ANOMALY
    line.feed(10)
    first = line.part_id
    assert line.block.values["Phase"] == 3
    line.feed(9)
    good = [n for n in range(first + 1, first + 6) if n % 3]
    assert set(good) <= set(line.passed)
    held = line.part_id
    line.link_up = False
    line.feed(3)
    line.link_up = True
    line.feed(12)
    assert not {held + 1, held + 2, held + 3} & set(line.passed)
    assert max(line.passed) > held + 3
    assert all(n % 3 for n in line.passed)


def test_written_into_a_plc_that_was_off_for_a_moment_starts_up_again(program: Program) -> None:
    line = WrittenInto(Rig(), program.instance("SenbetsuGate"))
    for _ in range(60):
        line.scan()
    run = line.rig.contract.run
    line.block = program.instance("SenbetsuGate")
    for _ in range(60):
        line.scan()
    assert line.block.values["Phase"] == 3
    assert line.rig.contract.run != run
    line.feed(10)
    assert len(line.passed) > 3
