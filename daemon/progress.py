"""Who has shown, and when, that it lives: what heartbeat and watchdog are fed by. Never by a timer alone."""

import threading
import time
from dataclasses import dataclass, field


@dataclass(slots=True)
class Progress:
    """Times are CLOCK_MONOTONIC nanoseconds; written by the threads, read by the main one."""

    camera_limits_ns: dict[str, int]
    engine_limit_ns: int
    stall_ns: int
    camera_proven_ns: dict[str, int] = field(default_factory=dict)
    engine_proven_ns: int = 0
    engine_busy_since_ns: list[int] = field(default_factory=lambda: [0])
    """Of each lane; 0 while it is idle."""
    fatal: str | None = None
    """Why the daemon has to stop: a thread died or the engine failed."""
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def camera_proven(self, camera: str) -> None:
        """A frame came, or a control read was answered."""
        self.camera_proven_ns[camera] = time.monotonic_ns()

    def engine_proven(self) -> None:
        """A part was judged, or the known picture got its known score."""
        self.engine_proven_ns = time.monotonic_ns()

    def fail(self, why: str) -> None:
        """The first reason stands."""
        with self._lock:
            if self.fatal is None:
                self.fatal = why

    def silent_cameras(self, now_ns: int) -> list[str]:
        """Cameras that have proven nothing within their limit."""
        return [camera for camera in self.camera_limits_ns if self.is_silent(camera, now_ns)]

    def is_silent(self, camera: str, now_ns: int) -> bool:
        """Whether it has proven nothing within its limit."""
        return now_ns - self.camera_proven_ns.get(camera, 0) > self.camera_limits_ns[camera]

    def engine_is_proven(self, now_ns: int) -> bool:
        """Within its limit."""
        return now_ns - self.engine_proven_ns <= self.engine_limit_ns

    def engine_stalls(self, now_ns: int) -> bool:
        """Any lane busy with one batch for too long."""
        return any(since_ns != 0 and now_ns - since_ns > self.stall_ns for since_ns in self.engine_busy_since_ns)

    def all_proven(self, now_ns: int) -> bool:
        """What a heartbeat says. A camera that is silent is known to be, and its own parts are rejected for it: it holds up
        none of the others while there is one."""
        some_camera = len(self.silent_cameras(now_ns)) < len(self.camera_limits_ns)
        return self.fatal is None and self.engine_is_proven(now_ns) and some_camera
