"""The bridge tells systemd that it is ready, that it makes progress, and that it stops."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

from test_bridge_process import config_text, free_port


def test_ready_watchdog_and_stopping_reach_the_service_manager(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text(config_text(tmp_path, free_port(), free_port(), free_port()))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        address = tmp_path / "notify"
        manager.bind(str(address))
        manager.settimeout(30)
        process = subprocess.Popen(
            [sys.executable, "-m", "bridge"], cwd=tmp_path, env={**os.environ, "NOTIFY_SOCKET": str(address)},
            stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            assert manager.recv(4096).startswith(b"READY=1\nSTATUS=ready")
            assert manager.recv(4096) == b"WATCHDOG=1"
            assert manager.recv(4096) == b"WATCHDOG=1"
            process.send_signal(signal.SIGTERM)
            messages = [manager.recv(4096)]
            while not messages[-1].startswith(b"STOPPING=1"):
                messages.append(manager.recv(4096))
            assert process.wait(timeout=10) == 0
        finally:
            process.kill()
            process.wait()
