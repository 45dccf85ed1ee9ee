"""Sensor and gate without a PLC. The two lines are stand-ins: there is no GPIO chip here; all behind them is the real thing."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from contract_rig import MS, Rig

from bridge.digital_line import DigitalLine
from bridge.protocols import digital_line
from bridge.table import GateTable
from senbetsu.config import Config, DigitalSection, load_config
from senbetsu.errors import UserError
from senbetsu.registers import Control, PlcWrite
from senbetsu.requests import TriggerRequest
from senbetsu.verdict import Reason


@dataclass
class TwoLines:
    waiting: list[int] = field(default_factory=list)
    on: bool = True
    """At first unknown: the line has to switch it off itself."""

    def edges(self) -> list[int]:
        edges, self.waiting = self.waiting, []
        return edges

    def set_pass(self, on: bool) -> None:
        self.on = on


@dataclass
class Scene:
    """Looks every millisecond; `answers` maps part ids to reasons, without one a part gets no answer."""

    answers: dict[int, Reason] = field(default_factory=dict)
    rig: Rig = field(default_factory=Rig)
    lines: TwoLines = field(default_factory=TwoLines)
    requests: list[TriggerRequest] = field(default_factory=list)
    daemon_alive: bool = True
    was_on: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.rig.beat()
        table = GateTable(self.rig.contract, self.requests.append, clock_ns=lambda: self.rig.now_ns)
        self.line = DigitalLine(table, self.lines, travel_ns=200 * MS, pulse_ns=30 * MS, late_ns=10 * MS)
        self.wait(300)

    def wait(self, milliseconds: int) -> list[bool]:
        seen = []
        for n in range(milliseconds):
            self.rig.now_ns += MS
            if self.daemon_alive and n % 50 == 0:
                self.rig.beat()
            self.line.look(self.rig.now_ns)
            for request in self.requests:
                reason = self.answers.get(request.part_id or 0)
                if reason is not None:
                    self.rig.judge(request.trigger, reason, part_id=request.part_id)
            self.requests.clear()
            seen.append(self.lines.on)
        return seen

    def part(self) -> None:
        self.lines.waiting.append(self.rig.now_ns)


def test_a_good_part_makes_one_pulse_at_the_gate_and_a_bad_one_none() -> None:
    scene = Scene({1: Reason.OK, 2: Reason.ANOMALY, 3: Reason.OK})
    assert not scene.lines.on
    scene.part()
    assert scene.wait(400) == [False] * 199 + [True] * 30 + [False] * 171
    scene.part()
    assert not any(scene.wait(400))
    scene.part()
    assert any(scene.wait(400))
    assert (scene.line.passed, scene.line.rejected) == (2, 1)
    assert scene.rig.counts["triggers"] == 3
    assert scene.rig.counts["lost"] == 0


def test_a_bad_part_right_behind_a_good_one_ends_its_pulse() -> None:
    scene = Scene({1: Reason.OK, 2: Reason.ANOMALY})
    scene.part()
    before = scene.wait(12)
    scene.part()
    seen = before + scene.wait(300)
    assert seen == [False] * 199 + [True] * 12 + [False] * 101


def test_no_answer_a_silent_daemon_and_a_new_run_reject() -> None:
    scene = Scene(dict.fromkeys(range(2, 9), Reason.OK))
    scene.part()
    assert not any(scene.wait(300))
    scene.part()
    scene.wait(50)
    scene.rig.epoch += 1
    assert not any(scene.wait(300)), "a part of an old run"
    scene.part()
    assert any(scene.wait(300)), "the next one of the new run"
    scene.part()
    scene.daemon_alive = False
    scene.wait(100)
    assert any(scene.wait(200))  # judged while the heartbeat was fresh, and it still is
    scene.wait(500)
    scene.part()
    assert not any(scene.wait(300))


def test_a_bridge_that_was_stopped_does_not_open_for_a_part_that_is_past() -> None:
    scene = Scene({1: Reason.OK, 2: Reason.OK})
    scene.part()
    scene.wait(100)
    scene.rig.now_ns += 111 * MS
    assert not any(scene.wait(200))
    scene.part()
    assert any(scene.wait(300))


def test_rule_3_an_edge_that_waited_for_a_bridge_which_was_stopped_is_of_a_part_that_has_moved_on() -> None:
    scene = Scene({1: Reason.OK, 2: Reason.OK, 3: Reason.OK})
    scene.part()
    scene.rig.now_ns += 60 * MS
    scene.part()
    scene.rig.now_ns += 41 * MS
    assert scene.wait(400) == [False] * 158 + [True] * 30 + [False] * 212, "of the two the younger one is in time"
    assert scene.rig.verdict(1) == "DEADLINE"
    assert scene.rig.verdict(2) == "OK"
    scene.part()
    assert any(scene.wait(300))


def test_rule_3_the_kernels_stamp_comes_after_the_debounce_period(monkeypatch: pytest.MonkeyPatch) -> None:
    """The chip is a stand-in: there is none here."""
    gpiod = pytest.importorskip("gpiod")
    chip = SimpleNamespace(
        wait_edge_events=lambda _wait: True, read_edge_events=lambda: [SimpleNamespace(timestamp_ns=1_000 * MS)]
    )
    monkeypatch.setattr(gpiod, "request_lines", lambda *_arguments, **_settings: chip)
    from bridge.gpio import GpioLines

    assert GpioLines(DigitalSection(chip=Path("/dev/gpiochip0"), debounce_ms=5)).edges() == [995 * MS]


def test_another_writers_verdicts_under_the_same_numbers_do_not_open_it() -> None:
    scene = Scene({1: Reason.OK})
    scene.line.table.release(scene.line)
    other = PlcWrite(control=Control.ENABLE, run_echo=scene.rig.contract.run, trigger=1, part_id=1, heartbeat=0)
    seen = []
    for n in range(40):
        scene.line.table.write(replace(other, heartbeat=1000 + n).words(), "another PLC")
        if n == 5:
            scene.part()
        seen += scene.wait(10)
    assert scene.rig.verdict(1) == "OK"
    assert not any(seen)
    assert scene.line.rejected == 1


def config(**digital: object) -> Config:
    document = {
        "gates": ({"name": "gate1", "deadline_ms": 100.0},),
        "cameras": ({"name": "c", "kind": "folder", "source": "x", "gate": "gate1"},),
        "bridge": {"digital": digital},
    }
    return Config.model_validate(document)


def test_it_is_off_by_default() -> None:
    assert digital_line(load_config(Path(__file__).parents[2] / "config.toml"), {}) is None
    assert DigitalSection().chip is None


def test_a_gate_that_comes_before_the_deadline_is_refused() -> None:
    with pytest.raises(UserError, match="travel_ms = 100"):
        digital_line(config(chip="/dev/gpiochip0", travel_ms=100), {})


def test_a_chip_that_is_not_there_is_an_error_that_names_the_setting(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"bridge\.digital\.chip"):
        digital_line(config(chip=tmp_path / "gpiochip0"), {1: SimpleNamespace()})  # type: ignore[dict-item]
