"""Reading ahead: many small works in threads, their results in order, never more than a few of them waiting.

For works that let go of the interpreter, as decoding does, beside an engine that computes.
"""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

READERS = max(2, min(8, len(os.sched_getaffinity(0))))
AHEAD = 24
"""Results that may wait: more than an engine's batch, so that it never waits for the slowest picture."""


def in_order(
    items: Iterable[Item], work: Callable[[Item], Result], ahead: int = AHEAD
) -> Iterator[tuple[Item, Result]]:
    """Each item with what `work` made of it in one of the threads. `items` is asked in the caller's thread.

    Raises:
        what `work` raises, when the item's turn comes.
    """
    with ThreadPoolExecutor(READERS, thread_name_prefix="reader") as readers:
        waiting: deque[tuple[Item, Future[Result]]] = deque()
        try:
            for item in items:
                waiting.append((item, readers.submit(work, item)))
                if len(waiting) > ahead:
                    first, future = waiting.popleft()
                    yield first, future.result()
            while waiting:
                first, future = waiting.popleft()
                yield first, future.result()
        finally:
            for _, future in waiting:
                future.cancel()
