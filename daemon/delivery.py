"""What becomes of a camera's frames: each look goes into the queue, or into the outbox with a reason; and its health."""

import logging
import time
from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from daemon.book import Book, Look
from daemon.outcome import Outbox, Outcome
from daemon.progress import Progress
from daemon.queue import FrameQueue, WaitingFrame
from senbetsu.camera import Camera, CameraFault, Frame
from senbetsu.config import CameraSection
from senbetsu.items import cut
from senbetsu.metrics import Metrics
from senbetsu.verdict import Reason

log = logging.getLogger("daemon")

IDLE_CHECK_S = 0.05
"""While no frame comes, its camera is asked so often whether it lives."""
FrameOutcome = Literal["queued", "watched", "overload", "incomplete", "lost"]
"""Of a frame, or the worst of its items: it waits for the engine; was searched for parts on a belt; one too many; unfit; lost
on its way."""
Looks = tuple[Look, ...]
"""Of one frame: one an item. They are rejected together."""


class Delivery:
    """Used by the thread of one camera; `has_room` by the one that orders, too."""

    def __init__(
        self,
        camera: Camera,
        section: CameraSection,
        book: Book,
        frames: FrameQueue,
        outbox: Outbox,
        progress: Progress,
        metrics: Metrics,
    ) -> None:
        self.fault: str | None = None
        """Why the camera does not deliver, while it does not."""
        self.section = section
        self._camera = camera
        self._book = book
        self._frames = frames
        self._outbox = outbox
        self._progress = progress
        self._frames_total = {
            outcome: metrics.counter("frames_total", section.name, outcome) for outcome in get_args(FrameOutcome)
        }
        self._newest_at = 0.0
        metrics.gauge("last_frame_timestamp_seconds", section.name).set_function(lambda: self._newest_at)

    def has_room(self, ordered: int) -> bool:
        """For one frame more, where so many are ordered and have not come."""
        waiting = ordered + self._frames.depth(self.section.name) / self.section.items
        return waiting < self.section.buffer_frames

    def count(self, outcome: FrameOutcome) -> None:
        """What became of a frame."""
        self._frames_total[outcome].inc()

    def picture_of(self, frame: Frame) -> NDArray[np.uint8] | None:
        """A frame has come; None, told and counted, if it is incomplete."""
        self.is_well()
        self._newest_at = time.time()
        if frame.image is None:
            self._say_incomplete(frame)
            self.count("incomplete")
        return frame.image

    def _say_incomplete(self, frame: Frame) -> None:
        log.warning("camera %s: frame %d is incomplete: %s", self.section.name, frame.frame_id, frame.error)

    def hand_on(self, looks: Looks, frame: Frame) -> None:
        """These looks' frame."""
        for look in looks:
            self._book.frame_came(look, frame.frame_id, frame.exposed_at_ns)
        if self.picture_of(frame) is None:
            self.settle(looks, Reason.INCOMPLETE_FRAME, frame)
        else:
            self.count(self._queue_items(looks, frame))

    def hand_on_part(self, look: Look, frame: Frame) -> None:
        """What was cut out of a frame, or of several, that are counted already."""
        self._book.frame_came(look, frame.frame_id, frame.exposed_at_ns)
        if frame.image is None:
            self._say_incomplete(frame)
            self.settle((look,), Reason.INCOMPLETE_FRAME, frame)
        else:
            self._queue(look, frame, frame.image)

    def _queue_items(self, looks: Looks, frame: Frame) -> FrameOutcome:
        """What became of the worst of them."""
        outcome: FrameOutcome = "queued"
        assert frame.image is not None
        for look, item in zip(looks, cut(frame.image, self.section.regions), strict=True):
            if item is None:
                region = self.section.regions[look.item]
                log.warning("camera %s: frame %d does not hold %r", self.section.name, frame.frame_id, region)
                self.settle((look,), Reason.INCOMPLETE_FRAME, frame)
                outcome = "incomplete"
            elif not self._queue(look, frame, item) and outcome == "queued":
                outcome = "overload"
        return outcome

    def _queue(self, look: Look, frame: Frame, item: NDArray[np.uint8]) -> bool:
        if self._frames.put(WaitingFrame(look, frame, item, time.monotonic_ns())):
            return True
        self.settle((look,), Reason.OVERLOAD, frame)
        return False

    def settle(self, looks: Sequence[Look], reason: Reason, frame: Frame | None = None) -> None:
        """Looks that are not judged."""
        frame_id = None if frame is None else frame.frame_id
        exposed_at_ns = None if frame is None else frame.exposed_at_ns
        for look in looks:
            self._outbox.settle(Outcome(look, reason, time.monotonic_ns(), frame_id, exposed_at_ns))

    def check(self) -> None:
        """While no frame comes: does it live?"""
        try:
            if self._camera.check():
                self.is_well()
        except CameraFault as fault:
            self.has_fault(fault)

    def is_well(self) -> None:
        """It gave a frame, or an answer."""
        self._progress.camera_proven(self.section.name)
        self.fault = None

    def has_fault(self, fault: CameraFault) -> None:
        """It is known, and each of its parts is rejected for it: that is no reason to stop the other cameras' heart."""
        self._progress.camera_proven(self.section.name)
        if self.fault is None:
            log.error("%s", fault)
        self.fault = str(fault)
