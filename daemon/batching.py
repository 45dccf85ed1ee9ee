"""What goes into a batch, and when it is closed: pure, with the time as an argument.

A batch is all that waits. It may be held open for company, but only as long as the oldest part's slack allows: its
deadline less the time that a full batch takes. With a wait of zero nothing is ever held.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


class Waiting(Protocol):
    """Something with a deadline that waits to be judged."""

    @property
    def arrived_at_ns(self) -> int: ...

    @property
    def deadline_ns(self) -> int: ...


@dataclass(frozen=True, slots=True)
class BatchPolicy:
    """`max_batch` parts at most; `wait_ns` for company at most."""

    max_batch: int
    wait_ns: int

    def close_at_ns(self, waiting: Sequence[Waiting], run_ns: int) -> int:
        """When a batch of these (not none, oldest first) is closed; at once (0) if it is full or nothing may wait.

        `run_ns`: what the engine takes for a batch; so long before the first deadline it has to be closed.
        """
        if self.wait_ns == 0 or len(waiting) >= self.max_batch:
            return 0
        company_until_ns = waiting[0].arrived_at_ns + self.wait_ns
        slack_until_ns = min(part.deadline_ns for part in waiting) - run_ns
        return min(company_until_ns, slack_until_ns)

    def split(self, waiting: Sequence[Waiting], now_ns: int) -> tuple[list[int], list[int]]:
        """Indices of the batch, in order, and of those in front of or within it whose deadline has passed."""
        batch: list[int] = []
        expired: list[int] = []
        for index, part in enumerate(waiting):
            if len(batch) == self.max_batch:
                break
            (expired if part.deadline_ns <= now_ns else batch).append(index)
        return batch, expired
