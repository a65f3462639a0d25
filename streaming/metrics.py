"""What the live path measured, as Prometheus metrics; docs/metrics.md is their table.

No label takes a value that came from outside: what is not in a list below counts as "other". No series grows with the
number of sessions.
"""

from __future__ import annotations

import math
import platform
import re
import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import product
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from prometheus_client.metrics import MetricWrapperBase

from engine.types import FrameReport, Outcome
from engine.versions import versions
from engine.worker.interface import BundleInfo, State, WorkerStatus
from streaming.admission import RESOURCES
from streaming.ladder import SHARES
from streaming.measured import AdmissionRecorder, EnrolmentRecorder, Recorder, RecordingRecorder
from streaming.transport import LOST

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
OTHER = "other"

STAGES = (
    "decode", "convert", "post", "wait", "track", "occlusion", "features", "queue", "inputs", "gather", "render",
    "paste", "planes", "fetch", "deliver",
)  # fmt: skip
"""The stages of a frame, in their order."""
OUTCOMES = tuple(outcome.value for outcome in Outcome)
NOT_GENERATED = (
    "no face",
    "no body",
    "error",
    "no frames",
    "no picture",
    "worker away",
    "paused",
    "withheld",
)
DROPPED = ("replaced", "worker away", "paused", "stopped", "late", "unsent", "refused", "paced", "withheld")
CLOSED = ("page", "stopped", "connection", "replaced", "shutdown", "killed")
TURNED_AWAY = (*RESOURCES, "limit", "draining", "killed")
RESTARTED = ("crashed", "hung", "overdue")
REFUSED = ("token", "scope", "host", "origin", "size", "busy", "headroom", "draining", "killed", "request")
ADDED = (
    "accepted", "InputError", "DecodeError", "TooLargeError", "TooSmallError", "NoFaceError",
    "DifferentPeopleError", "ConfigError", "ConsentError", "DeniedError", "ModelError", "BackendError", "WorkerError",
    "BusyError",
)  # fmt: skip
DRIVERS = ("camera", "demo", "tracker")
CODECS = ("vp8", "h264")
RUNGS = tuple(map(str, range(len(SHARES))))
"""Places on the ladder, "0" the best."""
OPENED = ("first", "size", "bitrate")
SOUND = ("forwarded", "muted", "late", "repeated", "overflow")
SKEWED = ("sound later", "sound sooner")
LOGGED = ("written", "failed")
MARKS = ("badge", "watermark")
ENROLMENTS = ("done", "stopped", "cancelled", "failed")
RECORDED = ("asked", "session", "killed", "minutes", "bytes", "disk", "disk full", "failed")
REMOTE = ("push", "pull")
REMOTE_STATES = ("waiting", "connecting", "up", "stopped")
ENROLLED = "enrolled"
"""In place of the names of enrolled bundles, of which there is no end."""

SECONDS = (
    0.0002, 0.0005, 0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.03, 0.04, 0.05, 0.065, 0.08, 0.1,
    0.15, 0.2, 0.3, 0.5, 1.0,
)  # fmt: skip
"""Upper bounds of the buckets, closest together where a frame's own time lies."""
FACES = (1, 2, 3, 4, 6, 8, 12, 16, 32, 64)
"""The same of a batch."""

_MOST_SESSIONS = (
    256  # whose bitrate is kept: above what any server takes, so that a lost end cannot grow for ever
)
_RAISED = re.compile(r"\w+: ")


