"""Who may speak Modbus to the bridge, and how it gets back to a daemon that sent it away."""

import asyncio
import shutil
import socket
import subprocess
import sys
import time
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
import zmq
import zmq.auth
from contract_rig import EPOCH, Rig
from pymodbus.client import ModbusTcpClient
from test_bridge_process import config_text, free_port, start_bridge, wait_for
from zmq.auth.thread import ThreadAuthenticator

from bridge.link import DaemonLink
from bridge.server import Server
from senbetsu.config import BridgeSection
from senbetsu.curve import Curve
from senbetsu.messages import Heartbeat, encode
from senbetsu.metrics import BRIDGE_METRICS, Metrics
from senbetsu.states import State


def own_address() -> str | None:
    """This machine's address on a network, if it is on one."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # nothing is sent
        except OSError:
            return None
        address = str(probe.getsockname()[0])
    return None if address.startswith("127.") else address


@pytest.mark.parametrize(
    ("allow", "address", "may"),
    [
        ((), "127.0.0.1", True),
        ((), "::1", True),
        ((), "192.168.0.10", False),
        (("192.168.0.10",), "192.168.0.10", True),
        (("192.168.0.10",), "::ffff:192.168.0.10", True),
        (("192.168.0.10",), "192.168.0.11", False),
        (("192.168.0.10",), "127.0.0.1", False),
        (("192.168.0.0/24",), "192.168.0.11", True),
        (("192.168.0.0/24",), "192.168.1.11", False),
        (("fe80::/10",), "fe80::1%eth0", True),
        (("fe80::/10",), "2001:db8::1", False),
    ],
)
def test_the_list_admits_addresses_and_networks_and_this_pc(allow: tuple[str, ...], address: str, may: bool) -> None:

    server = Server.__new__(Server)
    server._allowed = [ip_network(text) for text in allow]
    assert server.allows(address) == may
    assert not server.allows("?")


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.0.2", "::"])
def test_a_host_that_others_reach_is_refused_without_a_list(tmp_path: Path, host: str) -> None:
    (tmp_path / "config.toml").write_text(config_text(tmp_path, free_port(), free_port(), free_port()))
    command = [sys.executable, "-m", "bridge", "--set", f'bridge.modbus_host="{host}"']
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=30)
    assert done.returncode == 2
    assert f"bridge.modbus_host = '{host}': reached from other machines" in done.stderr
    assert "bridge.modbus_allowed" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_list_with_what_is_no_address_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text(config_text(tmp_path, free_port(), free_port(), free_port()))
    command = [sys.executable, "-m", "bridge", "--set", 'bridge.modbus_allowed=["192.168.0.300"]']
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=30)
    assert done.returncode == 2
    assert "bridge.modbus_allowed" in done.stderr


def test_who_is_not_in_the_list_is_disconnected_and_this_pc_is_not(tmp_path: Path) -> None:
    address = own_address()
    if address is None:
        pytest.skip("this machine is on no network: nobody can come from outside")
    port = free_port()
    text = config_text(tmp_path, free_port(), free_port(), port)
    text = text.replace("[bridge]", '[bridge]\nmodbus_host = "0.0.0.0"\nmodbus_allowed = ["192.0.2.77", "127.0.0.1"]')
    process = start_bridge(tmp_path, text)
    try:
        wait_for(lambda: ": ready" in (tmp_path / "bridge.log").read_text(), 30)
        with socket.create_connection((address, port), timeout=10) as stranger:
            try:
                said = stranger.recv(100)
            except ConnectionResetError:
                said = b""
            assert said == b""
        with ModbusTcpClient("127.0.0.1", port=port, timeout=5) as own:
            assert own.read_input_registers(20, count=1).registers == [0x5342]
        wait_for(lambda: f"Modbus client {address}" in (tmp_path / "bridge.log").read_text())
    finally:
        process.terminate()
        assert process.wait(10) == 0


def test_a_daemon_that_sent_the_bridge_away_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its key was not known; libzmq itself never comes back after that."""
    monkeypatch.setattr("bridge.link.CONNECT_AGAIN_NS", 300_000_000)
    clients = tmp_path / "clients"
    clients.mkdir()
    for name in ("daemon", "bridge"):
        zmq.auth.create_certificates(tmp_path, name)
    server, own = (zmq.auth.load_certificate(tmp_path / f"{name}.key_secret") for name in ("daemon", "bridge"))
    context: zmq.Context[Any] = zmq.Context()
    authenticator = ThreadAuthenticator(context)
    authenticator.start()
    authenticator.configure_curve(domain="senbetsu", location=str(clients))
    publisher, router = context.socket(zmq.PUB), context.socket(zmq.ROUTER)
    for each in (publisher, router):
        Curve(*server, server[0]).serve(each)
        each.bind("tcp://127.0.0.1:*")
    publish, request = (each.getsockopt_string(zmq.LAST_ENDPOINT) for each in (publisher, router))
    gate = Rig().contract

    async def heard_within(link: DaemonLink, seconds: float) -> bool:
        until_s, counter = time.monotonic() + seconds, 0
        while time.monotonic() < until_s and not gate.daemon_is_here:
            counter += 1
            now_ns = time.monotonic_ns()
            beat = Heartbeat(
                instance="line",
                epoch=EPOCH,
                seq=0,
                counter=counter,
                state=State.IDLE,
                sent_at_ns=now_ns,
                boot_id="boot",
            )
            publisher.send_multipart(encode(beat))
            link.tick(now_ns)
            await asyncio.sleep(0.02)
        return gate.daemon_is_here

    async def play() -> tuple[bool, bool]:
        section = BridgeSection(subscribe=publish, request=request)
        link = DaemonLink(
            section, {"gate1": gate}, Metrics(BRIDGE_METRICS), lambda _: None, curve=Curve(*own, server[0])
        )
        hearing = asyncio.create_task(link.hear())
        before = await heard_within(link, 1)
        shutil.copy(tmp_path / "bridge.key", clients)
        authenticator.configure_curve(domain="senbetsu", location=str(clients))
        after = await heard_within(link, 10)
        hearing.cancel()
        link.close()
        return before, after

    try:
        assert asyncio.run(play()) == (False, True)
    finally:
        authenticator.stop()
        context.destroy(linger=0)
