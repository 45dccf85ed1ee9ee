"""Pictures of parts from a camera of the line, cut as the daemon cuts them, and at whose pace they are taken.

    free run    every frame, or with a belt every part that is found on it; `--every` makes the frames fewer
    hardware    every frame: the PLC's pulses expose them, whether a daemon listens or not. No pulse, no part: it waits
    software    the daemon would take a frame for each trigger of the PLC; here nobody sends one, so `--every` paces it: a
                frame every so many seconds, or one each time that Enter is pressed

A camera that exposes on software trigger would otherwise show the same part many times, as fast as it can: pictures that
differ by noise alone, which are no independent parts.
"""

import logging
import time
from collections.abc import Callable
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from senbetsu.camera import Camera, CameraFault, EndOfFrames, Frame
from senbetsu.config import CameraSection
from senbetsu.errors import UserError
from senbetsu.images import read_image
from senbetsu.items import Belt, cut

log = logging.getLogger("calibrate")

WAIT_S, GIVE_UP_S = 0.5, 30.0
Every = float | Literal["enter"]
"""Seconds between two frames at least, or at a person's word."""


def check_pace(section: CameraSection, every: Every | None, *, simulated: bool) -> None:
    """Whether it is clear which frame shows which part.

    Raises:
        UserError: it is not; says what to give or to leave out.
    """
    where = f"camera {section.name}, trigger = {section.trigger!r}"
    if every is None and section.trigger == "software" and not simulated:
        raise UserError(
            f"{where}: on the line each of the PLC's triggers takes a frame, here nobody sends one. Say when a part lies "
            "before it: --every enter (press Enter for each) or --every SECONDS; if the PLC's pulse is wired to the camera, "
            "--set cameras.N.trigger=hardware takes the parts as they pass"
        )
    if every is not None and (section.trigger == "hardware" or section.belt is not None):
        who = "the PLC's pulses" if section.trigger == "hardware" else "the parts on the belt"
        raise UserError(f"{where}: {who} say when a part is there; leave --every out")


class Shots:
    """One frame after the other as the parts that it holds."""

    def __init__(
        self,
        camera: Camera,
        section: CameraSection,
        every: Every | None,
        ask: Callable[[], object] = input,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """`ask` waits for Enter."""
        self._camera, self._section, self._every = camera, section, every
        self._ask, self._clock, self._sleep = ask, clock, sleep
        self._belt = None
        if section.belt is not None:
            belt = section.belt
            background = None if belt.background is None else read_image(belt.background)
            self._belt = Belt(belt.width, belt.height, belt.difference, belt.least_area, background, belt.within)
        self._due_s = self._heard_s = clock()
        self._told = False
        self._trouble: str | None = None

    def next(self, where: str) -> list[NDArray[np.uint8] | None]:
        """The pictures of the next frame's parts, (H, W) or (H, W, 3) uint8; None for one that is not whole.

        Args:
            where: how far it has come, for errors.

        Raises:
            UserError: the camera delivers nothing, or a recording is over.
        """
        while True:
            frame = self._frame(where)
            if frame.image is None:
                return [None]
            if self._belt is None:
                return list(cut(frame.image, self._section.regions))
            try:
                parts = self._belt.add(frame.image, frame.frame_id, frame.exposed_at_ns)
            except UserError as error:
                raise UserError(f"camera {self._section.name}: {error}; {where}; the same command goes on") from error
            self._say_trouble(self._belt.trouble)
            if parts:
                return [part.image for part in parts]

    def _say_trouble(self, why: str | None) -> None:
        if why is not None and self._trouble is None:
            log.info("camera %s sees no part on the belt: %s", self._section.name, why)
        self._trouble = why

    def _frame(self, where: str) -> Frame:
        self._keep_pace()
        fault = ""
        while True:
            now_ns = time.monotonic_ns()
            # What pulses have exposed meanwhile waits in the camera's queue; else only what is before it now counts.
            not_before_ns = 0 if self._section.trigger == "hardware" else now_ns
            try:
                frame = self._camera.grab(not_before_ns, now_ns + round(WAIT_S * 1e9))
                self._camera.prepare()
                if frame is None:
                    self._camera.check()
                    fault = ""
            except EndOfFrames as end:
                raise UserError(f"{end}; {where}; show more, then the same command goes on") from end
            except CameraFault as error:
                frame, fault = None, f" ({error})"
                self._sleep(WAIT_S / 10)
            if frame is not None:
                self._heard_s, self._told = self._clock(), False
                return frame
            if self._clock() - self._heard_s > GIVE_UP_S:
                self._give_up(fault, where)

    def _keep_pace(self) -> None:
        if self._every is None:
            return
        if self._every == "enter":
            try:
                self._ask()
            except EOFError as error:
                raise UserError("--every enter: nobody can press Enter here; give --every SECONDS") from error
        else:
            self._sleep(max(0.0, self._due_s - self._clock()))
            self._due_s = self._clock() + self._every
        self._heard_s = self._clock()

    def _give_up(self, fault: str, where: str) -> None:
        if self._section.trigger == "hardware" and not fault:
            if not self._told:
                log.info(
                    "camera %s: no pulse at %s for %.0f s; waiting for parts (Ctrl-C ends it, the same command goes on)",
                    self._section.name, self._section.trigger_line, GIVE_UP_S,
                )  # fmt: skip
            self._told = True
            return
        raise UserError(
            f"camera {self._section.name}: no picture for {GIVE_UP_S:.0f} s{fault}; {where}; the same command goes on"
        )
