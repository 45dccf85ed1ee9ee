"""A real bridge process with every way to a PLC switched on."""

import asyncio
from pathlib import Path

from asyncua import Client, ua
from loop_thread import LoopThread, free_port, wait_for
from pymodbus.client import ModbusTcpClient
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice
from test_bridge_process import Plc, StandInDaemon, config_text, start_bridge


def test_one_process_serves_modbus_and_opc_ua_and_writes_into_a_plc(tmp_path: Path) -> None:
    publish, request, modbus, opcua, into = (free_port() for _ in range(5))
    text = config_text(tmp_path, publish, request, modbus)
    text += f"\n[bridge.opcua]\nenabled = true\nport = {opcua}\n"
    text += f'[bridge.client]\nprotocol = "modbus"\nhost = "127.0.0.1"\nport = {into}\ngate = "gate2"\n'
    thread = LoopThread()

    async def memory() -> ModbusTcpServer:
        device = SimDevice(1, simdata=[SimData(0, count=188, values=0, datatype=DataType.REGISTERS)])
        server = ModbusTcpServer(device, address=("127.0.0.1", into))
        await server.serve_forever(background=True)
        return server

    async def over_opcua() -> tuple[int, int]:
        async with Client(f"opc.tcp://127.0.0.1:{opcua}/senbetsu", timeout=10) as client:
            await client.load_data_type_definitions()
            index = await client.get_namespace_index("urn:senbetsu:bridge")
            result = await client.get_node(ua.NodeId("gate1.Result", index)).read_value()
            return result.Trigger, result.Reason

    server = thread.run(memory())
    daemon = StandInDaemon(publish, request)
    process = start_bridge(tmp_path, text)
    try:
        wait_for(lambda: ": ready" in (tmp_path / "bridge.log").read_text(), 40)
        with ModbusTcpClient("127.0.0.1", port=modbus, timeout=3) as client:
            plc = Plc(client)
            plc.start()
            trigger = plc.part()
            wait_for(lambda: plc.reason(trigger) == "OK")
            wait_for(lambda: asyncio.run(over_opcua()) == (trigger, 1))
            gate2 = client.read_input_registers(20, count=3, device_id=2).registers
            wait_for(lambda: thread.run(server.async_getValues(1, 3, 20, 3)) == gate2)
    finally:
        process.terminate()
        assert process.wait(timeout=15) == 0, (tmp_path / "bridge.log").read_text()
        daemon.close()
        thread.run(server.shutdown())
        thread.close()
    assert "Traceback" not in (tmp_path / "bridge.log").read_text()


def test_settings_of_a_protocol_that_cannot_work_end_the_bridge_at_the_start_with_one_line(tmp_path: Path) -> None:
    for number, (section, said) in enumerate(
        (
            ('[bridge.opcua]\nenabled = true\nhost = "0.0.0.0"', "bridge.opcua.host"),
            ('[bridge.client]\nprotocol = "modbus"\ngate = "gate9"', "bridge.client.gate"),
            ('[bridge.digital]\nchip = "/dev/gpiochip99"', "bridge.digital.chip"),
        )
    ):
        folder = tmp_path / str(number)
        folder.mkdir()
        text = config_text(folder, free_port(), free_port(), free_port())
        process = start_bridge(folder, f"{text}\n{section}\n")
        assert process.wait(timeout=40) == 2
        log = (folder / "bridge.log").read_text()
        assert said in log
        assert "Traceback" not in log
