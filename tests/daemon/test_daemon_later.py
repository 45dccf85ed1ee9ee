"""What no verdict waits for is called in order, once, and what it raises is not kept from who catches up."""

import pytest

from daemon.later import Later


def test_calls_are_made_in_the_order_in_which_they_were_told_and_once() -> None:
    called: list[object] = []
    later = Later()
    later.tell(called.append, 1)
    later.tell(called.extend, [2, 3])
    assert called == []
    later.catch_up()
    assert called == [1, 2, 3]
    later.catch_up()
    assert called == [1, 2, 3]


def test_what_a_call_raises_is_raised_and_those_behind_it_are_still_there() -> None:
    called: list[object] = []
    later = Later()
    later.tell({}.__getitem__, "unknown")
    later.tell(called.append, 1)
    with pytest.raises(KeyError, match="unknown"):
        later.catch_up()
    later.catch_up()
    assert called == [1]
