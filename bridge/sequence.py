"""Which results have come, and which are missing: the sequence numbers of one daemon's epoch. Pure."""

from dataclasses import dataclass, field


@dataclass(slots=True)
class Sequence:
    """Everything up to `complete` has been taken; `ahead` holds what came before its turn."""

    epoch: int | None = None
    complete: int = 0
    newest: int = 0
    ahead: set[int] = field(default_factory=set)

    def begin(self, epoch: int, newest: int, known: int | None = None, *, older_too: bool = False) -> bool:
        """A message of this epoch was heard. True if the epoch is new.

        At the first contact nothing that was before is ours, but for what follows `known`, the newest that was taken
        before a restart; of a later epoch everything is. `older_too`: nothing comes any more of the present epoch, so that
        a smaller one is no echo of the past but a daemon that started after the clock was set back.
        """
        if self.epoch is not None and (epoch == self.epoch or (epoch < self.epoch and not older_too)):
            return False
        first_contact = self.epoch is None
        self.complete = (newest if known is None else min(known, newest)) if first_contact else 0
        self.newest = newest if first_contact else 0
        self.epoch = epoch
        self.ahead.clear()
        return True

    def take(self, seq: int) -> bool:
        """A result came. False if it was there already."""
        if not self.lacks(seq):
            return False
        self.newest = max(self.newest, seq)
        self.ahead.add(seq)
        self._advance()
        return True

    def lacks(self, seq: int) -> bool:
        """Whether it has not come."""
        return seq > self.complete and seq not in self.ahead

    def announce(self, newest: int) -> None:
        """A heartbeat tells the newest number."""
        self.newest = max(self.newest, newest)

    def give_up(self, up_to: int) -> int:
        """What is missing up to here will never come. Returns how many that are."""
        missing = max(0, up_to - self.complete - sum(seq <= up_to for seq in self.ahead))
        self.ahead = {seq for seq in self.ahead if seq > up_to}
        self.complete = max(self.complete, up_to)
        self.newest = max(self.newest, up_to)
        self._advance()
        return missing

    @property
    def has_gap(self) -> bool:
        """Something is missing."""
        return self.complete < self.newest

    def _advance(self) -> None:
        while self.complete + 1 in self.ahead:
            self.complete += 1
            self.ahead.discard(self.complete)
