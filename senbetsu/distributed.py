"""Several processes that work as one: `torchrun --nproc-per-node 2 -m train ...`, on GPUs (nccl) or a CPU (gloo).

`calibrate` deals its pictures out in whole chunks, each process adds up the moments of its own, and all merge them.

`train`: each process embeds its share of every P x K batch. The embeddings are gathered, and each process computes the loss
of the whole batch from them, so that a negative may lie in any process. Its own rows get their full gradient from that loss,
nothing of it is lost or counted twice: so the parameters' gradients, *summed* over the processes, are those of one process
with the whole batch. (torch.distributed.nn.all_gather sums the rows' gradients over the processes as well, each of which
has the whole loss: that would be `size` times too much.)

All processes run the same program; only the first writes, logs and draws.
"""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from torch import Tensor

from senbetsu.errors import UserError

T = TypeVar("T")

PATIENCE = timedelta(hours=2)
"""How long a process waits for the others; the first may have thousands of pictures to look at before they go on."""


@dataclass(frozen=True, slots=True)
class Group:
    """The processes that work together, seen from one of them; on its own it is all of them."""

    device: torch.device
    """Where this one computes."""
    rank: int = 0
    size: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this one writes, logs and draws."""
        return self.rank == 0

    def chunks(self, count: int, size: int) -> list[range]:
        """Of `count` things in chunks of `size`, those that are this process's: every `self.size`-th.

        The chunks are the same however many processes there are, and so is what is rounded inside each.
        """
        starts = range(self.rank * size, count, self.size * size)
        return [range(start, min(start + size, count)) for start in starts]

    def gather_objects(self, own: T) -> list[T]:
        """What each process has, in the order of the processes; it is pickled on the way."""
        if self.size == 1:
            return [own]
        everyone: list[Any] = [None] * self.size
        dist.all_gather_object(everyone, own)
        return everyone

    def share(self, count: int) -> NDArray[np.int64]:
        """Rows of a batch of `count` that this process embeds: ceil(count / size) in a row, as many in every process.

        The last shares are filled up with row 0; `gather` drops what came of that.
        """
        each = -(-count // self.size)
        rows = np.arange(self.rank * each, (self.rank + 1) * each)
        return np.where(rows < count, rows, 0)

    def gather(self, rows: Tensor, count: int) -> Tensor:
        """What all processes made of their shares (each, D) -> (count, D), with a gradient for this one's rows."""
        if self.size == 1:
            return rows
        gathered: Tensor = _Gather.apply(rows, self.rank, self.size)
        return gathered[:count]

    def sum_gradients(self, parameters: Iterable[Tensor]) -> None:
        """Replace each parameter's gradient by the sum over all processes."""
        if self.size == 1:
            return
        gradients = [p.grad for p in parameters if p.grad is not None]
        flat = torch.cat([gradient.flatten() for gradient in gradients])
        dist.all_reduce(flat)
        totals = torch.split(flat, [gradient.numel() for gradient in gradients])
        for gradient, total in zip(gradients, totals, strict=True):
            gradient.copy_(total.view_as(gradient))

    def take_from_first(self, tensors: Iterable[Tensor]) -> None:
        """Overwrite these with the first process's: all are to begin at one point, whatever PC they run on."""
        if self.size > 1:
            for tensor in tensors:
                dist.broadcast(tensor.detach(), 0)

    @contextmanager
    def first_goes_ahead(self) -> Iterator[None]:
        """The first process does what follows before the others do: they find its results in the cache."""
        if self.size > 1 and not self.is_first:
            dist.barrier()
        yield
        if self.size > 1 and self.is_first:
            dist.barrier()

    @contextmanager
    def together(self) -> Iterator[None]:
        """What follows succeeds in all processes, or fails in all of them.

        Raises:
            UserError: the own one, or one that tells of that of another process.
        """
        own: UserError | None = None
        try:
            yield
        except UserError as error:
            own = error
        if own is None and self.size == 1:
            return
        texts = self.gather_objects(None if own is None else str(own))
        if own is not None:
            raise own
        for rank, text in enumerate(texts):
            if text is not None:
                raise UserError(f"process {rank} of {self.size} failed: {text}")


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor, rank: int, size: int) -> Tensor:
        ctx.own = slice(rank * len(rows), (rank + 1) * len(rows))
        parts = [torch.empty_like(rows) for _ in range(size)]
        dist.all_gather(parts, rows.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        return gradients[0][ctx.own], None, None


@contextmanager
def join_group() -> Iterator[Group]:
    """The group that torchrun has started this process in (RANK, WORLD_SIZE, LOCAL_RANK), or a group of one.

    A process that fails does not say goodbye: it ends, and torchrun ends the others.

    Raises:
        UserError: there are more processes on this machine than GPUs.
    """
    size, local = int(os.environ.get("WORLD_SIZE", "1")), int(os.environ.get("LOCAL_RANK", "0"))
    on_cuda = torch.cuda.is_available()
    if on_cuda and local >= torch.cuda.device_count():
        raise UserError(
            f"torchrun started process {local + 1} on this machine, which has {torch.cuda.device_count()} GPUs; set "
            f"--nproc-per-node to {torch.cuda.device_count()}"
        )
    device = torch.device("cuda", local) if on_cuda else torch.device("cpu")
    if size == 1:
        yield Group(device)
        return
    if on_cuda:
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if on_cuda else "gloo", timeout=PATIENCE)
    yield Group(device, dist.get_rank(), size)
    dist.destroy_process_group()
