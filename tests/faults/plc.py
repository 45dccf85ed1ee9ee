"""The rig's PLC: it puts parts before the camera, triggers, reads, decides the gate by its rule, and keeps the truth."""

import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from faults.model import ContractModel
from faults.scene import BAD, GOOD, Scene

from senbetsu.registers import COUNTERS, Flag, PlcWrite, Window, join32
from simulated_plc.__main__ import Link
from simulated_plc.plc import HEARTBEAT_FRESH_NS, PartRecord, SimulatedPlc

ANSWER_SHARE, DEADLINE_SHARE = 0.4, 0.6
"""Of the period: how soon a trigger has to be confirmed, and the deadline. Together no longer than a part stays."""
TRAVEL_NS = 600_000_000
POLL_NS = 5_000_000
FOR_EVER = 1 << 40


@dataclass
class Part:
    """One part: what it is, and what its PLC did with it."""

    record: PartRecord
    grey: int

    @property
    def is_good(self) -> bool:
        return self.grey == GOOD


class Plc(threading.Thread):
    """Triggers parts, reads verdicts, decides gates, and keeps the truth; a thread, with a Modbus connection of its own."""

    def __init__(self, port: int, scene: Scene, period_ns: int, seed: int, first_trigger: int) -> None:
        super().__init__(daemon=True, name="plc")
        self._port = port
        self._scene = scene
        self._chance = random.Random(seed)
        self.period_ns = period_ns
        self.first_trigger = first_trigger
        self.parts: list[Part] = []
        self.model = ContractModel()
        self.next_greys: list[int] = []
        """Of the parts that come next; then by chance."""
        self.pausing = self.stopping = self.skip_one = self.send_twice = self.restarting = self.never_acknowledge = (
            False
        )
        self.at_trigger: Callable[[], None] | None = None
        """Called once, when the next part is before the camera and its trigger not written yet."""
        self.unsafe_since_ns = 0
        self.safe_ns: int | None = None
        """Since `watch_for_safe`: when no gate could open on what was known, or new parts were being rejected."""
        self.window: Window | None = None
        self.failed: BaseException | None = None
        self.counters_wanted: threading.Event | None = None
        self.counters_read: dict[str, int] | None = None
        self.link: Link
        self.simulated: SimulatedPlc
        self._power_on()

    def _power_on(self) -> None:
        self.link = Link("127.0.0.1", self._port, 1)
        self.simulated = SimulatedPlc(
            period_ns=self.period_ns, travel_ns=TRAVEL_NS, allow_simulated=False, parts=FOR_EVER,
            first_trigger=self.first_trigger, answer_ns=round(ANSWER_SHARE * self.period_ns),
        )  # fmt: skip
        self._heartbeat, self._heartbeat_ns = -1, 0

    def run(self) -> None:
        try:
            next_poll_ns = time.monotonic_ns()
            while not self.stopping:
                if self.restarting and self.simulated.waiting:
                    self._restart()
                if not self.pausing and time.monotonic_ns() >= self.simulated.next_part_ns:
                    self._trigger()
                if time.monotonic_ns() >= next_poll_ns:
                    next_poll_ns = max(next_poll_ns + POLL_NS, time.monotonic_ns())
                    self._poll()
                due_ns = next_poll_ns if self.pausing else min(next_poll_ns, self.simulated.next_part_ns)
                time.sleep(max(0.0, (due_ns - time.monotonic_ns()) / 1e9))
        except BaseException as error:  # noqa: BLE001  (told by `Rig`)
            self.failed = error

    def _trigger(self) -> None:
        """A part comes before the camera and is announced."""
        grey = self.next_greys.pop(0) if self.next_greys else (GOOD if self._chance.random() < 0.6 else BAD)
        self._scene.put_part(grey, self.period_ns)
        if self.at_trigger is not None:
            self.at_trigger()
            self.at_trigger = None
        event = self.simulated.trigger_due(time.monotonic_ns())
        assert event is not None
        self.parts.append(Part(self.simulated.records[-1], grey))
        # Parts lie a period apart on the belt: also after a scan that was held up they do not come at once.
        self.simulated._next_part_ns = time.monotonic_ns() + self.period_ns
        if self.skip_one:
            self.skip_one = False
            return
        written = self._write(event)
        self.simulated.confirm(time.monotonic_ns(), written=written)
        if self.send_twice and written:
            self.send_twice = False
            self._write(event)

    def _write(self, event: PlcWrite) -> bool:
        if self.never_acknowledge:
            event = PlcWrite(**{name: getattr(event, name) for name in event.__slots__} | {"acknowledged": 0})
        return self.link.write(event)

    def _poll(self) -> None:
        self.window = window = self.link.window()
        now_ns = time.monotonic_ns()
        if window is not None:
            self.model.see(window)
            if window.heartbeat != self._heartbeat:
                self._heartbeat, self._heartbeat_ns = window.heartbeat, now_ns
        if self.unsafe_since_ns and self.safe_ns is None and self._is_safe(window, now_ns):
            self.safe_ns = now_ns - self.unsafe_since_ns
        if event := self.simulated.scan(window, now_ns):
            self._write(event)
        if self.counters_wanted is not None:
            self.counters_read = self.counters()
            self.counters_wanted.set()
            self.counters_wanted = None

    def _is_safe(self, window: Window | None, now_ns: int) -> bool:
        stale = now_ns - self._heartbeat_ns > HEARTBEAT_FRESH_NS
        return window is None or stale or window.run != self.simulated.run_echo or Flag.READY not in window.flags

    def _restart(self) -> None:
        """Power off and on: nothing is remembered, and what was on its way stays rejected."""
        self.watch_for_safe()
        now_ns = time.monotonic_ns()
        for record in list(self.simulated.waiting):
            record.why, record.decided_at_ns = "the PLC was off", now_ns
            self.simulated.waiting.remove(record)
        self.link._client.close()  # type: ignore[no-untyped-call]
        self._power_on()
        self.restarting = False

    def watch_for_safe(self) -> None:
        """Something breaks now."""
        self.safe_ns = None
        self.unsafe_since_ns = time.monotonic_ns()

    def counters(self) -> dict[str, int] | None:
        """The bridge's, of this run."""
        words = self.link.read(0, 16)
        return None if words is None else {r.name: join32(words[r.address], words[r.address + 1]) for r in COUNTERS}
