"""The daemon is asked for the PLC's recipe: once, again after a refusal, and never where the gates disagree."""

from hypothesis import given
from hypothesis import strategies as st

from bridge.changeover import AGAIN_NS, ANSWER_WITHIN_NS, TOLD_WITHIN_NS, Changeover

EPOCH = 5


def test_the_recipe_that_is_active_is_not_asked_for_nor_one_that_nobody_chooses() -> None:
    changeover = Changeover()
    assert changeover.due([(0, 1)], EPOCH, 0) is None
    assert changeover.due([(1, 1)], EPOCH, 0) is None
    assert changeover.due([(2, 1)], None, 0) is None, "no daemon was heard yet"
    assert changeover.due([(2, 1)], EPOCH, 0) == 2


def test_it_is_asked_once_until_there_is_an_answer() -> None:
    changeover = Changeover()
    assert changeover.due([(2, 1)], EPOCH, 0) == 2
    changeover.asked(0)
    assert changeover.due([(2, 1)], EPOCH, ANSWER_WITHIN_NS - 1) is None
    assert changeover.due([(2, 1)], EPOCH, ANSWER_WITHIN_NS) == 2


def test_a_refused_one_is_asked_for_again_after_a_while_and_a_later_wish_soon_after_a_confirmation() -> None:
    changeover = Changeover()
    changeover.due([(2, 1)], EPOCH, 0)
    changeover.asked(0)
    changeover.answered(ok=False, now_ns=10)
    assert changeover.due([(2, 1)], EPOCH, 9 + AGAIN_NS) is None
    assert changeover.due([(2, 1)], EPOCH, 10 + AGAIN_NS) == 2
    changeover.asked(AGAIN_NS)
    changeover.answered(ok=True, now_ns=2 * AGAIN_NS)
    assert changeover.due([(3, 2)], EPOCH, 2 * AGAIN_NS + TOLD_WITHIN_NS) == 3


def test_a_daemon_that_was_started_anew_is_asked_at_once() -> None:
    changeover = Changeover()
    changeover.due([(2, 1)], EPOCH, 0)
    changeover.asked(0)
    assert changeover.due([(2, 1)], EPOCH + 1, 1) == 2


@given(st.lists(st.integers(0, 3), min_size=1, max_size=4), st.integers(1, 3))
def test_it_is_asked_for_only_what_all_gates_that_choose_agree_on(wishes: list[int], active: int) -> None:
    asked = Changeover().due([(wish, active) for wish in wishes], EPOCH, 0)
    chosen = set(wishes) - {0}
    assert asked == (chosen.pop() if len(chosen) == 1 and chosen != {active} else None)
