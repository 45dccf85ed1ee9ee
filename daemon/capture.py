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
        self._camera = camera
        self._gate = gate
        self._book = book
        self._frames = frames
        self._outbox = outbox
        self._progress = progress
        self._on_death = on_death
        self._orders: queue.SimpleQueue[Look | None] = queue.SimpleQueue()
        self._stopping = threading.Event()
        count = metrics.counter
        name = section.name
        self._judged, self._overload = count("frames_total", name, "queued"), count("frames_total", name, "overload")
        self._incomplete = count("frames_total", name, "incomplete")
        self._missed = count("triggers_missed_total", name)
        self._last_frame = metrics.gauge("last_frame_timestamp_seconds", name)
        self._fault_said = False

    def order(self, look: Look) -> None:
        """A frame is wanted for this look."""
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
                look = self._orders.get(timeout=IDLE_CHECK_S)
            except queue.Empty:
                self._check()
                continue
            if look is None:
                return
            self._serve(look)
            self._camera.prepare()

    def _serve(self, look: Look) -> None:
        try:
            frame = self._camera.grab(look.triggered_at_ns, look.deadline_ns)
        except CameraFault as fault:
            self._say_fault(fault)
            self._settle(look, Reason.CAMERA_FAULT)
            return
        except EndOfFrames:
            self._missed.inc()
            self._settle(look, Reason.NO_FRAME)
            return
        if frame is None:
            self._missed.inc()
            self._settle(look, Reason.NO_FRAME)
            return
        self._hand_on(look, frame)

    def _free_run(self) -> None:
        while not self._stopping.is_set():
            now_ns = time.monotonic_ns()
            try:
                frame = self._camera.grab(now_ns, now_ns + round(IDLE_CHECK_S * 1e9))
            except CameraFault as fault:
                self._say_fault(fault)
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
            deadline_ns = frame.exposed_at_ns + round(self._gate.deadline_ms * 1e6)
            (look,) = self._book.announce(
                self.section.gate, [self.section.name], None, None, frame.exposed_at_ns, deadline_ns
            )
            self._hand_on(look, frame)
            self._camera.prepare()

    def _hand_on(self, look: Look, frame: Frame) -> None:
        self._fault_said = False
        self._progress.camera_proven(self.section.name)
        self._last_frame.set(time.time())
        if frame.image is None:
            log.warning("camera %s: frame %d is incomplete: %s", self.section.name, frame.frame_id, frame.error)
            self._incomplete.inc()
            self._settle(look, Reason.INCOMPLETE_FRAME, frame)
        elif self._frames.put(WaitingFrame(look, frame, frame.image, time.monotonic_ns())):
            self._judged.inc()
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
                self._progress.camera_proven(self.section.name)
        except CameraFault as fault:
            self._say_fault(fault)

    def _say_fault(self, fault: CameraFault) -> None:
        if not self._fault_said:
            log.error("%s", fault)
            self._fault_said = True
