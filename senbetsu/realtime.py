"""Who goes first on Linux. A fixed priority (SCHED_FIFO): daemon and bridge before every ordinary program of the PC.

Asked for before the engine is loaded and any thread begun, since threads inherit it. What is asked for and refused ends the
program: a line that is thought to be protected and is not must not start. What it is worth: docs/realtime.md.
"""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from senbetsu.errors import UserError

log = logging.getLogger(__name__)

RT_RUNTIME = Path("/proc/sys/kernel/sched_rt_runtime_us")
THREADS = Path("/proc/self/task")


def take_priority(priority: int) -> None:
    """For all threads of this process, and those that they begin; 0 asks for nothing. Raises UserError if refused."""
    if not priority:
        return
    if RT_RUNTIME.exists() and int(RT_RUNTIME.read_text()) < 0:
        raise UserError(
            f"realtime.fifo_priority: {RT_RUNTIME} is -1, so that the line could keep this PC from everything else; set the "
            "kernel's limit (950000 is its default: 95 % of the time), or fifo_priority = 0"
        )
    for thread in THREADS.iterdir():
        try:
            os.sched_setscheduler(int(thread.name), os.SCHED_FIFO, os.sched_param(priority))
        except PermissionError as error:
            raise UserError(
                f"realtime.fifo_priority: this user may not have priority {priority}; in the systemd unit set "
                f"LimitRTPRIO={priority} (as delivered: 49), elsewhere ulimit -r, or set fifo_priority = 0"
            ) from error
        except ProcessLookupError:
            continue  # it has ended meanwhile
    log.info("SCHED_FIFO priority %d", priority)


def be_ordinary() -> None:
    """The calling thread, and those that it begins: for what can wait."""
    os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))


@contextmanager
def giving_way() -> Iterator[None]:
    """Meanwhile no thread of this process that is there and ordinary takes a core from one that runs (SCHED_BATCH)."""
    threads = [int(thread.name) for thread in THREADS.iterdir()]
    _change(threads, os.SCHED_OTHER, os.SCHED_BATCH)
    try:
        yield
    finally:
        _change(threads, os.SCHED_BATCH, os.SCHED_OTHER)


def _change(threads: list[int], before: int, after: int) -> None:
    for thread in threads:
        with suppress(ProcessLookupError):  # it has ended meanwhile
            if os.sched_getscheduler(thread) == before:
                os.sched_setscheduler(thread, after, os.sched_param(0))
