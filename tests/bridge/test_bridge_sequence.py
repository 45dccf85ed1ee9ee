"""Gaps in the daemon's numbering are found, filled once, or given up and counted."""

from hypothesis import given
from hypothesis import strategies as st

from bridge.sequence import Sequence


def test_at_the_first_contact_nothing_before_is_ours_and_of_a_later_epoch_everything_is() -> None:
    sequence = Sequence()
    assert sequence.begin(5, 100)
    assert not sequence.has_gap
    assert not sequence.begin(5, 200)
    assert not sequence.begin(4, 0)
    assert sequence.begin(6, 3)
    sequence.announce(3)
    assert sequence.has_gap
    assert sequence.complete == 0


@given(st.permutations(range(1, 30)), st.data())
def test_every_number_is_taken_once_in_whatever_order_it_comes(order: list[int], data: st.DataObject) -> None:
    sequence = Sequence()
    sequence.begin(1, 0)
    for seq in order:
        assert sequence.take(seq)
        again = data.draw(st.sampled_from(order[: order.index(seq) + 1]))
        assert not sequence.take(again)
    assert sequence.complete == 29
    assert not sequence.has_gap


@given(st.sets(st.integers(1, 40)), st.integers(0, 50))
def test_what_is_given_up_is_exactly_what_had_not_come(came: set[int], up_to: int) -> None:
    sequence = Sequence()
    sequence.begin(1, 0)
    for seq in sorted(came):
        sequence.take(seq)
    assert sequence.give_up(up_to) == len(set(range(1, up_to + 1)) - came)
    assert sequence.complete >= up_to
    for seq in came:
        assert not sequence.take(seq)


@given(st.integers(0, 50), st.integers(0, 50))
def test_after_a_restart_what_follows_the_last_one_known_is_missing(known: int, newest: int) -> None:
    sequence = Sequence()
    assert sequence.begin(5, newest, known)
    missing = [seq for seq in range(1, 60) if seq <= newest and sequence.lacks(seq)]
    assert missing == list(range(known + 1, newest + 1))
    assert sequence.has_gap == bool(missing)
    sequence.begin(6, 3, known)
    assert sequence.complete == 0, "of another epoch nothing is known"


def test_a_smaller_epoch_is_an_echo_of_the_past_unless_the_present_one_is_gone() -> None:
    sequence = Sequence()
    sequence.begin(5, 3)
    assert not sequence.begin(4, 0)
    assert not sequence.begin(5, 0, older_too=True), "the same one begins nothing"
    assert sequence.begin(4, 0, older_too=True)
    assert (sequence.epoch, sequence.complete) == (4, 0)
