"""The outbox: each look's first outcome is published once, in the order of settling, by one thread at a time."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from daemon.book import Book, Look
from daemon.outcome import Outbox, Outcome
from senbetsu.verdict import Reason

THREADS, EACH = 8, 200


def test_the_outbox_publishes_the_first_outcome_of_a_look_and_no_other() -> None:
    book = Book(None)
    published: list[Outcome] = []
    outbox = Outbox(book, published.append)
    (first, second) = book.announce("gate1", ["cam1", "cam2"], 1, None, 0, 100)
    assert outbox.settle(Outcome(second, Reason.OVERLOAD, 1))
    assert outbox.settle(Outcome(first, Reason.OK, 2))
    assert not outbox.settle(Outcome(first, Reason.DEADLINE, 3))
    assert [(o.look, o.reason) for o in published] == [(second, Reason.OVERLOAD), (first, Reason.OK)]


def test_many_threads_settle_and_all_is_published_in_the_order_of_settling_by_one_at_a_time() -> None:
    settled: list[int] = []

    class Recording(Book):
        def settle(self, look: Look) -> bool:
            first = super().settle(look)
            if first:
                settled.append(look.number)  # the outbox lets in one at a time
            return first

    book = Recording(None)
    looks = [book.announce("gate1", ["cam1"], None, None, 0, 100)[0] for _ in range(THREADS * EACH)]
    published: list[int] = []
    within = threading.Lock()

    def publish(outcome: Outcome) -> None:
        assert within.acquire(blocking=False), "two at a time"
        published.append(outcome.look.number)
        if outcome.look.number % 16 == 0:
            time.sleep(1e-5)  # lets another thread in
        within.release()

    outbox = Outbox(book, publish)

    def settle_some(thread: int) -> int:
        # Each look is settled by two threads, of which one is late.
        mine = [*looks[thread::THREADS], *looks[(thread + 1) % THREADS :: THREADS]]
        return sum(outbox.settle(Outcome(look, Reason.OK, 1)) for look in mine)

    with ThreadPoolExecutor(THREADS) as threads:
        assert sum(threads.map(settle_some, range(THREADS))) == len(looks)
    assert published == settled
    assert sorted(published) == [look.number for look in looks]


def test_what_publishing_raises_ends_who_settled_and_the_next_outcome_is_published() -> None:
    book = Book(None)
    published: list[Outcome] = []

    def publish(outcome: Outcome) -> None:
        if outcome.reason is Reason.OVERLOAD:
            raise OSError("no wire")
        published.append(outcome)

    outbox = Outbox(book, publish)
    first, second = book.announce("gate1", ["cam1", "cam2"], 1, None, 0, 100)
    with pytest.raises(OSError, match="no wire"):
        outbox.settle(Outcome(first, Reason.OVERLOAD, 1))
    assert outbox.settle(Outcome(second, Reason.OK, 2))
    assert [outcome.look for outcome in published] == [second]


def test_closing_waits_for_who_publishes_and_after_it_nothing_is() -> None:
    book = Book(None)
    first, second, third = book.announce("gate1", ["cam1", "cam2", "cam3"], 1, None, 0, 100)
    published: list[Look] = []
    began, let_go = threading.Event(), threading.Event()

    def publish(outcome: Outcome) -> None:
        began.set()
        assert let_go.wait(20)
        published.append(outcome.look)

    outbox = Outbox(book, publish)
    with ThreadPoolExecutor(2) as threads:
        settling = threads.submit(outbox.settle, Outcome(first, Reason.OK, 1))
        assert began.wait(20)
        assert outbox.settle(Outcome(second, Reason.OK, 1)), "left to who publishes, without waiting"
        closing = threads.submit(outbox.close)
        assert published == []
        assert not closing.done()
        let_go.set()
        closing.result(20)
        assert settling.result(20)
    assert published == [first, second]
    assert outbox.settle(Outcome(third, Reason.OK, 1))
    assert published == [first, second]


def test_an_outcome_that_cannot_be_published_is_rejected_in_the_end_and_costs_no_other() -> None:
    book = Book(None)
    published: list[Outcome] = []

    def publish(outcome: Outcome) -> None:
        if outcome.score == 7:
            raise ValueError("this one cannot be written")
        published.append(outcome)

    outbox = Outbox(book, publish)
    (first, second) = book.announce("gate1", ["cam1", "cam2"], 1, None, 0, 100)
    with pytest.raises(ValueError, match="cannot be written"):
        outbox.settle(Outcome(first, Reason.OK, 1, score=7.0))
    assert outbox.settle(Outcome(second, Reason.OK, 2, score=0.5))
    outbox.close()
    assert [(o.look, o.reason) for o in published] == [(second, Reason.OK), (first, Reason.MODEL_FAULT)]
