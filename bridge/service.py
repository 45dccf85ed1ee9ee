"""The bridge: daemon on one side, PLC on the other, the contract of each gate between them, in one event loop."""

import asyncio
import logging
import signal
import time
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

from bridge.contract import GateContract, GateSettings
from bridge.journal import Journal
from bridge.link import DaemonLink
from bridge.protocols import digital_line, plc_writer, start_opcua
from bridge.run_number import RunNumbers
from bridge.server import Server
from bridge.table import GateTable
from senbetsu import __version__
from senbetsu.config import Config, GateSection
from senbetsu.curve import client_curve, is_loopback
from senbetsu.errors import UserError
from senbetsu.metrics import BRIDGE_METRICS, Metrics
from senbetsu.sdnotify import SystemdNotifier
from senbetsu.verdict import Reason, Verdict

log = logging.getLogger("bridge")

TICK_S = 0.02
WATCHDOG_EVERY_NS = 1_000_000_000
ACK_EVERY_NS = 100_000_000


def _say_what_a_change_takes() -> None:
    log.warning("SIGHUP changes nothing: settings are read at the start. Restart the bridge; meanwhile the PLC rejects")


class Bridge:
    """`run` returns the exit status."""

    def __init__(self, config: Config, notifier: SystemdNotifier | None = None) -> None:
        check_config(config)
        section = config.bridge
        endpoints = {"bridge.subscribe": section.subscribe, "bridge.request": section.request}
        self._curve = client_curve("bridge", config, endpoints)
        self._config = config
        self._notifier = notifier or SystemdNotifier()
        self._metrics = Metrics(BRIDGE_METRICS)
        self._metrics.gauge("build_info", __version__).set(1)
        self.gates = {
            gate.name: GateContract(settings_of_gate(config, gate), self._numbers(gate)) for gate in config.gates
        }
        self._told = {name: dict.fromkeys(("late", "lost"), 0) for name in self.gates}
        self._excess_told = dict.fromkeys(self.gates, 0)
        self._totals = {name: dict.fromkeys(Verdict, 0) for name in self.gates}
        self._journal = (
            Journal(journal_file(config), config.journal, config.instance) if config.journal.enabled else None
        )
        self._journal_told = dict.fromkeys(("written", "dropped", "write_errors"), 0)
        self._stop = asyncio.Event()

    def _numbers(self, gate: GateSection) -> Any:
        return RunNumbers(self._config.bridge.state_dir, gate.name).next

    async def run(self) -> int:
        """Until SIGTERM or SIGINT (0), or until a task has died (1)."""
        section = self._config.bridge
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop.set)
        loop.add_signal_handler(signal.SIGHUP, _say_what_a_change_takes)
        journal = self._journal
        if journal is not None:
            journal.start()
        link = DaemonLink(
            section, self.gates, self._metrics, lambda _gate: None, curve=self._curve, record=journal,
            known=journal.known if journal is not None else None,
        )  # fmt: skip
        tables = {gate.unit_id: GateTable(self.gates[gate.name], link.trigger) for gate in self._config.gates}
        server = Server(tables, section, self._metrics.counter("connections_refused_total").inc)
        writer, digital = plc_writer(self._config, tables), digital_line(self._config, tables)
        await server.start()
        opcua = await start_opcua({gate.name: tables[gate.unit_id] for gate in self._config.gates}, section.opcua)
        self._metrics.serve(section.metrics_host, section.metrics_port, "bridge.metrics_port")
        status = f"ready: {len(self.gates)} gate(s), Modbus TCP on {section.modbus_host}:{section.modbus_port}"
        log.info("%s", status)
        self._notifier.ready(status)
        tasks = [
            self._task(link.hear(), "results"),
            self._task(link.listen(), "answers"),
            self._task(self._keep_time(link), "clock"),
        ]
        if writer is not None:
            tasks.append(self._task(writer.run(), "PLC client"))
        if digital is not None:
            tasks.append(self._task(digital.run(), "digital line"))
        if opcua is not None:
            tasks.append(self._task(opcua.publish(), "OPC UA"))
        stopped = asyncio.create_task(self._stop.wait())
        await asyncio.wait([stopped, *tasks], return_when=asyncio.FIRST_COMPLETED)
        dead = [task for task in tasks if task.done()]
        for task in dead:
            log.critical("FAULT: task %s ended", task.get_name(), exc_info=task.exception())
        self._notifier.stopping("stopping")
        # From here on the heartbeat stands still: the PLC rejects.
        for task in tasks:
            task.cancel()
        await server.close()
        if opcua is not None:
            await opcua.close()
        link.close()
        if journal is not None:
            for gate in self.gates.values():
                self._count(gate)
            journal.close()
        for name, totals in self._totals.items():
            log.info("gate %s: %d pass, %d reject", name, totals[Verdict.PASS], totals[Verdict.REJECT])
        return 1 if dead else 0

    @staticmethod
    def _task(work: Coroutine[Any, Any, None], name: str) -> "asyncio.Task[None]":
        return asyncio.create_task(work, name=name)

    async def _keep_time(self, link: DaemonLink) -> None:
        """Deadlines and silences; acknowledgements; metrics. Being here is the progress that feeds the watchdog."""
        next_watchdog_ns = next_ack_ns = 0
        while True:
            now_ns = time.monotonic_ns()
            for gate in self.gates.values():
                gate.look(now_ns)
                self._count(gate)
            self._watch_journal()
            if now_ns >= next_ack_ns:
                next_ack_ns = now_ns + ACK_EVERY_NS
                link.tick(now_ns)
            if now_ns >= next_watchdog_ns:
                next_watchdog_ns = now_ns + WATCHDOG_EVERY_NS
                self._notifier.watchdog()
            due_ns = min((gate.next_event_ns() for gate in self.gates.values()), default=now_ns)
            await asyncio.sleep(min(TICK_S, max(0.0005, (due_ns - time.monotonic_ns()) / 1e9)))

    def _count(self, gate: GateContract) -> None:
        name = gate.settings.name
        metrics = self._metrics
        for decision in gate.decided:
            verdict = Verdict.PASS if decision.reason is Reason.OK else Verdict.REJECT
            metrics.counter("plc_decisions_total", name, verdict.value, decision.reason.name).inc()
            metrics.counter("plc_triggers_total", name).inc()
            metrics.histogram("plc_trigger_to_decision_seconds", name).observe(decision.latency_ns / 1e9)
            self._totals[name][verdict] += 1
            if self._journal is not None:
                self._journal.decision(name, gate.epoch, decision)
        gate.decided.clear()
        for kind in ("late", "lost"):
            total = gate.totals[kind]
            metrics.counter(f"plc_{kind}_total", name).inc(total - self._told[name][kind])
            self._told[name][kind] = total
        if gate.gate_excess > self._excess_told[name]:
            log.critical(
                "gate %s let %d part(s) pass in run %d that were not passed: it is bypassed or broken; stop the line",
                name,
                gate.gate_excess,
                gate.run,
            )
        self._excess_told[name] = gate.gate_excess
        metrics.gauge("plc_gate_excess", name).set(gate.gate_excess)
        metrics.gauge("plc_link_up", name).set(gate.plc_is_here)
        metrics.gauge("daemon_link_up").set(gate.daemon_is_here)
        metrics.gauge("state", name).set(gate.state)

    def _watch_journal(self) -> None:
        """A journal that fails is told to the PLC, to Prometheus and to the service manager; the line goes on."""
        journal = self._journal
        if journal is None:
            return
        metrics = self._metrics
        for name, total in (
            ("written", journal.written), ("dropped", journal.dropped), ("write_errors", journal.write_errors),
        ):  # fmt: skip
            metrics.counter(f"journal_{name}_total").inc(total - self._journal_told[name])
            self._journal_told[name] = total
        metrics.gauge("journal_queue_rows").set(journal.waiting)
        for gate in self.gates.values():
            if gate.journal_failing != journal.failing:
                gate.journal_failing = journal.failing
                self._notifier.status("journal failing: results are not recorded" if journal.failing else "in order")
        metrics.gauge("journal_failing").set(journal.failing)


