"""Who may speak Modbus to the bridge."""

import socket
import subprocess
import sys
from ipaddress import ip_network
from pathlib import Path

import pytest
from pymodbus.client import ModbusTcpClient
from test_bridge_process import config_text, free_port, start_bridge, wait_for

from bridge.server import Server


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
