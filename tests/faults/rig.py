"""A line of real processes on this PC, and a PLC that keeps the gate's rule and the truth about every part.

    PLC (this process) -- cable (process) -- bridge (process) -- daemon (process) -- scene

The truth is the grey that the PLC's side puts before the camera. A part stays there for a period; what is exposed later shows
a good one. A daemon or bridge that ends is started again, as a service manager does it.
"""

import contextlib
import multiprocessing
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from faults.model import ContractModel
from faults.scene import BAD, GOOD, Cable, Scene
from senbetsu.registers import COUNTERS, Flag, PlcWrite, Window, join32
from senbetsu.verdict import Reason
from simulated_plc.__main__ import Link
from simulated_plc.plc import HEARTBEAT_FRESH_NS, PartRecord, Phase, SimulatedPlc

TESTS = Path(__file__).resolve().parents[1]
PATIENCE_S = 30.0
"""How long is waited for what must come; only a failure takes so long."""
ANSWER_SHARE, DEADLINE_SHARE = 0.4, 0.6
"""Of the period: how soon a trigger has to be confirmed, and the deadline. Together no longer than a part stays."""
TRAVEL_NS = 600_000_000
POLL_NS = 5_000_000
FOR_EVER = 1 << 40

forks = multiprocessing.get_context("forkserver")


