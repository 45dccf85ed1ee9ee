"""Whatever is said to the daemon's sockets, it goes on: no nonsense is believed, and parts are judged as before."""

import random
from itertools import islice
from typing import Any

import zmq
from noise import requests, send, zmtp_streams

from senbetsu.messages import MessageError
from senbetsu.requests import Answer
from senbetsu.verdict import Reason

PASSES = 50


def port_of(endpoint: str) -> int:
    return int(endpoint.rpartition(":")[2])


def test_nonsense_on_every_socket_stops_neither_results_nor_heartbeats(start_line: Any) -> None:
    line = start_line([PASSES])
    beat = line.until_ready()
    chance = random.Random(8)
    streams, messages = zmtp_streams(chance), requests(chance)
    with line.context.socket(zmq.DEALER) as dealer:
        dealer.setsockopt(zmq.LINGER, 0)
        dealer.connect(line.request)
        for number in range(1, 31):
            for stream in islice(streams, 4):
                send(port_of(line.request), stream)
                send(port_of(line.publish), stream)
            for frames in islice(messages, 20):
                dealer.send_multipart(frames)
            assert line.trigger(number).ok
            (result,) = line.until_results(1, after=number - 1)
            assert (result.trigger, result.reason, result.seq) == (number, Reason.OK, number)
        answered = 0
        while dealer.poll(500):
            try:
                answer = Answer.decode(dealer.recv_multipart()[-1])
            except MessageError:
                continue  # a request of many frames is answered with its own first ones
            answered += 1
            assert not answer.ok or answer.op in ("state", "replay", "ack")
    assert answered >= 300
    assert line.process.poll() is None
    assert line.hear(lambda heard: heard.heartbeats()[-1].counter > beat.counter + 2)
    assert line.log.count("\n") < 60, "nonsense does not fill the log"


def test_a_message_that_is_too_long_ends_its_connection_and_nothing_else(running: Any) -> None:
    with running.context.socket(zmq.DEALER) as dealer:
        dealer.setsockopt(zmq.LINGER, 0)
        dealer.connect(running.request)
        dealer.send(b'{"op":"state","x":"' + b"x" * 100_000 + b'"}')
        assert not dealer.poll(500)
        assert running.state()["instance"] == "line1"
        dealer.send(b'{"op":"state"}')
        assert dealer.poll(20_000), "it has connected again"


def test_half_a_character_in_a_request_is_answered_with_what_is_wrong(running: Any) -> None:
    answer = running.ask(b'{"op":"trigger","gate":"\\ud800","trigger":1,"deadline_ms":5}')
    assert "surrogate" in answer.body["error"]
    assert running.trigger(1).ok


def test_a_subscriber_that_never_reads_does_not_hold_up_the_line(start_line: Any) -> None:
    line = start_line([PASSES])
    line.until_ready()
    with line.context.socket(zmq.SUB) as lazy:
        lazy.setsockopt(zmq.RCVHWM, 1)
        lazy.subscribe(b"")
        lazy.connect(line.publish)
        for number in range(200):
            assert line.trigger(number).ok
        results = line.until_results(200)
    assert [result.seq for result in results] == list(range(1, 201))
