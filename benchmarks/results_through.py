"""10^6 results through PUB, bridge, journal and register window: is every one there, and how fast do they go through?

A part has 16 items, so that each trigger gives 16 results. In place of the daemon's camera and engine stands a process that
knows each verdict; what numbers, encodes, publishes and replays them is the daemon's own (daemon/publishing.py). The bridge is
the product's, journal on. The client, pymodbus, keeps WINDOW parts under way, and holds each slot against what it has to be.
Nothing waits on a clock: the rate is what these processes do on this PC. In the end the journal is held against the same truth.
"""

import argparse
import multiprocessing
import os
import sqlite3
import tempfile
import time
from pathlib import Path
from typing import Any

import zmq
from pymodbus.client import ModbusTcpClient

from benchmarks.conditions import save
from daemon.book import JudgedBy, Look
from daemon.outcome import Outcome
from daemon.publishing import Identity, Publisher
from demo.__main__ import Service, free_port
from senbetsu.config import load_config
from senbetsu.messages import TRIGGER_MODULUS
from senbetsu.metrics import DAEMON_METRICS, Metrics
from senbetsu.registers import COUNTERS, SLOTS, Control, PlcWrite, Window, decode_window, join32
from senbetsu.requests import AckRequest, Answer, ReplayRequest, TriggerRequest, decode_request
from senbetsu.sockets import bound_socket
from senbetsu.states import State
from senbetsu.verdict import Reason

RESULTS, ITEMS = 1_000_000, 16
WINDOW = 8
FIRST = 30_000
"""The trigger numbers wrap on the way."""


def bad_item(part: int) -> int | None:
    """Which item of a part is bad, by construction; every third part has one."""
    return part * 7 % ITEMS if part % 3 == 0 else None


def publish(config_path: Path) -> None:
    """The process in the daemon's place."""
    config = load_config(config_path)
    context: zmq.Context[Any] = zmq.Context()
    identity, judge = Identity.of_this_start("line1"), JudgedBy("lot", 0, "m" * 64, "p" * 64, 1.0)
    publisher = Publisher(context, config, identity, lambda _: False, Metrics(DAEMON_METRICS))
    router = bound_socket(context, "request", config.daemon.request, "daemon.request")
    next_beat_ns = 0
    while True:
        router.poll(5)
        for _ in range(64):
            try:
                client, payload = router.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                break
            request = decode_request(payload)
            match request:
                case TriggerRequest():
                    router.send_multipart([client, Answer(True, "trigger", {}).encode()])
                    _publish_looks(publisher, request, judge)
                case ReplayRequest():
                    router.send_multipart([client, publisher.replay(request.epoch, request.after).encode()])
                case AckRequest():
                    publisher.acknowledge(request.seq)
        if (now_ns := time.monotonic_ns()) >= next_beat_ns:
            next_beat_ns = now_ns + 100_000_000
            publisher.heartbeat(State.EXECUTE, judge.recipe)


def _publish_looks(publisher: Publisher, request: TriggerRequest, judge: JudgedBy) -> None:
    now_ns = time.monotonic_ns()
    part = request.part_id or 0
    for item in range(ITEMS):
        look = Look(
            part * ITEMS + item, request.gate, "cam1", request.trigger, part, now_ns, now_ns + 10**10, judge,
            item, ITEMS, request.run or 0,
        )  # fmt: skip
        bad = item == bad_item(part)
        reason = Reason.ANOMALY if bad else Reason.OK
        publisher.publish(Outcome(look, reason, now_ns, part, now_ns, 1.5 if bad else 0.5, 0.5, 0.5))


class Client:
    """Triggers part after part and holds each slot against the truth."""

    def __init__(self, port: int) -> None:
        self._modbus = ModbusTcpClient("127.0.0.1", port=port, timeout=10)
        if not self._modbus.connect():  # type: ignore[no-untyped-call]
            raise RuntimeError("the bridge does not answer")
        self._beat = self._echo = self._sent = self._seen = 0
        self.wrong: list[str] = []
        self.windows = 0

    def _number(self, part: int) -> int:
        return (FIRST + part) % TRIGGER_MODULUS

    def _write(self, control: Control = Control.ENABLE) -> None:
        self._beat = (self._beat + 1) & 0xFFFF
        event = PlcWrite(
            acknowledged=self._number(self._seen), run_echo=self._echo, part_id=self._sent, trigger=self._number(self._sent),
            control=control, heartbeat=self._beat,
        )  # fmt: skip
        if self._modbus.write_registers(0, event.words(), device_id=1).isError():
            raise RuntimeError("the write was refused")

    def _window(self) -> Window:
        self.windows += 1
        return decode_window(self._modbus.read_input_registers(20, count=124, device_id=1).registers)

    def start(self) -> None:
        """Enable 0, run r, enable 1, another run, echo."""
        until_s = time.monotonic() + 20
        while self._window().state not in (State.EXECUTE, State.HELD):
            if time.monotonic() > until_s:
                raise RuntimeError("the bridge hears no daemon")
            time.sleep(0.01)
        self._write(Control(0))
        before = self._window().run
        self._write()
        while (run := self._window().run) == before:
            pass
        self._echo = run
        self._write()

    def go_through(self, parts: int) -> None:
        """All of them."""
        while self._seen < parts:
            while self._sent < parts and self._sent - self._seen < WINDOW:
                self._sent += 1
                self._write()
            window = self._window()
            if window.run != self._echo:
                raise RuntimeError("the run changed")
            while self._seen < self._sent and window.slots[self._number(self._seen + 1) % SLOTS].bits & 0x8000:
                self._seen += 1
                self._hold(window, self._seen)
            if self._sent == parts:
                self._write()

    def _hold(self, window: Window, part: int) -> None:
        slot, bad = window.slots[self._number(part) % SLOTS], bad_item(part)
        good_items = 0xFFFF if bad is None else 0xFFFF & ~(1 << bad)
        expected = (self._number(part), part, Reason.OK if bad is None else Reason.ANOMALY, good_items)
        found = (slot.first, slot.part_id, slot.reason, slot.good_items)
        if found != expected or slot.last != slot.first:
            self.wrong.append(f"part {part}: {found}, expected {expected}")

    def counters(self) -> dict[str, int]:
        """The bridge's."""
        words = self._modbus.read_input_registers(0, count=16, device_id=1).registers
        return {r.name: join32(words[r.address], words[r.address + 1]) for r in COUNTERS}


