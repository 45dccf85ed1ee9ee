"""The torch engine: on CUDA one captured graph a batch size and pinned memory, on a CPU the reference of all others."""

from collections.abc import Callable, Sequence
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray

from senbetsu.engine.interface import EngineFault, Lane, Scores, scores_of
from senbetsu.scoring import OUTPUTS
from senbetsu.scoring_network import ScoringNetwork

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


class TorchEngine:
    """See senbetsu.engine.interface.Engine."""

    kind = "torch"

    def __init__(
        self,
        network: ScoringNetwork,
        constants: Sequence[NDArray[np.float32]],
        input_size: int,
        precision: str,
        device: str,
        threads: int,
        batch_sizes: Sequence[int],
    ) -> None:
        self.precision = precision
        self.batch_sizes = tuple(sorted(batch_sizes))
        self._device = torch.device(device)
        on_cuda = self._device.type == "cuda"
        self.device = torch.cuda.get_device_name(self._device) if on_cuda else "CPU"
        if threads and not on_cuda:
            torch.set_num_threads(threads)
        network.features.use(DTYPES[precision])
        self._network = network.eval().to(self._device)
        self._constants = [torch.from_numpy(constant).to(self._device) for constant in constants]
        shape = (self.batch_sizes[-1], input_size, input_size, 3)
        self._pinned = torch.zeros(shape, dtype=torch.uint8, pin_memory=on_cuda)
        self.inputs: NDArray[np.uint8] = self._pinned.numpy()
        self._scores = torch.zeros((self.batch_sizes[-1], len(OUTPUTS)), pin_memory=on_cuda)
        self._host_scores = cast(NDArray[np.float32], self._scores.numpy())
        self._size_of = [next(s for s in self.batch_sizes if s >= max(n, 1)) for n in range(self.batch_sizes[-1] + 1)]
        self._replay: dict[int, Callable[[], None]] = {}
        with torch.inference_mode():
            for size in self.batch_sizes:
                self._replay[size] = self._captured(size) if on_cuda else self._plain(size)
                self._replay[size]()

    def _plain(self, size: int) -> Callable[[], None]:
        network, constants, pictures, scores = self._network, self._constants, self._pinned[:size], self._scores[:size]

        def step() -> None:  # without self: an engine that is dropped is freed at once, not when the collector comes by
            scores.copy_(network(pictures, *constants))

        return step

    def _captured(self, size: int) -> Callable[[], None]:
        """Upload, network and download as one CUDA graph (Gray, "Getting Started with CUDA Graphs", 2019)."""
        network, constants, pictures, scores = self._network, self._constants, self._pinned[:size], self._scores[:size]
        images = torch.zeros_like(pictures, device=self._device)
        stream = torch.cuda.Stream(self._device)  # type: ignore[no-untyped-call]

        def step() -> None:
            images.copy_(pictures, non_blocking=True)
            scores.copy_(network(images, *constants), non_blocking=True)

        with torch.cuda.stream(stream):
            for _ in range(3):  # cuDNN chooses its algorithms before the capture
                step()
        stream.synchronize()
        graph = torch.cuda.CUDAGraph()
        # thread_local: another engine may be at work on another thread while this one is built beside it.
        with torch.cuda.graph(graph, stream=stream, capture_error_mode="thread_local"):
            step()

        def replay() -> None:
            with torch.cuda.stream(stream):
                graph.replay()
            stream.synchronize()

        return replay

    @property
    def lanes(self) -> Sequence[Lane]:
        """The engine: a GPU is filled by a batch."""
        return (self,)

    def run(self, count: int) -> Scores:
        """Score the first `count` rows of `inputs`. Raises EngineFault: after a CUDA error nothing is answered."""
        try:
            with torch.inference_mode():
                self._replay[self._size_of[count]]()
        except RuntimeError as error:
            raise EngineFault(f"torch on {self.device}: {error}") from error
        return scores_of(self._host_scores[:count])
