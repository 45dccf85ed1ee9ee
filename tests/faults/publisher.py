"""A daemon's sockets in the test's own hands: it judges what is before the camera, and publishes it wrongly on purpose."""

import json
import math
import threading
import time
from dataclasses import replace
from typing import Any

import zmq
from faults.scene import GOOD, Scene

from senbetsu.messages import Heartbeat, Result, encode
from senbetsu.requests import Answer, ReplayRequest, TriggerRequest, decode_request
from senbetsu.states import State
from senbetsu.verdict import Reason, Verdict

EPOCH = 2_000_000
BEAT_S = 0.1


class Publisher(threading.Thread):
    """Answers triggers at once with the truth, and then with something else."""

    def __init__(
        self, ports: dict[str, int], *, twice: bool = False, swapped: bool = False, old_epoch_passes: bool = False
    ) -> None:
        super().__init__(daemon=True, name="publisher")
        self._ports = ports
        self._twice, self._swapped, self._old_epoch_passes = twice, swapped, old_epoch_passes
        self._results: list[Result] = []
        self._held: Result | None = None
        self._stopping = threading.Event()
        self.wrong = 0
        """Messages that no daemon in order would send."""
        self.scene: Scene

    def close(self) -> None:
        """End it."""
        self._stopping.set()
        self.join()

    def run(self) -> None:
        beats, next_beat_s = 0, 0.0
        with zmq.Context() as context, context.socket(zmq.PUB) as self._pub, context.socket(zmq.ROUTER) as router:
            self._pub.bind(f"tcp://127.0.0.1:{self._ports['publish']}")
            router.bind(f"tcp://127.0.0.1:{self._ports['request']}")
            while not self._stopping.is_set():
                if router.poll(5):
                    client, payload = router.recv_multipart()
                    if (answer := self._answer(payload)) is not None:
                        router.send_multipart([client, answer.encode()])
                if time.monotonic() >= next_beat_s:
                    next_beat_s = time.monotonic() + BEAT_S
                    beats += 1
                    self._pub.send_multipart(encode(Heartbeat(
                        instance="line1", epoch=EPOCH, seq=len(self._results), counter=beats, state=State.EXECUTE,
                        sent_at_ns=1, boot_id="b",
                    )))  # fmt: skip

    def _answer(self, payload: bytes) -> Answer | None:
        request = decode_request(payload)
        match request:
            case TriggerRequest():
                self._publish(self._judge(request))
                return Answer(True, "trigger", {})
            case ReplayRequest():
                documents = [json.loads(encode(r)[1]) for r in self._results if r.seq > request.after]
                body: dict[str, Any] = {
                    "epoch": EPOCH, "results": documents, "lost": 0, "newest": len(self._results), "last": None,
                    "first": documents[0]["seq"] if documents else None,
                }  # fmt: skip
                return Answer(True, "replay", body)
        return None

    def _judge(self, request: TriggerRequest) -> Result:
        good = self.scene.grey() == GOOD
        result = Result(
            instance="line1", epoch=EPOCH, seq=len(self._results) + 1, reject_seq=0, gate=request.gate, run=request.run,
            trigger=request.trigger, part_id=request.part_id, camera="cam1", frame_id=1, item=0, items=1,
            verdict=Verdict.PASS if good else Verdict.REJECT, reason=Reason.OK if good else Reason.ANOMALY,
            score=0.5 if good else 1.5, threshold=1.0, metric_distance=math.nan, novelty_distance=0.5, triggered_at_ns=1,
            exposed_at_ns=2, decided_at_ns=3, boot_id="b", wall_time="t", recipe=1, model_sha256="m", profile_sha256="p",
            simulated=False,
        )  # fmt: skip
        self._results.append(result)
        return result

    def _publish(self, result: Result) -> None:
        if self._old_epoch_passes:
            self.wrong += 1
            passed = replace(result, epoch=EPOCH - 1, verdict=Verdict.PASS, reason=Reason.OK, score=0.5)
            self._send(passed)
        if self._swapped and result.seq % 2 and self._held is None:
            # It goes out after the next one; where that is too late for its part, the replay has brought it before.
            self._held = result
            return
        self._send(result)
        if self._twice:
            self.wrong += 1
            self._send(result)
        if self._held is not None:
            self.wrong += 1
            self._send(self._held)
            self._held = None

    def _send(self, result: Result) -> None:
        self._pub.send_multipart(encode(result))
