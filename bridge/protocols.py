"""The ways to a PLC beside the Modbus server: which of them the config wants, and what each takes."""

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING

from bridge.digital_line import DigitalLine
from bridge.modbus_memory import ModbusMemory
from bridge.plc_writer import PlcMemory, PlcWriter
from bridge.table import GateTable
from senbetsu.config import Config, OpcUaSection
from senbetsu.errors import UserError

if TYPE_CHECKING:
    from bridge.opcua import OpcUaServer

for _library, _level in (("asyncua", logging.WARNING), ("pymodbus", logging.CRITICAL), ("snap7", logging.CRITICAL)):
    # They tell of each session, and of each try to connect; the bridge tells once of what has changed.
    logging.getLogger(_library).setLevel(_level)


def plc_writer(config: Config, tables: Mapping[int, GateTable]) -> PlcWriter | None:
    """What writes into a PLC, where that is wanted. Raises UserError where its library is missing."""
    section = config.bridge.client
    memory: PlcMemory
    match section.protocol:
        case "off":
            return None
        case "modbus":
            memory = ModbusMemory(section)
        case "s7":
            try:
                from bridge.s7_memory import S7Memory
            except ImportError as error:
                raise UserError(f"bridge.client.protocol = \"s7\": {error}; pip install 'senbetsu[s7]'") from error
            memory = S7Memory(section)
    gate = config.gates[0] if section.gate is None else config.gate(section.gate)
    return PlcWriter(tables[gate.unit_id], memory, section.cycle_ms / 1000)


def digital_line(config: Config, tables: Mapping[int, GateTable]) -> DigitalLine | None:
    """Sensor and gate without a PLC, where that is wanted. Raises UserError for settings by which no part could pass."""
    section = config.bridge.digital
    if section.chip is None:
        return None
    gate = config.gates[0] if section.gate is None else config.gate(section.gate)
    if section.travel_ms <= gate.deadline_ms:
        raise UserError(
            f"bridge.digital.travel_ms = {section.travel_ms:g}: parts would be at the gate before their verdict is "
            f"due (gates.{gate.name}: deadline_ms = {gate.deadline_ms:g}); move the gate away, or set a shorter deadline"
        )
    try:
        from bridge.gpio import GpioLines
    except ImportError as error:
        raise UserError(f"bridge.digital.chip: {error}; pip install 'senbetsu[gpio]'") from error
    return DigitalLine(
        tables[gate.unit_id], GpioLines(section), round(section.travel_ms * 1e6), round(section.pulse_ms * 1e6),
        round(section.late_ms * 1e6), section.allow_simulated,
    )  # fmt: skip


async def start_opcua(tables: Mapping[str, GateTable], section: OpcUaSection) -> "OpcUaServer | None":
    """The OPC UA server, where it is wanted. Raises UserError where its library is missing."""
    if not section.enabled:
        return None
    try:
        from bridge.opcua import OpcUaServer
    except ImportError as error:
        raise UserError(f"bridge.opcua.enabled: {error}; pip install 'senbetsu[opcua]'") from error
    server = OpcUaServer(tables, section)
    await server.start()
    return server
