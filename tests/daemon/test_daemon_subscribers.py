"""The subscribers of docs/ hear a real daemon; what it says is what the published schema says; who comes late gets all."""

import json
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import zmq

from senbetsu.requests import AckRequest, ReplayRequest, StateRequest, TriggerRequest, encode_request

DOCS = Path(__file__).parents[2] / "docs"
SCHEMA = json.loads((DOCS / "contract.schema.json").read_text(encoding="utf-8"))
HERE = Path(__file__).parent
PASSES, REJECTED = 50, 150
PATIENCE_S = 20


def validate(name: str, document: Any) -> None:
    jsonschema.Draft202012Validator({**SCHEMA, "anyOf": [{"$ref": f"#/$defs/{name}"}]}).validate(document)


@contextmanager
def lines_of(command: list[str]) -> Iterator[Callable[[Callable[[list[str]], bool]], list[str]]]:
    """Run a program; what it has printed, once that is as wanted."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    printed: list[str] = []
    news = threading.Condition()

    def read() -> None:
        assert process.stdout is not None
        for line in process.stdout:
            with news:
                printed.append(line.strip())
                news.notify()

    thread = threading.Thread(target=read)
    thread.start()

    def wait(wanted: Callable[[list[str]], bool]) -> list[str]:
        with news:
            assert news.wait_for(lambda: wanted(printed), PATIENCE_S), printed
            return list(printed)

    try:
        yield wait
    finally:
        process.kill()
        process.wait()
        thread.join()


def test_the_python_subscriber_comes_late_and_hears_every_result_once(start_line: Any) -> None:
    line = start_line([PASSES, REJECTED])
    line.until_ready()
    for number in range(300):  # more than one answer to a replay holds
        line.trigger(number)
    line.until_results(300)
    with lines_of([sys.executable, str(DOCS / "subscribers/subscribe.py"), line.publish, line.request]) as wait:
        wait(lambda printed: len(printed) >= 300)
        for number in range(300, 310):
            line.trigger(number)
        printed = wait(lambda printed: len(printed) >= 310)
    assert [int(text.split()[0]) for text in printed] == list(range(1, 311))
    assert {text.split()[1] for text in printed} == {"PASS", "REJECT"}


def test_the_c_subscriber_hears_the_rejects(start_line: Any, tmp_path: Path) -> None:
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler (cc)")
    program = tmp_path / "subscribe"
    source = str(DOCS / "subscribers/subscribe.c")
    compile_ = [compiler, "-Wall", "-Werror", "-o", str(program), source]
    if subprocess.run([*compile_, "-lzmq"], capture_output=True).returncode != 0:
        libraries = list((Path(zmq.__file__).parents[1] / "pyzmq.libs").glob("libzmq*.so*"))
        if not libraries:
            pytest.skip("libzmq is neither installed with its header nor part of pyzmq")
        library = libraries[0]
        subprocess.run([*compile_, f"-I{HERE}", str(library), f"-Wl,-rpath,{library.parent}"], check=True)
    line = start_line([PASSES, REJECTED])
    line.until_ready()
    with lines_of([str(program), line.publish, "result.reject."]) as wait:
        number = 0
        heard: list[str] = []
        while len(heard) < 3:
            line.trigger(number)
            number += 1
            line.until_results(number)
            heard = wait(lambda _: True)
    for text in heard:
        topic, _, body = text.partition(" ")
        assert topic == "result.reject.cam1."
        assert json.loads(body)["reason"] == "ANOMALY"
        validate("Result", json.loads(body))


def test_all_that_the_daemon_says_is_valid_by_the_published_schema(start_line: Any) -> None:
    line = start_line([PASSES, None, REJECTED])
    epoch = line.until_ready().epoch
    with line.context.socket(zmq.SUB) as raw, line.context.socket(zmq.DEALER) as dealer:
        raw.subscribe(b"")
        raw.connect(line.publish)
        dealer.connect(line.request)

        def ask(request: bytes, name: str) -> dict[str, Any]:
            dealer.send(request)
            assert dealer.poll(PATIENCE_S * 1000)
            answer: dict[str, Any] = json.loads(dealer.recv())
            validate(name, answer)
            return answer

        seen: set[str] = set()
        number = 0
        while seen != {"Result", "Heartbeat", "StateChange"}:
            number += 1
            request = TriggerRequest(gate="gate1", run=9, trigger=number, part_id=number, deadline_ms=5000)
            ask(encode_request(request), "TriggerAnswer")
            while raw.poll(100):
                topic, body = raw.recv_multipart()
                name = {b"result": "Result", b"heartbeat": "Heartbeat", b"state": "StateChange"}[topic.split(b".")[0]]
                seen.add(name)
                validate(name, json.loads(body))
                assert json.loads(body).get("run", 9) == 9
                if name != "Heartbeat":
                    break
        line.until_results(number)
        replayed = ask(encode_request(ReplayRequest(epoch=epoch, after=0)), "ReplayAnswer")
        assert (replayed["first"], replayed["last"], replayed["lost"]) == (1, number, 0)
        state = ask(encode_request(StateRequest()), "StateAnswer")
        assert (state["oldest"], state["seq"], state["acknowledged"]) == (1, number, 0)
        assert ask(encode_request(AckRequest(epoch=epoch, seq=number - 1)), "AckAnswer")["seq"] == number - 1
        assert ask(encode_request(StateRequest()), "StateAnswer")["acknowledged"] == number - 1
        for nonsense in (b"", b"{", b'{"op":"trigger"}', encode_request(ReplayRequest(epoch=epoch + 1, after=0))):
            ask(nonsense, "Refusal")
