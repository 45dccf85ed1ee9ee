"""Trigger written by a Modbus client -> verdict readable in its slot, with the real engine, 50 parts/s.

Daemon (demo's artefacts and cells), bridge and this client, pymodbus, are processes on this PC. The cells are stored
without compression here: a machine-vision camera delivers pixels, and unpacking the next picture takes a core
meanwhile. The client writes holding 0-11, then reads registers 20-143 without a pause until the part's slot is VALID: the
time from before the write to after that reading. Then it waits for the next part's turn, still reading.
`engine_ms` is what the daemon's own metric says of the same
run: a batch in the engine alone, without picture, queue or network; p50 and p99 are interpolated within the metric's buckets.
`stages_ms` is where the time goes, by the time stamps of the part's result (CLOCK_MONOTONIC, one PC):

    written   from before the write until the daemon has taken the trigger: client, bridge, ZeroMQ
    frame     until the picture was taken (a file is read)
    judged    until the daemon has decided: queue, fitting, engine
    readable  until the client has read it: ZeroMQ, bridge, the next reading

`bridge_ms` is `written` and `readable` of a part together: what is neither camera nor engine. `daemon_stage_mean_ms`: waiting
for the engine, fitting the picture into its input, the engine.

A client that reads without a pause takes processor time of a PC that a PLC would not: its own and the bridge's for the answers.
`processor_share` is what each takes, of one core. `priority` is that of daemon and bridge: "fifo" is `realtime.fifo_priority`
(docs/realtime.md), "unit" the nice -5 that the units in systemd/ give, "none" that of any program, which the client has.

`load_average` is the PC's before the run: above its cores, the p99 is that of the other programs. `autogroup` is how the kernel
weighs these processes against those (root sets it: `echo -15 > /proc/self/autogroup` in the shell that starts this).
"""

import os
import tempfile
import time
import urllib.request
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import zmq
from pymodbus.client import ModbusTcpClient

from benchmarks.conditions import save
from benchmarks.demo_line import DemoLine, as_its_unit, demo_line, make_demo
from demo.report import ROOT
from senbetsu.messages import Result, decode_result
from senbetsu.registers import SLOT_AT, SLOT_WORDS, SLOTS, WINDOW_AT, WINDOW_COUNT, Control, PlcWrite, SlotBit
from senbetsu.verdict import Reason

RATE_HZ, SECONDS, WARM = 50, 60, 200
RUNS = [(priority, threads) for priority in ("fifo", "unit", "none") for threads in (1, 0)]
"""Priority of daemon and bridge, threads of the engine (0: all cores)."""
FIFO_PRIORITY = 40
DAEMON_STAGES = ("wait", "fit", "engine")
STAGES = ("written", "frame", "judged", "readable")
ANCHOR_MS = 9.5
"""p99 that an Orin NX was published with, at 10 parts/s."""


class Client:
    """A PLC's side with nothing in it but what is measured."""

    def __init__(self, port: int) -> None:
        self._modbus = ModbusTcpClient("127.0.0.1", port=port, timeout=3)
        if not self._modbus.connect():  # type: ignore[no-untyped-call]
            raise RuntimeError("the bridge does not answer")
        self._beat = self._echo = 0
        self.trigger = 0

    def window(self) -> list[int]:
        return list(self._modbus.read_input_registers(WINDOW_AT, count=WINDOW_COUNT, device_id=1).registers)

    def write(self, control: Control = Control.ENABLE | Control.ALLOW_SIMULATED) -> None:
        self._beat = (self._beat + 1) & 0xFFFF
        event = PlcWrite(
            acknowledged=max(0, self.trigger - 1), run_echo=self._echo, part_id=self.trigger, trigger=self.trigger,
            control=control, heartbeat=self._beat,
        )  # fmt: skip
        if self._modbus.write_registers(0, event.words(), device_id=1).isError():
            raise RuntimeError("the write was refused")

    def start(self) -> None:
        """Enable 0, run r, enable 1, another run, echo."""
        self.write(Control(0))
        before = self.window()[2]
        self.write()
        while (run := self.window()[2]) == before:
            pass
        self._echo = run
        self.write()

    def part(self) -> tuple[int, int, int, int]:
        """When it was written and when read (CLOCK_MONOTONIC, ns), the reason, and how often it was read."""
        self.trigger += 1
        at = SLOT_AT - WINDOW_AT + SLOT_WORDS * (self.trigger % SLOTS)
        began_ns = time.monotonic_ns()
        self.write()
        for reads in range(1, 1_000_000):
            slot = self.window()[at : at + SLOT_WORDS]
            if slot[0] == slot[6] == self.trigger and slot[3] & SlotBit.VALID:
                return began_ns, time.monotonic_ns(), slot[3] >> 8 & 0x7F, reads
        raise RuntimeError("no verdict came")


def histogram(port: int, stage: str) -> tuple[list[tuple[float, float]], float, float]:
    """Cumulative buckets (upper bound in s, count), sum in s, and count of one of the daemon's stages."""
    text = urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics").read().decode()
    buckets, total, count = [], 0.0, 0.0
    for line in text.splitlines():
        if not line.startswith("senbetsu_stage_duration_seconds") or f'stage="{stage}"' not in line:
            continue
        name, value = line.rsplit(" ", 1)
        if "_bucket" in name:
            buckets.append((float(name.split('le="')[1].split('"')[0]), float(value)))
        elif "_sum" in name:
            total = float(value)
        elif "_count" in name:
            count = float(value)
    return buckets, total, count


