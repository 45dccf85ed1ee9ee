"""A camera that runs freely: every frame is a part, or a belt's parts are found in its frames, each judged once."""

import logging
import threading
import time

from daemon.book import Book
from daemon.delivery import IDLE_CHECK_S, Delivery, Looks
from senbetsu.camera import Camera, CameraFault, EndOfFrames, Frame
from senbetsu.config import CameraSection, GateSection
from senbetsu.errors import UserError
from senbetsu.images import read_image
from senbetsu.items import Belt, BeltPart
from senbetsu.verdict import Reason

log = logging.getLogger("daemon")

FAULT_PAUSE_S = 0.05


class FreeRun:
    """Runs in the camera's thread."""

    def __init__(
        self,
        camera: Camera,
        section: CameraSection,
        gate: GateSection,
        book: Book,
        delivery: Delivery,
        stopping: threading.Event,
        ended: threading.Event,
    ) -> None:
        """`ended` is set when a recording is over."""
        self._camera = camera
        self._section = section
        self._gate = gate
        self._book = book
        self._delivery = delivery
        self._stopping = stopping
        self._ended = ended
        self._belt = _belt_of(section)
        self.trouble: str | None = None
        """Why no part on the belt would be seen now, while the camera itself is well."""

    def run(self) -> None:
        """Until it is told to stop."""
        newest_id: int | None = None
        while not self._stopping.is_set():
            try:
                frame = self._camera.grab(0, time.monotonic_ns() + round(IDLE_CHECK_S * 1e9))
            except CameraFault as fault:
                self._delivery.has_fault(fault)
                self._lose_belt()
                self._stopping.wait(FAULT_PAUSE_S)
                continue
            except EndOfFrames as end:
                log.info("%s", end)
                self._end_belt()
                self._ended.set()
                while not self._stopping.wait(IDLE_CHECK_S):
                    self._delivery.check()
                return
            if frame is None:
                self._delivery.check()
                continue
            left_out = frame.lost_before if newest_id is None else frame.frame_id - newest_id - 1
            for missed_id in range(frame.frame_id - left_out, frame.frame_id):
                self._miss(
                    Frame(missed_id, frame.exposed_at_ns, None), lost=frame.frame_id - missed_id <= frame.lost_before
                )
            newest_id = frame.frame_id
            if self._belt is None:
                self._delivery.hand_on(self._announce(frame.exposed_at_ns, None), frame)
            else:
                self._watch_belt(self._belt, frame)
            self._camera.prepare()
        self._end_belt()

    def _miss(self, frame: Frame, *, lost: bool) -> None:
        """A frame that nobody looked at is said to be one: the camera was too fast, or it was lost on its way."""
        self._delivery.count("lost" if lost else "overload")
        if self._belt is None:
            reason = Reason.INCOMPLETE_FRAME if lost else Reason.OVERLOAD
            self._delivery.settle(self._announce(frame.exposed_at_ns, None), reason, frame)

    def _watch_belt(self, belt: Belt, frame: Frame) -> None:
        picture = self._delivery.picture_of(frame)
        if picture is None:
            return
        try:
            parts = belt.add(picture, frame.frame_id, frame.exposed_at_ns)
        except UserError as error:
            self._delivery.count("incomplete")
            self._is_in_trouble(str(error))
            return
        self._delivery.count("watched")
        self._is_in_trouble(belt.trouble)
        for part in parts:
            self._hand_on_part(part)

    def _is_in_trouble(self, why: str | None) -> None:
        if why is not None and self.trouble is None:
            log.warning("camera %s sees no part on the belt: %s", self._section.name, why)
        elif why is None and self.trouble is not None:
            log.info("camera %s sees the belt", self._section.name)
        self.trouble = why

    def _hand_on_part(self, part: BeltPart) -> None:
        """Its deadline counts from now: it was followed until it was seen best."""
        (look,) = self._announce(time.monotonic_ns(), part.number)
        self._delivery.hand_on_part(look, Frame(part.frame_id, part.exposed_at_ns, part.image, part.error))

    def _end_belt(self) -> None:
        if self._belt is not None:
            for part in self._belt.finish():
                self._hand_on_part(part)

    def _lose_belt(self) -> None:
        """What was on its way passes unseen."""
        if self._belt is not None:
            for part in self._belt.finish():
                frame = Frame(part.frame_id, part.exposed_at_ns, None)
                self._delivery.settle(self._announce(time.monotonic_ns(), part.number), Reason.CAMERA_FAULT, frame)

    def _announce(self, at_ns: int, part_id: int | None) -> Looks:
        deadline_ns = at_ns + round(self._gate.deadline_ms * 1e6)
        section = self._section
        looks = self._book.announce(section.gate, [section.name], None, part_id, at_ns, deadline_ns, section.items)
        return tuple(looks)


def _belt_of(section: CameraSection) -> Belt | None:
    if section.belt is None:
        return None
    belt = section.belt
    background = None if belt.background is None else read_image(belt.background)
    try:
        return Belt(belt.width, belt.height, belt.difference, belt.least_area, background, belt.within)
    except UserError as error:
        raise UserError(f"camera {section.name}: {error}") from error
