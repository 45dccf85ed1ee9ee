"""How long batches take, against a sort of all that was seen."""

import math
from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from daemon.run_times import KEPT, RunTimes, UntilPublished


@given(st.lists(st.integers(1, 10**9), min_size=1, max_size=3 * KEPT))
def test_the_quantile_is_that_of_the_last_batches(durations: list[int]) -> None:
    times = RunTimes((1, 2, 4))
    for duration in durations:
        times.observe(2, duration)
    last = sorted(durations[-KEPT:])
    assert times.p99_ns(2) == last[min(len(last), math.ceil(Fraction(995, 1000) * (len(last) + 1))) - 1]


def test_a_count_is_padded_to_a_captured_size_and_an_unknown_size_takes_its_parts_share_of_the_smaller_one() -> None:
    times = RunTimes((1, 2, 4))
    assert times.p99_ns(4) == 0
    times.observe(1, 10)
    assert [times.p99_ns(count) for count in (1, 2, 3, 4)] == [10, 20, 40, 40]
    times.observe(3, 25)
    assert [times.p99_ns(count) for count in (1, 2, 3, 4)] == [10, 20, 25, 25]


def test_one_hiccup_in_many_does_not_make_the_engine_slow() -> None:
    times = RunTimes((1,))
    for number in range(KEPT + 1):
        times.observe(1, 10**9 if number == 50 else 10)
    assert times.p99_ns(1) == 10


def test_a_batch_takes_until_its_last_result_is_published() -> None:
    engine, publishing = RunTimes((1, 2)), RunTimes((1,))
    engine.observe(2, 40)
    assert UntilPublished(engine, publishing).p99_ns(2) == 40
    publishing.observe(1, 5)
    assert UntilPublished(engine, publishing).p99_ns(2) == 45
