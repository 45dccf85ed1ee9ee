"""What no verdict waits for: metrics and drift, told by the threads that judge, seen to by the main one.

A part that goes through the network leaves little of Python in a core's cache; who counts one part after the other needs it
there once.
"""

from collections import deque
from collections.abc import Callable


class Later:
    """Calls in the order in which they were told. `tell` is for any thread, `catch_up` for one."""

    def __init__(self) -> None:
        self._calls: deque[tuple[Callable[..., object], tuple[object, ...]]] = deque()

    def tell(self, call: Callable[..., object], *arguments: object) -> None:
        """Call this later. What it raises is raised by `catch_up`."""
        self._calls.append((call, arguments))

    def catch_up(self) -> None:
        """Make all calls that were told."""
        while self._calls:
            call, arguments = self._calls.popleft()
            call(*arguments)
