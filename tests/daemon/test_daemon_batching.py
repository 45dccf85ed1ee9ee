"""Batches: all that waits, in order, nothing lost, closed in time for the earliest deadline."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from daemon.batching import BatchPolicy
from daemon.book import Book
from daemon.publishing import ReplayRing
from daemon.queue import FrameQueue, WaitingFrame
from senbetsu.camera import Frame


@dataclass(frozen=True)
class Part:
    arrived_at_ns: int
    deadline_ns: int
    name: int = field(default=0)


parts = st.lists(st.tuples(st.integers(0, 100), st.integers(0, 200)), min_size=1, max_size=20).map(
    lambda pairs: [Part(arrived, deadline, i) for i, (arrived, deadline) in enumerate(sorted(pairs))]
)


@given(parts, st.integers(1, 8), st.integers(0, 200))
def test_taken_batch_after_batch_every_part_comes_out_once_and_in_order(
    waiting: list[Part], max_batch: int, now_ns: int
) -> None:
    policy = BatchPolicy(max_batch, 0)
    judged, late, left = [], [], list(waiting)
    while left:
        batch, expired = policy.split(left, now_ns)
        assert batch or expired
        assert len(batch) <= max_batch
        assert sorted(batch + expired) == list(range(len(batch) + len(expired)))
        judged += [left[i] for i in batch]
        late += [left[i] for i in expired]
        left = left[len(batch) + len(expired) :]
    assert judged == [part for part in waiting if part.deadline_ns > now_ns]
    assert late == [part for part in waiting if part.deadline_ns <= now_ns]


@given(parts, st.integers(1, 8), st.integers(0, 100), st.integers(0, 50))
def test_a_held_batch_is_closed_no_later_than_its_slack_allows(
    waiting: list[Part], max_batch: int, wait_ns: int, run_ns: int
) -> None:
    closes_ns = BatchPolicy(max_batch, wait_ns).close_at_ns(waiting, run_ns)
    if wait_ns == 0 or len(waiting) >= max_batch:
        assert closes_ns == 0
    else:
        assert closes_ns <= waiting[0].arrived_at_ns + wait_ns
        assert all(closes_ns + run_ns <= part.deadline_ns for part in waiting)
        reasons = [waiting[0].arrived_at_ns + wait_ns, *(part.deadline_ns - run_ns for part in waiting)]
        assert closes_ns in reasons


FAR_NS = 1 << 62


def waiting_frame(book: Book, camera: str) -> WaitingFrame:
    (look,) = book.announce("gate1", [camera], None, None, 0, FAR_NS)
    image = np.zeros((2, 2, 3), np.uint8)
    return WaitingFrame(look, Frame(1, 0, image), image, 0)


@given(st.lists(st.sampled_from(["a", "b", "take"]), max_size=60), st.integers(2, 5), st.integers(1, 4))
def test_the_queue_holds_each_camera_to_its_share_and_loses_nothing(
    steps: list[str], limit: int, max_batch: int
) -> None:
    queue = FrameQueue({"a": limit, "b": 3}, BatchPolicy(max_batch, 0))
    book = Book()
    inside: list[Any] = []
    for step in steps:
        if step == "take":
            taken = queue.take(0, 0)
            assert taken is not None
            batch, expired = taken
            assert expired == []
            assert batch == inside[:max_batch]
            inside = inside[max_batch:]
        else:
            waits = sum(w.look.camera == step for w in inside)
            frame = waiting_frame(book, step)
            assert queue.put(frame) == (waits < {"a": limit, "b": 3}[step])
            if waits < {"a": limit, "b": 3}[step]:
                inside.append(frame)
        assert len(queue) == len(inside)
        assert queue.depth("a") == sum(w.look.camera == "a" for w in inside)
    queue.close()
    rest = []
    while (last := queue.take(0, 0)) is not None:
        rest += last[0]
    assert rest == inside


@given(st.integers(1, 20), st.integers(0, 60), st.integers(0, 70))
def test_the_ring_gives_what_is_left_and_counts_what_is_gone(size: int, published: int, after: int) -> None:
    ring = ReplayRing(size)
    for seq in range(1, published + 1):
        ring.add(b"%d" % seq)
    wanted = list(range(after + 1, published + 1))
    kept = list(range(max(1, published - size + 1), published + 1))
    lost, payloads = ring.after(after)
    assert lost == len([seq for seq in wanted if seq not in kept])
    assert [int(payload) for payload in payloads] == [seq for seq in wanted if seq in kept]


def test_a_batch_that_is_held_takes_in_who_comes_meanwhile() -> None:
    queue = FrameQueue({"a": 16}, BatchPolicy(2, 60_000_000_000))
    book = Book()
    first, second = waiting_frame(book, "a"), waiting_frame(book, "a")
    object.__setattr__(first, "arrived_at_ns", FAR_NS - 60_000_000_000)
    queue.put(first)
    queue.put(second)  # the batch is full now, and is not held any longer
    assert queue.take(0, 0) == ([first, second], [])
    assert queue.depth("a") == 0
