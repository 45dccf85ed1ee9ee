"""The smallest line, without a PLC: a sensor on one digital input, a gate on one digital output, the bridge does the rest.

It plays the PLC of one gate on the gate's own table, by the same contract and the same rule. The output is the PASS pulse: at
rest it is off, and off is reject. It goes on when a part that was proven good is at the gate, for the pulse's length or until
the next part is there. Whoever comes to the gate when the bridge looks too late stays rejected.

A part's deadline counts from the sensor's edge, not from when the bridge saw it: one that waited for a bridge which was held up
may have left the camera to the next part.

What no program can do: take the output back while its own process is stopped. The pulse has to be bounded outside as well, by
a timer relay or the valve's own one-shot.
"""

import asyncio
import logging
from collections import deque
from dataclasses import dataclass, field
from typing import Protocol

from bridge.table import GateTable, WriteRefusedError
from senbetsu.gate_rule import Cell, why_shut
from senbetsu.messages import TRIGGER_MODULUS
from senbetsu.registers import WINDOW_AT, WINDOW_COUNT, Control, PlcWrite, Window, decode_window

log = logging.getLogger("bridge")

FRESH_NS = 500_000_000
WRITE_EVERY_NS = 100_000_000
LOOK_EVERY_S = 0.001


class Lines(Protocol):
    """One input and one output."""

    def edges(self) -> list[int]:
        """Rising edges of the sensor since the last call: CLOCK_MONOTONIC, nanoseconds, no later than the part came."""

    def set_pass(self, on: bool) -> None:
        """Switch the output."""


@dataclass(frozen=True, slots=True)
class _OnBelt:
    cell: Cell
    run: int
    at_gate_ns: int


@dataclass(slots=True)
class DigitalLine:
    """`look` at least every millisecond."""

    table: GateTable
    lines: Lines
    travel_ns: int
    """From the sensor to the gate."""
    pulse_ns: int
    late_ns: int
    """A part that has been at the gate for longer when the bridge looks is not let through."""
    allow_simulated: bool = False
    passed: int = 0
    rejected: int = 0
    _run_echo: int = 0
    _trigger: int = 0
    _acknowledged: int = 0
    _heartbeat: int = 0
    _part_id: int = 0
    _passed_in_run: int = 0
    _their_heartbeat: int = -1
    _heard_ns: int = -FRESH_NS - 1
    _written_ns: int = -WRITE_EVERY_NS
    _off_at_ns: int | None = None
    _started: bool = False
    _belt: deque[_OnBelt] = field(default_factory=deque)

    async def run(self) -> None:
        """For ever; off at the end."""
        try:
            while True:
                self.look(self.table.clock_ns())
                await asyncio.sleep(LOOK_EVERY_S)
        finally:
            self.lines.set_pass(False)

    def look(self, now_ns: int) -> None:
        """Sensor, gate, heartbeat."""
        if not self._started:
            self.lines.set_pass(False)
            self._write(Control(0), now_ns)
            self._write(Control.ENABLE, now_ns)  # begins a new run
            self._started = True
        window = self._window(now_ns)
        if window.run != self._run_echo:
            # What is on the belt was of another run and stays rejected; the first write that echoes counts no part.
            self._run_echo = window.run
            self._passed_in_run = 0
            self._write(Control.ENABLE, now_ns)
        for edge_ns in self.lines.edges():
            self._announce(edge_ns, now_ns)
        self._decide(self._window(now_ns), now_ns)
        if self._off_at_ns is not None and now_ns >= self._off_at_ns:
            self._switch_off()
        if now_ns - self._written_ns >= WRITE_EVERY_NS:
            self._write(Control.ENABLE, now_ns)

    def _window(self, now_ns: int) -> Window:
        window = decode_window(self.table.image()[WINDOW_AT : WINDOW_AT + WINDOW_COUNT])
        if window.heartbeat != self._their_heartbeat:
            self._their_heartbeat = window.heartbeat
            self._heard_ns = now_ns
        return window

    def _announce(self, edge_ns: int, now_ns: int) -> None:
        self._trigger = (self._trigger + 1) % TRIGGER_MODULUS
        self._part_id = self._part_id % 0xFFFF_FFFF + 1
        # Where the write is refused, a verdict under this number would be another's part.
        run = self._run_echo if self._write(Control.ENABLE, now_ns, edge_ns) else 0
        self._belt.append(_OnBelt(Cell(self._trigger, self._part_id), run, edge_ns + self.travel_ns))

    def _decide(self, window: Window, now_ns: int) -> None:
        while self._belt and now_ns >= self._belt[0].at_gate_ns:
            part = self._belt.popleft()
            self._switch_off()  # whatever was there before is past the gate
            self._acknowledged = part.cell.trigger
            why = why_shut(
                window, part.cell, enabled=part.run == self._run_echo, heartbeat_is_fresh=now_ns - self._heard_ns <= FRESH_NS,
                run_echo=self._run_echo, recipe=0,
            )  # fmt: skip
            if why is None and now_ns - part.at_gate_ns > self.late_ns:
                why = "the bridge looked too late"
            if why is None:
                self.lines.set_pass(True)
                self._off_at_ns = now_ns + self.pulse_ns
                self.passed += 1
                self._passed_in_run += 1
            else:
                self.rejected += 1
                log.info("digital line: part %d stays rejected: %s", part.cell.part_id, why)

    def _switch_off(self) -> None:
        if self._off_at_ns is not None:
            self.lines.set_pass(False)
            self._off_at_ns = None

    def _write(self, control: Control, now_ns: int, edge_ns: int | None = None) -> bool:
        self._written_ns = now_ns
        self._heartbeat = (self._heartbeat + 1) & 0xFFFF
        if self.allow_simulated:
            control |= Control.ALLOW_SIMULATED
        event = PlcWrite(
            acknowledged=self._acknowledged, run_echo=self._run_echo, part_id=self._part_id, trigger=self._trigger,
            control=control, heartbeat=self._heartbeat, gate_passed=self._passed_in_run,
        )  # fmt: skip
        try:
            self.table.write(event.words(), self, edge_ns)
        except WriteRefusedError as refusal:
            log.debug("digital line: %s", refusal)  # told and counted by the table; the parts stay rejected
            return False
        return True
