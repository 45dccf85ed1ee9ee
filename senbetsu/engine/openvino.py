"""The CPU's engine: OpenVINO, one compiled model a batch size, pictures read where the caller put them.

All cores share one part's work badly: small layers wait for each other. So beside the graph that runs one part on all of them
(it takes least time) the line's engine has streams, one part each on its share of the cores, which carry more parts a second
than any batch on all cores: benchmarks/streams.py. A stream takes some parts at a time, so that its caller can do for all of
them together what it does beside the network.
"""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov
from numpy.typing import NDArray

from senbetsu.backbone import Backbone
from senbetsu.engine.graph import MakesNetwork, openvino_model
from senbetsu.engine.interface import EngineFault, Lane, Scores, scores_of
from senbetsu.engine.quantised import QuantisedMaps
from senbetsu.scoring import OUTPUTS

HINTS = {"fp32": "f32", "bf16": "bf16", "fp16": "f16"}


def cpu_has_bf16() -> bool:
    """Whether this CPU computes in bf16 natively."""
    return "BF16" in ov.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def cpu_has_int8() -> bool:
    """Whether this CPU computes with 8-bit integers."""
    return "INT8" in ov.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def cores_to_use() -> int:
    """Of those that this process may run on: each core once, however many threads it runs at a time."""
    allowed = os.sched_getaffinity(0)
    siblings = (Path(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list") for cpu in allowed)
    return len({path.read_text() if path.exists() else str(path) for path in siblings})


IN_TURN = 8
"""Most parts that a stream takes at a time."""


class Stream:
    """One part after the other, on its share of the cores. See senbetsu.engine.interface.Lane."""

    def __init__(self, requests: Sequence[ov.InferRequest], input_size: int) -> None:
        """`requests` of one compiled model with a stream, one for each part that is taken at a time."""
        self.inputs: NDArray[np.uint8] = np.zeros((len(requests), input_size, input_size, 3), np.uint8)
        self._outputs: NDArray[np.float32] = np.zeros((len(requests), len(OUTPUTS)), np.float32)
        self._requests = requests
        for row, request in enumerate(requests):
            request.set_input_tensor(ov.Tensor(self.inputs[row : row + 1], shared_memory=True))
            request.set_output_tensor(ov.Tensor(self._outputs[row : row + 1], shared_memory=True))
            request.infer()

    def run(self, count: int) -> Scores:
        """Score the first `count` rows of `inputs`. Raises EngineFault."""
        self._outputs.fill(np.nan)  # so that a run which wrote nothing would not pass a part by the one before
        try:
            for row in range(count):
                self._requests[row].infer()
        except RuntimeError as error:
            raise EngineFault(f"OpenVINO: {error}") from error
        return scores_of(self._outputs[:count])


class CompiledGraph:
    """A network compiled for some batch sizes that read from one shared input buffer.

    `inputs` (batch_sizes[-1], S, S, 3) uint8; `run` gives views of the outputs, overwritten by the next run. `streams` are
    empty, or at least two; then the only batch size is 1, and a stream takes as many parts at a time as the largest would
    have been, but no more than IN_TURN.
    """

    def __init__(
        self,
        network: MakesNetwork,
        constants: Sequence[NDArray[np.float32]],
        backbone: Backbone,
        precision: str,
        threads: int,
        batch_sizes: Sequence[int],
        compact: bool | None = None,
        quantised: QuantisedMaps | None = None,
        streams: int = 1,
    ) -> None:
        """`compact`: large constants as integers (senbetsu.engine.compact); None: in bf16 and int8. `quantised`: for the
        backbone; `precision` is that of the rest. `streams`: at most so many, and none unless that makes two.
        """
        self.batch_sizes = tuple(sorted(batch_sizes)) if streams == 1 else (1,)
        input_size = backbone.input_size
        self.inputs: NDArray[np.uint8] = np.zeros((self.batch_sizes[-1], input_size, input_size, 3), np.uint8)
        core = ov.Core()
        self.device: str = core.get_property("CPU", "FULL_DEVICE_NAME")
        properties: dict[str, Any] = {"INFERENCE_PRECISION_HINT": HINTS[precision]}
        if threads:
            properties["INFERENCE_NUM_THREADS"] = threads
        if compact is None:
            compact = precision == "bf16" or quantised is not None
        model = openvino_model(network, backbone, constants, compact, quantised)
        self._requests: dict[int, ov.InferRequest] = {}
        for size in self.batch_sizes:
            model.reshape([size, input_size, input_size, 3])
            compiled = core.compile_model(model, "CPU", {**properties, "PERFORMANCE_HINT": "LATENCY"})
            request = compiled.create_infer_request()
            request.set_input_tensor(ov.Tensor(self.inputs[:size], shared_memory=True))
            request.infer()
            self._requests[size] = request
        self._outputs = {
            size: tuple(request.get_output_tensor(i).data for i in range(len(model.outputs)))
            for size, request in self._requests.items()
        }
        self.streams: tuple[Stream, ...] = ()
        if streams > 1:
            # Compiled once a stream. Several streams of one compiled model have threads of their own, so that each part is
            # handed over and back, which wakes a thread twice; the only stream of a model with one thread computes where it
            # is called. Pinned, they would all be on the first core. A compilation takes one core: all take theirs at a time.
            share = max(1, (threads or cores_to_use()) // streams)
            own = {**properties, "NUM_STREAMS": 1, "INFERENCE_NUM_THREADS": share, "ENABLE_CPU_PINNING": False}
            with ThreadPoolExecutor(cores_to_use()) as pool:
                compiled_each = list(pool.map(lambda _: core.compile_model(model, "CPU", own), range(streams)))
            rows = range(min(IN_TURN, max(batch_sizes)))
            self.streams = tuple(
                Stream([each.create_infer_request() for _ in rows], input_size) for each in compiled_each
            )
        # One look-up on the hot path: how many parts -> which captured size.
        self._size_of = [next(s for s in self.batch_sizes if s >= max(n, 1)) for n in range(self.batch_sizes[-1] + 1)]

    def run(self, count: int) -> tuple[NDArray[np.float32], ...]:
        """The outputs of the captured size, padding included. Raises EngineFault."""
        size = self._size_of[count]
        for output in self._outputs[size]:
            output.fill(np.nan)
        try:
            self._requests[size].infer()
        except RuntimeError as error:
            raise EngineFault(f"OpenVINO: {error}") from error
        return self._outputs[size]


class OpenVINOEngine:
    """See senbetsu.engine.interface.Engine."""

    kind = "openvino"
    in_turn: bool

    def __init__(
        self,
        network: MakesNetwork,
        constants: Sequence[NDArray[np.float32]],
        backbone: Backbone,
        precision: str,
        threads: int,
        batch_sizes: Sequence[int],
        quantised: QuantisedMaps | None = None,
        streams: int = 1,
    ) -> None:
        """`quantised` is needed where `precision` is int8, and for that alone. More than one of `streams`: that many lanes,
        and batches of 1.
        """
        if (precision == "int8") != (quantised is not None):
            raise ValueError(f"precision {precision} and quantised = {quantised} do not go together")
        computed_in = precision if quantised is None else quantised.rest
        self.in_turn = streams > 1
        self._graph = CompiledGraph(
            network, constants, backbone, computed_in, threads, batch_sizes, quantised=quantised, streams=streams
        )
        self.precision = precision
        self.device = self._graph.device
        self.batch_sizes = self._graph.batch_sizes
        self.inputs = self._graph.inputs

    @property
    def lanes(self) -> Sequence[Lane]:
        """The streams, or the engine alone."""
        return self._graph.streams or (self,)

    def run(self, count: int) -> Scores:
        """Score the first `count` rows of `inputs`. Raises EngineFault."""
        (rows,) = self._graph.run(count)
        return scores_of(rows[:count])
