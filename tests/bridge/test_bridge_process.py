"""A real bridge process between a real Modbus client and a stand-in daemon with real sockets."""

import json
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import zmq
from contract_rig import Rig
from pymodbus.client import ModbusTcpClient

from senbetsu.messages import Heartbeat, Result, encode
from senbetsu.registers import Control, PlcWrite, Window, decode_window
from senbetsu.requests import Answer, ReplayRequest, TriggerRequest, decode_request
from senbetsu.states import State
from senbetsu.verdict import Reason


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class StandInDaemon:
    """Speaks the daemon's messages from a thread of its own; what it does with a trigger is `on_trigger`."""

    publish_port: int
    request_port: int
    epoch: int = 1000
    beating: bool = True
    on_trigger: Callable[["StandInDaemon", TriggerRequest], None] = lambda daemon, request: daemon.pass_part(request)
    results: list[Result] = field(default_factory=list)
    acknowledged: int = 0
    lost: int = 0
    rig: Rig = field(default_factory=Rig)

    def __post_init__(self) -> None:
        self.stopping = threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self) -> None:
        beats = 0
        with zmq.Context() as context, context.socket(zmq.PUB) as self.pub, context.socket(zmq.ROUTER) as self.router:
            self.pub.bind(f"tcp://127.0.0.1:{self.publish_port}")
            self.router.bind(f"tcp://127.0.0.1:{self.request_port}")
            next_beat = 0.0
            while not self.stopping.is_set():
                if self.router.poll(5):
                    self.answer(*self.router.recv_multipart())
                if self.beating and time.monotonic() >= next_beat:
                    next_beat = time.monotonic() + 0.05
                    beats += 1
                    beat = Heartbeat(
                        instance="x", epoch=self.epoch, seq=len(self.results), counter=beats, state=State.EXECUTE, sent_at_ns=1,
                        boot_id="b",
                    )  # fmt: skip
                    self.pub.send_multipart(encode(beat))

    def answer(self, client: bytes, payload: bytes) -> None:
        self.client = client
        request = decode_request(payload)
        match request:
            case TriggerRequest():
                self.router.send_multipart([client, Answer(True, "trigger", {}).encode()])
                self.on_trigger(self, request)
            case ReplayRequest():
                documents = [json.loads(encode(r)[1]) for r in self.results if r.seq > request.after + self.lost]
                body = {
                    "epoch": self.epoch, "results": documents, "lost": self.lost, "newest": len(self.results), "last": None,
                    "first": documents[0]["seq"] if documents else None,
                }  # fmt: skip
                self.router.send_multipart([client, Answer(True, "replay", body).encode()])
            case _:
                self.acknowledged = getattr(request, "seq", self.acknowledged)

    def make(self, request: TriggerRequest, reason: Reason = Reason.OK, **changes: object) -> Result:
        result = self.rig.result(request.trigger, reason, part_id=request.part_id, run=request.run)
        result = replace(result, seq=len(self.results) + 1, epoch=self.epoch, **changes)  # type: ignore[arg-type]
        self.results.append(result)
        return result

    def pass_part(self, request: TriggerRequest) -> None:
        self.pub.send_multipart(encode(self.make(request)))

    def close(self) -> None:
        self.stopping.set()
        self.thread.join()


@dataclass
class Plc:
    """A PLC's side by hand."""

    client: ModbusTcpClient
    trigger: int = 0
    beat: int = 0
    echo: int = 0
    unit: int = 1

    def write(self, **changes: Any) -> bool:
        self.beat += 1
        values = {
            "trigger": self.trigger, "part_id": self.trigger, "control": Control.ENABLE, "heartbeat": self.beat,
            "run_echo": self.echo, "deadline_ms": 2000, **changes,
        }  # fmt: skip
        return not self.client.write_registers(0, PlcWrite(**values).words(), device_id=self.unit).isError()

    def window(self) -> Window:
        return decode_window(self.client.read_input_registers(20, count=124, device_id=self.unit).registers)

    def start(self) -> None:
        wait_for(lambda: self.window().state == State.HELD)  # the daemon is heard, the PLC not yet
        self.write(control=Control(0))
        old = self.window().run
        self.write()
        wait_for(lambda: self.window().run != old)
        self.echo = self.window().run
        self.write()

    def part(self) -> int:
        self.trigger += 1
        assert self.write()
        return self.trigger

    def reason(self, trigger: int) -> str:
        slot = self.window().slots[trigger % 16]
        return Reason(slot.reason).name if slot.first == slot.last == trigger else "of another part"


