"""Hardware trigger: which frame belongs to which trigger, by count and time, and when that can no longer be said. Pure.

The same pulse goes to the PLC, which counts it and announces the part, and to the camera, which exposes. What the two say
of one pulse comes within a window of each other, and the parts are spaced by more than two of it, so that no part's window
reaches another's frame.

With an edge counter in the camera (its count of pulses, unexposed ones included), a part's trigger number and the edge's
number differ by what they did at the run's first part. Then these are told apart:

- a *lost frame*: the camera counted the edge and delivered nothing: NO_FRAME for that part, and all go on in step;
- a *lost pulse*: the PLC counted a pulse that the camera did not: the counts differ, out of step;
- a *doubled pulse*: the camera counted an edge that the PLC did not: the counts differ, out of step.

Out of step, every part is OUT_OF_STEP until a new run. Without a counter nothing can be counted: a part gets its frame only
when its window held one trigger and one frame; else all in the window are OUT_OF_STEP, and the next one stands for itself.
That can be said only when the window is over, which is the price of a camera without a counter.

A window is over when the camera had nothing more to deliver after it, or has delivered what it exposed later: not by the clock
alone, since whoever takes its frames may have been late himself.

A frame without a part puts the line out of step with and without a counter. So do frames right before a run's first part:
if the PLC's word came a part too late from the start, every frame would be given to the part before it.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from senbetsu.camera import CameraFault
from senbetsu.verdict import Reason

QUIET_NS = 1_000_000_000
"""So long before a run's first part there was no frame."""
REMEMBERED = 64
"""Parts given up for lack of their frame, which may yet come."""
MODULUS = 65_536
"""Trigger numbers and edge counts are compared in 16 bits."""

Part = TypeVar("Part")
Picture = TypeVar("Picture")


@dataclass(frozen=True, slots=True, eq=False)
class Settled(Generic[Part, Picture]):
    """What became of a part: with a frame it goes to be judged, else it is rejected for the reason."""

    part: Part
    picture: Picture | None
    reason: Reason


@dataclass(slots=True, eq=False)
class _Trigger(Generic[Part]):
    number: int
    at_ns: int
    part: Part
    spoilt: bool = False


@dataclass(slots=True, eq=False)
class _Frame(Generic[Picture]):
    edge: int | None
    at_ns: int
    picture: Picture
    spoilt: bool = False


