"""One camera's thread: a frame for each trigger, or every frame in free run, into the queue; or a reason why not.

A frame is as many looks as it has items: they are ordered, and rejected, together.
"""

import logging
import queue
import threading
import time
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from daemon.book import Book, Look
from daemon.outcome import Outbox, Outcome
from daemon.progress import Progress
from daemon.queue import FrameQueue, WaitingFrame
from daemon.reconcile import Reconciler, Settled
from senbetsu.camera import Camera, CameraFault, EndOfFrames, Frame
from senbetsu.config import CameraSection, GateSection
from senbetsu.images import read_image
from senbetsu.items import Belt, BeltPart, cut
from senbetsu.metrics import Metrics
from senbetsu.verdict import Reason

log = logging.getLogger("daemon")

IDLE_CHECK_S = 0.05
FAULT_PAUSE_S = 0.05
POLL_NS = 2_000_000
"""With a hardware trigger, between two looks at what the PLC has announced."""
Looks = tuple[Look, ...]
"""Of one frame: one an item."""


class Capture(threading.Thread):
    """Every look that is given to `order` ends in the queue or in the outbox."""

    def __init__(
        self,
        camera: Camera,
        section: CameraSection,
        gate: GateSection,
        book: Book,
        frames: FrameQueue,
        outbox: Outbox,
        progress: Progress,
        metrics: Metrics,
        on_death: Callable[[str, BaseException], None],
    ) -> None:
        super().__init__(name=f"capture-{section.name}", daemon=True)
        self.section = section
        self.ended = threading.Event()
        """A recording is over (free run)."""
        self.fault: str | None = None
        """Why the camera does not deliver, while it does not."""
        self.out_of_step: str | None = None
        """With a hardware trigger: why its frames and triggers can no longer be joined, until a new run."""
        self._camera = camera
        self._gate = gate
        self._book = book
        self._frames = frames
        self._outbox = outbox
        self._progress = progress
        self._on_death = on_death
        self._orders: queue.SimpleQueue[Looks | None] = queue.SimpleQueue()
        self._put_back: Looks | None = None
        self._belt = _belt_of(section)
        self._stopping = threading.Event()
        count = metrics.counter
        name = section.name
        self._queued, self._overload = count("frames_total", name, "queued"), count("frames_total", name, "overload")
        self._incomplete, self._lost = count("frames_total", name, "incomplete"), count("frames_total", name, "lost")
        self._last_frame = metrics.gauge("last_frame_timestamp_seconds", name)

    def order(self, looks: Sequence[Look]) -> None:
        """A frame is wanted for these looks. What the camera and the engine cannot keep up with is overload, at once."""
        waiting = self._orders.qsize() + self._frames.depth(self.section.name) / self.section.items
        if waiting >= self.section.buffer_frames:
            self._overload.inc()
            self._settle(looks, Reason.OVERLOAD)
        else:
            self._orders.put(tuple(looks))

    def stop(self) -> None:
        """Finish what was ordered, then end."""
        self._stopping.set()
        self._orders.put(None)

    def run(self) -> None:
        """The thread."""
        try:
            if self.section.trigger == "free_run":
                self._free_run()
            elif self.section.trigger == "hardware":
                self._hardware_trigger()
            else:
                self._software_trigger()
            self._camera.close()
        except BaseException as error:  # noqa: BLE001  (a dead thread is a fault of the daemon, which ends it)
            self._on_death(self.name, error)

    def _software_trigger(self) -> None:
        while True:
            try:
                looks = self._next_order(IDLE_CHECK_S)
            except queue.Empty:
                self._check()
                continue
            if looks is None:
                return
            self._serve(looks)
            self._camera.prepare()

    def _next_order(self, timeout_s: float) -> Looks | None:
        if self._put_back is not None:
            looks, self._put_back = self._put_back, None
            return looks
        return self._orders.get(timeout=timeout_s) if timeout_s else self._orders.get_nowait()

    def _serve(self, looks: Looks) -> None:
        look = looks[0]
        if time.monotonic_ns() >= look.deadline_ns:
            # The camera is behind. A frame taken now would be too late, and would make the next part late as well.
            self._settle(looks, Reason.NO_FRAME)
            return
        try:
            frame = self._camera.grab(look.triggered_at_ns, look.deadline_ns)
        except CameraFault as fault:
            self._has_fault(fault)
            self._settle(looks, Reason.CAMERA_FAULT)
            return
        except EndOfFrames:
            frame = None
        if frame is None:
            self._settle(looks, Reason.NO_FRAME)
            return
        self._hand_on(self._newest_triggered_before(frame, looks), frame)

    def _newest_triggered_before(self, frame: Frame, looks: Looks) -> Looks:
        """Whose frame it is: a freely running camera's shows the last part that was triggered before it was exposed.

        The parts before that one had moved on unseen.
        """
        while not self._camera.exposes_on_trigger:
            try:
                later = self._next_order(0)
            except queue.Empty:
                break
            if later is None:
                self._orders.put(None)
                break
            if later[0].triggered_at_ns > frame.exposed_at_ns:
                self._put_back = later
                break
            self._settle(looks, Reason.NO_FRAME)
            looks = later
        return looks

    def _hardware_trigger(self) -> None:
        """Frames come with the pulses, and orders with the PLC's word of them: the reconciler says which are of one part."""
        reconciler: Reconciler[Looks, Frame] = Reconciler(round(self.section.window_ms * 1e6), self._camera.edges)
        stopping = False
        while not (stopping and reconciler.next_event_ns() is None):
            try:
                frame = self._camera.grab(0, time.monotonic_ns() + POLL_NS)
                stopping = self._take_orders(reconciler) or stopping
                now_ns = time.monotonic_ns()
                if frame is None:
                    self._check()
                    settled = reconciler.tick(now_ns)
                else:
                    self._is_well()
                    settled = reconciler.frame(frame.trigger_id, frame.exposed_at_ns, now_ns, frame)
                self._apply(settled)
            except CameraFault as fault:
                self._has_fault(fault)
                for looks in reconciler.lose():
                    self._settle(looks, Reason.CAMERA_FAULT)
                stopping = self._refuse_orders() or stopping
                self._stopping.wait(POLL_NS / 1e9)
            self.out_of_step = reconciler.why

    def _take_orders(self, reconciler: Reconciler[Looks, Frame]) -> bool:
        """True if told to stop."""
        while True:
            try:
                looks = self._next_order(0)
            except queue.Empty:
                return False
            if looks is None:
                return True
            look = looks[0]
            self._apply(reconciler.begin(look.run))
            self._apply(reconciler.trigger(look.trigger or 0, look.triggered_at_ns, looks))

    def _refuse_orders(self) -> bool:
        while True:
            try:
                looks = self._next_order(0)
            except queue.Empty:
                return False
            if looks is None:
                return True
            self._settle(looks, Reason.CAMERA_FAULT)

    def _apply(self, settled: Sequence[Settled[Looks, Frame]]) -> None:
        for each in settled:
            if each.picture is not None:
                self._hand_on(each.part, each.picture)
                continue
            if each.reason is Reason.OUT_OF_STEP:
                log.error("camera %s: trigger %s is out of step", self.section.name, each.part[0].trigger)
            self._settle(each.part, each.reason)

    def _free_run(self) -> None:
        newest_id: int | None = None
        while not self._stopping.is_set():
            try:
                frame = self._camera.grab(0, time.monotonic_ns() + round(IDLE_CHECK_S * 1e9))
            except CameraFault as fault:
                self._has_fault(fault)
                self._lose_belt()
                self._stopping.wait(FAULT_PAUSE_S)
                continue
            except EndOfFrames as end:
                log.info("%s", end)
                self._end_belt()
                self.ended.set()
                self._outbox.wake()
                while not self._stopping.wait(IDLE_CHECK_S):
                    self._check()
                return
            if frame is None:
                self._check()
                continue
            left_out = frame.lost_before if newest_id is None else frame.frame_id - newest_id - 1
            for missed_id in range(frame.frame_id - left_out, frame.frame_id):
                self._miss(
                    Frame(missed_id, frame.exposed_at_ns, None), lost=frame.frame_id - missed_id <= frame.lost_before
                )
            newest_id = frame.frame_id
            if self._belt is None:
                self._hand_on(self._announce(frame.exposed_at_ns, None), frame)
            else:
                self._watch_belt(self._belt, frame)
            self._camera.prepare()
        self._end_belt()

    def _miss(self, frame: Frame, *, lost: bool) -> None:
        """A frame that nobody looked at is said to be one: the camera was too fast, or it was lost on its way."""
        (self._lost if lost else self._overload).inc()
        if self._belt is None:
            reason = Reason.INCOMPLETE_FRAME if lost else Reason.OVERLOAD
            self._settle(self._announce(frame.exposed_at_ns, None), reason, frame)

    def _watch_belt(self, belt: Belt, frame: Frame) -> None:
        self._is_well()
        self._last_frame.set(time.time())
        if frame.image is None:
            log.warning("camera %s: frame %d is incomplete: %s", self.section.name, frame.frame_id, frame.error)
            self._incomplete.inc()
            return
        for part in belt.add(frame.image, frame.frame_id, frame.exposed_at_ns):
            self._hand_on_part(part)

    def _hand_on_part(self, part: BeltPart) -> None:
        """Its deadline counts from now: it was followed until it was seen best."""
        looks = self._announce(time.monotonic_ns(), part.number)
        self._hand_on(looks, Frame(part.frame_id, part.exposed_at_ns, part.image, part.error))

    def _end_belt(self) -> None:
        if self._belt is not None:
            for part in self._belt.finish():
                self._hand_on_part(part)

    def _lose_belt(self) -> None:
        """What was on its way passes unseen."""
        if self._belt is not None:
            for part in self._belt.finish():
                frame = Frame(part.frame_id, part.exposed_at_ns, None)
                self._settle(self._announce(time.monotonic_ns(), part.number), Reason.CAMERA_FAULT, frame)

    def _announce(self, at_ns: int, part_id: int | None) -> Looks:
        deadline_ns = at_ns + round(self._gate.deadline_ms * 1e6)
        section = self.section
        looks = self._book.announce(section.gate, [section.name], None, part_id, at_ns, deadline_ns, section.items)
        return tuple(looks)

    def _hand_on(self, looks: Looks, frame: Frame) -> None:
        self._is_well()
        self._last_frame.set(time.time())
        for look in looks:
            self._book.frame_came(look)
        if frame.image is None:
            log.warning("camera %s: frame %d is incomplete: %s", self.section.name, frame.frame_id, frame.error)
            self._incomplete.inc()
            self._settle(looks, Reason.INCOMPLETE_FRAME, frame)
            return
        for look, item in zip(looks, cut(frame.image, self.section.regions), strict=True):
            self._queue(look, frame, item)

    def _queue(self, look: Look, frame: Frame, item: NDArray[np.uint8] | None) -> None:
        if item is None:
            region = self.section.regions[look.item]
            log.warning("camera %s: frame %d does not hold %r", self.section.name, frame.frame_id, region)
            self._incomplete.inc()
            self._settle((look,), Reason.INCOMPLETE_FRAME, frame)
        elif self._frames.put(WaitingFrame(look, frame, item, time.monotonic_ns())):
            self._queued.inc()
        else:
            self._overload.inc()
            self._settle((look,), Reason.OVERLOAD, frame)

    def _settle(self, looks: Sequence[Look], reason: Reason, frame: Frame | None = None) -> None:
        frame_id = None if frame is None else frame.frame_id
        exposed_at_ns = None if frame is None else frame.exposed_at_ns
        for look in looks:
            self._outbox.settle(Outcome(look, reason, time.monotonic_ns(), frame_id, exposed_at_ns))

    def _check(self) -> None:
        try:
            if self._camera.check():
                self._is_well()
        except CameraFault as fault:
            self._has_fault(fault)

    def _is_well(self) -> None:
        self._progress.camera_proven(self.section.name)
        self.fault = None

    def _has_fault(self, fault: CameraFault) -> None:
        """It is known, and each of its parts is rejected for it: that is no reason to stop the other cameras' heart."""
        self._progress.camera_proven(self.section.name)
        if self.fault is None:
            log.error("%s", fault)
        self.fault = str(fault)


def _belt_of(section: CameraSection) -> Belt | None:
    if section.belt is None:
        return None
    belt = section.belt
    background = None if belt.background is None else read_image(belt.background)
    return Belt(belt.width, belt.height, belt.difference, belt.least_area, background, belt.within)
