"""Loss and return, alike for every camera: what is gone, frozen or silent is a fault, and is reconnected for ever.

While a camera is in fault, `grab` says so at once, so that each trigger gets its reject; another thread, with growing
pauses, closes and opens the camera until it is back. A driver that hangs while it does so holds up nobody else.

A sensor has noise: no two of its pictures are alike to the last bit. One that is tells that some buffer was handed out
twice. It is not judged, and a camera that gives nothing else is in fault.
"""

import logging
import threading
import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from senbetsu.camera.interface import Camera, CameraFault, CameraSettings, Frame
from senbetsu.camera.settings import differences
from senbetsu.errors import UserError

log = logging.getLogger(__name__)

FIRST_RETRY_S, LONGEST_RETRY_S = 0.25, 8.0
SAMPLES_A_SIDE = 64
"""A frame is compared by a grid of so many rows and columns of it."""


class Repetition:
    """For how long a camera has given the very same picture. Pure: time comes with the frames."""

    def __init__(self) -> None:
        self._sample: NDArray[np.uint8] | None = None
        self._first_ns = 0

    def repeated_for_ns(self, image: NDArray[np.uint8], at_ns: int) -> int | None:
        """Since when this is the same picture; None where it is another than the one before."""
        rows, columns = (-(-side // SAMPLES_A_SIDE) for side in image.shape[:2])
        sample = image[rows // 2 :: rows, columns // 2 :: columns]
        if self._sample is not None and np.array_equal(sample, self._sample):
            return at_ns - self._first_ns
        self._sample = sample.copy()
        self._first_ns = at_ns
        return None


class GuardedCamera:
    """See senbetsu.camera.interface.Camera; frame ids go on over a reconnection."""

    def __init__(
        self,
        camera: Camera,
        silent_ns: int,
        frozen_ns: int,
        *,
        may_repeat_simulated: bool = True,
        expected: CameraSettings | None = None,
        clock: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        """`silent_ns`: without any sign of life for this long it is in fault. `frozen_ns`: 0 for never.

        `may_repeat_simulated`: what is not of a sensor may repeat a picture to the last bit. `expected`: as it was
        calibrated; left out, as it is when it is first connected. A camera that reads back others is in fault.
        """
        self._camera = camera
        self.name = camera.name
        self._silent_ns = silent_ns
        self._frozen_ns = frozen_ns
        self._may_repeat_simulated = may_repeat_simulated
        self._expected = expected
        self._clock = clock
        self._lock = threading.Lock()
        self._fault: str | None = None
        self._died: BaseException | None = None
        self._closing = threading.Event()
        self._reconnecting: threading.Thread | None = None
        # Kept over a reconnection: what comes first after it may still be the picture from before.
        self._repetition = Repetition()
        self._begin()
        self._id_offset = self._newest_id = 0

    @property
    def simulated(self) -> bool:
        """Known once the camera is connected."""
        return self._camera.simulated

    @property
    def exposes_on_trigger(self) -> bool:
        return self._camera.exposes_on_trigger

    def _begin(self) -> None:
        self._alive_ns = self._clock()

    def open(self) -> None:
        """Connect; a camera that is not there now is waited for in the background."""
        try:
            self._open()
        except CameraFault as fault:
            self._lose(str(fault))
        self._begin()

    def _open(self) -> None:
        self._camera.open()
        found = self._camera.settings()
        if self._expected is None:
            self._expected = found
        changed = differences(self._expected, found)
        if changed:
            self._camera.close()
            raise CameraFault(
                f"camera {self.name}: not set as it was: {changed}; set it as it was, or write what is to hold into the "
                "config and calibrate again"
            )

    def grab(self, not_before_ns: int, until_ns: int) -> Frame | None:
        """As the camera's; a picture that it gave before is told as one with an error."""
        self._raise_fault()
        try:
            frame = self._camera.grab(not_before_ns, until_ns)
        except CameraFault as fault:
            raise self._lose(str(fault)) from fault
        if frame is None:
            return None
        self._alive_ns = self._clock()
        self._newest_id = frame.frame_id + self._id_offset
        return self._checked(frame)

    def _checked(self, frame: Frame) -> Frame:
        error, image = frame.error, frame.image
        if image is not None and self._frozen_ns and not (self.simulated and self._may_repeat_simulated):
            repeated_ns = self._repetition.repeated_for_ns(image, self._alive_ns)
            if repeated_ns is not None:
                if repeated_ns >= self._frozen_ns:
                    raise self._lose(
                        f"camera {self.name}: frozen: the very same picture for {repeated_ns / 1e6:.0f} ms"
                    )
                error, image = "to the last bit the picture before: the camera seems to be frozen", None
        if error is frame.error and not self._id_offset:
            return frame
        return Frame(self._newest_id, frame.exposed_at_ns, image, error, frame.trigger_id, frame.lost_before)

    def _raise_if_silent(self) -> None:
        if self._clock() - self._alive_ns > self._silent_ns:
            raise self._lose(f"camera {self.name}: silent for over {self._silent_ns / 1e6:g} ms")

    def _raise_fault(self) -> None:
        if self._died is not None:
            raise RuntimeError(f"camera {self.name}: reconnecting it died") from self._died
        fault = self._fault
        if fault is not None:
            raise CameraFault(fault)

    def _lose(self, why: str) -> CameraFault:
        with self._lock:
            self._fault = f"{why}; reconnecting"
            if self._reconnecting is None and not self._closing.is_set():
                self._reconnecting = threading.Thread(
                    target=self._reconnect, name=f"reconnect-{self.name}", daemon=True
                )
                self._reconnecting.start()
        return CameraFault(self._fault)

    def _reconnect(self) -> None:
        retry_s = FIRST_RETRY_S
        try:
            while not self._closing.wait(retry_s):
                retry_s = min(2 * retry_s, LONGEST_RETRY_S)
                try:
                    self._camera.close()
                    self._open()
                except (CameraFault, UserError) as error:
                    # What was right at the start and is not now: a device file that went with its plug.
                    with self._lock:
                        self._fault = f"{error}; reconnecting"
                    continue
                with self._lock:
                    self._begin()
                    self._id_offset = self._newest_id
                    self._reconnecting = None
                    self._fault = None
                log.info("camera %s: is back", self.name)
                return
        except BaseException as error:  # noqa: BLE001  (handed to the capture thread, which dies of it)
            self._died = error

    def prepare(self) -> None:
        """Nothing while it is in fault; where it comes to be in one, the next `grab` says so."""
        if self._fault is not None:
            return
        try:
            self._camera.prepare()
        except CameraFault as fault:
            self._lose(str(fault))

    def check(self) -> bool:
        """As the camera's; one that shows no life for too long is lost."""
        self._raise_fault()
        try:
            alive = self._camera.check()
        except CameraFault as fault:
            raise self._lose(str(fault)) from fault
        if alive:
            self._alive_ns = self._clock()
        else:
            self._raise_if_silent()
        return alive

    def edges(self) -> int | None:
        """As the camera's."""
        self._raise_fault()
        try:
            return self._camera.edges()
        except CameraFault as fault:
            raise self._lose(str(fault)) from fault

    def settings(self) -> CameraSettings:
        """As the camera's."""
        return self._camera.settings()

    def close(self) -> None:
        """Disconnect, and no longer reconnect."""
        with self._lock:
            self._closing.set()
            reconnecting = self._reconnecting
        if reconnecting is not None:
            reconnecting.join(timeout=2)
            if reconnecting.is_alive():
                return  # a driver that hangs; the process ends without it
        self._camera.close()
