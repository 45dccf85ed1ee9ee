"""Daemon and bridge as processes on this PC, with the demo's artefacts and cells, for benchmarks that bring their own PLC."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from demo.__main__ import REPOSITORY, Service, free_port
from demo.report import ARTIFACTS

UNIT_NICE = -5
"""Of both units in systemd/."""
SETTLED_S = 1.0
"""From both ready until subscriptions stand and heartbeats are heard."""


@dataclass(frozen=True)
class DemoLine:
    """Where it is reached."""

    folder: Path
    """For a report; gone with the line."""
    publish: int
    request: int
    modbus: int
    metrics: int
    """The daemon's."""
    services: dict[str, Service]
    exit_statuses: dict[str, int] = field(default_factory=dict)
    """Filled when it has ended."""


def as_its_unit(services: Iterable[Service]) -> None:
    """The priority that the units in systemd/ give, which on a PC that runs a PLC's part too is worth what it takes from that.

    Raises PermissionError where this user may not (root and CAP_SYS_NICE may).
    """
    for service in services:
        for thread in Path(f"/proc/{service.process.pid}/task").iterdir():
            os.setpriority(os.PRIO_PROCESS, int(thread.name), UNIT_NICE)


def make_demo() -> None:
    """Run the demo first where it has not been."""
    if not (ARTIFACTS / "profile.json").exists():
        subprocess.run([sys.executable, "-m", "demo"], cwd=REPOSITORY, check=True)


@contextmanager
def demo_line(settings: Mapping[str, object] | None = None) -> Iterator[DemoLine]:
    """Both are ready inside; the demo is run first where it has not been. `settings` by dotted name, as `--set` takes them."""
    make_demo()
    with tempfile.TemporaryDirectory() as temporary:
        line = DemoLine(Path(temporary), free_port(), free_port(), free_port(), free_port(), {})
        publish, request = (f"tcp://127.0.0.1:{port}" for port in (line.publish, line.request))
        own = {
            "daemon.publish": publish, "daemon.request": request, "daemon.metrics_port": line.metrics,
            "bridge.subscribe": publish, "bridge.request": request, "bridge.modbus_port": line.modbus,
            "bridge.metrics_port": 0, "bridge.state_dir": temporary, "cameras.0.loop": "true",
        }  # fmt: skip
        flags = ["--config", "config.toml", "--artifacts", str(ARTIFACTS)]
        for key, value in {**own, **(settings or {})}.items():
            flags += ["--set", f"{key}={value}"]
        line.services.update({name: Service(name, *flags) for name in ("daemon", "bridge")})
        try:
            for service in line.services.values():
                service.wait_until_ready()
            time.sleep(SETTLED_S)
            yield line
        finally:
            line.exit_statuses.update({name: service.stop() for name, service in line.services.items()})