class Metrics(Recorder, EnrolmentRecorder, AdmissionRecorder, RecordingRecorder):
    """Counts for one server, in a registry of its own. Every method may be called from any thread and never raises; a
    duration that is no finite number is not counted, a negative one counts as 0."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._lock = threading.Lock()
        self._open = 0
        self._bits: dict[str, tuple[str, int]] = {}
        self._restarts: dict[str, int] = {}
        self._make_frames()
        self._make_sending()
        self._make_sound()
        self._make_doors()
        self._make_remotes()
        self._make_processes()

    def render(self) -> bytes:
        """Everything so far, in Prometheus' text format (CONTENT_TYPE)."""
        text = generate_latest(self._registry).decode()
        return "".join(_without_birthdays(text.splitlines(keepends=True))).encode()

    # --- frames ------------------------------------------------------------------------------------

    def _make_frames(self) -> None:
        self._received = self._counter("frames_received", "Driver's frames that were decoded.")
        self._sent = self._counter(
            "frames_sent", "Pictures handed to an encoder, by what they show.", outcome=OUTCOMES
        )
        self._fallbacks = self._counter(
            "fallback_frames", "Pictures that left without being generated, by cause.", reason=NOT_GENERATED
        )
        self._dropped = self._counter(
            "frames_dropped", "Frames that were not used, by cause.", reason=DROPPED
        )
        self._stages = self._histogram("stage_seconds", "Time that a frame spent in a stage.", stage=STAGES)
        self._age = self._histogram(
            "frame_age_seconds", "From a frame's first packet until its picture goes to the encoder."
        )
        self._lag = self._histogram(
            "filter_lag_seconds", "Delay that smoothing added to the motion of a generated picture."
        )

        self._batch = self._histogram(
            "batch_faces",
            "Faces that went through the network together with a picture's, its own included.",
            buckets=FACES,
        )

    def frame_received(self) -> None:
        self._received.inc()

    def frame_dropped(self, reason: str) -> None:
        self._dropped.of(reason).inc()

    def frame_left(self, report: FrameReport, age_s: float, stages: dict[str, float]) -> None:
        self._sent.of(report.outcome.value).inc()
        _observe(self._age, age_s)
        for stage, seconds in stages.items():
            _observe(self._stages.of(stage), seconds)
        if report.batch:
            _observe(self._batch, report.batch)
        if report.outcome is Outcome.GENERATED:
            _observe(self._lag, report.filter_lag_s)
        else:
            self._fallbacks.of(_cause(report.reason)).inc()

    def fallback_left(self, outcome: str, reason: str) -> None:
        self._sent.of(outcome).inc()
        self._fallbacks.of(_cause(reason)).inc()

    # --- sending -----------------------------------------------------------------------------------

    def _make_sending(self) -> None:
        self._encode = self._histogram("encode_seconds", "Time to encode one picture.", codec=CODECS)
        self._bytes = self._counter("encoded_bytes", "Encoded pictures, without headers.", codec=CODECS)
        self._keyframes = self._counter("keyframes", "Pictures encoded as key frames.", codec=CODECS)
        self._encoders = self._counter(
            "encoders_opened", "Encoders that were opened, by cause.", codec=CODECS, reason=OPENED
        )
        self._targets = self._gauge(
            "encoder_target_bytes_per_second",
            "What the open encoders aim at, all sessions together.",
            codec=(*CODECS, OTHER),
        )
        self._running_encoders = self._gauge(
            "encoders", "Encoders that run now, one for each rung that is watched.", codec=(*CODECS, OTHER)
        )
        self._encoded = self._counter(
            "pictures_encoded",
            "Pictures encoded for a rung, however many watch it.",
            codec=CODECS,
            rung=RUNGS,
        )
        self._given = self._counter(
            "pictures_given", "Encoded pictures given to viewers, counted for each.", codec=CODECS
        )
        self._viewers = self._gauge("viewers", "Viewers of all sessions, but for who drives them.")
        self._viewers_closed = self._counter("viewers_closed", "Viewers that ended, by cause.", reason=CLOSED)
        self._rooms = self._gauge("rooms", "Rooms for calls of two.")
        self._room_members = self._gauge("room_members", "People in rooms.")
        self._round_trip = self._histogram(
            "round_trip_seconds", "Round trip to a viewer, from its receiver reports."
        )

    def encoded(self, codec: str, seconds: float, size_bytes: int, keyframe: bool) -> None:
        _observe(self._encode.of(codec), seconds)
        self._bytes.of(codec).inc(max(0, size_bytes))
        if keyframe:
            self._keyframes.of(codec).inc()

    def bitrate(self, session: str, codec: str, bits_per_s: int) -> None:
        with self._lock:
            self._bits.pop(session, None)
            if bits_per_s > 0:
                self._bits[session] = (codec if codec in CODECS else OTHER), bits_per_s
                if len(self._bits) > _MOST_SESSIONS:
                    del self._bits[next(iter(self._bits))]
            self._tell_targets()

    def _tell_targets(self) -> None:
        for codec in (*CODECS, OTHER):
            self._targets.of(codec).set(sum(bits for used, bits in self._bits.values() if used == codec) / 8)

    def encoder_opened(self, codec: str, reason: str) -> None:
        self._encoders.of(codec, reason).inc()

    def encoder_running(self, codec: str, on: bool) -> None:
        self._running_encoders.of(codec).inc(1 if on else -1)

    def picture_encoded(self, codec: str, rung: int) -> None:
        self._encoded.of(codec, str(rung)).inc()

    def pictures_given(self, codec: str, viewers: int) -> None:
        self._given.of(codec).inc(viewers)

    def viewer_opened(self) -> None:
        self._viewers.inc()

    def viewer_closed(self, reason: str) -> None:
        self._viewers.dec()
        self._viewers_closed.of(reason).inc()

    def rooms(self, rooms: int, members: int) -> None:
        self._rooms.set(rooms)
        self._room_members.set(members)

    def round_trip(self, seconds: float) -> None:
        _observe(self._round_trip, seconds)

    # --- sound -------------------------------------------------------------------------------------

    def _make_sound(self) -> None:
        self._sound = self._counter(
            "sound_packets", "Packets of drivers' sound, by what became of them.", outcome=SOUND
        )
        self._sound_delay = self._histogram(
            "sound_delay_seconds", "For how long a packet of sound was held back, to leave with its picture."
        )
        self._sound_skew = self._histogram(
            "sound_skew_seconds",
            "Between the leaving of a picture and of the sound of the same moment, once per picture.",
            order=SKEWED,
        )

    def sound_packet(self, outcome: str) -> None:
        self._sound.of(outcome).inc()

    def sound_waited(self, seconds: float) -> None:
        _observe(self._sound_delay, seconds)

    def sound_skew(self, seconds: float) -> None:
        _observe(self._sound_skew.of(SKEWED[seconds < 0]), abs(seconds))

    # --- sessions, sources and doors -----------------------------------------------------------------

    def _make_doors(self) -> None:
        self._sessions = self._gauge("sessions", "Sessions that are open.")
        self._opened = self._counter(
            "sessions_opened", "Sessions that were opened, by their driver.", driver=DRIVERS
        )
        self._closed = self._counter("sessions_closed", "Sessions that ended, by cause.", reason=CLOSED)
        self._bundles = Gauge(
            "marotte_bundle_sessions",
            "Open sessions by what they run, 0 for what is offered and not used.",
            ("bundle", "mode"),
            registry=self._registry,
        )
        self._running: dict[tuple[str, str], set[str]] = {}
        self._enrolled_names: set[str] = set()
        self._sources = self._counter(
            "sources", "Sources that were offered, by what became of them.", outcome=ADDED
        )
        self._refused = self._counter(
            "requests_refused", "Requests that were turned away, by cause.", reason=REFUSED
        )
        self._log_lines = self._counter(
            "session_log_lines", "Lines of the session log, by what became of them.", outcome=LOGGED
        )
        self._headroom = self._gauge(
            "headroom_ratio", "What is left of what sessions share, 0 to 1.", resource=RESOURCES
        )
        self._turned_away = self._counter(
            "sessions_refused", "Sessions that were turned away, by what was short.", reason=TURNED_AWAY
        )
        self._marks = self._gauge(
            "marks", "1 for a mark that is put on what is generated, 0 for one that is off.", mark=MARKS
        )
        self._killed = self._gauge("killed", "Whether the operator has stopped all output.")
        self._enrolling = self._gauge("enrolling", "Whether an enrolment runs.")
        self._enrolments = self._counter(
            "enrolments", "Enrolments whose process has ended, by what became of them.", outcome=ENROLMENTS
        )
        self._recording = self._gauge("recordings", "Sessions that are being recorded.")
        self._recorded = self._counter(
            "recordings_ended", "Recordings that ended, by cause.", reason=RECORDED
        )
        self._recorded_seconds = self._counter("recorded_seconds", "How long was recorded.")
        self._recorded_bytes = self._counter("recorded_bytes", "Written to recordings.")
        self._finished = self._counter(
            "recordings_finished", "Recordings that were made whole, and whether they hold a manifest.",
            signed=("yes", "no"),
        )  # fmt: skip

    def marks(self, on: Sequence[str]) -> None:
        """Names of those that are put on."""
        for mark in MARKS:
            self._marks.of(mark).set(mark in on)

    def lines_logged(self, written: int, failed: int) -> None:
        """Of the session log."""
        self._log_lines.of("written").inc(written)
        self._log_lines.of("failed").inc(failed)

    def headroom(self, resource: str, share: float) -> None:
        self._headroom.of(resource).set(share)

    def session_refused(self, reason: str) -> None:
        self._turned_away.of(reason).inc()

    def killed(self, on: bool) -> None:
        self._killed.set(on)

    def offer(self, bundles: Iterable[BundleInfo]) -> None:
        """What sessions may run from now on: a series each, at 0."""
        with self._lock:
            for bundle in bundles:
                for mode in bundle.modes:
                    self._running.setdefault((bundle.name, mode.value), set())
            self._tell_running()

    def offer_enrolled(self, bundle: BundleInfo) -> None:
        self._enrolled_names.add(bundle.name)
        self.offer([replace(bundle, name=ENROLLED)])

    def showing(self, session: str, bundle: str, mode: str) -> None:
        bundle = ENROLLED if bundle in self._enrolled_names else bundle
        with self._lock:
            for sessions in self._running.values():
                sessions.discard(session)
            if (bundle, mode) in self._running and self._total_running() < _MOST_SESSIONS:
                self._running[bundle, mode].add(session)
            self._tell_running()

    def _total_running(self) -> int:
        return sum(map(len, self._running.values()))

    def _tell_running(self) -> None:
        for (bundle, mode), sessions in self._running.items():
            self._bundles.labels(bundle, mode).set(len(sessions))

    def session_opened(self, driver: str) -> None:
        self._opened.of(driver).inc()
        with self._lock:
            self._open += 1
            self._sessions.set(self._open)

    def session_closed(self, reason: str) -> None:
        self._closed.of(reason).inc()
        with self._lock:
            self._open = max(0, self._open - 1)
            self._sessions.set(self._open)
            if not self._open:
                self._bits.clear()
                self._tell_targets()

    def source_added(self, outcome: str) -> None:
        self._sources.of(outcome).inc()

    def refused(self, reason: str) -> None:
        self._refused.of(reason).inc()

    def enrolling(self, on: bool) -> None:
        self._enrolling.set(on)

    def enrolled(self, outcome: str) -> None:
        self._enrolments.of(outcome).inc()

    def recording(self, on: bool) -> None:
        self._recording.inc(1 if on else -1)

    def recorded(self, why: str, seconds: float, size_bytes: int) -> None:
        self._recorded.of(why).inc()
        self._recorded_seconds.inc(max(0.0, seconds))
        self._recorded_bytes.inc(size_bytes)

    def recording_finished(self, signed: bool) -> None:
        self._finished.of("yes" if signed else "no").inc()

    # --- other servers ---------------------------------------------------------------------------------

    def _make_remotes(self) -> None:
        self._remotes = self._gauge(
            "remotes",
            "Pushes to other servers and pulls from them, by how they stand.",
            kind=REMOTE,
            state=REMOTE_STATES,
        )
        self._remotes_lost = self._counter(
            "remotes_lost",
            "Connections to other servers that could not be made, or ended, by cause.",
            kind=REMOTE,
            reason=LOST,
        )

    def remote(self, kind: str, former: str | None, state: str | None) -> None:
        if former is not None:
            self._remotes.of(kind, former).dec()
        if state is not None:
            self._remotes.of(kind, state).inc()

    def remote_lost(self, kind: str, reason: str) -> None:
        self._remotes_lost.of(kind, reason).inc()

    # --- the processes -------------------------------------------------------------------------------

    def _make_processes(self) -> None:
        self._state = self._gauge(
            "worker_state",
            "1 for the state that the worker is in, 0 for the others.",
            state=tuple(state.value for state in State),
        )
        self._restarted = self._counter(
            "worker_restarts", "Workers that were replaced, by cause.", reason=RESTARTED
        )
        build = {"version": versions().get("marotte", ""), "python": platform.python_version()}
        about = Gauge("marotte_build_info", "What runs here; always 1.", list(build), registry=self._registry)
        about.labels(**build).set(1)
        ProcessCollector(registry=self._registry)

    def worker(self, status: WorkerStatus) -> None:
        """Take over the worker's state, and what its restarts rose by."""
        with self._lock:
            for state in State:
                self._state.of(state.value).set(state is status.state)
            for reason, count in status.restarts.items():
                known = self._restarts.get(reason, 0)
                self._restarted.of(reason).inc(max(0, count - known))
                self._restarts[reason] = max(count, known)

    # --- making them ---------------------------------------------------------------------------------

    def _counter(self, name: str, text: str, **labels: tuple[str, ...]) -> Any:
        counter = Counter(f"marotte_{name}", text, tuple(labels), registry=self._registry)
        return _Labelled(counter, *((*known, OTHER) for known in labels.values())) if labels else counter

    def _gauge(self, name: str, text: str, **labels: tuple[str, ...]) -> Any:
        gauge = Gauge(f"marotte_{name}", text, tuple(labels), registry=self._registry)
        return _Labelled(gauge, *labels.values()) if labels else gauge

    def _histogram(
        self, name: str, text: str, *, buckets: Sequence[float] = SECONDS, **labels: tuple[str, ...]
    ) -> Any:
        histogram = Histogram(
            f"marotte_{name}", text, tuple(labels), buckets=buckets, registry=self._registry
        )
        return _Labelled(histogram, *((*known, OTHER) for known in labels.values())) if labels else histogram


