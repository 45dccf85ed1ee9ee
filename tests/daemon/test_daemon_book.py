"""The book against a slow oracle: whatever happens in whatever order, each look is settled exactly once."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, multiple, rule

from daemon.book import AlreadyOpenError, Book, Look

CAMERAS = ["cam1", "cam2", "cam3"]


class BookMachine(RuleBasedStateMachine):
    """The oracle is a list of what was announced and a list of what was settled."""

    looks = Bundle("looks")

    @initialize()
    def begin(self) -> None:
        self.book = Book(None)
        self.now_ns = 0
        self.announced: list[Look] = []
        self.settled: list[Look] = []
        self.with_frame: set[int] = set()
        self.given_overdue: set[int] = set()

    def open_looks(self) -> list[Look]:
        return [look for look in self.announced if look not in self.settled]

    @rule(
        target=looks,
        gate=st.sampled_from(["a", "b"]),
        cameras=st.integers(1, 3),
        trigger=st.none() | st.integers(0, 3),
        due_in_ns=st.integers(1, 50),
    )
    def announce(self, gate: str, cameras: int, trigger: int | None, due_in_ns: int) -> object:
        is_open = trigger is not None and any((k.gate, k.trigger) == (gate, trigger) for k in self.open_looks())
        deadline_ns = self.now_ns + due_in_ns
        if is_open:
            with pytest.raises(AlreadyOpenError, match=f"trigger {trigger} of gate {gate}"):
                self.book.announce(gate, CAMERAS[:cameras], trigger, None, self.now_ns, deadline_ns)
            return multiple()
        looks = self.book.announce(gate, CAMERAS[:cameras], trigger, 5, self.now_ns, deadline_ns)
        assert [look.camera for look in looks] == CAMERAS[:cameras]
        self.announced += looks
        return multiple(*looks)

    @rule(look=looks)
    def settle(self, look: Look) -> None:
        assert self.book.settle(look) == (look not in self.settled)
        if look not in self.settled:
            self.settled.append(look)

    @rule(look=looks)
    def frame_comes(self, look: Look) -> None:
        assert self.book.frame_came(look, look.number + 100, 7) == (look not in self.settled)
        self.with_frame.add(look.number)

    @rule(look=consumes(looks))
    def forget_in_the_test(self, look: Look) -> None:
        """Nobody asks for it any more; it must stay in the book all the same."""

    @rule(step_ns=st.integers(0, 30))
    def time_passes(self, step_ns: int) -> None:
        self.now_ns += step_ns
        due = [k for k in self.open_looks() if k.deadline_ns <= self.now_ns and k.number not in self.given_overdue]
        given = self.book.overdue(self.now_ns)
        assert sorted(k.number for k in given) == sorted(k.number for k in due)
        assert [k.deadline_ns for k in given] == sorted(k.deadline_ns for k in given)
        self.given_overdue |= {k.number for k in given}
        for look in given:
            self.settle(look)

    @invariant()
    def what_is_open_is_in_the_book(self) -> None:
        still_open = self.open_looks()
        assert self.book.still_open() == still_open
        assert len(self.book) == len(still_open)
        earliest_ns = min((look.deadline_ns for look in still_open), default=1 << 63)
        assert self.book.next_deadline_ns() == earliest_ns
        for look in self.announced:
            has = look in still_open and look.number in self.with_frame
            assert self.book.frame_of(look) == ((look.number + 100, 7) if has else None)


BookMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
TestBook = BookMachine.TestCase