def journal_file(config: Config) -> Path:
    """Where the journal is."""
    return config.journal.file or config.bridge.state_dir / "journal.sqlite"


def settings_of_gate(config: Config, gate: GateSection) -> GateSettings:
    """What the contract has to know of a gate: the looks that the config says to expect, and the limits."""
    cameras = [camera for camera in config.cameras_of(gate.name) if camera.trigger != "free_run"]
    return GateSettings(
        name=gate.name,
        expected=frozenset((camera.name, item) for camera in cameras for item in range(gate.items)),
        items=gate.items,
        deadline_ns=round(gate.deadline_ms * 1e6),
        allow_simulated=gate.allow_simulated,
        recipe=config.recipe,
        daemon_silent_ns=round(config.bridge.daemon_silent_ms * 1e6),
        plc_silent_ns=round(config.bridge.plc_silent_ms * 1e6),
        hardware_trigger=any(camera.trigger == "hardware" for camera in cameras),
    )


def check_config(config: Config) -> None:
    """What the bridge needs beyond well-formed settings. Raises UserError."""
    if not config.gates:
        raise UserError("no gate is configured: give a config file with [[gates]] (--config)")
    if not config.bridge.modbus_allowed and not is_loopback(config.bridge.modbus_host):
        raise UserError(
            f"bridge.modbus_host = {config.bridge.modbus_host!r}: reached from other machines, and Modbus knows no password; "
            'name who may connect, such as bridge.modbus_allowed = ["192.168.0.10"], or stay on 127.0.0.1'
        )
    for gate in config.gates:
        if all(camera.trigger == "free_run" for camera in config.cameras_of(gate.name)):
            raise UserError(
                f"gates.{gate.name}: no camera with a trigger belongs to it, so no part could ever pass; set "
                f'cameras.*.gate = "{gate.name}"'
            )
