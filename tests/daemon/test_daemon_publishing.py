"""What a result says of its camera is what is so when it is published."""

from collections.abc import Callable

import zmq

from daemon.book import Book, JudgedBy
from daemon.outcome import Outcome
from daemon.publishing import Identity, Publisher
from senbetsu.config import Config
from senbetsu.messages import decode_result
from senbetsu.metrics import DAEMON_METRICS, Metrics
from senbetsu.verdict import Reason


def test_whether_a_camera_is_simulated_is_asked_anew_for_each_result(free_port: Callable[[], int]) -> None:
    """A camera may be connected only after the start: until then nobody knows."""
    simulated = {"cam1": False}
    config = Config.model_validate(
        {
            "cameras": [{"name": "cam1", "kind": "pylon", "source": "1", "gate": "gate1"}],
            "gates": [{"name": "gate1"}],
            "daemon": {"publish": f"tcp://127.0.0.1:{free_port()}"},
        }
    )
    context = zmq.Context()
    identity = Identity("line1", 1, "boot")
    publisher = Publisher(context, config, identity, simulated.__getitem__, Metrics(DAEMON_METRICS))
    book = Book(JudgedBy("main", 1, "m", "p", 1.0))
    for number in (1, 2):
        (look,) = book.announce("gate1", ["cam1"], number, None, 0, 1)
        publisher.publish(Outcome(look, Reason.OK, 1, 1, 1, 0.5, 0.5, 0.5))
        simulated["cam1"] = True
    _, _, payloads = publisher.ring.after(0)
    assert [decode_result(payload).simulated for payload in payloads] == [False, True]
    publisher.socket.close()
    context.term()