def prepare() -> None:
    """The process that all others are forked from imports what they need, once."""
    paths = [str(TESTS), str(TESTS.parent), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    os.environ["PYTHONPATH"] = os.pathsep.join(dict.fromkeys(path for path in paths if path))
    forks.set_forkserver_preload(["faults.processes"])


def free_port() -> int:
    """A port that nothing listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Spawned:
    """A process with an interpreter and an environment of its own: seconds to start."""

    def __init__(self, target: Callable[..., None], arguments: tuple[Any, ...], environment: dict[str, str]) -> None:
        command = [sys.executable, "-m", "faults.processes", target.__name__, *map(str, arguments)]
        self._process = subprocess.Popen(command, env={**os.environ, **environment})
        self.pid = self._process.pid

    def is_alive(self) -> bool:
        """As multiprocessing's."""
        return self._process.poll() is None

    def join(self, timeout: float | None = None) -> None:
        """As multiprocessing's."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout)

    @property
    def exitcode(self) -> int | None:
        """As multiprocessing's."""
        return self._process.poll()


@dataclass
class Program:
    """A process that is started again when it has ended, until `close`."""

    name: str
    target: Callable[..., None]
    arguments: tuple[Any, ...]
    log: Path
    supervised: bool = True
    environment: dict[str, str] | None = None
    """With it the process is no fork."""
    starts: int = 0
    statuses: list[int | None] = field(default_factory=list)
    process: Any = None

    def start(self) -> None:
        """Now."""
        if self.environment is None:
            self.process = forks.Process(target=self.target, args=self.arguments, daemon=True)
            self.process.start()
        else:
            self.process = Spawned(self.target, self.arguments, self.environment)
        self.starts += 1

    def send(self, number: int) -> None:
        """A signal, if it lives."""
        if self.process.is_alive():
            os.kill(self.process.pid, number)

    def watch(self) -> None:
        """Start it again if it has ended."""
        if self.supervised and self.process is not None and not self.process.is_alive():
            self.statuses.append(self.process.exitcode)
            self.start()

    def wait_for_end(self) -> int:
        """Its status."""
        self.process.join(PATIENCE_S)
        assert self.process.exitcode is not None, f"{self.name} does not end\n{self.log.read_text()}"
        return int(self.process.exitcode)

    def close(self) -> None:
        """End it for good."""
        self.supervised = False
        self.send(signal.SIGKILL)
        self.process.join()


def wall_clock_from(file: Path) -> dict[str, str]:
    """An environment in which the wall clock alone is as the file says (libfaketime)."""
    import libfaketime

    library = Path(libfaketime.__file__).parent / "vendor/libfaketime/src/libfaketime.so.1"
    return {
        "LD_PRELOAD": str(library), "FAKETIME_TIMESTAMP_FILE": str(file), "FAKETIME_NO_CACHE": "1",
        "DONT_FAKE_MONOTONIC": "1",
    }  # fmt: skip


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
        self.pausing = self.stopping = self.skip_one = self.send_twice = self.restarting = self.never_acknowledge = False
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
        self.link._client.close()
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


@dataclass
class Balance:
    """What a rig's books say in the end."""

    parts: int
    opened: int
    lost: int
    """Parts that nobody decided; announced and confirmed, and no verdict though all was up; and what the bridge's counters lack."""
    wrongly_passed: int
    good_rejected: int
    violations: list[str]
    reasons: dict[str, int]


class Rig:
    """Everything, started; `with` ends it."""

    def __init__(
        self, folder: Path, *, period_ms: float = 100.0, seed: int = 1, first_trigger: int = 100,
        bridge_file_limit: int | None = None, without_daemon: bool = False, own_clock: bool = False,
    ) -> None:  # fmt: skip
        prepare()
        self.folder = folder
        self.scene = Scene(folder / "scene", make=True)
        self.ports = {name: free_port() for name in ("publish", "request", "modbus", "cable")}
        self.config = folder / "config.toml"
        self._clock = folder / "clock"
        self.deadline_ms = round(DEADLINE_SHARE * period_ms)
        self.write_config()
        arguments = (self.config, folder / "daemon.log", self.scene.path)
        # Forked by name: the modules are imported in the process that forks, not in this one.
        from faults import processes

        self.daemon = Program("daemon", processes.run_daemon, arguments, folder / "daemon.log", not without_daemon)
        arguments = (self.config, folder / "bridge.log", self.scene.path, bridge_file_limit)
        self.bridge = Program("bridge", processes.run_bridge, arguments, folder / "bridge.log")
        arguments = (self.ports["cable"], self.ports["modbus"], self.scene.path)
        self.cable = Program("cable", processes.run_cable, arguments, folder / "cable.log")
        if own_clock:
            self.set_wall_clock(0)
            self.daemon.environment = self.bridge.environment = wall_clock_from(self._clock)
        self.programs = [self.cable, self.bridge] if without_daemon else [self.daemon, self.bridge, self.cable]
        self.plc = Plc(self.ports["cable"], self.scene, round(period_ms * 1e6), seed, first_trigger)
        self._closing = threading.Event()
        self._supervisor = threading.Thread(target=self._supervise, daemon=True, name="supervisor")

    def set_wall_clock(self, seconds: int) -> None:
        """How far the clock of daemon and bridge is ahead of this PC's, from now on (a rig with `own_clock`)."""
        new = self._clock.with_suffix(".new")
        new.write_text(f"{seconds:+d}s")
        new.replace(self._clock)

    def write_config(self, more: str = "") -> None:
        """As the line's engineer wrote it."""
        self.config.write_text(f"""
[[gates]]
name = "gate1"
deadline_ms = {self.deadline_ms}
[[cameras]]
name = "cam1"
kind = "folder"
source = "{self.scene.path}"
gate = "gate1"
[daemon]
publish = "tcp://127.0.0.1:{self.ports["publish"]}"
request = "tcp://127.0.0.1:{self.ports["request"]}"
metrics_port = 0
engine_stall_ms = 500
[bridge]
subscribe = "tcp://127.0.0.1:{self.ports["publish"]}"
request = "tcp://127.0.0.1:{self.ports["request"]}"
modbus_port = {self.ports["modbus"]}
metrics_port = 0
state_dir = "{self.folder}/var"
{more}""")

    def __enter__(self) -> "Rig":
        for program in self.programs:
            program.start()
        self._supervisor.start()
        self.plc.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.set()
        self._supervisor.join()
        self.plc.stopping = True
        self.scene.cable = Cable.WELL
        for program in self.programs:
            program.close()
        self.plc.join(timeout=5)

    def _supervise(self) -> None:
        while not self._closing.wait(0.05):
            for program in self.programs:
                program.watch()

    # -- waiting -------------------------------------------------------------------------------------------------------

    def until(self, condition: Callable[[], Any], what: str, seconds: float = PATIENCE_S) -> Any:
        """Wait for it, and give what it gave."""
        give_up = time.monotonic() + seconds
        while not (answer := condition()):
            assert self.plc.failed is None, self.plc.failed
            assert time.monotonic() < give_up, f"never came: {what}\n{self.logs()}"
            time.sleep(0.005)
        return answer

    def logs(self) -> str:
        """The end of each, and what became of the last parts."""
        told = [f"-- {p.name} --\n{p.log.read_text()[-1500:]}" for p in self.programs if p.log.exists()]
        last = [(p.record.trigger, p.grey, p.record.why, p.record.reason) for p in self.plc.parts[-12:]]
        return "\n".join([*told, str(last), str(self.plc.window)[:300]])

    def shut_for(self, reasons: set[str], after: int) -> list[Part]:
        """Parts since `after` that the gate kept out for one of these: a reason, or the clause of the gate's rule."""
        return [p for p in self.plc.parts[after:] if p.record.decided_at_ns and {why_of(p), p.record.why} & reasons]

    @staticmethod
    def why_of(part: Part) -> str:
        """See `why_of`."""
        return why_of(part)

    def plc_counters(self) -> dict[str, int] | None:
        """The bridge's counters, as the PLC reads them."""
        wanted = self.plc.counters_wanted = threading.Event()
        wanted.wait(PATIENCE_S)
        return self.plc.counters_read

    def until_passes(self, count: int = 3) -> int:
        """As many good parts more pass from now on; gives how many parts have been by then."""
        before = len(self.plc.parts)
        self.until(lambda: sum(p.record.opened for p in self.plc.parts[before:]) >= count, "a good part passes")
        return len(self.plc.parts)

    # -- the end -------------------------------------------------------------------------------------------------------

    def balance(self) -> Balance:
        """No more parts; what is on its way is decided; then the books."""
        plc = self.plc
        self.until(lambda: plc.simulated.phase is Phase.RUNNING, "the PLC runs")
        plc.pausing = True
        self.until(lambda: not plc.simulated.waiting, "every part is decided")
        time.sleep(0.1)
        plc.stopping = True
        plc.join(timeout=5)
        assert plc.failed is None, plc.failed
        counters = plc.counters()
        unbalanced = 0
        if counters is not None:
            unbalanced = abs(counters["triggers"] - counters["pass"] - counters["reject"])
        silent = [p for p in plc.parts if p.record.why in ("no verdict", "slot is of another part")]
        undecided = [p for p in plc.parts if not p.record.decided_at_ns]
        return Balance(
            parts=len(plc.parts), opened=sum(p.record.opened for p in plc.parts),
            lost=len(silent) + len(undecided) + unbalanced,
            wrongly_passed=sum(p.record.opened and not p.is_good for p in plc.parts),
            good_rejected=sum(p.is_good and not p.record.opened for p in plc.parts),
            violations=plc.model.violations, reasons=dict(Counter(why_of(p) for p in plc.parts)),
        )  # fmt: skip


def why_of(part: Part) -> str:
    """The reason that the bridge gave, else the clause by which the PLC kept the gate shut."""
    record = part.record
    return Reason(record.reason).name if record.reason in list(Reason) and record.reason else record.why
