"""Records scenes from the contract itself, and draws them as timing diagrams: they cannot show what it does not do.

A scene is a short play on the rig of the tests (a PLC, a daemon and a clock that do as they are told). After each event the
PLC's view is noted: what it wrote, and what the registers say. The drawing shows each value over time.
"""

import sys
from dataclasses import dataclass, field
from html import escape
from pathlib import Path

sys.path.append(str(Path(__file__).parents[2] / "tests/bridge"))

from contract_rig import MS, Rig

from senbetsu.registers import Flag
from senbetsu.states import State
from senbetsu.verdict import Reason

LEFT, WIDTH, LANE, BAR, EVENT = 150, 760, 30, 20, 17
COLOURS = {"OK": "#cfe8cf", "wait": "#fdf3c7", "": "none", "-": "#eeeeee"}


@dataclass
class Scene:
    """One rule's record. `watch`: the triggers whose slots are shown."""

    rule: int
    title: str
    watch: tuple[int, ...] = (1,)
    lanes: tuple[str, ...] = ("trigger", "run")
    rig: Rig = field(default_factory=Rig)
    events: list[tuple[float, str]] = field(default_factory=list)
    record: list[tuple[float, dict[str, str]]] = field(default_factory=list)

    def begin(self) -> None:
        """The start-up is over, and time is counted from here."""
        self.rig.start()
        self.begun_ns = self.rig.now_ns
        self.note("")

    def note(self, what: str) -> None:
        """Something happened: this is how things stand."""
        now_ms = (self.rig.now_ns - self.begun_ns) / MS
        if what:
            self.events.append((now_ms, what))
        self.record.append((now_ms, self.values()))

    def values(self) -> dict[str, str]:
        """What is to be read at this moment."""
        rig, window = self.rig, self.rig.window
        known = {
            "trigger": str(rig.trigger),
            "run": str(window.run),
            "state": State(window.state).name,
            "heartbeat": str(window.heartbeat),
            "outstanding": str(window.outstanding),
            "late": str(rig.contract.counts["late"]),
            "lost": str(rig.contract.counts["lost"]),
            "flags": ", ".join(f.name.lower().replace("_", " ") for f in Flag if f in window.flags and f.name)
            or "none",
        }
        values = {name: known[name] for name in self.lanes}
        for trigger in self.watch:
            verdict = rig.verdict(trigger)
            values[f"slot of {trigger}"] = {"NONE": "wait", "of another part": "-"}.get(verdict, verdict)
        return values

    def wait(self, ms: float, *, daemon: bool = True, plc: bool = True) -> None:
        """Time passes, noted every 10 ms."""
        until_ns = self.rig.now_ns + round(ms * MS)
        while self.rig.now_ns < until_ns:
            self.rig.wait_ms(min(10.0, (until_ns - self.rig.now_ns) / MS), daemon=daemon, plc=plc)
            self.note("")

    def part(self, **changes: int) -> int:
        """The PLC announces a part."""
        step = changes.pop("step", 1)
        trigger = self.rig.part(step=step, **changes)
        self.note(f"PLC writes trigger {trigger}")
        return trigger

    def judge(self, trigger: int, reason: Reason = Reason.OK, said: str = "", **changes: object) -> None:
        """A result comes."""
        self.rig.judge(trigger, reason, **changes)
        self.note(said or f"result of {trigger}: {reason.name}")

    def write(self, said: str, **changes: int) -> None:
        """The PLC writes something else."""
        self.rig.write(**changes)
        self.note(said)


def draw(scene: Scene) -> str:
    """The scene as SVG: a lane a value, an arrow an event."""
    end = max(time for time, _ in scene.record)
    names = list(scene.record[0][1])
    top = 34 + EVENT * len(scene.events)
    height = top + LANE * len(names) + 30

    def x(ms: float) -> float:
        return round(LEFT + WIDTH * ms / end, 1)

    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{LEFT + WIDTH + 20}" height="{height}" '
        'font-family="sans-serif" font-size="12">',
        '<rect width="100%" height="100%" fill="white"/>',
        f'<text x="8" y="18" font-weight="bold">{escape(f"Rule {scene.rule}: {scene.title}")}</text>',
    ]
    bottom = top + LANE * len(names)
    for row, (time, what) in enumerate(scene.events):
        y = 34 + EVENT * row
        at_right = x(time) > LEFT + WIDTH * 0.6
        place = f'x="{x(time) - 5}" text-anchor="end"' if at_right else f'x="{x(time) + 5}"'
        out.append(f'<text {place} y="{y + 12}" fill="#334">{escape(f"{time:g} ms: {what}")}</text>')
        out.append(f'<path d="M{x(time)} {y + 2}V{bottom}" stroke="#99a" stroke-dasharray="3 3"/>')
    for row, name in enumerate(names):
        y = top + LANE * row
        out.append(f'<text x="8" y="{y + 15}">{escape(name)}</text>')
        for start, stop, value in _spans([(time, values[name]) for time, values in scene.record], end):
            wide = x(stop) - x(start)
            if value and wide > 0:
                colour = COLOURS.get(value, "#f6d0cf" if name.startswith("slot") else "#e4ecf7")
                out.append(
                    f'<rect x="{x(start)}" y="{y}" width="{wide:g}" height="{BAR}" fill="{colour}" stroke="#667"/>'
                )
                if wide > 7 * len(value) + 4:
                    out.append(f'<text x="{x(start) + 3:g}" y="{y + 14}">{escape(value)}</text>')
    out.append(f'<text x="{LEFT}" y="{bottom + 16}">0</text>')
    out.append(f'<text x="{LEFT + WIDTH}" y="{bottom + 16}" text-anchor="end">{end:g} ms</text>')
    return "\n".join([*out, "</svg>"]) + "\n"


def _spans(samples: list[tuple[float, str]], end: float) -> list[tuple[float, float, str]]:
    """Runs of one value: (from, until, value). Of several at one time the last one counts."""
    newest = dict(samples)
    spans: list[tuple[float, float, str]] = []
    times = sorted(newest)
    for time, until in zip(times, [*times[1:], end], strict=True):
        if spans and spans[-1][2] == newest[time]:
            spans[-1] = (spans[-1][0], until, newest[time])
        else:
            spans.append((time, until, newest[time]))
    return spans