def wait_for(condition: Callable[[], bool], seconds: float = 5.0) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "it did not come to pass"
        time.sleep(0.005)


@dataclass
class Setup:
    process: subprocess.Popen[bytes]
    daemon: StandInDaemon
    plc: Plc
    port: int
    folder: Path


def config_text(folder: Path, publish: int, request: int, modbus: int) -> str:
    return f"""
        [[gates]]
        name = "gate1"
        [[gates]]
        name = "gate2"
        unit_id = 2
        [[cameras]]
        name = "cam1"
        kind = "folder"
        source = "x"
        gate = "gate1"
        [[cameras]]
        name = "cam2"
        kind = "folder"
        source = "x"
        gate = "gate2"
        [bridge]
        subscribe = "tcp://127.0.0.1:{publish}"
        request = "tcp://127.0.0.1:{request}"
        modbus_port = {modbus}
        metrics_port = 0
        state_dir = "{folder}/var"
    """


def start_bridge(folder: Path, text: str) -> subprocess.Popen[bytes]:
    (folder / "config.toml").write_text(text)
    with (folder / "bridge.log").open("a") as log:
        return subprocess.Popen([sys.executable, "-m", "bridge"], cwd=folder, stderr=log, stdout=log)


@pytest.fixture
def setup(tmp_path: Path) -> Iterator[Setup]:
    publish, request, modbus = free_port(), free_port(), free_port()
    daemon = StandInDaemon(publish, request)
    process = start_bridge(tmp_path, config_text(tmp_path, publish, request, modbus))
    wait_for(lambda: ": ready" in (tmp_path / "bridge.log").read_text(), 30)
    client = ModbusTcpClient("127.0.0.1", port=modbus, timeout=3)
    assert client.connect()
    made = Setup(process, daemon, Plc(client), modbus, tmp_path)
    made.plc.start()
    yield made
    client.close()
    made.process.terminate()
    assert made.process.wait(timeout=10) == 0, (tmp_path / "bridge.log").read_text()
    daemon.close()


def test_a_part_goes_all_the_way_and_is_acknowledged(setup: Setup) -> None:
    triggers = [setup.plc.part() for _ in range(5)]
    wait_for(lambda: all(setup.plc.reason(t) == "OK" for t in triggers))
    wait_for(lambda: setup.daemon.acknowledged == 5)
    counters = setup.plc.client.read_input_registers(0, count=16).registers
    assert counters[1] == counters[3] == 5
    mirrored = setup.plc.client.read_holding_registers(1000, count=6).registers
    assert mirrored == counters[:6]
    assert setup.plc.client.read_holding_registers(4, count=1).registers == [triggers[-1]]


def test_a_hangup_ends_nothing_and_says_what_a_change_takes(setup: Setup) -> None:
    setup.process.send_signal(signal.SIGHUP)
    wait_for(lambda: "Restart the bridge" in (setup.folder / "bridge.log").read_text())
    trigger = setup.plc.part()
    wait_for(lambda: setup.plc.reason(trigger) == "OK")


def test_a_hangup_before_the_bridge_is_there_ends_nothing_either(tmp_path: Path) -> None:
    ports = [free_port() for _ in range(3)]
    process = start_bridge(tmp_path, config_text(tmp_path, *ports))
    try:
        wait_for(lambda: ignores_hangup(process.pid), 10)
        log = tmp_path / "bridge.log"
        while ": ready" not in log.read_text():
            process.send_signal(signal.SIGHUP)
            time.sleep(0.01)
            assert process.poll() is None, log.read_text()
    finally:
        process.terminate()
        assert process.wait(timeout=10) == 0