@dataclass(slots=True)
class Reconciler(Generic[Part, Picture]):
    """One camera's. Times are CLOCK_MONOTONIC nanoseconds, of exposures and of triggers as they came.

    `edges` asks the camera for its count now, None where it has no counter; it may raise CameraFault.
    """

    window_ns: int
    edges: Callable[[], int | None]
    why: str | None = None
    """Why it is out of step; None while it is not."""
    stray_frames: int = 0
    """Frames that belonged to no part."""
    _run: int | None = None
    _begun: bool = False
    _newest_stray_ns: int | None = None
    _given_up: list[int] = field(default_factory=list)
    _offset: int | None = None
    """Edge count less trigger number, at the run's first part."""
    _triggers: list[_Trigger[Part]] = field(default_factory=list)
    _frames: list[_Frame[Picture]] = field(default_factory=list)

    def begin(self, run: int) -> list[Settled[Part, Picture]]:
        """A trigger is of this run. A new one begins with nothing counted; what is left of the last is rejected."""
        if run == self._run:
            return []
        # A frame that waits may be the new run's first: its pulse came before the PLC's word of it.
        left = self._reject_triggers()
        self._run, self._offset, self.why, self._begun = run, None, None, False
        self._given_up.clear()
        return left

    def lose(self) -> list[Part]:
        """The camera was lost, and its count with it: the parts that wait, for whoever says why. Out of step from now."""
        left = [trigger.part for trigger in self._triggers]
        self._fall_out("the camera was lost, and its count of pulses with it")
        return left

    def trigger(self, number: int, at_ns: int, part: Part) -> list[Settled[Part, Picture]]:
        """The PLC announces a part."""
        settled: list[Settled[Part, Picture]] = []
        while self._begun and self._frames and at_ns - self._frames[0].at_ns > self.window_ns:
            # Words come in order: this frame's would have come before.
            settled += self._without_trigger(self._frames.pop(0))
        if self.why is not None:
            return [*settled, Settled(part, None, Reason.OUT_OF_STEP)]
        if not self._begun:
            self._begun = True
            early = [frame.at_ns for frame in self._frames if at_ns - frame.at_ns > self.window_ns]
            early += [] if self._newest_stray_ns is None else [self._newest_stray_ns]
            if early and at_ns - max(early) < QUIET_NS:
                return [*settled, Settled(part, None, Reason.OUT_OF_STEP), *self._fall_out(
                    "frames came right before the run's first part; start a run with no part on its way"
                )]  # fmt: skip
        self._triggers.append(_Trigger(number, at_ns, part))
        return settled + self._join(at_ns)

    def frame(self, edge: int | None, exposed_at_ns: int, picture: Picture) -> list[Settled[Part, Picture]]:
        """The camera delivers a frame, with its edge count at the exposure where it has one. They come in order."""
        if self._is_late(edge):
            self._stray(exposed_at_ns)
            return []
        # Also while out of step: it may be the next run's first.
        self._frames.append(_Frame(edge, exposed_at_ns, picture))
        return self.tick(exposed_at_ns)

    def tick(self, now_ns: int) -> list[Settled[Part, Picture]]:
        """Windows that are over: at `now_ns` the camera had nothing to deliver."""
        settled = self._join(now_ns)
        while self._triggers and now_ns - self._triggers[0].at_ns > self.window_ns:
            settled += self._without_frame(self._triggers.pop(0))
        while self._frames and now_ns - self._frames[0].at_ns > 2 * self.window_ns:
            # A frame may be delivered late: it is given the window to arrive, and another for its trigger.
            settled += self._without_trigger(self._frames.pop(0))
        return settled

    def next_event_ns(self) -> int | None:
        """When `tick` has something to do, at the latest."""
        times = [self._triggers[0].at_ns + self.window_ns + 1] if self._triggers else []
        times += [self._frames[0].at_ns + 2 * self.window_ns + 1] if self._frames else []
        return min(times, default=None)

    # -- how ----------------------------------------------------------------------------------------------------------

    def _join(self, now_ns: int) -> list[Settled[Part, Picture]]:
        settled: list[Settled[Part, Picture]] = []
        for trigger in list(self._triggers):  # none while out of step
            frames = [frame for frame in self._frames if abs(frame.at_ns - trigger.at_ns) <= self.window_ns]
            if any(frame.edge is not None for frame in frames):
                settled += self._join_by_count(trigger, frames)
            else:
                settled += self._join_alone(trigger, frames, now_ns)
            if self.why is not None:
                break
        return settled

    def _join_by_count(self, trigger: _Trigger[Part], frames: list[_Frame[Picture]]) -> list[Settled[Part, Picture]]:
        frame = frames[0]
        if frame.edge is None:
            return self._fall_out("a frame came without its edge count")
        offset = (frame.edge - trigger.number) % MODULUS
        if self._offset is None:
            if len(frames) > 1 or len(self._triggers) > 1:
                return self._fall_out("the run began with more than one part in its window")
            self._offset = offset
        if offset != self._offset:
            ahead = (offset - self._offset) % MODULUS
            pulses = ahead if ahead < MODULUS // 2 else ahead - MODULUS
            what = "more than" if pulses > 0 else "less than"
            kind = "a doubled pulse" if pulses > 0 else "a lost pulse"
            return self._fall_out(f"{kind}: the camera has counted {abs(pulses)} {what} the PLC")
        self._triggers.remove(trigger)
        self._frames.remove(frame)
        return [Settled(trigger.part, frame.picture, Reason.OK)]

    def _join_alone(
        self, trigger: _Trigger[Part], frames: list[_Frame[Picture]], now_ns: int
    ) -> list[Settled[Part, Picture]]:
        others = [t for t in self._triggers if t is not trigger and abs(t.at_ns - trigger.at_ns) <= self.window_ns]
        if others or len(frames) > 1 or any(frame.spoilt for frame in frames):
            trigger.spoilt = True
            for other in others:
                other.spoilt = True
            for frame in frames:
                frame.spoilt = True
        if not frames or now_ns - trigger.at_ns <= self.window_ns:
            return []  # one, or another, may come yet
        self._triggers.remove(trigger)
        if trigger.spoilt:
            # The frames stay until their own windows are over: they may lie in another trigger's as well.
            return [Settled(trigger.part, None, Reason.OUT_OF_STEP)]
        self._frames.remove(frames[0])
        return [Settled(trigger.part, frames[0].picture, Reason.OK)]

    def _without_frame(self, trigger: _Trigger[Part]) -> list[Settled[Part, Picture]]:
        try:
            counted = self.edges()
        except CameraFault as fault:
            return [Settled(trigger.part, None, Reason.CAMERA_FAULT), *self._fall_out(str(fault))]
        if counted is None:
            return [Settled(trigger.part, None, Reason.OUT_OF_STEP)]
        if self._offset is None:
            return [
                Settled(trigger.part, None, Reason.OUT_OF_STEP),
                *self._fall_out("the run's first part has no frame"),
            ]
        behind = (trigger.number + self._offset - counted) % MODULUS
        if 0 < behind < MODULUS // 2:
            self._triggers.insert(0, trigger)
            return self._fall_out(f"a lost pulse: the camera has counted {counted}, the PLC {behind} more")
        self._given_up = [*self._given_up[1 - REMEMBERED :], trigger.number % MODULUS]
        return [Settled(trigger.part, None, Reason.NO_FRAME)]

    def _is_late(self, edge: int | None) -> bool:
        """Whether it is of a part that was given up: the camera has counted it, and delivers it now."""
        if edge is None or self._offset is None:
            return False
        return (edge - self._offset) % MODULUS in self._given_up

    def _stray(self, at_ns: int) -> None:
        self.stray_frames += 1
        self._newest_stray_ns = at_ns

    def _without_trigger(self, frame: _Frame[Picture]) -> list[Settled[Part, Picture]]:
        self._stray(frame.at_ns)
        if not self._begun or frame.spoilt or self.why is not None:
            return []
        if frame.edge is None:
            return self._fall_out("a frame came, and the PLC counted no part for it")
        return self._fall_out(f"a doubled pulse: the camera has counted edge {frame.edge}, and the PLC no part for it")

    def _fall_out(self, why: str) -> list[Settled[Part, Picture]]:
        self.why = why
        return self._reject_all()

    def _reject_all(self) -> list[Settled[Part, Picture]]:
        for frame in self._frames:
            self._stray(frame.at_ns)
        self._frames.clear()
        return self._reject_triggers()

    def _reject_triggers(self) -> list[Settled[Part, Picture]]:
        left: list[Settled[Part, Picture]] = []
        left += [Settled(trigger.part, None, Reason.OUT_OF_STEP) for trigger in self._triggers]
        self._triggers.clear()
        return left
