"""Whatever is said to the bridge, by Modbus clients or in the daemon's place, it goes on and believes none of it."""

import json
import random
import socket
from itertools import islice

import pytest
from noise import modbus_streams, send, value, zmtp_streams
from test_bridge_process import Setup, StandInDaemon, setup, wait_for

from senbetsu.messages import encode
from senbetsu.requests import TriggerRequest

assert setup


def count_of(setup: Setup, address: int) -> int:
    high, low = setup.plc.client.read_input_registers(address, count=2).registers
    return int(high << 16 | low)


def test_nonsense_over_modbus_moves_no_slot_and_parts_pass_as_before(setup: Setup) -> None:
    chance = random.Random(8)
    streams = modbus_streams(chance)
    zmtp = zmtp_streams(chance)
    half_open = [socket.create_connection(("127.0.0.1", setup.port), timeout=5) for _ in range(20)]
    for stream in half_open:
        stream.sendall(b"\0\1\0\0\0\6\1")  # and never the rest
    for number in range(1, 31):
        for payload in [*islice(streams, 8), *islice(zmtp, 1)]:
            send(setup.port, payload, 0.002)
        trigger = setup.plc.part()
        wait_for(lambda t=trigger: setup.plc.reason(t) == "OK")
        assert trigger == number
    assert count_of(setup, 0) == count_of(setup, 2) == 30
    assert setup.process.poll() is None
    for stream in half_open:
        stream.close()
    log = (setup.folder / "bridge.log").read_text()
    assert "Traceback" not in log
    assert log.count("\n") < 60, "nonsense does not fill the log"


def mutated(chance: random.Random, payload: bytes) -> bytes:
    document = json.loads(payload)
    for key in chance.sample(sorted(document), chance.randrange(1, 4)):
        if chance.random() < 0.3:
            del document[key]
        else:
            document[key] = value(chance)
    return json.dumps(document).encode()


@pytest.mark.parametrize("seed", [1, 2])
def test_results_that_are_almost_right_are_not_believed_and_the_true_one_is(setup: Setup, seed: int) -> None:
    chance = random.Random(seed)

    def shout(daemon: StandInDaemon, request: TriggerRequest) -> None:
        topic, payload = encode(daemon.make(request))
        for _ in range(30):
            noise = mutated(chance, payload)
            # What is still a result that may be believed (another score, say) is none of this test's.
            document = json.loads(noise)
            if document.get("schema") == 1 and document.get("seq") == len(daemon.results):
                document["schema"] = 2
            daemon.pub.send_multipart([topic, json.dumps(document).encode()])
        daemon.pub.send_multipart([b"heartbeat.", chance.randbytes(40)])
        daemon.router.send_multipart([daemon.client, chance.randbytes(40)])
        daemon.router.send_multipart([daemon.client, b'{"ok":true,"op":"replay","epoch":1000,"results":[{}],"lost":1}'])
        daemon.pub.send_multipart([topic, payload])

    setup.daemon.on_trigger = shout
    for _ in range(20):
        trigger = setup.plc.part()
        wait_for(lambda t=trigger: setup.plc.reason(t) != "NONE")
        assert setup.plc.reason(trigger) == "OK"
    assert setup.process.poll() is None
    log = (setup.folder / "bridge.log").read_text()
    assert "Traceback" not in log
