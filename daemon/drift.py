"""Tells whether the line still sees what it was calibrated with: each camera's parts against the calibration's scores.

It hears of a part after its result has been sent, so that no verdict waits for it, and changes no verdict.
"""

import logging

from daemon.book import JudgedBy
from daemon.loaded import Loaded
from daemon.outcome import Outcome
from senbetsu.config import Config
from senbetsu.drift import TESTS, DriftDetector, Test
from senbetsu.metrics import Metrics
from senbetsu.verdict import Reason

log = logging.getLogger("daemon")

JUDGED_BY_SCORE = (Reason.OK, Reason.ANOMALY)


class DriftWatch:
    """Used by the main thread."""

    def __init__(self, loaded: Loaded, config: Config, metrics: Metrics) -> None:
        self._cameras = [camera.name for camera in config.cameras]
        self._metrics = metrics
        self.watch(loaded)

    def watch(self, loaded: Loaded) -> None:
        """Begin anew, with the parts of this recipe."""
        self.detail = ""
        """For the state: what drifted and what to do, or nothing."""
        self._detectors: dict[str, DriftDetector] = {}
        self._judged_by: JudgedBy = loaded.judged_by
        if loaded.expected is None:
            log.warning("drift is not watched for: the profile holds no distribution of scores; calibrate again")
            return
        self._detectors = {camera: DriftDetector(loaded.expected) for camera in self._cameras}
        for camera, detector in self._detectors.items():
            self._metrics.counter("drift_windows_total", camera)  # there from the first scrape on, at 0
            self._export(camera, detector)

    def see(self, outcome: Outcome) -> None:
        """A part that was decided. What was rejected for another reason than its score says nothing of scores."""
        camera = outcome.look.camera
        detector = self._detectors.get(camera)
        if detector is None or outcome.reason not in JUDGED_BY_SCORE or outcome.look.judged_by is not self._judged_by:
            return
        before, windows = set(detector.alarms), detector.windows
        changed = detector.see(outcome.score, passed=outcome.reason is Reason.OK)
        if detector.windows != windows:
            self._metrics.counter("drift_windows_total", camera).inc()
        if changed or detector.windows != windows:
            self._export(camera, detector)
        if changed:
            self._tell(camera, detector, before)

    def _tell(self, camera: str, detector: DriftDetector, before: set[Test]) -> None:
        for test, what in detector.alarms.items():
            if test not in before:
                self._metrics.counter("drift_alarms_total", camera, test).inc()
                log.warning(
                    "drift at camera %s: %s (p = %.2g, mean rank %.3f, PSI %.3f): look at light, lens and parts; "
                    "if all is well, recalibrate", camera, what, detector.p_values[test], detector.mean_rank, detector.psi,
                )  # fmt: skip
        for over in sorted(before - set(detector.alarms)):
            log.info("drift at camera %s: %s is over", camera, over)
        alarms = [f"{name}: {what}" for name, other in self._detectors.items() for what in other.alarms.values()]
        self.detail = f"; drift, recalibrate: {', '.join(alarms)}" if alarms else ""

    def _export(self, camera: str, detector: DriftDetector) -> None:
        gauge = self._metrics.gauge
        for test in TESTS:
            gauge("drift_alarm", camera, test).set(test in detector.alarms)
            gauge("drift_p_value", camera, test).set(detector.p_values[test])
        gauge("drift_mean_rank", camera).set(detector.mean_rank)
        gauge("drift_psi", camera).set(detector.psi)
