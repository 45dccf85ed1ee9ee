"""What the bridge knows of the two that it stands between: the daemon and the PLC. Times are its own clock, nanoseconds.

Either is lost once it has been silent for too long, and found again by the next that is heard of it [10].
"""

from dataclasses import dataclass

from senbetsu.registers import Control, PlcWrite
from senbetsu.states import ACCEPTS_TRIGGERS, State

NEVER_NS = 1 << 63
WORD = 0xFFFF


@dataclass(slots=True)
class DaemonEnd:
    """The daemon, by its heartbeats and states. `recipe` is the active one; until it tells, what the config says."""

    silent_ns: int
    recipe: int
    epoch: int | None = None
    heartbeat: int = 0
    """Forwarded, never invented."""
    state: State = State.STARTING
    lost: bool = True
    heard_ns: int | None = None

    def hear_beat(self, counter: int, now_ns: int) -> None:
        """A heartbeat of the present epoch."""
        self.heartbeat = counter & WORD
        self.heard_ns = now_ns
        self.lost = False

    def tell(self, state: State, recipe: int | None) -> None:
        """What a message of the present epoch says of it; a daemon of an older contract tells no recipe."""
        self.state = state
        if recipe is not None:
            self.recipe = recipe

    def falls_silent(self, now_ns: int) -> bool:
        """True once, when it does."""
        if self.lost or (self.heard_ns is not None and now_ns - self.heard_ns <= self.silent_ns):
            return False
        self.lost = True
        return True

    def silent_at_ns(self) -> int:
        """When `falls_silent` becomes True, if nothing is heard."""
        return NEVER_NS if self.lost or self.heard_ns is None else self.heard_ns + self.silent_ns + 1

    @property
    def accepts_triggers(self) -> bool:
        """Whether it is here, and in a state to judge."""
        return not self.lost and self.state in ACCEPTS_TRIGGERS


@dataclass(slots=True)
class PlcEnd:
    """The PLC, by its writes. It is here while its heartbeat changes."""

    silent_ns: int
    heartbeat: int | None = None
    lost: bool = True
    control: Control = Control(0)
    recipe: int = 0
    """What it asks for; 0: whatever is active."""
    gate_passed: int = 0
    heard_ns: int = 0
    was_here: bool = False

    def hear(self, write: PlcWrite, now_ns: int) -> tuple[bool, bool]:
        """Take its words. Whether it has come back, and whether it has just enabled: each begins a run [5]."""
        came_back = False
        if write.heartbeat != self.heartbeat:
            came_back = self.lost and self.was_here
            self.heartbeat, self.heard_ns = write.heartbeat, now_ns
            self.lost, self.was_here = False, True
        enables = Control.ENABLE in write.control and Control.ENABLE not in self.control
        self.control, self.recipe, self.gate_passed = write.control, write.recipe, write.gate_passed
        return came_back, enables

    def look_for_silence(self, now_ns: int) -> None:
        """Whether it has been silent for too long."""
        if now_ns - self.heard_ns > self.silent_ns:
            self.lost = True

    def silent_at_ns(self) -> int:
        """When it is lost, if its heartbeat changes no more."""
        return NEVER_NS if self.lost else self.heard_ns + self.silent_ns + 1
