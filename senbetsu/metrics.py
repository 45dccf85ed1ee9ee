"""What Prometheus sees, as one table: name, kind, labels, buckets, meaning. Base units, bounded labels."""

from dataclasses import dataclass
from typing import Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, start_http_server

from senbetsu.errors import UserError

SECONDS = tuple(ms / 1000 for ms in (0.5, 1, 2, 3, 4, 5, 6, 8, 10, 15, 20, 30, 50, 100, 200))
RATIOS = (0.25, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.1, 1.25, 1.5, 2.0, 4.0, 8.0)
SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256)


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric; `name` is without the prefix `senbetsu_` and, for a counter, with its `_total`."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    meaning: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()


DAEMON_METRICS = (
    Metric("frames_total", "counter", "Frames by what became of them", ("camera", "outcome")),
    Metric("parts_total", "counter", "Looks judged", ("camera", "verdict", "reason")),
    Metric("triggers_total", "counter", "Triggers accepted", ("camera",)),
    Metric("triggers_missed_total", "counter", "Triggers for which no frame came", ("camera",)),
    Metric("stage_duration_seconds", "histogram", "Time a batch spends in a stage", ("stage",), SECONDS),
    Metric("trigger_to_verdict_seconds", "histogram", "From trigger to published verdict", ("camera",), SECONDS),
    Metric("batch_size", "histogram", "Parts in a batch", (), SIZES),
    Metric("queue_depth", "gauge", "Items of frames that wait to be judged", ("camera",)),
    Metric("deadline_exceeded_total", "counter", "Looks decided after their deadline", ("camera",)),
    Metric("score_ratio", "histogram", "Score / threshold", ("camera",), RATIOS),
    Metric("last_frame_timestamp_seconds", "gauge", "Wall time of the newest frame", ("camera",)),
    Metric("last_verdict_timestamp_seconds", "gauge", "Wall time of the newest verdict"),
    Metric("results_unacknowledged", "gauge", "Results published and not yet acknowledged"),
    Metric("calibration_info", "gauge", "1; the labels say what judges", ("model_sha256", "profile_sha256", "recipe")),
    Metric("calibration_samples", "gauge", "Normal parts behind the threshold"),
    Metric("calibration_false_reject_bound", "gauge", "Share of good parts rejected, as claimed"),
    Metric("recipe", "gauge", "Number of the active recipe"),
    Metric("recipe_loading", "gauge", "1 while another recipe is being loaded"),
    Metric(
        "recipe_loads_total", "counter", "Changes of recipe asked for while running, by how they ended", ("outcome",)
    ),
    Metric("drift_alarm", "gauge", "1 while parts score otherwise than calibrated", ("camera", "test")),
    Metric("drift_alarms_total", "counter", "Drift alarms raised", ("camera", "test")),
    Metric("drift_p_value", "gauge", "Least of the windows that run: small where drifted", ("camera", "test")),
    Metric("drift_mean_rank", "gauge", "Of a window's scores among the calibration's; 0.5: alike", ("camera",)),
    Metric("drift_psi", "gauge", "Population stability index of the newest window", ("camera",)),
    Metric("drift_windows_total", "counter", "Windows compared with the calibration", ("camera",)),
    Metric("state", "gauge", "State, numbered as in PackML"),
    Metric("build_info", "gauge", "1; the label says which version runs", ("version",)),
)

BRIDGE_METRICS = (
    Metric("plc_link_up", "gauge", "1 while the PLC's heartbeat changes", ("gate",)),
    Metric("plc_late_total", "counter", "Results that came after the decision", ("gate",)),
    Metric("plc_triggers_total", "counter", "Triggers taken from the PLC", ("gate",)),
    Metric("plc_decisions_total", "counter", "Parts decided", ("gate", "verdict", "reason")),
    Metric("plc_trigger_to_decision_seconds", "histogram", "From trigger taken to decision", ("gate",), SECONDS),
    Metric("plc_gate_excess", "gauge", "Parts of this run that the gate let pass though none passed them", ("gate",)),
    Metric("plc_lost_total", "counter", "Slots needed again before their acknowledgement", ("gate",)),
    Metric("results_recovered_total", "counter", "Results that a replay brought"),
    Metric("results_lost_total", "counter", "Results that no replay could bring"),
    Metric("messages_malformed_total", "counter", "Messages of the daemon that were not believed"),
    Metric("connections_refused_total", "counter", "Modbus connections of who is not in bridge.modbus_allowed"),
    Metric("journal_written_total", "counter", "Rows written into the journal"),
    Metric("journal_dropped_total", "counter", "Rows that the journal's queue had no room for"),
    Metric("journal_write_errors_total", "counter", "Writes that the disk did not take; they are tried again"),
    Metric("journal_queue_rows", "gauge", "Rows that wait for the disk"),
    Metric("journal_failing", "gauge", "1 while results are not recorded"),
    Metric("daemon_link_up", "gauge", "1 while the daemon's heartbeat is fresh"),
    Metric("state", "gauge", "State, numbered as in PackML", ("gate",)),
    Metric("build_info", "gauge", "1; the label says which version runs", ("version",)),
)


class Metrics:
    """The live metrics of one program, by name: `metrics.counter("frames_total", "cam1", "judged").inc()`."""

    def __init__(self, table: tuple[Metric, ...]) -> None:
        self.registry = CollectorRegistry()
        self._counters: dict[str, Counter] = {}
        self._gauges: dict[str, Gauge] = {}
        self._histograms: dict[str, Histogram] = {}
        for metric in table:
            name = f"senbetsu_{metric.name}"
            match metric.kind:
                case "counter":
                    self._counters[metric.name] = Counter(name, metric.meaning, metric.labels, registry=self.registry)
                case "gauge":
                    self._gauges[metric.name] = Gauge(name, metric.meaning, metric.labels, registry=self.registry)
                case "histogram":
                    self._histograms[metric.name] = Histogram(
                        name, metric.meaning, metric.labels, registry=self.registry, buckets=metric.buckets
                    )

    def counter(self, name: str, *labels: str) -> Counter:
        """Keep the child that comes back: looking it up is not for the hot path."""
        return self._counters[name].labels(*labels) if labels else self._counters[name]

    def gauge(self, name: str, *labels: str) -> Gauge:
        """As `counter`."""
        return self._gauges[name].labels(*labels) if labels else self._gauges[name]

    def forget(self, name: str, *labels: str) -> None:
        """A gauge's child is of the past."""
        self._gauges[name].remove(*labels)

    def histogram(self, name: str, *labels: str) -> Histogram:
        """As `counter`."""
        return self._histograms[name].labels(*labels) if labels else self._histograms[name]

    def serve(self, host: str, port: int, setting: str) -> None:
        """Answer Prometheus from a thread of its own. Raises UserError, naming `setting`, where the port is taken."""
        try:
            start_http_server(port, addr=host, registry=self.registry)
        except OSError as error:
            raise UserError(
                f"{setting} = {port}: cannot listen on {host}:{port}: {error.strerror}; choose a free port"
            ) from error