def ignores_hangup(pid: int) -> bool:
    """What comes in the interpreter's own start, before the program's first line, no program can help."""
    status = Path(f"/proc/{pid}/status").read_text()
    ignored = int(next(line.split()[1] for line in status.splitlines() if line.startswith("SigIgn:")), 16)
    return bool(ignored & 1 << signal.SIGHUP - 1)


def test_a_gate_that_lets_pass_what_was_not_passed_is_told_once(setup: Setup) -> None:
    setup.plc.write(gate_passed=2)
    setup.plc.write(gate_passed=2)
    wait_for(lambda: "let 2 part(s) pass" in (setup.folder / "bridge.log").read_text())
    trigger = setup.plc.part()
    wait_for(lambda: setup.plc.reason(trigger) == "OK")
    assert (setup.folder / "bridge.log").read_text().count("part(s) pass") == 1


def test_a_lost_message_is_recovered_by_replay(setup: Setup) -> None:
    setup.daemon.on_trigger = lambda daemon, request: daemon.make(request)  # made, and never published
    trigger = setup.plc.part()
    wait_for(lambda: setup.plc.reason(trigger) == "OK")


def test_what_no_replay_can_bring_rejects(setup: Setup) -> None:
    def forget(daemon: StandInDaemon, request: TriggerRequest) -> None:
        daemon.make(request)
        daemon.lost = 1

    setup.daemon.on_trigger = forget
    trigger = setup.plc.part()
    wait_for(lambda: setup.plc.reason(trigger) == "LOST")


def test_noise_on_the_results_socket_is_not_believed_and_the_part_still_comes(setup: Setup) -> None:
    def shout(daemon: StandInDaemon, request: TriggerRequest) -> None:
        for frames in (
            [b"result.pass.cam1.", b"{"],
            [b"result.pass.cam1."],
            [b"heartbeat.", b"[]"],
            [b"result.", b"\xff", b""],
        ):
            daemon.pub.send_multipart(frames)
        rejected = encode(daemon.make(request, Reason.ANOMALY))
        daemon.pub.send_multipart([b"result.pass.cam1.", rejected[1]])

    setup.daemon.on_trigger = shout
    trigger = setup.plc.part()
    wait_for(lambda: setup.plc.reason(trigger) == "ANOMALY")
    assert setup.process.poll() is None


def test_a_silent_daemon_is_seen_and_a_new_epoch_begins_a_new_run(setup: Setup) -> None:
    setup.daemon.on_trigger = lambda daemon, request: None
    trigger = setup.plc.part()
    setup.daemon.beating = False
    wait_for(lambda: setup.plc.reason(trigger) == "LINK")
    assert setup.plc.window().state == State.ABORTED
    run = setup.plc.window().run
    setup.daemon.results.clear()
    setup.daemon.epoch += 1
    setup.daemon.beating = True
    wait_for(lambda: setup.plc.window().run != run)


def test_a_daemon_that_is_not_there_rejects_and_gets_no_old_trigger_when_it_comes(setup: Setup) -> None:
    setup.daemon.close()
    trigger = setup.plc.part()
    wait_for(lambda: setup.plc.reason(trigger) in ("LINK", "DEADLINE"))
    asked: list[int] = []
    ports = (setup.daemon.publish_port, setup.daemon.request_port)
    setup.daemon = StandInDaemon(*ports, epoch=2000, on_trigger=lambda _, request: asked.append(request.trigger))
    run = setup.plc.window().run
    wait_for(lambda: setup.plc.window().run != run)
    setup.plc.echo = setup.plc.window().run
    setup.plc.write()
    fresh = setup.plc.part()
    wait_for(lambda: asked != [])
    assert asked == [fresh]


