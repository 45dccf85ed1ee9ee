"""What OPC UA beside it costs Modbus: trigger written -> verdict readable, with the OPC UA server off, idle, and subscribed to.

The line and the Modbus client are those of plc_latency.py. The OPC UA client is a process on this PC that subscribes to the
gate's window, its newest result and its events (asyncua, 10 ms), as a line's display would; what it takes of the processor
counts too. Each turn is a line of its own, since the server is on or off from its start. `bridge_ms` is the part of the time
that is the bridge's and the client's: before the daemon took the trigger, and after it decided. Medians over the turns.
"""

import asyncio
import multiprocessing
import os
import statistics
from multiprocessing.synchronize import Event
from typing import Any

from asyncua import Client, ua

from benchmarks.conditions import save
from benchmarks.demo_line import demo_line
from benchmarks.plc_latency import measure
from demo.__main__ import free_port

TURNS, PERIOD_MS = 3, 10
GATE = "gate1"


class Heard:
    """Counts what comes."""

    def __init__(self) -> None:
        self.changes = self.events = 0

    def datachange_notification(self, *_: object) -> None:
        """A value."""
        self.changes += 1

    def event_notification(self, *_: object) -> None:
        """An event."""
        self.events += 1


def node_id(path: str, index: int) -> ua.NodeId:
    """Of a string, in the namespace of this index."""
    return ua.NodeId(ua.String(path), ua.Int16(index))


def subscribe(port: int, ready: Event, stop: Event, heard: Any) -> None:
    """The client's process."""

    async def client() -> None:
        async with Client(f"opc.tcp://127.0.0.1:{port}/senbetsu") as connected:
            await connected.load_data_type_definitions()
            index = await connected.get_namespace_index("urn:senbetsu:bridge")
            nodes = [connected.get_node(node_id(f"{GATE}.{name}", index)) for name in ("Window", "Result")]
            event = await connected.nodes.base_event_type.get_child(f"{index}:ResultReadyEventType")
            counts = Heard()
            subscription = await connected.create_subscription(PERIOD_MS, counts)
            await subscription.subscribe_data_change(nodes)
            await subscription.subscribe_events(connected.get_node(node_id(GATE, index)), event)
            ready.set()
            while not stop.is_set():
                await asyncio.sleep(0.1)
            heard.put((counts.changes, counts.events))

    asyncio.run(client())


def turn(opcua: str) -> dict[str, Any]:
    """One run's figures."""
    port = free_port()
    settings: dict[str, object] = {"engine.threads": 1, "gates.0.deadline_ms": 1000}
    if opcua != "off":
        settings |= {"bridge.opcua.enabled": "true", "bridge.opcua.port": port}
    processes = multiprocessing.get_context("spawn")
    ready, stop, heard = processes.Event(), processes.Event(), processes.Queue()
    with demo_line(settings) as line:
        client = processes.Process(target=subscribe, args=(port, ready, stop, heard), daemon=True)
        if opcua == "subscribed":
            client.start()
            if not ready.wait(30):
                raise RuntimeError("the OPC UA client does not get its subscription")
        figures = measure(line)
        if opcua == "subscribed":
            stop.set()
            changes, events = heard.get(timeout=30)
            client.join()
            figures |= {"opcua_changes_heard": changes, "opcua_events_heard": events}
    return {"opcua": opcua, **figures}


def main() -> None:
    """The benchmark."""
    load = round(os.getloadavg()[0], 1)
    turns = [turn(opcua) for _ in range(TURNS) for opcua in ("off", "idle", "subscribed")]

    def median(opcua: str, what: str, share: str) -> float:
        found: float = statistics.median(t[what][share] for t in turns if t["opcua"] == opcua)
        return round(found, 2)

    figures = {
        opcua: {what: {share: median(opcua, what, share) for share in ("p50", "p99")}
                for what in ("written_to_readable_ms", "bridge_ms")}
        for opcua in ("off", "idle", "subscribed")
    }  # fmt: skip
    save("opcua_latency", {"load_average_before": load, "median_over_turns": figures, "turns": turns})


if __name__ == "__main__":
    main()
