"""The torch engine: on CUDA one captured graph a batch size and pinned memory, on a CPU the reference of all others."""

from collections.abc import Sequence
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from senbetsu.engine.interface import EngineFault, Lane, Scores, scores_of
from senbetsu.folding import fold_batch_norms
from senbetsu.scoring import OUTPUTS
from senbetsu.scoring_network import ScoringNetwork

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


class Plain:
    """The network on a CPU: done when `start` returns."""

    def __init__(self, network: ScoringNetwork, constants: Sequence[Tensor], pictures: Tensor, scores: Tensor) -> None:
        self._network, self._constants, self._pictures, self._scores = network, constants, pictures, scores

    def start(self) -> None:
        """Score the pictures."""
        self._scores.copy_(self._network(self._pictures, *self._constants))

    def wait(self) -> None:
        """There is nothing to wait for."""


class Captured:
    """Upload, network and download as one CUDA graph (Gray, "Getting Started with CUDA Graphs", 2019)."""

    def __init__(self, network: ScoringNetwork, constants: Sequence[Tensor], pictures: Tensor, scores: Tensor) -> None:
        """`pictures` and `scores` are in pinned memory; the graph runs on the device of `constants`."""
        device = constants[0].device
        images = torch.zeros_like(pictures, device=device)
        self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]

        def step() -> None:
            images.copy_(pictures, non_blocking=True)
            scores.copy_(network(images, *constants), non_blocking=True)

        with torch.cuda.stream(self._stream):
            for _ in range(3):  # cuDNN chooses its algorithms before the capture
                step()
        self._stream.synchronize()
        self._graph = torch.cuda.CUDAGraph()
        # thread_local: another engine may be at work on another thread while this one is built beside it.
        with torch.cuda.graph(self._graph, stream=self._stream, capture_error_mode="thread_local"):
            step()
        self._used_by_the_graph = network, constants, pictures, images, scores  # it does not keep them itself

    def start(self) -> None:
        """Let the GPU score the pictures."""
        with torch.cuda.stream(self._stream):
            self._graph.replay()

    def wait(self) -> None:
        """Until the scores are there."""
        self._stream.synchronize()


class TorchLane:
    """One batch at a time, in buffers of its own, on CUDA in a stream of its own. See senbetsu.engine.interface.Lane."""

    def __init__(
        self,
        network: ScoringNetwork,
        constants: Sequence[Tensor],
        input_size: int,
        device: torch.device,
        batch_sizes: Sequence[int],
    ) -> None:
        """`network` and `constants` are on the device, and shared with other lanes."""
        on_cuda = device.type == "cuda"
        self._device = device
        self._pinned = torch.zeros((batch_sizes[-1], input_size, input_size, 3), dtype=torch.uint8, pin_memory=on_cuda)
        self.inputs: NDArray[np.uint8] = self._pinned.numpy()
        self._scores = torch.zeros((batch_sizes[-1], len(OUTPUTS)), pin_memory=on_cuda)
        self._host_scores = cast(NDArray[np.float32], self._scores.numpy())
        self._size_of = [next(s for s in batch_sizes if s >= max(n, 1)) for n in range(batch_sizes[-1] + 1)]
        self.steps: dict[int, Plain | Captured] = {}
        with torch.inference_mode():
            for size in batch_sizes:
                make = Captured if on_cuda else Plain
                self.steps[size] = make(network, constants, self._pinned[:size], self._scores[:size])
                self._score(size)

    def run(self, count: int) -> Scores:
        """Score the first `count` rows of `inputs`. Raises EngineFault: after a CUDA error nothing is answered."""
        self._host_scores.fill(np.nan)  # what does not come is no score of the part before
        try:
            with torch.inference_mode():
                self._score(self._size_of[count])
        except RuntimeError as error:
            raise EngineFault(f"torch on {self._device}: {error}") from error
        return scores_of(self._host_scores[:count])

    def _score(self, size: int) -> None:
        step = self.steps[size]
        step.start()
        step.wait()


class TorchEngine:
    """See senbetsu.engine.interface.Engine. It is a lane itself, beside `streams` others if these are at least two.

    So uploads, computing and downloads of their batches overlap, and while one's batch is on the GPU the CPU fits the pictures
    of the other's.
    """

    kind = "torch"
    in_turn = False

    def __init__(
        self,
        network: ScoringNetwork,
        constants: Sequence[NDArray[np.float32]],
        input_size: int,
        precision: str,
        device: str,
        threads: int,
        batch_sizes: Sequence[int],
        streams: int = 1,
    ) -> None:
        self.precision = precision
        self.batch_sizes = tuple(sorted(batch_sizes))
        where = torch.device(device)
        self.device = torch.cuda.get_device_name(where) if where.type == "cuda" else "CPU"
        if threads and where.type == "cpu":
            torch.set_num_threads(threads)
        noise = torch.Generator().manual_seed(0)
        picture = torch.randint(0, 256, (1, input_size, input_size, 3), dtype=torch.uint8, generator=noise)
        with torch.no_grad():  # on the CPU, where float32 is not rounded to TF32
            fold_batch_norms(network.eval(), lambda: network.features(picture))
        network.features.use(DTYPES[precision])
        if where.type == "cuda" and precision == "fp32":
            torch.backends.cudnn.allow_tf32 = False  # as calibration computes its features
        shared = network.to(where), [torch.from_numpy(constant).to(where) for constant in constants]
        self._own, *others = (
            TorchLane(*shared, input_size, where, self.batch_sizes) for _ in range(1 + (streams if streams > 1 else 0))
        )
        self._others: Sequence[Lane] = others
        self.inputs = self._own.inputs

    @property
    def lanes(self) -> Sequence[Lane]:
        """Each for a thread of its own; or the engine alone."""
        return self._others or (self,)

    def run(self, count: int) -> Scores:
        """Score the first `count` rows of `inputs`. Raises EngineFault: after a CUDA error nothing is answered."""
        return self._own.run(count)
