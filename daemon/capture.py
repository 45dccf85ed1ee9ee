"""One camera's thread: a frame for each trigger, or every frame in free run, into the queue; or a reason why not.

A frame is as many looks as it has items: they are ordered, and rejected, together.
"""

import logging
import queue
import threading
import time
from collections.abc import Callable, Sequence

from daemon.book import Book, Look
from daemon.delivery import IDLE_CHECK_S, Delivery, Looks
from daemon.free_run import FreeRun
from daemon.outcome import Outbox
from daemon.progress import Progress
from daemon.queue import FrameQueue
from daemon.reconcile import Reconciler, Settled
from senbetsu.camera import Camera, CameraFault, EndOfFrames, Frame
from senbetsu.config import CameraSection, GateSection
from senbetsu.metrics import Metrics
from senbetsu.verdict import Reason

log = logging.getLogger("daemon")

POLL_NS = 2_000_000
"""With a hardware trigger, between two looks at what the PLC has announced."""
WAY_NS = 2_000_000
"""For the trigger's way here and the result's back: the bridge's clock runs from when the PLC's word reached it."""


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
        engine_ns: Callable[[], int],
        on_death: Callable[[str, BaseException], None],
    ) -> None:
        """`engine_ns`: what a part takes, now, from its frame to its published result."""
        super().__init__(name=f"capture-{section.name}", daemon=True)
        self.section = section
        self.ended = threading.Event()
        """A recording is over (free run)."""
        self.out_of_step: str | None = None
        """With a hardware trigger: why its frames and triggers can no longer be joined, until a new run."""
        self._camera = camera
        self._delivery = Delivery(camera, section, book, frames, outbox, progress, metrics)
        self._progress = progress
        self._engine_ns = engine_ns
        self._on_death = on_death
        self._orders: queue.SimpleQueue[Looks | None] = queue.SimpleQueue()
        self._put_back: Looks | None = None
        self._stopping = threading.Event()
        self._free_run = (
            FreeRun(camera, section, gate, book, self._delivery, self._stopping, self.ended)
            if section.trigger == "free_run"
            else None
        )

    @property
    def fault(self) -> str | None:
        """Why the camera does not deliver, or shows no parts, while it does not."""
        if self._delivery.fault is None and self._free_run is not None:
            return self._free_run.trouble
        return self._delivery.fault

    def order(self, looks: Sequence[Look]) -> None:
        """A frame is wanted for these looks. What the camera and the engine cannot keep up with is overload, at once.

        With a hardware trigger all are handed on, since they are counted: their frames come whether there is room or not.
        """
        if self.section.trigger == "hardware":
            self._orders.put(tuple(looks))
        elif self._progress.is_silent(self.section.name, time.monotonic_ns()):
            self._delivery.settle(looks, Reason.CAMERA_FAULT)  # its thread hangs in the driver, and cannot say so
        elif self._delivery.has_room(self._orders.qsize()):
            self._orders.put(tuple(looks))
        else:
            self._delivery.count("overload")
            self._delivery.settle(looks, Reason.OVERLOAD)

    def stop(self) -> None:
        """Finish what was ordered, then end."""
        self._stopping.set()
        self._orders.put(None)

    def run(self) -> None:
        """The thread."""
        try:
            if self._free_run is not None:
                self._free_run.run()
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
                self._delivery.check()
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
        frame_by_ns = self._frame_by_ns(look)
        now_ns = time.monotonic_ns()
        if now_ns >= frame_by_ns:
            # A frame taken now would be too late, and would make the next part late as well.
            self._delivery.settle(looks, Reason.NO_FRAME if now_ns >= look.deadline_ns else Reason.OVERLOAD)
            return
        try:
            frame = self._camera.grab(look.triggered_at_ns, frame_by_ns)
        except CameraFault as fault:
            self._delivery.has_fault(fault)
            self._delivery.settle(looks, Reason.CAMERA_FAULT)
            return
        except EndOfFrames:
            frame = None
        if frame is None:
            self._delivery.settle(looks, Reason.NO_FRAME)
            return
        self._delivery.hand_on(self._newest_triggered_before(frame, looks), frame)

    def _frame_by_ns(self, look: Look) -> int:
        """A frame that comes later cannot be judged in time, and whoever waits for the result is told so before its deadline.

        An engine that was slow for a while is still given half of the time, or nothing could show it to be quick again.
        """
        most_ns = (look.deadline_ns - look.triggered_at_ns) // 2
        return look.deadline_ns - min(self._engine_ns() + WAY_NS, most_ns)

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
            self._delivery.settle(looks, Reason.NO_FRAME)
            looks = later
        return looks

    def _hardware_trigger(self) -> None:
        """Frames come with the pulses, and orders with the PLC's word of them: the reconciler says which are of one part."""
        reconciler: Reconciler[Looks, Frame] = Reconciler(round(self.section.window_ms * 1e6), self._camera.edges)
        stopping = False
        while not (stopping and reconciler.next_event_ns() is None):
            try:
                asked_ns = time.monotonic_ns()
                frame = self._camera.grab(0, asked_ns + POLL_NS)
                stopping = self._take_orders(reconciler) or stopping
                if frame is None:
                    self._delivery.check()
                    self._apply(reconciler.tick(asked_ns))
                elif frame.image is None and frame.trigger_id is None:
                    # An incomplete one that does not tell which pulse it is of: its part has no frame.
                    self._delivery.picture_of(frame)
                else:
                    self._delivery.is_well()
                    self._apply(reconciler.frame(frame.trigger_id, frame.exposed_at_ns, frame))
            except CameraFault as fault:
                self._delivery.has_fault(fault)
                for looks in reconciler.lose():
                    self._delivery.settle(looks, Reason.CAMERA_FAULT)
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
            self._delivery.settle(looks, Reason.CAMERA_FAULT)

    def _apply(self, settled: Sequence[Settled[Looks, Frame]]) -> None:
        for each in settled:
            if each.picture is not None:
                self._delivery.hand_on(each.part, each.picture)
                continue
            if each.reason is Reason.OUT_OF_STEP:
                log.error("camera %s: trigger %s is out of step", self.section.name, each.part[0].trigger)
            self._delivery.settle(each.part, each.reason)
