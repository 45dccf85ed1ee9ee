"""Frames and triggers of one pulse are joined by count and time; what is lost or doubled never passes another's part."""

from dataclasses import dataclass

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from daemon.reconcile import Reconciler, Settled
from senbetsu.camera import CameraFault
from senbetsu.verdict import Reason

MS = 1_000_000
WINDOW_NS = 20 * MS
SPACING_NS = 41 * MS
START_NS = 10**12
FIRST_TRIGGER, FIRST_EDGE = 65_530, 1_000


@dataclass(frozen=True)
class Pulse:
    """What becomes of one part's pulse, and how much later than it (or earlier) the PLC's word and the frame come."""

    fault: str = ""
    gap_ns: int = 0
    trigger_ns: int = 5 * MS
    exposed_ns: int = 0
    delivered_ns: int = 3 * MS


class Line:
    """Plays pulses to a reconciler in the order of time. A frame's picture is the number of its part."""

    def __init__(self, *, counts: bool) -> None:
        self.edge_count = FIRST_EDGE
        self.counts = counts
        self.reconciler: Reconciler[int, int] = Reconciler(WINDOW_NS, lambda: self.edge_count if counts else None)
        self.settled: list[Settled[int, int]] = []
        self.announced: list[int] = []

    def play(self, pulses: list[Pulse], run: int = 1, start_ns: int = START_NS, first_part: int = 0) -> int:
        events: list[tuple[int, int, str, tuple[int, ...]]] = []
        at_ns = start_ns
        trigger = FIRST_TRIGGER
        for part, pulse in enumerate(pulses, first_part):
            at_ns += SPACING_NS + pulse.gap_ns
            if pulse.fault != "no word":
                number = trigger % 65_536
                events.append((at_ns + pulse.trigger_ns, 2, "trigger", (number, part)))
            trigger += 1
            edges = {"lost pulse": 0, "doubled pulse": 2}.get(pulse.fault, 1)
            for bounce in range(edges):
                edge_ns = at_ns + bounce * MS
                events.append((edge_ns, 0, "edge", ()))
                if pulse.fault != "lost frame":
                    exposed_ns = edge_ns + pulse.exposed_ns
                    events.append(
                        (exposed_ns + pulse.delivered_ns, 1, "frame", (exposed_ns, part, self._edge_of(events)))
                    )
        events += [(now_ns, 3, "tick", ()) for now_ns in range(start_ns, at_ns + 4 * SPACING_NS, 5 * MS)]
        for now_ns, _, what, of in sorted(events):
            self._do(now_ns, what, of, run)
        return at_ns + 4 * SPACING_NS

    def _edge_of(self, events: list[tuple[int, int, str, tuple[int, ...]]]) -> int:
        return self.edge_count + sum(event[2] == "edge" for event in events)

    def _do(self, now_ns: int, what: str, of: tuple[int, ...], run: int) -> None:
        if what == "edge":
            self.edge_count += 1
        elif what == "trigger":
            number, part = of
            self.announced.append(part)
            self.settled += self.reconciler.begin(run)
            self.settled += self.reconciler.trigger(number, now_ns, part)
        elif what == "frame":
            exposed_ns, part, edge = of
            self.settled += self.reconciler.frame(edge if self.counts else None, exposed_ns, part)
        else:
            self.settled += self.reconciler.tick(now_ns)

    def reasons(self) -> list[Reason]:
        return [reason for _, reason in sorted((each.part, each.reason) for each in self.settled)]


FAULTS = ["", "", "", "", "", "", "lost pulse", "doubled pulse", "lost frame", "no word"]
PULSES = st.lists(
    st.builds(
        Pulse,
        st.sampled_from(FAULTS),
        st.integers(0, 300 * MS),
        st.integers(0, 12 * MS),
        st.integers(0, 2 * MS),
        st.integers(0, 5 * MS),
    ),
    max_size=20,
)


@given(PULSES, st.booleans())
@settings(deadline=None)
def test_every_part_is_settled_once_and_none_is_ever_judged_by_anothers_frame(
    pulses: list[Pulse], counts: bool
) -> None:
    line = Line(counts=counts)
    line.play(pulses)
    assert sorted(each.part for each in line.settled) == line.announced
    for each in line.settled:
        assert (each.reason is Reason.OK) == (each.picture is not None)
        assert each.picture in (None, each.part)


@given(PULSES)
@example([Pulse("no word", exposed_ns=MS), Pulse(trigger_ns=0, delivered_ns=0)])
@settings(deadline=None)
def test_with_a_counter_a_lost_frame_costs_its_part_alone_and_any_other_fault_the_rest_of_the_run(
    pulses: list[Pulse],
) -> None:
    line = Line(counts=True)
    line.play([Pulse(), *pulses])
    by_part = {each.part: each.reason for each in line.settled}
    faults = ["", *(pulse.fault for pulse in pulses)]
    out_of = next((part for part, fault in enumerate(faults) if fault not in ("", "lost frame")), len(faults))
    for part, fault in enumerate(faults[:out_of]):
        assert by_part[part] is (Reason.NO_FRAME if fault == "lost frame" else Reason.OK)
    # A doubled pulse's own part was seen, and rightly so; all after it are not.
    for part in range(out_of + 1, len(faults)):
        assert by_part.get(part, Reason.OUT_OF_STEP) is Reason.OUT_OF_STEP
    assert (line.reconciler.why is not None) == (out_of < len(faults))


