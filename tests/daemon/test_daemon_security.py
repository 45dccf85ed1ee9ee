"""A daemon with keys answers those it knows and nobody else, and the bridge believes that daemon alone."""

import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import zmq
import zmq.auth
from pymodbus.client import ModbusTcpClient

from senbetsu.registers import decode_window
from senbetsu.requests import StateRequest, encode_request
from senbetsu.states import State

PASSES = 50


def make_keys(folder: Path, *clients: str) -> Path:
    arguments = [part for name in clients for part in ("--client", name)]
    subprocess.run([sys.executable, "-m", "keys", "--dir", str(folder), *arguments], check=True, capture_output=True)
    return folder


def client(context: Any, kind: int, keys: Path, name: str) -> Any:
    socket = context.socket(kind)
    socket.setsockopt(zmq.LINGER, 0)
    socket.curve_publickey, socket.curve_secretkey = zmq.auth.load_certificate(keys / f"{name}.key_secret")
    socket.curve_serverkey, _ = zmq.auth.load_certificate(keys / "daemon.key")
    return socket


def answers(socket: Any, endpoint: str, patience_ms: int) -> bool:
    with socket:
        socket.connect(endpoint)
        socket.send(encode_request(StateRequest()))
        return bool(socket.poll(patience_ms))


def test_with_keys_a_known_client_is_answered_and_no_other(start_line: Any, tmp_path: Path) -> None:
    keys = make_keys(tmp_path / "keys", "bridge", "panel")
    strangers = make_keys(tmp_path / "strangers", "bridge")
    shutil.copy(keys / "daemon.key", strangers / "daemon.key")
    line = start_line([PASSES], tail=f'[security]\nkeys_dir = "{keys}"\n[daemon]\n')
    context = line.context
    assert answers(client(context, zmq.DEALER, keys, "panel"), line.request, 20_000)
    assert not answers(client(context, zmq.DEALER, strangers, "bridge"), line.request, 1000), "a key it does not hold"
    plain = context.socket(zmq.DEALER)
    plain.setsockopt(zmq.LINGER, 0)
    assert not answers(plain, line.request, 1000), "no key"
    with client(context, zmq.SUB, keys, "panel") as known, context.socket(zmq.SUB) as unknown:
        for socket in (known, unknown):
            socket.subscribe(b"")
            socket.connect(line.publish)
        assert known.poll(10_000)
        assert not unknown.poll(500)
    line.process.terminate()
    assert line.ends() == 0
    for path in keys.rglob("*.key_secret"):
        assert zmq.auth.load_certificate(path)[1].decode() not in line.log


def bridge_state(port: int) -> int | None:
    with ModbusTcpClient("127.0.0.1", port=port, timeout=2) as modbus:
        if not modbus.connected:
            return None
        return decode_window(modbus.read_input_registers(20, count=124).registers).state


@pytest.mark.parametrize("known", [True, False])
def test_the_bridge_hears_the_daemon_whose_key_it_has_and_no_other(
    start_line: Any, tmp_path: Path, free_port: Any, known: bool
) -> None:
    keys = make_keys(tmp_path / "keys", "bridge")
    line = start_line([PASSES], tail=f'[security]\nkeys_dir = "{keys}"\n[daemon]\n')
    if not known:
        other = make_keys(tmp_path / "other", "bridge")
        keys = tmp_path / "mixed"
        keys.mkdir()
        shutil.copy(tmp_path / "keys/bridge.key_secret", keys)
        shutil.copy(other / "daemon.key", keys)
    port = free_port()
    settings = {
        "security.keys_dir": f'"{keys}"', "bridge.modbus_port": port, "bridge.metrics_port": 0,
        "bridge.subscribe": f'"{line.publish}"', "bridge.request": f'"{line.request}"',
        "bridge.state_dir": f'"{tmp_path}/var"',
    }  # fmt: skip
    flags = [part for key, value in settings.items() for part in ("--set", f"{key}={value}")]
    log = tmp_path / "bridge.log"
    with log.open("w") as stderr:
        bridge = subprocess.Popen(
            [sys.executable, "-m", "bridge", "--config", str(line.config_file), *flags], stderr=stderr
        )
    try:
        until = time.monotonic() + 30
        while bridge_state(port) is None:
            assert time.monotonic() < until, log.read_text()
            time.sleep(0.05)
        until = time.monotonic() + (20 if known else 1.5)
        while time.monotonic() < until and bridge_state(port) == State.STARTING:
            time.sleep(0.05)
        assert bridge_state(port) == (State.HELD if known else State.STARTING), log.read_text()
    finally:
        bridge.terminate()
        assert bridge.wait(10) == 0


def test_an_address_that_others_reach_is_refused_without_keys(start_line: Any) -> None:
    line = start_line([PASSES], override={"publish": '"tcp://0.0.0.0:5999"'})
    assert line.ends() == 2
    assert "daemon.publish = 'tcp://0.0.0.0:5999': reached from other machines, which takes keys" in line.log
    assert "Traceback" not in line.log