def test_rule_6_only_the_functions_addresses_and_writes_of_the_contract_are_answered(setup: Setup) -> None:
    client = setup.plc.client
    before = client.read_holding_registers(0, count=12).registers
    assert client.read_coils(0, count=1).exception_code == 1
    assert client.write_coil(0, True).exception_code == 1
    assert client.read_input_registers(170, count=7).exception_code == 2
    assert client.read_discrete_inputs(5, count=6).exception_code == 2
    assert client.write_register(5, 1).exception_code == 3
    assert client.write_registers(0, [1] * 11).exception_code == 3
    assert client.write_registers(4, [1]).exception_code == 3
    assert client.write_registers(0, PlcWrite(deadline_ms=60_001).words()).exception_code == 3
    assert client.write_registers(1000, [1]).isError()
    assert client.read_holding_registers(0, count=12).registers == before
    refused = client.read_input_registers(12, count=2).registers
    assert refused == [0, 5]
    flags = client.read_input_registers(24, count=1).registers[0]
    bits = client.read_discrete_inputs(0, count=10).bits[:10]
    assert [bool(flags >> n & 1) for n in range(10)] == bits


def test_rule_6_function_23_writes_whole_and_reads_in_one_request(setup: Setup) -> None:
    setup.plc.trigger += 1
    setup.plc.beat += 1
    event = PlcWrite(
        trigger=setup.plc.trigger, part_id=setup.plc.trigger, control=Control.ENABLE, heartbeat=setup.plc.beat,
        run_echo=setup.plc.echo, deadline_ms=2000,
    )  # fmt: skip
    answer = setup.plc.client.readwrite_registers(
        read_address=1020, read_count=10, write_address=0, values=event.words(), device_id=1
    )
    assert not answer.isError()
    assert answer.registers[0] == 0x5342
    assert answer.registers[6] == setup.plc.trigger
    wait_for(lambda: setup.plc.reason(setup.plc.trigger) == "OK")


def test_units_0_1_and_255_are_the_first_gate_2_the_second_and_others_nobody(setup: Setup) -> None:
    trigger = setup.plc.part()
    wait_for(lambda: setup.plc.reason(trigger) == "OK")
    for unit, triggers in ((0, 1), (1, 1), (255, 1), (2, 0)):
        answer = setup.plc.client.read_input_registers(0, count=2, device_id=unit)
        assert answer.registers == [0, triggers]
    assert setup.plc.client.read_input_registers(0, count=2, device_id=7).isError()


def test_rule_15_one_client_writes_and_all_may_read(setup: Setup) -> None:
    with ModbusTcpClient("127.0.0.1", port=setup.port, timeout=3) as second:
        other = Plc(second)
        assert other.window().magic == 0x5342
        assert not other.write(control=Control(0))
        trigger = setup.plc.part()
        wait_for(lambda: setup.plc.reason(trigger) == "OK")
        setup.plc.client.close()
        wait_for(lambda: other.write(control=Control(0)))
    assert setup.plc.client.connect()


def test_a_busy_port_is_an_error_that_names_the_setting(setup: Setup, tmp_path: Path) -> None:
    second = tmp_path / "second"
    second.mkdir()
    process = start_bridge(second, config_text(second, free_port(), free_port(), setup.port))
    assert process.wait(timeout=30) == 2
    said = (second / "bridge.log").read_text()
    assert f"bridge.modbus_port = {setup.port}" in said
    assert "Traceback" not in said


def test_the_run_number_is_never_the_same_twice_in_a_row_over_restarts(setup: Setup) -> None:
    run = setup.plc.window().run
    setup.process.kill()
    setup.process.wait()
    (setup.folder / "bridge.log").write_text("")
    setup.process = start_bridge(setup.folder, (setup.folder / "config.toml").read_text())
    wait_for(lambda: ": ready" in (setup.folder / "bridge.log").read_text(), 30)
    setup.plc.client.close()
    assert setup.plc.client.connect()
    assert setup.plc.window().run != run


def test_a_state_folder_that_cannot_be_written_to_is_refused_at_the_start(tmp_path: Path) -> None:
    text = config_text(tmp_path, free_port(), free_port(), free_port())
    (tmp_path / "var").write_text("a file is in the way")
    process = start_bridge(tmp_path, text)
    assert process.wait(timeout=30) == 2
    assert "bridge.state_dir" in (tmp_path / "bridge.log").read_text()
