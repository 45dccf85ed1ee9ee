"""Soft real time on Linux: a fixed priority above all ordinary programs, chosen CPUs, memory that is never paged out.

Asked of the system before the engine is loaded and before any thread is begun, since threads inherit it. What is asked for
and refused ends the daemon: a line that is thought to be protected and is not must not start.
"""

import ctypes
import logging
import os
from pathlib import Path

from senbetsu.config import RealtimeSection
from senbetsu.errors import UserError

log = logging.getLogger("daemon")

MCL_CURRENT, MCL_FUTURE = 1, 2
"""Of mlockall(2)."""
RT_RUNTIME = Path("/proc/sys/kernel/sched_rt_runtime_us")


def apply(section: RealtimeSection) -> None:
    """Ask for what the settings say. Raises UserError where the system refuses."""
    if section.cpus:
        _run_on(section.cpus)
    if section.fifo_priority:
        _take_priority(section.fifo_priority)
    if section.lock_memory:
        _lock_memory()


def _run_on(cpus: tuple[int, ...]) -> None:
    allowed = os.sched_getaffinity(0)
    if missing := sorted(set(cpus) - allowed):
        raise UserError(f"realtime.cpus: this process may not run on CPU {missing[0]}; it may on {sorted(allowed)}")
    os.sched_setaffinity(0, cpus)
    log.info("runs on CPUs %s alone", sorted(cpus))


def _take_priority(priority: int) -> None:
    if RT_RUNTIME.exists() and int(RT_RUNTIME.read_text()) < 0:
        raise UserError(
            f"realtime.fifo_priority: {RT_RUNTIME} is -1, so that the daemon could keep this PC from everything else; set the "
            "kernel's limit (950000 is its default: 95 % of the time), or fifo_priority = 0"
        )
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(priority))
    except PermissionError as error:
        raise UserError(
            f"realtime.fifo_priority = {priority}: this user may not; in the systemd unit set LimitRTPRIO={priority} (as "
            "delivered: 49), elsewhere ulimit -r, or set fifo_priority = 0"
        ) from error
    log.info("runs at SCHED_FIFO priority %d", priority)


def _lock_memory() -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mlockall(MCL_CURRENT | MCL_FUTURE) != 0:
        raise UserError(
            f"realtime.lock_memory: the system refuses ({os.strerror(ctypes.get_errno())}); in the systemd unit set "
            "LimitMEMLOCK=infinity (as delivered), elsewhere ulimit -l unlimited, or set lock_memory = false"
        )
    log.info("its memory stays in RAM")
