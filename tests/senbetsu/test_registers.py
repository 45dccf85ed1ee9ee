"""The register table: addresses that fit together, and an encoding that comes back."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from senbetsu.registers import (
    COUNTERS,
    DETAIL_AT,
    HEADER,
    HOLDING,
    HOLDING_COUNT,
    INPUT_COUNT,
    NO_RATIO,
    SLOT,
    SLOT_AT,
    SLOT_WORDS,
    SLOTS,
    WINDOW_AT,
    WINDOW_COUNT,
    Control,
    Flag,
    Header,
    PlcWrite,
    Slot,
    decode_window,
    decode_write,
    input_registers,
    join32,
    score_ratio,
    split32,
    trigger_distance,
)
from senbetsu.states import State
from senbetsu.verdict import Reason

word = st.integers(0, 0xFFFF)
double = st.integers(0, 0xFFFF_FFFF)


def test_the_table_is_the_contract() -> None:
    assert [(r.name, r.address) for r in COUNTERS] == [
        ("triggers", 0), ("pass", 2), ("reject", 4), ("late", 6), ("lost", 8), ("missed", 10), ("refused_writes", 12),
        ("epoch_low", 14),
    ]  # fmt: skip
    assert [r.address for r in HEADER] == list(range(20, 31))
    assert (SLOT_AT, SLOT_WORDS, SLOTS, DETAIL_AT, INPUT_COUNT) == (32, 7, 16, 144, 176)
    assert (WINDOW_AT, WINDOW_COUNT) == (20, 124)
    assert WINDOW_AT + WINDOW_COUNT == SLOT_AT + SLOT_WORDS * SLOTS == DETAIL_AT
    for table, size in ((SLOT, SLOT_WORDS), (HOLDING, HOLDING_COUNT)):
        at = 0
        for register in table:
            assert register.address == at
            at += register.words
        assert at == size


@given(
    st.tuples(*[double] * 8),
    word,
    st.sampled_from(list(State)),
    st.integers(0, 1023),
    st.tuples(*[word] * 6),
    st.data(),
)
def test_the_window_comes_back(counters, run, state, flags, rest, data) -> None:
    header = Header(*counters, run, state, Flag(flags), *rest)
    slots = [
        Slot(data.draw(word), data.draw(double), data.draw(st.sampled_from(list(Reason))), data.draw(st.booleans()),
             data.draw(word), data.draw(word))
        for _ in range(SLOTS)
    ]  # fmt: skip
    words = input_registers(header, slots)
    assert len(words) == INPUT_COUNT
    assert all(0 <= w <= 0xFFFF for w in words)
    assert [join32(words[r.address], words[r.address + 1]) for r in COUNTERS] == list(counters)
    window = decode_window(words[20:144])
    assert (window.magic, window.layout, window.run, window.state, window.flags) == (0x5342, 1, run, state, Flag(flags))
    newest = (window.heartbeat, window.newest_accepted, window.newest_decided)
    assert (*newest, window.recipe, window.outstanding, window.confirmed) == rest
    for seen, slot in zip(window.slots, slots, strict=True):
        assert (seen.first, seen.last, seen.part_id, seen.good_items, seen.run) == (
            slot.trigger, slot.trigger, slot.part_id, slot.good_items, slot.run,
        )  # fmt: skip
        assert seen.reason == slot.reason
        expected = 0 if slot.reason is Reason.NONE else 0x8001 if slot.reason is Reason.OK else 0x8002
        assert seen.bits & 0x8003 == expected
        assert bool(seen.bits & 4) == slot.simulated


@given(word, word, double, word, st.integers(0, 3), word, word, st.integers(0, 60_000), double)
def test_the_plcs_write_comes_back(ack, echo, part, trigger, control, recipe, beat, deadline, passed) -> None:
    event = PlcWrite(ack, echo, part, trigger, Control(control), recipe, beat, deadline, passed)
    assert decode_write(event.words()) == event


def test_a_write_that_is_not_whole_or_not_allowed_is_refused() -> None:
    with pytest.raises(ValueError, match="written whole"):
        decode_write([0] * 11)
    words = PlcWrite().words()
    words[8] = 60_001
    with pytest.raises(ValueError, match="deadline"):
        decode_write(words)


@given(double)
def test_a_double_has_its_high_word_first(value: int) -> None:
    high, low = split32(value)
    assert high * 65536 + low == value == join32(high, low)


@given(st.floats(0, 1e12), st.floats(1e-6, 1e6), st.booleans())
def test_the_ratio_never_says_better_than_it_is(score: float, threshold: float, passed: bool) -> None:
    ratio = score_ratio(score, threshold, passed=passed)
    exact = 1000 * score / threshold
    if passed:
        assert ratio <= exact or ratio == 0
        assert ratio <= 1000
    else:
        assert 1001 <= ratio < NO_RATIO
        assert ratio >= min(exact, NO_RATIO - 1)


@pytest.mark.parametrize(
    ("score", "threshold"), [(math.nan, 1.0), (math.inf, 1.0), (1.0, math.nan), (1.0, 0.0), (-1.0, 1.0)]
)
def test_without_a_score_there_is_no_ratio(score: float, threshold: float) -> None:
    assert score_ratio(score, threshold, passed=False) == NO_RATIO


@given(word, word)
def test_distance_counts_forward_over_the_wrap(older: int, steps: int) -> None:
    assert trigger_distance((older + steps) % 65536, older) == steps
