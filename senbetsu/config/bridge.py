"""The program that the PLC talks to, and the ways to do so: [bridge]."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from senbetsu.config.section import Endpoint, Name, Network, Port, Section


class OpcUaSection(Section):
    """The bridge as an OPC UA server; it takes pip install 'senbetsu[opcua]'."""

    enabled: bool = False
    host: str = "127.0.0.1"
    """Address that clients connect to. Any but this PC's own takes certificate, private_key and trusted."""
    port: Port = 4840
    certificate: Path | None = None
    """The server's own, PEM or DER. With it only encrypted and signed channels are offered."""
    private_key: Path | None = None
    """The certificate's, PEM."""
    trusted: Path | None = None
    """Folder of the certificates of the clients that may connect."""
    user: Annotated[str, Field(min_length=1)] | None = None
    """A user who has to log in beside that; takes a certificate, so that the password goes encrypted."""
    password_file: Path | None = None
    """File that holds the user's password."""


class PlcClientSection(Section):
    """The bridge as a client that writes one gate's table into a PLC and reads the PLC's words there."""

    protocol: Literal["off", "modbus", "s7"] = "off"
    """modbus: Modbus TCP, holding registers. s7: Siemens S7, a data block; takes pip install 'senbetsu[s7]'."""
    gate: Name | None = None
    """Which gate; left out: the first."""
    host: str = "192.168.0.1"
    port: Port = 502
    """502 for Modbus TCP, 102 for S7."""
    unit_id: Annotated[int, Field(ge=0, le=255)] = 1
    """modbus: unit id of the PLC."""
    rack: Annotated[int, Field(ge=0, le=7)] = 0
    """s7."""
    slot: Annotated[int, Field(ge=0, le=31)] = 1
    """s7: 1 for S7-1200 and 1500, 2 for S7-300."""
    data_block: Annotated[int, Field(ge=1, le=65_535)] = 1
    """s7: number of the data block."""
    table_at: Annotated[int, Field(ge=0, le=65_000)] = 0
    """Word (holding register) in the PLC from which the 176 words of the table are written."""
    plc_at: Annotated[int, Field(ge=0, le=65_000)] = 176
    """Word (holding register) in the PLC from which its own 12 words are read."""
    cycle_ms: Annotated[float, Field(ge=1, le=1000)] = 5.0
    """Pause between two rounds of reading and writing."""

    @model_validator(mode="after")
    def _areas_are_apart(self) -> Self:
        if self.table_at < self.plc_at + 12 and self.plc_at < self.table_at + 176:
            raise ValueError(
                f"plc_at = {self.plc_at} lies within the table ({self.table_at} to {self.table_at + 175}); the PLC's 12 words "
                "need a place of their own"
            )
        return self


class DigitalSection(Section):
    """A line without a PLC: sensor and gate on a GPIO chip; it takes pip install 'senbetsu[gpio]'."""

    chip: Path | None = None
    """Device of the GPIO chip, /dev/gpiochip0; left out: off."""
    gate: Name | None = None
    """Which gate; left out: the first."""
    sensor_line: Annotated[int, Field(ge=0, le=1023)] = 0
    """Input: a rising edge is a part."""
    gate_line: Annotated[int, Field(ge=0, le=1023)] = 1
    """Output: on while a part that was proven good is at the gate; off is reject."""
    travel_ms: Annotated[float, Field(gt=0, le=600_000)] = 500.0
    """From the sensor to the gate; longer than the gate's deadline_ms."""
    pulse_ms: Annotated[float, Field(gt=0, le=60_000)] = 50.0
    """How long the output stays on; the next part at the gate ends it earlier."""
    late_ms: Annotated[float, Field(gt=0, le=60_000)] = 10.0
    """A part that has been at the gate for longer when the bridge looks stays rejected."""
    debounce_ms: Annotated[float, Field(ge=0, le=1000)] = 2.0
    allow_simulated: bool = False
    """Let simulated parts pass, where the gate allows it too."""


class BridgeSection(Section):
    """The program that talks to the PLC."""

    subscribe: Endpoint = "tcp://127.0.0.1:5556"
    request: Endpoint = "tcp://127.0.0.1:5557"
    modbus_host: str = "127.0.0.1"
    modbus_port: Port = 5020
    modbus_allowed: tuple[Network, ...] = ()
    """Addresses or networks of the clients that are let in; none: this PC alone. Needed for any modbus_host but 127.0.0.1."""
    modbus_clients: Annotated[int, Field(ge=1, le=256)] = 8
    """Most connections at once. One more takes the place of whoever was silent for the longest, but not of a live writer."""
    modbus_idle_ms: Annotated[float, Field(ge=1000, le=3_600_000)] = 30_000.0
    """A client without a whole request for this long is disconnected."""
    metrics_host: str = "127.0.0.1"
    metrics_port: Port = 9751
    """Prometheus; 0: any free port."""
    state_dir: Path = Path("var")
    """Keeps the run number over restarts."""
    daemon_silent_ms: Annotated[float, Field(ge=100, le=60_000)] = 500.0
    """No heartbeat of the daemon for this long: parts are rejected, reason LINK."""
    plc_silent_ms: Annotated[float, Field(ge=100, le=60_000)] = 1000.0
    """The PLC's heartbeat unchanged for this long: HELD, triggers refused."""
    opcua: OpcUaSection = OpcUaSection()
    client: PlcClientSection = PlcClientSection()
    digital: DigitalSection = DigitalSection()