@given(PULSES, st.booleans())
@settings(deadline=None)
def test_a_new_run_after_a_quiet_second_is_in_step_again(pulses: list[Pulse], counts: bool) -> None:
    line = Line(counts=counts)
    end_ns = line.play(pulses)
    line.play([Pulse()] * 5, run=2, start_ns=end_ns + 1000 * MS, first_part=100)
    assert {each.part: each.reason for each in line.settled if each.part >= 100} == dict.fromkeys(
        range(100, 105), Reason.OK
    )


@pytest.mark.parametrize("counts", [True, False])
def test_parts_in_step_all_get_their_frame_over_the_counters_turn(counts: bool) -> None:
    line = Line(counts=counts)
    line.play([Pulse()] * 20)
    assert line.reasons() == [Reason.OK] * 20


@pytest.mark.parametrize(
    ("fault", "why"),
    [("lost pulse", "a lost pulse"), ("doubled pulse", "a doubled pulse"), ("no word", "a doubled pulse")],
)
def test_with_a_counter_the_cause_is_named(fault: str, why: str) -> None:
    line = Line(counts=True)
    line.play([Pulse(), Pulse(fault), Pulse()])
    assert line.reconciler.why is not None
    assert why in line.reconciler.why


@pytest.mark.parametrize("fault", ["lost pulse", "lost frame"])
def test_without_a_counter_a_part_without_a_frame_is_out_of_step_and_the_next_stands_for_itself(fault: str) -> None:
    line = Line(counts=False)
    line.play([Pulse(), Pulse(fault), Pulse()])
    assert line.reasons() == [Reason.OK, Reason.OUT_OF_STEP, Reason.OK]


def test_without_a_counter_two_frames_in_a_window_judge_nobody() -> None:
    line = Line(counts=False)
    line.play([Pulse(), Pulse("doubled pulse"), Pulse()])
    assert line.reasons() == [Reason.OK, Reason.OUT_OF_STEP, Reason.OK]


@pytest.mark.parametrize("counts", [True, False])
def test_word_that_always_comes_a_part_too_late_passes_nobody(counts: bool) -> None:
    """Each frame would lie in the window of the part before."""
    line = Line(counts=counts)
    line.play([Pulse(trigger_ns=SPACING_NS + 2 * MS)] * 10)
    assert line.reasons() == [Reason.OUT_OF_STEP] * 10


def test_a_frame_that_comes_after_its_part_was_given_up_changes_nothing() -> None:
    line = Line(counts=True)
    line.play([Pulse(), Pulse(delivered_ns=30 * MS), Pulse(gap_ns=50 * MS)])
    assert line.reasons() == [Reason.OK, Reason.NO_FRAME, Reason.OK]
    assert line.reconciler.stray_frames == 1


def test_a_lost_camera_gives_its_parts_back_and_is_out_of_step_until_a_new_run() -> None:
    reconciler: Reconciler[int, int] = Reconciler(WINDOW_NS, lambda: FIRST_EDGE)
    reconciler.begin(1)
    assert reconciler.trigger(5, START_NS, 77) == []
    assert reconciler.lose() == [77]
    (settled,) = reconciler.trigger(6, START_NS + SPACING_NS, 78)
    assert settled.reason is Reason.OUT_OF_STEP
    assert reconciler.begin(2) == []
    assert reconciler.why is None


@pytest.mark.parametrize("counts", [True, False])
def test_who_took_the_frames_late_costs_no_part(counts: bool) -> None:
    """Three parts came while nobody looked; their frames wait in the driver, and the PLC's words before the door."""
    line = Line(counts=counts)
    line.play([Pulse()])
    at_ns = [START_NS + 10 * SPACING_NS + number * SPACING_NS for number in range(3)]
    words = [(FIRST_TRIGGER + 1 + number, at + 5 * MS, number + 1) for number, at in enumerate(at_ns)]
    line.edge_count += len(at_ns)
    for number, at in enumerate(at_ns):
        for trigger, word_ns, part in words:
            line.settled += line.reconciler.trigger(trigger % 65_536, word_ns, part)
        words = []
        edge = FIRST_EDGE + 2 + number if counts else None
        line.settled += line.reconciler.frame(edge, at, number + 1)
    line.settled += line.reconciler.tick(at_ns[-1] + 10 * SPACING_NS)
    assert [(each.part, each.picture) for each in line.settled] == [(part, part) for part in range(4)]
    assert line.reconciler.why is None


def test_a_camera_that_is_lost_while_its_count_is_asked_rejects_the_part_that_asked() -> None:
    def edges() -> int:
        raise CameraFault("gone")

    reconciler: Reconciler[int, int] = Reconciler(WINDOW_NS, edges)
    reconciler.begin(1)
    reconciler.trigger(1, START_NS, 1)
    assert [each.part for each in reconciler.frame(FIRST_EDGE, START_NS, 1)] == [1]
    reconciler.trigger(2, START_NS + SPACING_NS, 2)
    reconciler.trigger(3, START_NS + 2 * SPACING_NS, 3)
    settled = reconciler.tick(START_NS + 2 * SPACING_NS)
    assert [(each.part, each.reason) for each in settled] == [(2, Reason.CAMERA_FAULT), (3, Reason.OUT_OF_STEP)]
    assert reconciler.why == "gone"