def held_against_truth(journal: Path, parts: int) -> dict[str, Any]:
    """What the journal has, and how much of it is not as it must be."""
    database = sqlite3.connect(f"file:{journal}?mode=ro", uri=True)
    count, least, most, epochs = database.execute(
        "SELECT count(*), min(seq), max(seq), count(DISTINCT epoch) FROM results"
    ).fetchone()
    wrong = sum(
        (verdict == "REJECT") != (item == bad_item(part))
        for part, item, verdict in database.execute("SELECT part_id, item, verdict FROM results")
    )
    (looks,) = database.execute("SELECT count(*) FROM (SELECT DISTINCT part_id, item FROM results)").fetchone()
    decisions = dict(database.execute("SELECT part_id, verdict FROM decisions"))
    (rows,) = database.execute("SELECT count(*) FROM decisions").fetchone()
    (gaps,) = database.execute("SELECT count(*) FROM gaps").fetchone()
    database.close()
    wrong += sum((decisions.get(part) == "PASS") != (bad_item(part) is None) for part in range(1, parts + 1))
    return {
        "results": count, "first_seq": least, "last_seq": most, "epochs": epochs, "distinct_looks": looks,
        "decisions": rows, "wrong": wrong, "gaps": gaps, "mib": round(journal.stat().st_size / 2**20),
    }  # fmt: skip


def config_text(folder: Path, modbus: int) -> str:
    """One camera with 16 regions."""
    publish_at, request_at = (f"tcp://127.0.0.1:{free_port()}" for _ in range(2))
    regions = "".join(f"[[cameras.regions]]\nx = {32 * n}\ny = 0\nwidth = 32\nheight = 32\n" for n in range(ITEMS))
    return f"""
[[gates]]
name = "gate1"
deadline_ms = 30000
items = {ITEMS}
[[cameras]]
name = "cam1"
kind = "folder"
source = "none"
gate = "gate1"
{regions}
[daemon]
publish = "{publish_at}"
request = "{request_at}"
metrics_port = 0
[bridge]
subscribe = "{publish_at}"
request = "{request_at}"
modbus_port = {modbus}
metrics_port = 0
state_dir = "{folder}/var"
plc_silent_ms = 10000
daemon_silent_ms = 10000
"""


def main() -> None:
    """The benchmark."""
    flags = argparse.ArgumentParser(description=__doc__)
    flags.add_argument("--results", type=int, default=RESULTS)
    parts = flags.parse_args().results // ITEMS
    modbus = free_port()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        config = folder / "config.toml"
        config.write_text(config_text(folder, modbus))
        publisher = multiprocessing.get_context("fork").Process(target=publish, args=(config,), daemon=True)
        publisher.start()
        bridge = Service("bridge", "--config", str(config))
        try:
            bridge.wait_until_ready()
            client = Client(modbus)
            client.start()
            load = os.getloadavg()[0]
            began = time.monotonic()
            client.go_through(parts)
            took_s = time.monotonic() - began
            counters = client.counters()
        finally:
            status = bridge.stop()
            publisher.kill()
        journal = held_against_truth(folder / "var/journal.sqlite", parts)
    save("results_through", {
        "results": parts * ITEMS, "parts": parts, "items": ITEMS, "seconds": round(took_s, 1),
        "results_per_s": round(parts * ITEMS / took_s), "parts_per_s": round(parts / took_s), "load_average": round(load, 1),
        "bridge_exit_status": status, "bridge_counters": counters, "windows_read": client.windows,
        "slots_that_were_wrong": client.wrong[:10], "journal": journal,
    })  # fmt: skip
    sound = (
        not client.wrong and journal["wrong"] == journal["gaps"] == 0 and counters["triggers"] == parts == journal["decisions"]
        and counters["pass"] + counters["reject"] == parts
        and journal["results"] == journal["distinct_looks"] == journal["last_seq"] == parts * ITEMS
    )  # fmt: skip
    raise SystemExit(0 if sound else 1)


if __name__ == "__main__":
    main()