class _Labelled:
    """A metric's series, one for each value that its labels may take, all there from the start."""

    def __init__(self, metric: MetricWrapperBase, *known: tuple[str, ...]) -> None:
        self._known = tuple(frozenset(values) for values in known)
        self._series: dict[tuple[str, ...], Any] = {row: metric.labels(*row) for row in product(*known)}

    def of(self, *values: str) -> Any:
        """The series of these values, or of OTHER where one is not known."""
        found = self._series.get(values)
        if found is None:
            row = (value if value in known else OTHER for value, known in zip(values, self._known))
            found = self._series[tuple(row)]
        return found


def _observe(histogram: Histogram, value: float) -> None:
    if math.isfinite(value):
        histogram.observe(max(0.0, value))


def _cause(reason: str | None) -> str:
    """The kind of a frame report's reason, which for a raised error is its type and its words."""
    if reason and _RAISED.match(reason):
        return "error"
    return reason or OTHER


def _without_birthdays(lines: Iterable[str]) -> Iterator[str]:
    """When a series was made is of no use to anybody, and would be an eighth of the text."""
    for line in lines:
        name = line.split(" ", 3)[2] if line.startswith("#") else re.split(r"[{ ]", line, maxsplit=1)[0]
        if not name.endswith("_created"):
            yield line
