"""A daemon that runs: triggers, results, replay, acknowledgement, requests that are no requests, metrics."""

import json
import time
import urllib.request
from itertools import count, pairwise
from typing import Any

import pytest
import zmq

from senbetsu.messages import Result, decode_result
from senbetsu.metrics import DAEMON_METRICS
from senbetsu.requests import AckRequest, Answer, ReplayRequest, StateRequest, encode_request
from senbetsu.states import State
from senbetsu.verdict import Reason, Verdict

numbers = count(1)


def part(running: Any, part_id: int | None = None) -> Result:
    """Trigger one part and hear its result."""
    number = next(numbers)
    assert running.trigger(number, part_id=part_id).ok
    (result,) = running.hear(lambda heard: [r for r in heard.results() if r.trigger == number])
    return result


def test_each_picture_gets_the_verdict_that_its_score_means(running: Any) -> None:
    seen = [part(running) for _ in range(4)]
    in_order = sorted(seen, key=lambda result: (result.frame_id - 1) % 4)
    assert [(r.verdict, r.reason) for r in in_order] == [
        (Verdict.PASS, Reason.OK),
        (Verdict.REJECT, Reason.ANOMALY),
        (Verdict.REJECT, Reason.INCOMPLETE_FRAME),
        (Verdict.REJECT, Reason.NONFINITE),
    ]
    assert [r.score for r in in_order[:2]] == pytest.approx([0.5, 1.5])
    assert in_order[0].metric_distance == pytest.approx(0.25)
    assert in_order[0].novelty_distance == pytest.approx(0.125)


def test_a_result_says_whose_it_is_and_when(running: Any) -> None:
    result = part(running, part_id=70_000)
    assert (result.gate, result.camera, result.part_id, result.threshold) == ("gate1", "cam1", 70_000, 1.0)
    assert (result.model_sha256, result.profile_sha256) == ("m" * 64, "p" * 64)
    assert result.simulated
    assert result.triggered_at_ns <= result.exposed_at_ns <= result.decided_at_ns
    assert result.epoch == running.state()["epoch"] < 2**53
    assert result.epoch == running.until_ready().epoch


def test_results_are_numbered_without_a_gap(running: Any) -> None:
    for _ in range(5):
        part(running)
    results = running.results()
    assert [r.seq for r in results] == list(range(results[0].seq, results[0].seq + len(results)))
    for before, after in pairwise(results):
        assert after.reject_seq - before.reject_seq == (after.verdict is Verdict.REJECT)


def test_a_burst_of_triggers_gets_one_result_each(running: Any) -> None:
    burst = [next(numbers) for _ in range(40)]
    for number in burst:
        running.send(json.dumps({"op": "trigger", "gate": "gate1", "trigger": number, "deadline_ms": 5000}).encode())
    answers = [running.receive() for _ in burst]
    assert [a.body["trigger"] for a in answers if a.ok] == burst
    wanted = set(burst)
    running.hear(lambda heard: wanted <= {r.trigger for r in heard.results()})
    running.until_ready()
    running.until_ready()
    assert sorted(r.trigger for r in running.results() if r.trigger in wanted) == burst


def test_an_accepted_trigger_names_the_looks_to_expect(running: Any) -> None:
    number = next(numbers)
    answer = running.trigger(number)
    assert answer.ok
    assert answer.op == "trigger"
    assert answer.body == {
        "gate": "gate1", "trigger": number, "epoch": running.state()["epoch"],
        "looks": [{"camera": "cam1", "items": 1}],
    }  # fmt: skip
    running.hear(lambda heard: number in [result.trigger for result in heard.results()])  # the next test counts results


@pytest.mark.parametrize(
    ("request_", "says"),
    [
        (b"no json", "not JSON"),
        (b'{"op":"dance"}', "not one of trigger, replay, ack, state, recipe"),
        (b'{"op":"trigger","gate":"gate1","trigger":65536,"deadline_ms":100}', "trigger: expected an integer"),
        (b'{"op":"trigger","gate":"gate1","trigger":1,"deadline_ms":0}', "deadline_ms"),
        (b'{"op":"trigger","gate":"nowhere","trigger":1,"deadline_ms":100}', "nowhere"),
        (b"", "not JSON"),
    ],
)
def test_what_is_no_request_is_answered_with_what_is_wrong(running: Any, request_: bytes, says: str) -> None:
    before = running.state()["seq"]
    answer = running.ask(request_)
    assert not answer.ok
    assert says in answer.body["error"]
    assert running.state()["seq"] == before


