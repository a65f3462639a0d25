"""What is counted of trust: who was turned away, what was accepted, marked, logged, enrolled and recorded."""

from __future__ import annotations

from collections.abc import Sequence

from streaming.series import Series

REFUSED = ("token", "scope", "host", "origin", "size", "busy", "headroom", "draining", "killed", "request")
ADDED = (
    "accepted", "InputError", "DecodeError", "TooLargeError", "TooSmallError", "NoFaceError",
    "DifferentPeopleError", "ConfigError", "ConsentError", "DeniedError", "ModelError", "BackendError", "WorkerError",
    "BusyError",
)  # fmt: skip
LOGGED = ("written", "failed")
MARKS = ("badge", "watermark")
ENROLMENTS = ("done", "stopped", "cancelled", "failed")
RECORDED = ("asked", "session", "killed", "minutes", "bytes", "disk", "disk full", "failed")


class TrustMetrics:
    """The part of streaming.metrics.Metrics that is about it."""

    def __init__(self, series: Series) -> None:
        self._series = series
        self._make_trust()
        self._make_recordings()

    def _make_trust(self) -> None:
        self._sources = self._series.counter(
            "sources", "Sources that were offered, by what became of them.", outcome=ADDED
        )
        self._refused = self._series.counter(
            "requests_refused", "Requests that were turned away, by cause.", reason=REFUSED
        )
        self._log_lines = self._series.counter(
            "session_log_lines", "Lines of the session log, by what became of them.", outcome=LOGGED
        )
        self._marks = self._series.gauge(
            "marks", "1 for a mark that is put on what is generated, 0 for one that is off.", mark=MARKS
        )
        self._killed = self._series.gauge("killed", "Whether the operator has stopped all output.")
        self._enrolling = self._series.gauge("enrolling", "Whether an enrolment runs.")
        self._enrolments = self._series.counter(
            "enrolments", "Enrolments whose process has ended, by what became of them.", outcome=ENROLMENTS
        )

    def source_added(self, outcome: str) -> None:
        self._sources.of(outcome).inc()

    def refused(self, reason: str) -> None:
        self._refused.of(reason).inc()

    def marks(self, on: Sequence[str]) -> None:
        """Names of those that are put on."""
        for mark in MARKS:
            self._marks.of(mark).set(mark in on)

    def lines_logged(self, written: int, failed: int) -> None:
        """Of the session log."""
        self._log_lines.of("written").inc(written)
        self._log_lines.of("failed").inc(failed)

    def killed(self, on: bool) -> None:
        self._killed.set(on)

    def enrolling(self, on: bool) -> None:
        self._enrolling.set(on)

    def enrolled(self, outcome: str) -> None:
        self._enrolments.of(outcome).inc()

    def _make_recordings(self) -> None:
        self._recording = self._series.gauge("recordings", "Sessions that are being recorded.")
        self._recorded = self._series.counter(
            "recordings_ended", "Recordings that ended, by cause.", reason=RECORDED
        )
        self._recorded_seconds = self._series.counter("recorded_seconds", "How long was recorded.")
        self._recorded_bytes = self._series.counter("recorded_bytes", "Written to recordings.")
        self._finished = self._series.counter(
            "recordings_finished", "Recordings that were made whole, and whether they hold a manifest.",
            signed=("yes", "no"),
        )  # fmt: skip

    def recording(self, on: bool) -> None:
        self._recording.inc(1 if on else -1)

    def recorded(self, why: str, seconds: float, size_bytes: int) -> None:
        self._recorded.of(why).inc()
        self._recorded_seconds.inc(max(0.0, seconds))
        self._recorded_bytes.inc(size_bytes)

    def recording_finished(self, signed: bool) -> None:
        self._finished.of("yes" if signed else "no").inc()
