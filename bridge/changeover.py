"""When the daemon is asked for another recipe, because the PLC asks for it: pure, with the time as an argument.

One daemon judges by one recipe. Where the PLC chooses for several gates, all that choose must agree before it is asked.
"""

from collections.abc import Iterable
from dataclasses import dataclass

ANSWER_WITHIN_NS = 120_000_000_000
"""Loading takes seconds, on a small PC up to a minute. Without an answer for this long it is asked again."""
AGAIN_NS = 2_000_000_000
"""After a refusal: the recipe may be put right meanwhile."""
TOLD_WITHIN_NS = 200_000_000
"""After a confirmation: a heartbeat tells the active recipe."""


@dataclass(slots=True)
class Changeover:
    """One daemon's."""

    _not_before_ns: int = 0
    _epoch: int | None = None

    def due(self, gates: Iterable[tuple[int, int]], epoch: int | None, now_ns: int) -> int | None:
        """The number to ask for now, or None.

        Args:
            gates: of each, what its PLC asks for (0: nothing) and what is active.
            epoch: the daemon's; one that was started anew has forgotten what it was asked.
        """
        if epoch != self._epoch:
            self._epoch, self._not_before_ns = epoch, 0
        wanted = {(asked_for, active) for asked_for, active in gates if asked_for}
        if len(wanted) != 1 or epoch is None or now_ns < self._not_before_ns:
            return None
        ((asked_for, active),) = wanted
        return asked_for if asked_for != active else None

    def asked(self, now_ns: int) -> None:
        """The request is on its way."""
        self._not_before_ns = now_ns + ANSWER_WITHIN_NS

    def answered(self, *, ok: bool, now_ns: int) -> None:
        """The answer came."""
        self._not_before_ns = now_ns + (TOLD_WITHIN_NS if ok else AGAIN_NS)
