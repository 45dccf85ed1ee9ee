"""Batches: all that waits, the cameras in turn, nothing lost, closed in time for the earliest deadline."""

from collections import deque
from dataclasses import dataclass, field
from itertools import accumulate

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from daemon.batching import BatchPolicy, Split
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
times = st.tuples(st.integers(0, 100), st.integers(0, 200))
lines_of_parts = (
    st.lists(st.lists(times, max_size=12), min_size=1, max_size=4)
    .filter(any)
    .map(
        lambda lines: [
            [Part(arrived, deadline, 100 * number + i) for i, (arrived, deadline) in enumerate(sorted(line))]
            for number, line in enumerate(lines)
        ]
    )
)


def all_of(lines: list[list[Part]]) -> list[Part]:
    return [part for line in lines for part in line]


def rest_of(lines: list[list[Part]], split: Split[Part]) -> list[list[Part]]:
    return [line[count:] for line, count in zip(lines, split.taken, strict=True)]


@given(lines_of_parts, st.integers(1, 8), st.integers(0, 200), speeds, st.integers(1, 5))
def test_taken_batch_after_batch_every_part_comes_out_once_and_each_line_in_order(
    lines: list[list[Part]], max_batch: int, now_ns: int, speed: Speed, backlog: int
) -> None:
    policy = BatchPolicy(max_batch, 0, backlog)
    judged, late, given_up, left = list[Part](), list[Part](), list[Part](), lines
    while any(left):
        split = policy.split(left, now_ns, speed)
        assert any(split.taken)
        assert len(split.batch) <= max_batch
        taken = {part for line, count in zip(left, split.taken, strict=True) for part in line[:count]}
        assert set(split.batch + split.expired + split.hopeless) == taken
        judged += split.batch
        late += split.expired
        given_up += split.hopeless
        left = rest_of(left, split)
    alone_ns = now_ns + speed.p99_ns(1)
    everyone = all_of(lines)
    assert sorted(part.name for part in judged + late + given_up) == [part.name for part in everyone]
    assert set(late) == {part for part in everyone if part.deadline_ns <= now_ns}
    assert set(judged) >= {part for part in everyone if part.deadline_ns > now_ns and part.deadline_ns >= alone_ns}
    assert all(now_ns < part.deadline_ns < alone_ns for part in given_up)
    for some in (judged, late, given_up):
        for number in range(len(lines)):
            names = [part.name for part in some if part.name // 100 == number]
            assert names == sorted(names)


@given(lines_of_parts, st.integers(1, 8))
def test_a_batch_holds_as_many_of_each_line_as_there_are_or_as_of_any_other(
    lines: list[list[Part]], max_batch: int
) -> None:
    split = BatchPolicy(max_batch, 0).split(lines, -1, FREE)
    assert len(split.batch) == min(max_batch, len(all_of(lines)))
    counts = [sum(part.name // 100 == number for part in split.batch) for number in range(len(lines))]
    for line, count in zip(lines, counts, strict=True):
        assert count == len(line) or count >= max(counts) - 1


@given(lines_of_parts, st.integers(1, 8), st.integers(2, 12))
def test_where_a_batch_is_judged_in_turn_it_grows_with_what_waits(
    lines: list[list[Part]], max_batch: int, backlog: int
) -> None:
    policy = BatchPolicy(max_batch, 50, backlog)
    count = len(all_of(lines))
    batch = policy.split(lines, -1, FREE).batch
    assert len(batch) == min(count, max_batch, max(1, count // backlog))
    # The first of it waits for the others' turns: for less than one in `backlog` of those that wait.
    assert (len(batch) - 1) * backlog < count
    assert policy.close_at_ns(lines, FREE) == 0  # nothing is held for company


@given(lines_of_parts, st.integers(1, 8), st.integers(0, 200), speeds)
def test_nobody_is_given_up_for_nobody(lines: list[list[Part]], max_batch: int, now_ns: int, speed: Speed) -> None:
    """An engine that was measured slow once would else never be asked again, and reject everything."""
    split = BatchPolicy(max_batch, 0).split(lines, now_ns, speed)
    due = [[part for part in line if part.deadline_ns > now_ns] for line in lines]
    assert bool(split.batch) == any(due)
    if split.batch and split.batch[0].deadline_ns < now_ns + speed.p99_ns(1):
        assert split.batch == [next(line for line in due if line)[-1]]


@given(lines_of_parts, st.integers(1, 8), st.integers(0, 200), speeds)
def test_a_batch_is_as_large_as_its_most_urgent_part_can_wait_for_and_no_larger(
    lines: list[list[Part]], max_batch: int, now_ns: int, speed: Speed
) -> None:
    split = BatchPolicy(max_batch, 0).split(lines, now_ns, speed)
    batch = split.batch
    if len(batch) > 1:
        assert all(part.deadline_ns >= now_ns + speed.p99_ns(len(batch)) for part in batch)
    left = rest_of(lines, split)
    if batch and batch[0].deadline_ns >= now_ns + speed.p99_ns(1) and len(batch) < max_batch and any(left):
        nexts = [line[0] for line in left if line]
        larger_ns = now_ns + speed.p99_ns(len(batch) + 1)
        assert any(min(part.deadline_ns for part in [*batch, after]) < larger_ns for after in nexts)


@given(lines_of_parts, st.integers(1, 8), st.integers(0, 100), speeds)
def test_a_held_batch_is_closed_no_later_than_its_slack_allows(
    lines: list[list[Part]], max_batch: int, wait_ns: int, speed: Speed
) -> None:
    closes_ns = BatchPolicy(max_batch, wait_ns).close_at_ns(lines, speed)
    waiting = all_of(lines)
    if wait_ns == 0 or len(waiting) >= max_batch:
        assert closes_ns == 0
    else:
        first_ns = min(part.arrived_at_ns for part in waiting)
        run_ns = speed.p99_ns(len(waiting) + 1)
        assert closes_ns <= first_ns + wait_ns
        assert all(closes_ns + run_ns <= part.deadline_ns for part in waiting)
        reasons = [first_ns + wait_ns, *(part.deadline_ns - run_ns for part in waiting)]
        assert closes_ns in reasons


@dataclass
class Line:
    """A line in virtual time: parts come when they come, and an engine that keeps to its speed works them off."""

    policy: BatchPolicy
    speed: Speed
    answered: list[Part] = field(default_factory=list)
    given_up: list[Part] = field(default_factory=list)

    def run(self, cameras: list[list[Part]]) -> None:
        limits = {str(number): 1 << 30 for number in range(len(cameras))}
        turns = list(limits)
        coming = {camera: deque(parts) for camera, parts in zip(limits, cameras, strict=True)}
        waiting: dict[str, deque[Part]] = {camera: deque() for camera in limits}
        now_ns = 0
        while any(coming.values()) or any(waiting.values()):
            next_ns = min((parts[0].arrived_at_ns for parts in coming.values() if parts), default=None)
            if not any(waiting.values()):
                assert next_ns is not None
                now_ns = max(now_ns, next_ns)
            for camera, parts in coming.items():
                while parts and parts[0].arrived_at_ns <= now_ns:
                    waiting[camera].append(parts.popleft())
            next_ns = min((parts[0].arrived_at_ns for parts in coming.values() if parts), default=None)
            closes_ns = self.policy.close_at_ns(list(waiting.values()), self.speed)
            if closes_ns > now_ns:
                now_ns = closes_ns if next_ns is None else min(closes_ns, next_ns)
                continue
            lines = [waiting[camera] for camera in turns]
            split = self.policy.split(lines, now_ns, self.speed)
            self.given_up += split.expired + split.hopeless
            if split.batch:
                tried = split.batch[0].deadline_ns < now_ns + self.speed.p99_ns(1)
                now_ns += self.speed.p99_ns(len(split.batch))
                assert tried or all(now_ns <= part.deadline_ns for part in split.batch)
                self.answered += split.batch
            for line, count in zip(lines, split.taken, strict=True):
                for _ in range(count):
                    line.popleft()
            for part in split.batch:
                turns.remove(str(part.name // 1000))
                turns.append(str(part.name // 1000))


def arrivals(camera: int, gaps_ns: list[int], deadline_ns: int) -> list[Part]:
    at = list(accumulate(gaps_ns))
    return [Part(at_ns, at_ns + deadline_ns, 1000 * camera + i) for i, at_ns in enumerate(at)]


gaps = st.lists(st.integers(0, 12), min_size=1, max_size=100)


@given(
    st.lists(gaps, min_size=1, max_size=3),
    st.integers(1, 8),
    st.integers(1, 8),
    st.integers(1, 4),
    st.integers(20, 120),
    st.integers(1, 5),
)
def test_however_many_parts_come_those_that_are_judged_are_judged_in_time(
    gaps_ns: list[list[int]], max_batch: int, base_ns: int, part_ns: int, deadline_ns: int, backlog: int
) -> None:
    cameras = [arrivals(number, some, deadline_ns) for number, some in enumerate(gaps_ns)]
    line = Line(BatchPolicy(max_batch, 5, backlog), Speed(base_ns, part_ns))
    line.run(cameras)
    assert sorted(part.name for part in line.answered + line.given_up) == [part.name for part in all_of(cameras)]
    for number in range(len(cameras)):
        names = [part.name for part in line.answered if part.name // 1000 == number]
        assert names == sorted(names)


@given(
    st.lists(st.integers(0, 3), min_size=50, max_size=200), st.lists(st.integers(0, 9), min_size=1, max_size=4),
    st.integers(1, 8), st.integers(1, 8), st.integers(1, 4), st.integers(1, 5),
)  # fmt: skip
def test_a_camera_that_is_too_fast_costs_none_of_the_others_a_part(
    flood_ns: list[int], extra_ns: list[int], max_batch: int, base_ns: int, part_ns: int, backlog: int
) -> None:
    """Each of the others has a part no more often than the engine can see one of every camera, one by one."""
    speed = Speed(base_ns, part_ns)
    count = 1 + len(extra_ns)
    round_ns = count * speed.p99_ns(1)
    deadline_ns = 2 * round_ns + speed.p99_ns(max_batch)
    flood = arrivals(0, flood_ns, deadline_ns)
    calm = [arrivals(n, [round_ns + extra] * 12, deadline_ns) for n, extra in enumerate(extra_ns, 1)]
    line = Line(BatchPolicy(max_batch, 0, backlog), speed)
    line.run([flood, *calm])
    assert {part.name for part in all_of(calm)} <= {part.name for part in line.answered}


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
    inside: dict[str, list[WaitingFrame]] = {"a": [], "b": []}
    turns = ["a", "b"]
    for step in steps:
        if step == "take":
            taken = queue.take(0, FREE)
            assert taken is not None
            assert taken.expired == taken.hopeless == []
            expected = []
            while len(expected) < max_batch and any(inside.values()):
                first = next(camera for camera in turns if inside[camera])
                turns.remove(first)
                turns.append(first)
                expected.append(inside[first].pop(0))
            assert taken.batch == expected
        else:
            frame = waiting_frame(book, step)
            has_room = len(inside[step]) < {"a": limit, "b": 3}[step]
            assert queue.put(frame) == has_room
            if has_room:
                inside[step].append(frame)
        assert len(queue) == sum(map(len, inside.values()))
        assert queue.depth("a") == len(inside["a"])
    queue.close()
    rest = []
    while (last := queue.take(0, FREE)) is not None:
        rest += last.batch
    for camera, waiting in inside.items():
        assert [frame for frame in rest if frame.look.camera == camera] == waiting


def test_a_batch_that_is_held_takes_in_who_comes_meanwhile() -> None:
    queue = FrameQueue({"a": 16}, BatchPolicy(2, 60_000_000_000))
    book = Book(None)
    first, second = waiting_frame(book, "a"), waiting_frame(book, "a")
    object.__setattr__(first, "arrived_at_ns", FAR_NS - 60_000_000_000)
    queue.put(first)
    queue.put(second)  # the batch is full now, and is not held any longer
    assert queue.take(0, FREE) == ([first, second], [], [], [2])
    assert queue.depth("a") == 0
