"""The fixed priority that is asked for is given to every thread, or the refusal is one error that says what to set."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from senbetsu import realtime
from senbetsu.errors import UserError

TELL = """
import os, resource, sys, threading
from senbetsu import realtime
from senbetsu.errors import UserError
end, told = threading.Event(), []
def tell():
    end.wait()
    told.append((os.sched_getscheduler(0), os.sched_getparam(0).sched_priority))
before = threading.Thread(target=tell)
before.start()
if {drop}:
    resource.setrlimit(resource.RLIMIT_RTPRIO, (0, 0))
    os.setuid(65534)
try:
    realtime.take_priority({priority})
except UserError as error:
    end.set()
    sys.exit(str(error))
after = threading.Thread(target=tell)
after.start()
def can_wait():
    realtime.be_ordinary()
    tell()
end.set()
for thread in (before, after, threading.Thread(target=can_wait)):
    thread.ident or thread.start()
    thread.join()
print(*told)
"""
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="takes root")
ORDINARY = f"({os.SCHED_OTHER}, 0)"


def told(priority: int, *, drop: bool = False) -> subprocess.CompletedProcess[str]:
    code = TELL.format(priority=priority, drop=drop)
    root = Path(__file__).parents[2]
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=root)


def test_nothing_is_asked_for_unless_the_config_does() -> None:
    assert told(0).stdout.strip() == f"{ORDINARY} {ORDINARY} {ORDINARY}"


@needs_root
def test_every_thread_of_now_and_later_has_the_priority_but_one_that_can_wait() -> None:
    fixed = f"({os.SCHED_FIFO}, 7)"
    done = told(7)
    assert done.stdout.strip() == f"{fixed} {fixed} {ORDINARY}", done.stderr


@needs_root
def test_what_the_user_may_not_is_refused_with_what_to_set() -> None:
    done = told(7, drop=True)
    assert done.returncode == 1
    assert "realtime.fifo_priority" in done.stderr
    assert "LimitRTPRIO=7" in done.stderr


def test_a_system_without_a_limit_for_fixed_priorities_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With all cores at a fixed priority nothing else would run."""
    (tmp_path / "limit").write_text("-1\n")
    monkeypatch.setattr(realtime, "RT_RUNTIME", tmp_path / "limit")
    with pytest.raises(UserError, match="fifo_priority"):
        realtime.take_priority(5)
    assert os.sched_getscheduler(0) == os.SCHED_OTHER


def test_threads_that_give_way_do_so_for_as_long_and_one_that_ended_meanwhile_is_no_matter() -> None:
    begun, end = threading.Barrier(3), threading.Event()

    def wait() -> None:
        begun.wait()
        end.wait()

    beside, ends = threading.Thread(target=wait), threading.Thread(target=begun.wait)
    beside.start()
    ends.start()
    with realtime.giving_way():
        begun.wait()
        ends.join()
        assert [os.sched_getscheduler(thread) for thread in (0, beside.native_id or 0)] == [os.SCHED_BATCH] * 2
    assert [os.sched_getscheduler(thread) for thread in (0, beside.native_id or 0)] == [os.SCHED_OTHER] * 2
    end.set()
    beside.join()
