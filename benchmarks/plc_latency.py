"""Trigger written by a Modbus client -> verdict readable in its slot, with the real engine, 50 parts/s.

Daemon (demo's artefacts and cells), bridge and this client, pymodbus, are processes on this PC. The client writes holding
0-11, then reads registers 20-143 without a pause until the part's slot is VALID: the time from before the write to after that
reading. Then it waits for the next part's turn, still reading. `engine_ms` is what the daemon's own metric says of the same
run: a batch in the engine alone, without picture, queue or network; p50 and p99 are interpolated within the metric's buckets.

`load_average` is the PC's before the run: above its cores, the p99 is that of the other programs. `autogroup` is how the kernel
weighs these processes against those (root sets it: `echo -15 > /proc/self/autogroup` in the shell that starts this).
"""

import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
from conditions import save
from pymodbus.client import ModbusTcpClient

from demo.__main__ import ARTIFACTS, REPOSITORY, Service, free_port
from senbetsu.registers import SLOT_AT, SLOT_WORDS, SLOTS, WINDOW_AT, WINDOW_COUNT, Control, PlcWrite, SlotBit
from senbetsu.verdict import Reason

RATE_HZ, SECONDS, WARM = 50, 60, 200
ANCHOR_MS = 9.5
"""p99 that an Orin NX was published with, at 10 parts/s."""


class Client:
    """A PLC's side with nothing in it but what is measured."""

    def __init__(self, port: int) -> None:
        self._modbus = ModbusTcpClient("127.0.0.1", port=port, timeout=3)
        if not self._modbus.connect():
            raise RuntimeError("the bridge does not answer")
        self._beat = self._trigger = self._echo = 0

    def window(self) -> list[int]:
        return list(self._modbus.read_input_registers(WINDOW_AT, count=WINDOW_COUNT, device_id=1).registers)

    def write(self, control: Control = Control.ENABLE | Control.ALLOW_SIMULATED) -> None:
        self._beat = (self._beat + 1) & 0xFFFF
        event = PlcWrite(
            acknowledged=max(0, self._trigger - 1), run_echo=self._echo, part_id=self._trigger, trigger=self._trigger,
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

    def part(self) -> tuple[float, int, int]:
        """Milliseconds, the reason, and how often it was read."""
        self._trigger += 1
        at = SLOT_AT - WINDOW_AT + SLOT_WORDS * (self._trigger % SLOTS)
        began_ns = time.monotonic_ns()
        self.write()
        for reads in range(1, 1_000_000):
            slot = self.window()[at : at + SLOT_WORDS]
            if slot[0] == slot[6] == self._trigger and slot[3] & SlotBit.VALID:
                return (time.monotonic_ns() - began_ns) / 1e6, slot[3] >> 8 & 0x7F, reads
        raise RuntimeError("no verdict came")


def engine_histogram(port: int) -> tuple[list[tuple[float, float]], float, float]:
    """Cumulative buckets (upper bound in s, count), sum in s, and count of the daemon's engine stage."""
    text = urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics").read().decode()
    buckets, total, count = [], 0.0, 0.0
    for line in text.splitlines():
        if not line.startswith("senbetsu_stage_duration_seconds") or 'stage="engine"' not in line:
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


def autogroup() -> str | None:
    """The kernel's group of this session, and its nice value; None where it makes none."""
    path = Path("/proc/self/autogroup")
    return path.read_text().strip() if path.exists() else None


def measure(modbus: int, metrics: int) -> dict[str, Any]:
    """One run's figures."""
    load = os.getloadavg()[0]
    client = Client(modbus)
    client.start()
    for _ in range(WARM):
        client.part()
    before = engine_histogram(metrics)
    taken, reasons, reads = [], [], []
    due_ns = time.monotonic_ns()
    for _ in range(RATE_HZ * SECONDS):
        while time.monotonic_ns() < due_ns:
            client.window()
        due_ns += 1_000_000_000 // RATE_HZ
        milliseconds, reason, times = client.part()
        taken.append(milliseconds)
        reasons.append(Reason(reason).name)
        reads.append(times)
    after = engine_histogram(metrics)
    p50, p95, p99, p999 = np.percentile(taken, [50, 95, 99, 99.9])
    return {
        "parts": len(taken), "load_average": round(load, 1), "autogroup": autogroup(),
        "written_to_readable_ms": {
            "p50": round(p50, 2), "p95": round(p95, 2), "p99": round(p99, 2), "p99.9": round(p999, 2),
            "max": round(max(taken), 2),
        },
        "engine_ms": {
            "mean": round(1000 * (after[1] - before[1]) / (after[2] - before[2]), 2), "batches": int(after[2] - before[2]),
            "p50": quantile_ms(before[0], after[0], 0.5), "p99": quantile_ms(before[0], after[0], 0.99),
        },
        "reads_until_valid_mean": round(float(np.mean(reads)), 1),
        "reasons": {name: reasons.count(name) for name in sorted(set(reasons))},
    }  # fmt: skip


def main() -> None:
    """The benchmark."""
    if not (ARTIFACTS / "profile.json").exists():
        subprocess.run([sys.executable, "-m", "demo"], cwd=REPOSITORY, check=True)
    publish, request = (f"tcp://127.0.0.1:{free_port()}" for _ in range(2))
    modbus, metrics = free_port(), free_port()
    runs = []
    with tempfile.TemporaryDirectory() as folder:
        settings = {
            "daemon.publish": publish, "daemon.request": request, "daemon.metrics_port": metrics, "bridge.subscribe": publish,
            "bridge.request": request, "bridge.modbus_port": modbus, "bridge.metrics_port": 0, "bridge.state_dir": folder,
            "cameras.0.loop": "true", "gates.0.deadline_ms": 1000,
        }  # fmt: skip
        for threads in (1, 0):
            config = ["--config", "config.toml", "--artifacts", str(ARTIFACTS), "--set", f"engine.threads={threads}"]
            for key, value in settings.items():
                config += ["--set", f"{key}={value}"]
            services = [Service("daemon", *config), Service("bridge", *config)]
            try:
                for service in services:
                    service.wait_until_ready()
                time.sleep(1)
                runs.append({"engine_threads": threads or "all", **measure(modbus, metrics)})
            finally:
                for service in services:
                    service.stop()
    save("plc_latency", {"rate_hz": RATE_HZ, "seconds": SECONDS, "anchor_p99_ms": ANCHOR_MS, "runs": runs})


if __name__ == "__main__":
    main()
