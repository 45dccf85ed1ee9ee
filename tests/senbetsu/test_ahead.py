"""Reading ahead: in order, a few at a time, and what goes wrong is told when its turn comes."""

import threading
from collections.abc import Iterator

import pytest

from senbetsu.ahead import READERS, in_order


def test_results_come_in_order_whoever_is_done_first() -> None:
    first_may_end = threading.Event()

    def work(number: int) -> int:
        if number == 0:
            assert first_may_end.wait(30)
        if number == 1:
            first_may_end.set()
        return number * number

    assert list(in_order(range(50), work)) == [(number, number * number) for number in range(50)]


def test_no_more_is_asked_for_than_may_wait() -> None:
    asked = 0

    def numbers() -> Iterator[int]:
        nonlocal asked
        while asked < 1000:
            asked += 1
            yield asked

    for taken, _ in in_order(numbers(), abs, ahead=5):
        assert asked <= taken + 5


def test_an_error_comes_in_its_turn_and_what_waits_is_given_up() -> None:
    begun: list[int] = []

    def work(number: int) -> int:
        begun.append(number)
        return 1 // (3 - number)

    found = in_order(range(1000), work, ahead=4)
    assert [next(found)[0] for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ZeroDivisionError):
        next(found)
    assert len(begun) <= 3 + 4 + 1 + READERS
