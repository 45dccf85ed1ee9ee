"""What is before the camera, and what is broken: one small memory that all processes of a rig share.

The part's true quality is the grey that the PLC's side puts here when it triggers. A part stays for `dwell_ns`; whoever
exposes later sees another part, and that one is always good: a picture taken too late would pass a bad part.
"""

import mmap
import struct
import threading
import time
from enum import IntEnum
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from senbetsu.camera import CameraFault, Frame
from senbetsu.config import CameraSection
from senbetsu.engine import EngineFault, Lane, Scores

GOOD, BAD = 50, 150
THRESHOLD = 1.0
SIZE = 32
WORDS = 16


class Camera(IntEnum):
    """How the camera is."""

    WELL = 0
    UNPLUGGED = 1
    FROZEN = 2
    INCOMPLETE = 3


class Cable(IntEnum):
    """How the way between PLC and bridge is."""

    WELL = 0
    CUT = 1
    HELD = 2
    """What is sent arrives, but only when this is over."""


class Spell(IntEnum):
    """Greys by which a part makes the engine misbehave. None of them may ever pass."""

    NAN = 255
    FAULT = 254
    HANG = 253
    CRASH = 252
    CUDA = 251
    LEAK = 250


class Scene:
    """The shared memory; one writer of the part (the PLC's side), any number of readers."""

    def __init__(self, path: Path, *, make: bool = False) -> None:
        if make:
            path.write_bytes(bytes(8 * WORDS))
        self.path = path
        with path.open("r+b") as file:
            self._memory = mmap.mmap(file.fileno(), 8 * WORDS)

    def _get(self, at: int) -> int:
        return int(struct.unpack_from("q", self._memory, 8 * at)[0])

    def _set(self, at: int, value: int) -> None:
        struct.pack_into("q", self._memory, 8 * at, value)

    def put_part(self, grey: int, dwell_ns: int) -> None:
        """A part comes before the camera now."""
        turn = self._get(0)
        self._set(0, turn + 1)
        self._set(1, grey)
        self._set(2, time.monotonic_ns())
        self._set(3, dwell_ns)
        self._set(0, turn + 2)

    def grey(self) -> int:
        """Of what is before the camera now."""
        while True:
            turn = self._get(0)
            grey, came_ns, dwell_ns = self._get(1), self._get(2), self._get(3)
            if turn % 2 == 0 and turn == self._get(0):
                return grey if time.monotonic_ns() - came_ns <= dwell_ns else GOOD

    camera = property(lambda self: Camera(self._get(4)), lambda self, value: self._set(4, value))
    cable = property(lambda self: Cable(self._get(5)), lambda self, value: self._set(5, value))
    engine_ms = property(lambda self: self._get(6), lambda self, value: self._set(6, value))


class SceneCamera:
    """A camera that takes a picture of the scene at each trigger. See senbetsu.camera.interface.Camera."""

    simulated = False
    exposes_on_trigger = True

    def __init__(self, section: CameraSection) -> None:
        self.name = section.name
        self._scene = Scene(Path(section.source))
        self._noise = np.random.default_rng()
        self._frame_id = 0
        self._last: NDArray[np.uint8] | None = None

    def open(self) -> None:
        self.check()

    def grab(self, not_before_ns: int, until_ns: int) -> Frame | None:
        self.check()
        self._frame_id += 1
        state = self._scene.camera
        if state is Camera.INCOMPLETE:
            return Frame(self._frame_id, time.monotonic_ns(), None, "the lower half of it did not come")
        exposed_at_ns = time.monotonic_ns()
        if self._last is None or state is not Camera.FROZEN:
            self._last = self._picture(self._scene.grey())
        return Frame(self._frame_id, exposed_at_ns, self._last.copy())

    def _picture(self, grey: int) -> NDArray[np.uint8]:
        if grey in list(Spell):
            return np.full((SIZE, SIZE, 3), grey, np.uint8)
        return (grey + self._noise.integers(-3, 4, (SIZE, SIZE, 3))).astype(np.uint8)

    def prepare(self) -> None: ...

    def check(self) -> bool:
        if self._scene.camera is Camera.UNPLUGGED:
            raise CameraFault(f"camera {self.name}: unplugged")
        return True

    def edges(self) -> None: ...

    def settings(self) -> dict[str, str | int | float | list[int]]:
        return {}

    def close(self) -> None: ...


class SceneEngine:
    """The score is the mean grey / 100: under 100 passes. See senbetsu.engine.Engine."""

    kind, precision, device = "stand-in", "fp32", "none"
    in_turn = False

    def __init__(self, scene: Scene, max_batch: int = 8) -> None:
        self.batch_sizes: tuple[int, ...] = (1, max_batch)
        self.inputs = np.zeros((max_batch, SIZE, SIZE, 3), np.uint8)
        self._scene = scene
        self._kept: list[NDArray[np.uint8]] = []

    @property
    def lanes(self) -> tuple[Lane, ...]:
        return (self,)

    def run(self, count: int) -> Scores:
        if delay_ms := self._scene.engine_ms:
            time.sleep(count * delay_ms / 1000)
        grey = self.inputs[:count].reshape(count, -1)
        score = grey.mean(axis=1).astype(np.float32) / 100
        for row in np.flatnonzero((grey.min(axis=1) == grey.max(axis=1)) & (grey[:, 0] >= min(Spell))):
            match Spell(int(grey[row, 0])):
                case Spell.NAN:
                    score[row] = np.nan
                case Spell.FAULT:
                    raise EngineFault("the stand-in failed")
                case Spell.HANG:
                    threading.Event().wait()
                case Spell.CRASH:
                    raise ValueError("the stand-in raised what nobody expects")
                case Spell.CUDA:
                    raise RuntimeError("CUDA error: an illegal memory access was encountered")
                case Spell.LEAK:
                    while True:
                        self._kept.append(np.ones(1 << 24, np.uint8))
        return Scores(score, score / 2, score / 4)
