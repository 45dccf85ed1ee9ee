"""The newest results, kept for those who missed them, in memory that is taken once at the start."""

import numpy as np

REPLAY_CHUNK = 256
"""Most results in one answer; whoever needs more asks again."""
BYTES_A_RESULT = 1024
"""A result's JSON takes about 850. Where names are so long that it takes more, fewer results are kept."""


class ReplayRing:
    """The newest results' JSON, by seq; what is older is gone, and said to be.

    Results lie one after the other in one block of memory, and the oldest make room at its head: it never grows, however
    many results there were.
    """

    def __init__(self, size: int) -> None:
        """`size`: most results."""
        # Written to, so that the system hands out the memory now and not result by result.
        self._block = bytearray(b"\xff") * (size * BYTES_A_RESULT)
        self._at, self._length = np.full(size, -1, np.int64), np.full(size, -1, np.int64)
        self._size = size
        self._head = 0
        self._first = 1
        self.newest = 0

    def add(self, payload: bytes) -> None:
        """The next seq's."""
        self.newest += 1
        length = len(payload)
        if length > len(self._block):
            self._first = self.newest + 1
            return
        if self._head + length > len(self._block):
            while self._first < self.newest and self._at[self._first % self._size] >= self._head:
                self._first += 1
            self._head = 0
        end = self._head + length
        while self._first < self.newest and (
            self.newest - self._first >= self._size or self._head <= self._at[self._first % self._size] < end
        ):
            self._first += 1
        slot = self.newest % self._size
        self._at[slot], self._length[slot] = self._head, length
        self._block[self._head : end] = payload
        self._head = end

    @property
    def oldest(self) -> int | None:
        """The oldest seq that is here."""
        return self._first if self._first <= self.newest else None

    def after(self, seq: int) -> tuple[int, int, list[bytes]]:
        """How many results after `seq` are lost, the seq of the first that is here, and it with those that follow."""
        first = max(seq + 1, self._first)
        lost = max(0, first - 1 - seq)
        last = min(self.newest, first - 1 + REPLAY_CHUNK)
        return lost, first, [self._payload(number) for number in range(first, last + 1)]

    def _payload(self, seq: int) -> bytes:
        at, length = int(self._at[seq % self._size]), int(self._length[seq % self._size])
        return bytes(self._block[at : at + length])