def test_a_trigger_that_is_malformed_is_refused_by_its_number(running: Any) -> None:
    answer = running.ask(b'{"op":"trigger","gate":"gate1","trigger":7,"deadline_ms":0}')
    assert (answer.ok, answer.op) == (False, "trigger")
    assert {**answer.body, "error": ""} == {"gate": "gate1", "trigger": 7, "reason": "BAD_TRIGGER", "error": ""}
    answer = running.ask(b'{"op":"trigger","gate":["gate1"],"trigger":"7","deadline_ms":100}')
    assert (answer.op, answer.body["gate"], answer.body["trigger"]) == ("trigger", None, None)


def test_req_and_dealer_clients_are_both_answered(running: Any) -> None:
    with running.context.socket(zmq.REQ) as req:
        req.connect(running.request)
        for _ in range(2):
            req.send(encode_request(StateRequest()))
            assert req.poll(10_000)
            assert Answer.decode(req.recv()).body["instance"] == "line1"
    assert running.ask(StateRequest()).ok


def test_who_subscribes_to_rejects_hears_rejects_alone(running: Any) -> None:
    with running.context.socket(zmq.SUB) as rejects:
        rejects.subscribe(b"result.reject.")
        rejects.connect(running.publish)
        # Subscribed once a first reject arrives: every fourth picture passes.
        while not rejects.poll(100):
            part(running)
        first = decode_result(rejects.recv_multipart()[1])
        expected = [r for r in (part(running) for _ in range(8)) if r.verdict is Verdict.REJECT]
        heard = []
        while len(heard) < len(expected):
            assert rejects.poll(10_000)
            topic, payload = rejects.recv_multipart()
            assert topic == b"result.reject.cam1."
            result = decode_result(payload)
            if result.seq >= expected[0].seq:
                heard.append(result)
        assert [r.seq for r in heard] == [r.seq for r in expected]
        assert first.verdict is Verdict.REJECT


def test_replay_brings_back_the_very_results(running: Any) -> None:
    results = [part(running) for _ in range(4)]
    answer = running.ask(ReplayRequest(epoch=results[0].epoch, after=results[0].seq - 1))
    assert answer.ok
    assert (answer.body["first"], answer.body["last"], answer.body["lost"]) == (results[0].seq, results[-1].seq, 0)
    again = [decode_result(json.dumps(document).encode()) for document in answer.body["results"]]
    assert repr(again) == repr(results)


def test_replay_of_another_epoch_is_refused(running: Any) -> None:
    epoch = running.state()["epoch"]
    answer = running.ask(ReplayRequest(epoch=epoch - 1, after=0))
    assert not answer.ok
    assert answer.body["epoch"] == epoch


def test_an_acknowledgement_lowers_what_is_unacknowledged(running: Any) -> None:
    result = part(running)
    assert running.ask(AckRequest(epoch=result.epoch, seq=result.seq)).ok
    assert scraped(running)["senbetsu_results_unacknowledged"] == 0
    assert not running.ask(AckRequest(epoch=result.epoch - 1, seq=1)).ok


def parts_in(values: dict[str, float]) -> float:
    return sum(value for name, value in values.items() if name.startswith("senbetsu_parts_total{"))


def scraped(running: Any) -> dict[str, float]:
    with urllib.request.urlopen(f"http://127.0.0.1:{running.metrics_port}/metrics", timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    return {text.rsplit(" ", 1)[0]: float(text.rsplit(" ", 1)[1]) for text in lines if not text.startswith("#")}


def test_prometheus_sees_every_name_of_the_table_and_counts_that_agree(running: Any) -> None:
    part(running)
    seq = running.state()["seq"]
    values = scraped(running)
    until = time.monotonic() + 5
    while parts_in(values) < seq and time.monotonic() < until:  # counted when the main thread next turns
        values = scraped(running)
    names = {name.split("{")[0] for name in values}
    for metric in DAEMON_METRICS:
        ending = {"histogram": "_count", "counter": "", "gauge": ""}[metric.kind]
        if not metric.name.startswith("drift_"):  # this engine has no distribution, so that nobody watches
            assert f"senbetsu_{metric.name}{ending}" in names
    assert parts_in(values) == seq
    assert values['senbetsu_triggers_total{camera="cam1"}'] == seq
    assert values["senbetsu_state"] in (State.IDLE, State.EXECUTE)
    assert values["senbetsu_calibration_samples"] == 299


def test_heartbeats_count_on_and_tell_the_newest_seq(running: Any) -> None:
    result = part(running)
    first, second = running.until_ready(), running.until_ready()
    assert second.counter > first.counter
    assert second.seq >= result.seq
