"""Batches: all that waits, in order, nothing lost, closed in time for the earliest deadline."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from daemon.batching import BatchPolicy
from daemon.book import Book
from daemon.queue import FrameQueue, WaitingFrame
from senbetsu.camera import Frame


@dataclass(frozen=True)
class Part:
    arrived_at_ns: int
    deadline_ns: int
    name: int = field(default=0)


@dataclass(frozen=True)
class Speed:
    """A batch of n parts takes a + b n."""

    base_ns: int
    part_ns: int

    def p99_ns(self, count: int) -> int:
        return self.base_ns + self.part_ns * count


FREE = Speed(0, 0)
speeds = st.builds(Speed, st.integers(0, 60), st.integers(0, 20))
parts = st.lists(st.tuples(st.integers(0, 100), st.integers(0, 200)), min_size=1, max_size=20).map(
    lambda pairs: [Part(arrived, deadline, i) for i, (arrived, deadline) in enumerate(sorted(pairs))]
)


@given(parts, st.integers(1, 8), st.integers(0, 200), speeds)
def test_taken_batch_after_batch_every_part_comes_out_once_and_in_order(
    waiting: list[Part], max_batch: int, now_ns: int, speed: Speed
) -> None:
    policy = BatchPolicy(max_batch, 0)
    judged, late, given_up, left = [], [], [], list(waiting)
    while left:
        split = policy.split(left, now_ns, speed)
        assert any(split)
        assert len(split.batch) <= max_batch
        taken = sorted(split.batch + split.expired + split.hopeless)
        assert taken == list(range(len(taken)))
        assert all(some == sorted(some) for some in split)
        judged += [left[i] for i in split.batch]
        late += [left[i] for i in split.expired]
        given_up += [left[i] for i in split.hopeless]
        left = left[len(taken) :]
    alone_ns = now_ns + speed.p99_ns(1)
    assert late == [part for part in waiting if part.deadline_ns <= now_ns]
    assert judged == sorted(judged, key=lambda part: part.name)
    assert set(judged) >= {part for part in waiting if part.deadline_ns > now_ns and part.deadline_ns >= alone_ns}
    assert all(now_ns < part.deadline_ns < alone_ns for part in given_up)


@given(parts, st.integers(1, 8), st.integers(0, 200), speeds)
def test_nobody_is_given_up_for_nobody(waiting: list[Part], max_batch: int, now_ns: int, speed: Speed) -> None:
    """An engine that was measured slow once would else never be asked again, and reject everything."""
    split = BatchPolicy(max_batch, 0).split(waiting, now_ns, speed)
    due = [i for i, part in enumerate(waiting) if part.deadline_ns > now_ns]
    assert bool(split.batch) == bool(due)
    if split.batch and waiting[split.batch[0]].deadline_ns < now_ns + speed.p99_ns(1):
        assert split.batch == [due[-1]]


@given(parts, st.integers(1, 8), st.integers(0, 200), speeds)
def test_a_batch_is_as_large_as_its_most_urgent_part_can_wait_for_and_no_larger(
    waiting: list[Part], max_batch: int, now_ns: int, speed: Speed
) -> None:
    split = BatchPolicy(max_batch, 0).split(waiting, now_ns, speed)
    batch = [waiting[i] for i in split.batch]
    if len(batch) > 1:
        assert all(part.deadline_ns >= now_ns + speed.p99_ns(len(batch)) for part in batch)
    taken = len(split.batch) + len(split.expired) + len(split.hopeless)
    if batch and batch[0].deadline_ns >= now_ns + speed.p99_ns(1) and len(batch) < max_batch and taken < len(waiting):
        larger = [*batch, waiting[taken]]
        assert min(part.deadline_ns for part in larger) < now_ns + speed.p99_ns(len(larger))


@given(parts, st.integers(1, 8), st.integers(0, 100), speeds)
def test_a_held_batch_is_closed_no_later_than_its_slack_allows(
    waiting: list[Part], max_batch: int, wait_ns: int, speed: Speed
) -> None:
    closes_ns = BatchPolicy(max_batch, wait_ns).close_at_ns(waiting, speed)
    if wait_ns == 0 or len(waiting) >= max_batch:
        assert closes_ns == 0
    else:
        run_ns = speed.p99_ns(len(waiting) + 1)
        assert closes_ns <= waiting[0].arrived_at_ns + wait_ns
        assert all(closes_ns + run_ns <= part.deadline_ns for part in waiting)
        reasons = [waiting[0].arrived_at_ns + wait_ns, *(part.deadline_ns - run_ns for part in waiting)]
        assert closes_ns in reasons


@given(
    st.lists(st.integers(0, 12), min_size=1, max_size=150), st.integers(1, 8), st.integers(1, 8), st.integers(1, 4),
    st.integers(20, 120),
)  # fmt: skip
def test_however_many_parts_come_those_that_are_judged_are_judged_in_time(
    gaps_ns: list[int], max_batch: int, base_ns: int, part_ns: int, deadline_ns: int
) -> None:
    """A queue in virtual time: parts come at these gaps, and an engine that keeps to its speed works them off."""
    policy, speed = BatchPolicy(max_batch, 5), Speed(base_ns, part_ns)
    arrivals, at_ns = [], 0
    for name, gap_ns in enumerate(gaps_ns):
        at_ns += gap_ns
        arrivals.append(Part(at_ns, at_ns + deadline_ns, name))
    now_ns, answered, given_up = 0, [], []
    coming, waiting = list(arrivals), list[Part]()
    while coming or waiting:
        if not waiting:
            now_ns = max(now_ns, coming[0].arrived_at_ns)
        waiting += [part for part in coming if part.arrived_at_ns <= now_ns]
        coming = coming[len(waiting) + len(answered) + len(given_up) - (len(arrivals) - len(coming)) :]
        closes_ns = policy.close_at_ns(waiting, speed)
        if closes_ns > now_ns:
            now_ns = min(closes_ns, coming[0].arrived_at_ns) if coming else closes_ns
            continue
        split = policy.split(waiting, now_ns, speed)
        given_up += [waiting[i] for i in split.expired + split.hopeless]
        if split.batch:
            tried = waiting[split.batch[0]].deadline_ns < now_ns + speed.p99_ns(1)
            now_ns += speed.p99_ns(len(split.batch))
            assert tried or all(now_ns <= waiting[index].deadline_ns for index in split.batch)
            answered += [waiting[i] for i in split.batch]
        waiting = waiting[sum(map(len, split)) :]
    assert sorted(part.name for part in answered + given_up) == list(range(len(arrivals)))
    assert [part.name for part in answered] == sorted(part.name for part in answered)


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
    book = Book(None)
    inside: list[Any] = []
    for step in steps:
        if step == "take":
            taken = queue.take(0, FREE)
            assert taken is not None
            assert taken.expired == taken.hopeless == []
            assert taken.batch == inside[:max_batch]
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
    while (last := queue.take(0, FREE)) is not None:
        rest += last.batch
    assert rest == inside


def test_a_batch_that_is_held_takes_in_who_comes_meanwhile() -> None:
    queue = FrameQueue({"a": 16}, BatchPolicy(2, 60_000_000_000))
    book = Book(None)
    first, second = waiting_frame(book, "a"), waiting_frame(book, "a")
    object.__setattr__(first, "arrived_at_ns", FAR_NS - 60_000_000_000)
    queue.put(first)
    queue.put(second)  # the batch is full now, and is not held any longer
    assert queue.take(0, FREE) == ([first, second], [], [])
    assert queue.depth("a") == 0
