"""What wakes the main thread, which otherwise sleeps until a request comes or something is due."""

import contextlib
import os


class Wake:
    """Any thread, and a signal handler, may `set` it; `fd` is readable from then until `clear`."""

    def __init__(self) -> None:
        self.fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)

    def set(self) -> None:
        """Make the main thread look around."""
        os.eventfd_write(self.fd, 1)

    def clear(self) -> None:
        """Before looking around, so that nothing that comes meanwhile is missed."""
        with contextlib.suppress(BlockingIOError):
            os.eventfd_read(self.fd)
