"""The gates, the program that looks, its record and its keys: [[gates]], [daemon], [journal], [security]."""

from pathlib import Path
from typing import Annotated

from pydantic import Field

from senbetsu.config.section import Endpoint, Name, Port, Section
from senbetsu.messages import MAX_ITEMS


class GateSection(Section):
    """One gate: the place where a PLC lets a part through or not."""

    name: Name
    unit_id: Annotated[int, Field(ge=1, le=247)] = 1
    """Modbus unit id of the gate's table."""
    deadline_ms: Annotated[float, Field(gt=0, le=60_000)] = 100.0
    """From trigger to verdict, unless the PLC names another with the trigger."""
    items: Annotated[int, Field(ge=1, le=MAX_ITEMS)] = 1
    """Items a frame holds; every one is a look that must pass. As many as each of its cameras has regions."""
    least_spacing_ms: Annotated[float, Field(gt=0, le=60_000)] = 50.0
    """Hardware trigger: no two parts come closer than this."""
    allow_simulated: bool = False
    """Let simulated parts pass, where the PLC's control bit allows it too."""


class DaemonSection(Section):
    """The program that looks."""

    publish: Endpoint = "tcp://127.0.0.1:5556"
    """PUB socket of results, heartbeats and states."""
    request: Endpoint = "tcp://127.0.0.1:5557"
    """ROUTER socket of triggers, replay, acknowledgement and state."""
    metrics_host: str = "127.0.0.1"
    metrics_port: Port = 9750
    """Prometheus; 0: any free port."""
    heartbeat_ms: Annotated[float, Field(ge=10, le=400)] = 100.0
    replay_results: Annotated[int, Field(ge=16, le=10_000_000)] = 65_536
    """Newest results kept for replay."""
    batch_wait_ms: Annotated[float, Field(ge=0, le=1000)] = 0.0
    """Longest that a part waits for company in its batch; 0: a batch is whatever waits when the engine is free."""
    engine_check_ms: Annotated[float, Field(ge=50, le=1000)] = 500.0
    """When no part came for this long, the engine judges a stored frame whose score is known."""
    engine_stall_ms: Annotated[float, Field(gt=0, le=600_000)] = 2000.0
    """An engine that is busy with one batch for longer is in fault."""
    drift_window: Annotated[int, Field(ge=50, le=100_000)] = 250
    """Passed parts of the shortest window that is compared with the calibration's scores; others are 2 to 64 times as long."""
    drift_false_alarm_parts: Annotated[int, Field(ge=1000, le=10**9)] = 1_000_000
    """On average so many parts between two false alarms of drift."""


class RealtimeSection(Section):
    """What the line asks of Linux, so that other programs do not hold it up."""

    fifo_priority: Annotated[int, Field(ge=0, le=48)] = 0
    """Of SCHED_FIFO, for the daemon; one more for the bridge: before every ordinary program of this PC. 0: as they are."""


class JournalSection(Section):
    """The bridge's record of every result and every decision, in an SQLite file."""

    enabled: bool = True
    file: Path | None = None
    """The record; two files beside it belong to it. Left out: journal.sqlite in bridge.state_dir."""
    batch_ms: Annotated[float, Field(ge=10, le=10_000)] = 250.0
    """Rows are written this often: what a killed bridge may lack."""
    queue_rows: Annotated[int, Field(ge=100, le=10_000_000)] = 50_000
    """Rows that wait while the disk is slow or full; those beyond are dropped, counted, and the gap is marked."""
    keep_days: Annotated[float, Field(gt=0, le=100_000)] = 90.0
    """Older rows are deleted, a few at a time."""
    max_mib: Annotated[float, Field(ge=1, le=10_000_000)] = 4096.0
    """Largest file, MiB (2^20 bytes): beyond it the oldest rows are deleted."""


class SecuritySection(Section):
    """Who may connect."""

    keys_dir: Path | None = None
    """Folder of CURVE keys, made by `senbetsu keys`; needed for any ZeroMQ address but this PC's own."""
