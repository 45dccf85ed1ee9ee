"""Artefacts that are swapped under a running daemon change nothing of what it judges by; the next start is judged by itself."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import zmq
from faults.program import free_port

PATIENCE_MS = 90_000


class RealDaemon:
    """The daemon with trained artefacts, and a client that triggers parts of a folder."""

    def __init__(self, folder: Path, artifacts: Path, source: Path) -> None:
        self.publish, self.request = (f"tcp://127.0.0.1:{free_port()}" for _ in range(2))
        config = folder / "config.toml"
        config.write_text(f"""
artifacts = "{artifacts}"
[[gates]]
name = "gate1"
[[cameras]]
name = "cam1"
kind = "folder"
source = "{source}"
gate = "gate1"
loop = true
[daemon]
publish = "{self.publish}"
request = "{self.request}"
metrics_port = 0
""")
        self.log = folder / "daemon.log"
        self._config = config
        self.context: zmq.Context[Any] = zmq.Context()
        self._subscriber = self.context.socket(zmq.SUB)
        self._subscriber.subscribe(b"")
        self._subscriber.connect(self.publish)
        self._dealer = self.context.socket(zmq.DEALER)
        self._dealer.connect(self.request)
        self.start()

    def start(self) -> None:
        with self.log.open("w") as log:
            self.process = subprocess.Popen([sys.executable, "-m", "daemon", "--config", str(self._config)], stderr=log)

    def hear(self, kind: bytes) -> dict[str, Any]:
        while self._subscriber.poll(PATIENCE_MS):
            topic, body = self._subscriber.recv_multipart()
            if topic.startswith(kind):
                return dict(json.loads(body))
        raise AssertionError(self.log.read_text())

    def part(self, trigger: int) -> dict[str, Any]:
        self._dealer.send_json({"op": "trigger", "gate": "gate1", "trigger": trigger, "deadline_ms": 20_000})
        return self.hear(b"result.")

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        self.context.destroy(linger=0)


@pytest.mark.faults
def test_artefacts_swapped_under_a_running_daemon_change_nothing_until_it_is_started_again(
    line: Any, tmp_path: Path, keep_row: Callable[[dict[str, Any]], None]
) -> None:
    artifacts = tmp_path / "artifacts"
    shutil.copytree(line.artifacts, artifacts)
    one_good = tmp_path / "parts"
    one_good.mkdir()
    shutil.copy(sorted(line.test_normal.iterdir())[0], one_good)
    daemon = RealDaemon(tmp_path, artifacts, one_good)
    try:
        daemon.hear(b"heartbeat.")
        before = [daemon.part(number) for number in range(1, 6)]
        profile = json.loads((artifacts / "profile.json").read_text())
        (artifacts / "profile.json").write_text(json.dumps(profile | {"threshold": 1e9}))
        for name, other in (
            ("embedding.safetensors", "profile.safetensors"),
            ("profile.safetensors", "embedding.safetensors"),
        ):
            shutil.copy(line.artifacts / other, artifacts / name)
        after = [daemon.part(number) for number in range(6, 11)]
        told = ("score", "threshold", "verdict", "model_sha256", "profile_sha256")
        assert all({key: r[key] for key in told} == {key: before[0][key] for key in told} for r in [*before, *after])
        daemon.process.kill()
        daemon.process.wait()
        daemon.start()
        assert daemon.process.wait(PATIENCE_MS / 1000) == 2, "what does not belong together is refused at the start"
        assert "senbetsu daemon: error:" in daemon.log.read_text()
    finally:
        daemon.close()
    keep_row({
        "name": "artefacts swapped under a running daemon", "safe_ms": None, "kept_out_for": [], "parts": len(before + after),
        "does": "judges on by what it was started with (real engine); the next start refuses what does not belong together",
        "lost": 0, "wrongly_passed": 0, "good_rejected": sum(r["verdict"] == "REJECT" for r in [*before, *after]),
    })  # fmt: skip
