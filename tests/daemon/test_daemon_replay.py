"""Ring and gap detection together: over a channel that loses, doubles and reorders, each result is had once or counted."""

import json
import random
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from bridge.sequence import Sequence
from daemon.replay import BYTES_A_RESULT, REPLAY_CHUNK, ReplayRing
from senbetsu.requests import Answer, ReplayAnswer

ROOT = Path(__file__).resolve().parents[2]


@given(st.integers(1, 40), st.integers(0, 120), st.integers(0, 130))
def test_the_ring_holds_the_newest_and_says_what_is_lost(size: int, count: int, after: int) -> None:
    ring = ReplayRing(size)
    for seq in range(1, count + 1):
        ring.add(b"%d" % seq)
    lost, first, payloads = ring.after(after)
    kept = range(max(1, count - size + 1), count + 1)
    wanted = [seq for seq in range(after + 1, count + 1) if seq in kept]
    assert [int(payload) for payload in payloads] == wanted
    assert not wanted or first == wanted[0]
    assert lost == len([seq for seq in range(after + 1, count + 1) if seq not in kept])
    assert ring.oldest == (kept[0] if kept else None)


def test_more_than_one_answer_holds_is_asked_for_again_where_the_first_ended() -> None:
    ring = ReplayRing(1000)
    for seq in range(1, 601):
        ring.add(json.dumps({"seq": seq}).encode())
    had: list[int] = []
    while len(had) < 600:
        lost, first, payloads = ring.after(had[-1] if had else 0)
        answer = Answer.decode(ReplayAnswer(5, first, lost, 600, payloads).encode())
        got = [document["seq"] for document in answer.field("results")]
        assert len(got) <= REPLAY_CHUNK
        assert (answer.field("first"), answer.field("last")) == (got[0], got[-1])
        had += got
    assert had == list(range(1, 601))


def test_an_empty_answer_names_no_first_and_no_last() -> None:
    answer = Answer.decode(ReplayAnswer(5, 1, 0, 0, []).encode())
    assert (answer.field("first"), answer.field("last"), answer.field("results")) == (None, None, [])


@given(
    st.integers(1, 6),
    st.lists(
        st.one_of(
            st.integers(1, 40), st.integers(BYTES_A_RESULT - 3, BYTES_A_RESULT + 3), st.integers(1, 7 * BYTES_A_RESULT)
        ),
        max_size=60,
    ),
)
def test_results_of_any_length_come_back_whole_and_the_newest_are_kept(size: int, lengths: list[int]) -> None:
    ring, sent = ReplayRing(size), dict[int, bytes]()
    for seq, length in enumerate(lengths, 1):
        sent[seq] = bytes([seq]) * length
        ring.add(sent[seq])
        lost, first, payloads = ring.after(0)
        assert payloads == [sent[number] for number in range(first, seq + 1)]
        assert lost == first - 1
        assert len(payloads) <= size
        # Whatever fits beside it is kept: a result is given up only for room or for the number.
        kept = sum(map(len, payloads))
        assert len(payloads) == size or first == 1 or kept + 2 * max(lengths) > size * BYTES_A_RESULT


RESIDENT = """
import os
from pathlib import Path
from daemon.replay import ReplayRing

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

before = resident()
ring = ReplayRing(20_000)
at_start = resident()
for seq in range(60_000):
    ring.add(b"%d" % seq * 100)
print(at_start - before, resident() - at_start)
"""


def test_the_ring_takes_its_memory_at_the_start_and_never_grows() -> None:
    # In a process of its own: this one's heap may have so much to spare.
    done = subprocess.run([sys.executable, "-c", RESIDENT], cwd=ROOT, capture_output=True, text=True, check=True)
    at_start, afterwards = map(int, done.stdout.split())
    assert at_start > 20_000 * BYTES_A_RESULT * 0.9
    assert afterwards < 2**20


@dataclass
class Line:
    """A publisher, a subscriber that takes what comes as the bridge does, and a channel between them."""

    ring: ReplayRing
    sequence: Sequence = field(default_factory=Sequence)
    had: list[int] = field(default_factory=list)
    lost: int = 0

    def hear(self, seq: int) -> None:
        self.sequence.begin(1, 0)
        if self.sequence.take(seq):
            self.had.append(seq)

    def beat(self) -> None:
        """A heartbeat gets through, and what is missing is asked for."""
        self.sequence.begin(1, 0)
        self.sequence.announce(self.ring.newest)
        while self.sequence.has_gap:
            lost, first, payloads = self.ring.after(self.sequence.complete)
            for payload in payloads:
                self.hear(int(payload))
            if lost:
                self.lost += self.sequence.give_up(first - 1)


@given(st.integers(16, 64), st.lists(st.integers(0, 60), max_size=12), st.integers(0, 2**32))
def test_each_result_is_had_exactly_once_or_counted_as_lost(size: int, bursts: list[int], seed: int) -> None:
    line, chance = Line(ReplayRing(size)), random.Random(seed)
    for burst in bursts:
        on_their_way = []
        for _ in range(burst):
            line.ring.add(b"%d" % (line.ring.newest + 1))
            on_their_way += [line.ring.newest] * chance.choice([0, 1, 1, 1, 2])
        chance.shuffle(on_their_way)
        for seq in on_their_way:
            line.hear(seq)
        if chance.random() < 0.7:
            line.beat()
    line.beat()
    assert len(line.had) == len(set(line.had))
    assert len(line.had) + line.lost == line.ring.newest
    assert line.sequence.complete == line.ring.newest
    assert line.lost == 0 or max(bursts) > 0
    if sum(bursts) <= size:
        assert line.lost == 0
