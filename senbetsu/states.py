"""The states of the line, numbered as in PackML (ISA-TR88.00.02). The number is what the PLC reads."""

from enum import IntEnum


class State(IntEnum):
    """State of a daemon and of a gate. A state never opens a gate; only IDLE and EXECUTE accept triggers."""

    STARTING = 3
    IDLE = 4
    SUSPENDED = 5
    EXECUTE = 6
    ABORTED = 9
    HELD = 11


ACCEPTS_TRIGGERS = frozenset({State.IDLE, State.EXECUTE})