def quantile_ms(before: list[tuple[float, float]], after: list[tuple[float, float]], share: float) -> float:
    """Interpolated within its bucket."""
    counts = [(bound, now - then) for (bound, now), (_, then) in zip(after, before, strict=True)]
    wanted = share * counts[-1][1]
    lower, below = 0.0, 0.0
    for bound, cumulative in counts:
        if cumulative >= wanted and cumulative > below:
            return round(1000 * (lower + (bound - lower) * (wanted - below) / (cumulative - below)), 2)
        lower, below = bound, cumulative
    return float("nan")


class Results:
    """What the daemon publishes; kept by ZeroMQ's own thread until it is asked for."""

    def __init__(self, port: int) -> None:
        context: zmq.Context[zmq.Socket[bytes]] = zmq.Context.instance()
        self._socket = context.socket(zmq.SUB)
        self._socket.subscribe(b"result.")
        self._socket.connect(f"tcp://127.0.0.1:{port}")

    def of(self, trigger: int) -> Result:
        """That part's."""
        while self._socket.poll(3000):
            result = decode_result(self._socket.recv_multipart()[1])
            if result.trigger == trigger:
                return result
        raise RuntimeError(f"no result of trigger {trigger} was heard")


def stages_ms(began_ns: int, result: Result, read_ns: int) -> tuple[float, ...] | None:
    """Between one moment and the next; None for a part that was rejected without a look at it."""
    if result.triggered_at_ns is None or result.exposed_at_ns is None:
        return None
    moments = (began_ns, result.triggered_at_ns, result.exposed_at_ns, result.decided_at_ns, read_ns)
    return tuple((after - before) / 1e6 for before, after in pairwise(moments))


def processor_s(pid: int) -> float:
    """Processor time that a process has taken so far, all threads, user and system."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def autogroup() -> str | None:
    """The kernel's group of this session, and its nice value; None where it makes none."""
    path = Path("/proc/self/autogroup")
    return path.read_text().strip() if path.exists() else None


def measure(line: DemoLine) -> dict[str, Any]:
    """One run's figures."""
    load = os.getloadavg()[0]
    client, results = Client(line.modbus), Results(line.publish)
    client.start()
    for _ in range(WARM):
        client.part()
    pids = {"client": os.getpid(), **{name: service.process.pid for name, service in line.services.items()}}
    before, began_s = {stage: histogram(line.metrics, stage) for stage in DAEMON_STAGES}, time.monotonic()
    processor_before = {name: processor_s(pid) for name, pid in pids.items()}
    taken, stages, reasons, reads = [], [], [], []
    due_ns = time.monotonic_ns()
    for _ in range(RATE_HZ * SECONDS):
        while time.monotonic_ns() < due_ns:
            client.window()
        due_ns += 1_000_000_000 // RATE_HZ
        written_ns, read_ns, reason, times = client.part()
        taken.append((read_ns - written_ns) / 1e6)
        if (times_ms := stages_ms(written_ns, results.of(client.trigger), read_ns)) is not None:
            stages.append(times_ms)
        reasons.append(Reason(reason).name)
        reads.append(times)
    took_s = time.monotonic() - began_s
    share = {name: round((processor_s(pid) - processor_before[name]) / took_s, 2) for name, pid in pids.items()}
    after = {stage: histogram(line.metrics, stage) for stage in DAEMON_STAGES}
    p50, p95, p99, p999 = np.percentile(taken, [50, 95, 99, 99.9])
    return {
        "parts": len(taken), "load_average": round(load, 1), "autogroup": autogroup(),
        "written_to_readable_ms": {
            "p50": round(p50, 2), "p95": round(p95, 2), "p99": round(p99, 2), "p99.9": round(p999, 2),
            "max": round(max(taken), 2),
        },
        "engine_ms": {
            "p50": quantile_ms(before["engine"][0], after["engine"][0], 0.5),
            "p99": quantile_ms(before["engine"][0], after["engine"][0], 0.99),
        },
        "daemon_stage_mean_ms": {
            stage: round(1000 * (after[stage][1] - before[stage][1]) / (after[stage][2] - before[stage][2]), 2)
            for stage in DAEMON_STAGES
        },
        "stages_ms": {
            name: {"p50": round(float(p50), 2), "p99": round(float(p99), 2)}
            for name, p50, p99 in zip(STAGES, *np.percentile(stages, [50, 99], axis=0), strict=True)
        },
        "bridge_ms": {
            f"p{q}": round(float(np.percentile([stage[0] + stage[-1] for stage in stages], q)), 2) for q in (50, 99)
        },
        "processor_share": share,
        "reads_until_valid_mean": round(float(np.mean(reads)), 1),
        "reasons": {name: reasons.count(name) for name in sorted(set(reasons))},
    }  # fmt: skip


def uncompressed(folder: Path) -> None:
    """The demo's cells, stored as they are."""
    for path in (ROOT / "parts").glob("*.png"):
        cell = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        if cell is None:
            raise SystemExit(f"{path}: not a picture that can be read")
        cv2.imwrite(str(folder / path.name), cell, [cv2.IMWRITE_PNG_COMPRESSION, 0])


def main() -> None:
    """The benchmark."""
    runs: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as temporary:
        make_demo()
        uncompressed(Path(temporary))
        for priority, threads in RUNS:
            settings = {"engine.threads": threads, "gates.0.deadline_ms": 1000, "cameras.0.source": temporary}
            if priority == "fifo":
                settings["realtime.fifo_priority"] = FIFO_PRIORITY
            with demo_line(settings) as line:
                if priority == "unit":
                    as_its_unit(line.services.values())
                runs.append({"priority": priority, "engine_threads": threads or "all", **measure(line)})
    save("plc_latency", {"rate_hz": RATE_HZ, "seconds": SECONDS, "anchor_p99_ms": ANCHOR_MS, "runs": runs})


if __name__ == "__main__":
    main()
