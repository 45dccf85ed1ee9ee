"""One camera's thread: a frame for each trigger, or every frame in free run, into the queue; or a reason why not."""

import logging
import queue
import threading
import time
from collections.abc import Callable

from daemon.book import Book, Look
from daemon.outcome import Outbox, Outcome
from daemon.progress import Progress
from daemon.queue import FrameQueue, WaitingFrame
from senbetsu.camera import Camera, CameraFault, EndOfFrames, Frame
from senbetsu.config import CameraSection, GateSection
from senbetsu.metrics import Metrics
from senbetsu.verdict import Reason

log = logging.getLogger("daemon")

IDLE_CHECK_S = 0.05
FAULT_PAUSE_S = 0.05


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
        self._camera = camera
        self._gate = gate
        self._book = book
        self._frames = frames
        self._outbox = outbox
        self._progress = progress
        self._on_death = on_death
        self._orders: queue.SimpleQueue[Look | None] = queue.SimpleQueue()
        self._put_back: Look | None = None
        self._stopping = threading.Event()
        count = metrics.counter
        name = section.name
        self._queued, self._overload = count("frames_total", name, "queued"), count("frames_total", name, "overload")
        self._incomplete = count("frames_total", name, "incomplete")
        self._last_frame = metrics.gauge("last_frame_timestamp_seconds", name)

    def order(self, look: Look) -> None:
        """A frame is wanted for this look. What the camera and the engine cannot keep up with is overload, at once."""
        if self._orders.qsize() + self._frames.depth(self.section.name) >= self.section.buffer_frames:
            self._overload.inc()
            self._settle(look, Reason.OVERLOAD)
        else:
            self._orders.put(look)

    def stop(self) -> None:
        """Finish what was ordered, then end."""
        self._stopping.set()
        self._orders.put(None)

    def run(self) -> None:
        """The thread."""
        try:
            if self.section.trigger == "free_run":
                self._free_run()
            else:
                self._software_trigger()
            self._camera.close()
        except BaseException as error:  # noqa: BLE001  (a dead thread is a fault of the daemon, which ends it)
            self._on_death(self.name, error)

    def _software_trigger(self) -> None:
        while True:
            try:
                look = self._next_order(IDLE_CHECK_S)
            except queue.Empty:
                self._check()
                continue
            if look is None:
                return
            self._serve(look)
            self._camera.prepare()

    def _next_order(self, timeout_s: float) -> Look | None:
        if self._put_back is not None:
            look, self._put_back = self._put_back, None
            return look
        return self._orders.get(timeout=timeout_s) if timeout_s else self._orders.get_nowait()

    def _serve(self, look: Look) -> None:
        if time.monotonic_ns() >= look.deadline_ns:
            # The camera is behind. A frame taken now would be too late, and would make the next part late as well.
            self._settle(look, Reason.NO_FRAME)
            return
        try:
            frame = self._camera.grab(look.triggered_at_ns, look.deadline_ns)
        except CameraFault as fault:
            self._has_fault(fault)
            self._settle(look, Reason.CAMERA_FAULT)
            return
        except EndOfFrames:
            frame = None
        if frame is None:
            self._settle(look, Reason.NO_FRAME)
            return
        self._hand_on(self._newest_triggered_before(frame, look), frame)

    def _newest_triggered_before(self, frame: Frame, look: Look) -> Look:
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
            if later.triggered_at_ns > frame.exposed_at_ns:
                self._put_back = later
                break
            self._settle(look, Reason.NO_FRAME)
            look = later
        return look

    def _free_run(self) -> None:
        newest_id: int | None = None
        while not self._stopping.is_set():
            try:
                frame = self._camera.grab(0, time.monotonic_ns() + round(IDLE_CHECK_S * 1e9))
            except CameraFault as fault:
                self._has_fault(fault)
                self._stopping.wait(FAULT_PAUSE_S)
                continue
            except EndOfFrames as end:
                log.info("%s", end)
                self.ended.set()
                self._outbox.wake()
                while not self._stopping.wait(IDLE_CHECK_S):
                    self._check()
                return
            if frame is None:
                self._check()
                continue
            for missed_id in range(frame.frame_id if newest_id is None else newest_id + 1, frame.frame_id):
                # The camera was faster than this thread: a frame that nobody looked at is said to be one.
                self._overload.inc()
                self._settle(self._announce(frame), Reason.OVERLOAD, Frame(missed_id, frame.exposed_at_ns, None))
            newest_id = frame.frame_id
            self._hand_on(self._announce(frame), frame)
            self._camera.prepare()

    def _announce(self, frame: Frame) -> Look:
        deadline_ns = frame.exposed_at_ns + round(self._gate.deadline_ms * 1e6)
        section = self.section
        (look,) = self._book.announce(section.gate, [section.name], None, None, frame.exposed_at_ns, deadline_ns)
        return look

    def _hand_on(self, look: Look, frame: Frame) -> None:
        self._is_well()
        self._last_frame.set(time.time())
        self._book.frame_came(look)
        if frame.image is None:
            log.warning("camera %s: frame %d is incomplete: %s", self.section.name, frame.frame_id, frame.error)
            self._incomplete.inc()
            self._settle(look, Reason.INCOMPLETE_FRAME, frame)
        elif self._frames.put(WaitingFrame(look, frame, frame.image, time.monotonic_ns())):
            self._queued.inc()
        else:
            self._overload.inc()
            self._settle(look, Reason.OVERLOAD, frame)

    def _settle(self, look: Look, reason: Reason, frame: Frame | None = None) -> None:
        self._outbox.settle(
            Outcome(
                look,
                reason,
                time.monotonic_ns(),
                None if frame is None else frame.frame_id,
                None if frame is None else frame.exposed_at_ns,
            )
        )

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
        if self.fault is None:
            log.error("%s", fault)
        self.fault = str(fault)
