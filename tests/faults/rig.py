"""A line of real processes on this PC, and a PLC that keeps the gate's rule and the truth about every part.

    PLC (this process) -- cable (process) -- bridge (process) -- daemon (process) -- scene

The truth is the grey that the PLC's side puts before the camera. A part stays there for a period; what is exposed later shows
a good one. A daemon or bridge that ends is started again, as a service manager does it.
"""

import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from faults.plc import DEADLINE_SHARE, Part, Plc
from faults.program import PATIENCE_S, Program, free_port, prepare, wall_clock_from
from faults.scene import Cable, Scene

from senbetsu.verdict import Reason
from simulated_plc.plc import Phase


@dataclass
class Balance:
    """What a rig's books say in the end."""

    parts: int
    opened: int
    lost: int
    """Parts that nobody decided; parts confirmed that found no verdict though all was up; what the bridge's counters lack."""
    wrongly_passed: int
    good_rejected: int
    violations: list[str]
    reasons: dict[str, int]


class Rig:
    """Everything, started; `with` ends it."""

    def __init__(
        self, folder: Path, *, period_ms: float = 100.0, seed: int = 1, first_trigger: int = 100,
        bridge_file_limit: int | None = None, without_daemon: bool = False, own_clock: bool = False,
        replay_results: int = 65_536,
    ) -> None:  # fmt: skip
        prepare()
        self.folder = folder
        self.scene = Scene(folder / "scene", make=True)
        self.ports = {name: free_port() for name in ("publish", "request", "modbus", "cable")}
        self.config = folder / "config.toml"
        self._clock = folder / "clock"
        self.deadline_ms = round(DEADLINE_SHARE * period_ms)
        self.replay_results = replay_results
        self.write_config()
        arguments: tuple[Path | int | None, ...] = (self.config, folder / "daemon.log", self.scene.path)
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
artifacts = "{self.folder}/artifacts"
recipes_dir = "{self.folder}/recipes"
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
replay_results = {self.replay_results}
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
