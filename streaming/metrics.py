"""What the live path measured, as Prometheus metrics; docs/metrics.md is their table.

No label takes a value that came from outside: what is not in a list below counts as "other". No series grows with the
number of sessions.
"""

from __future__ import annotations

import platform
import re
import threading
from collections.abc import Iterable
from dataclasses import replace

from prometheus_client import Gauge, ProcessCollector

from engine.types import FrameReport, Outcome
from engine.versions import versions
from engine.worker.interface import BundleInfo, State, WorkerStatus
from streaming.admission import RESOURCES
from streaming.ladder import SHARES
from streaming.measured import AdmissionRecorder, EnrolmentRecorder, Recorder, RecordingRecorder
from streaming.series import OTHER, Series, observe
from streaming.transport import LOST
from streaming.trust_metrics import TrustMetrics

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
DRIVERS = ("camera", "demo", "tracker")
CODECS = ("vp8", "h264")
RUNGS = tuple(map(str, range(len(SHARES))))
"""Places on the ladder, "0" the best."""
OPENED = ("first", "size", "bitrate")
SOUND = ("forwarded", "muted", "late", "repeated", "overflow")
SKEWED = ("sound later", "sound sooner")
REMOTE = ("push", "pull")
REMOTE_STATES = ("waiting", "connecting", "up", "stopped")
ENROLLED = "enrolled"
"""In place of the names of enrolled bundles, of which there is no end."""

FACES = (1, 2, 3, 4, 6, 8, 12, 16, 32, 64)
"""Upper bounds of the buckets of a batch."""

_MOST_SESSIONS = (
    256  # whose bitrate is kept: above what any server takes, so that a lost end cannot grow for ever
)
_RAISED = re.compile(r"\w+: ")


class Metrics(TrustMetrics, Recorder, EnrolmentRecorder, AdmissionRecorder, RecordingRecorder):
    """Counts for one server, in a registry of its own. Every method may be called from any thread and never raises; a
    duration that is no finite number is not counted, a negative one counts as 0."""

    def __init__(self) -> None:
        super().__init__(Series())
        self._lock = threading.Lock()
        self._open = 0
        self._bits: dict[str, tuple[str, int]] = {}
        self._restarts: dict[str, int] = {}
        self._make_frames()
        self._make_sending()
        self._make_sound()
        self._make_sessions()
        self._make_remotes()
        self._make_processes()

    def render(self) -> bytes:
        """Everything so far, in Prometheus' text format (CONTENT_TYPE)."""
        return self._series.render()

    # --- frames ------------------------------------------------------------------------------------

    def _make_frames(self) -> None:
        self._received = self._series.counter("frames_received", "Driver's frames that were decoded.")
        self._sent = self._series.counter(
            "frames_sent", "Pictures handed to an encoder, by what they show.", outcome=OUTCOMES
        )
        self._fallbacks = self._series.counter(
            "fallback_frames", "Pictures that left without being generated, by cause.", reason=NOT_GENERATED
        )
        self._dropped = self._series.counter(
            "frames_dropped", "Frames that were not used, by cause.", reason=DROPPED
        )
        self._stages = self._series.histogram(
            "stage_seconds", "Time that a frame spent in a stage.", stage=STAGES
        )
        self._age = self._series.histogram(
            "frame_age_seconds", "From a frame's first packet until its picture goes to the encoder."
        )
        self._lag = self._series.histogram(
            "filter_lag_seconds", "Delay that smoothing added to the motion of a generated picture."
        )

        self._batch = self._series.histogram(
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
        observe(self._age, age_s)
        for stage, seconds in stages.items():
            observe(self._stages.of(stage), seconds)
        if report.batch:
            observe(self._batch, report.batch)
        if report.outcome is Outcome.GENERATED:
            observe(self._lag, report.filter_lag_s)
        else:
            self._fallbacks.of(_cause(report.reason)).inc()

    def fallback_left(self, outcome: str, reason: str) -> None:
        self._sent.of(outcome).inc()
        self._fallbacks.of(_cause(reason)).inc()

    # --- sending -----------------------------------------------------------------------------------

    def _make_sending(self) -> None:
        self._encode = self._series.histogram("encode_seconds", "Time to encode one picture.", codec=CODECS)
        self._bytes = self._series.counter(
            "encoded_bytes", "Encoded pictures, without headers.", codec=CODECS
        )
        self._keyframes = self._series.counter("keyframes", "Pictures encoded as key frames.", codec=CODECS)
        self._encoders = self._series.counter(
            "encoders_opened", "Encoders that were opened, by cause.", codec=CODECS, reason=OPENED
        )
        self._targets = self._series.gauge(
            "encoder_target_bytes_per_second",
            "What the open encoders aim at, all sessions together.",
            codec=(*CODECS, OTHER),
        )
        self._running_encoders = self._series.gauge(
            "encoders", "Encoders that run now, one for each rung that is watched.", codec=(*CODECS, OTHER)
        )
        self._encoded = self._series.counter(
            "pictures_encoded",
            "Pictures encoded for a rung, however many watch it.",
            codec=CODECS,
            rung=RUNGS,
        )
        self._given = self._series.counter(
            "pictures_given", "Encoded pictures given to viewers, counted for each.", codec=CODECS
        )
        self._viewers = self._series.gauge("viewers", "Viewers of all sessions, but for who drives them.")
        self._viewers_closed = self._series.counter(
            "viewers_closed", "Viewers that ended, by cause.", reason=CLOSED
        )
        self._rooms = self._series.gauge("rooms", "Rooms for calls of two.")
        self._room_members = self._series.gauge("room_members", "People in rooms.")
        self._round_trip = self._series.histogram(
            "round_trip_seconds", "Round trip to a viewer, from its receiver reports."
        )

    def encoded(self, codec: str, seconds: float, size_bytes: int, keyframe: bool) -> None:
        observe(self._encode.of(codec), seconds)
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
        observe(self._round_trip, seconds)

    # --- sound -------------------------------------------------------------------------------------

    def _make_sound(self) -> None:
        self._sound = self._series.counter(
            "sound_packets", "Packets of drivers' sound, by what became of them.", outcome=SOUND
        )
        self._sound_delay = self._series.histogram(
            "sound_delay_seconds", "For how long a packet of sound was held back, to leave with its picture."
        )
        self._sound_skew = self._series.histogram(
            "sound_skew_seconds",
            "Between the leaving of a picture and of the sound of the same moment, once per picture.",
            order=SKEWED,
        )

    def sound_packet(self, outcome: str) -> None:
        self._sound.of(outcome).inc()

    def sound_waited(self, seconds: float) -> None:
        observe(self._sound_delay, seconds)

    def sound_skew(self, seconds: float) -> None:
        observe(self._sound_skew.of(SKEWED[seconds < 0]), abs(seconds))

    # --- sessions --------------------------------------------------------------------------------------

    def _make_sessions(self) -> None:
        self._sessions = self._series.gauge("sessions", "Sessions that are open.")
        self._opened = self._series.counter(
            "sessions_opened", "Sessions that were opened, by their driver.", driver=DRIVERS
        )
        self._closed = self._series.counter(
            "sessions_closed", "Sessions that ended, by cause.", reason=CLOSED
        )
        self._bundles = Gauge(
            "marotte_bundle_sessions",
            "Open sessions by what they run, 0 for what is offered and not used.",
            ("bundle", "mode"),
            registry=self._series.collectors,
        )
        self._running: dict[tuple[str, str], set[str]] = {}
        self._enrolled_names: set[str] = set()
        self._headroom = self._series.gauge(
            "headroom_ratio", "What is left of what sessions share, 0 to 1.", resource=RESOURCES
        )
        self._turned_away = self._series.counter(
            "sessions_refused", "Sessions that were turned away, by what was short.", reason=TURNED_AWAY
        )

    def headroom(self, resource: str, share: float) -> None:
        self._headroom.of(resource).set(share)

    def session_refused(self, reason: str) -> None:
        self._turned_away.of(reason).inc()

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

    # --- other servers ---------------------------------------------------------------------------------

    def _make_remotes(self) -> None:
        self._remotes = self._series.gauge(
            "remotes",
            "Pushes to other servers and pulls from them, by how they stand.",
            kind=REMOTE,
            state=REMOTE_STATES,
        )
        self._remotes_lost = self._series.counter(
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
        self._state = self._series.gauge(
            "worker_state",
            "1 for the state that the worker is in, 0 for the others.",
            state=tuple(state.value for state in State),
        )
        self._restarted = self._series.counter(
            "worker_restarts", "Workers that were replaced, by cause.", reason=RESTARTED
        )
        build = {"version": versions().get("marotte", ""), "python": platform.python_version()}
        about = Gauge(
            "marotte_build_info", "What runs here; always 1.", list(build), registry=self._series.collectors
        )
        about.labels(**build).set(1)
        ProcessCollector(registry=self._series.collectors)

    def worker(self, status: WorkerStatus) -> None:
        """Take over the worker's state, and what its restarts rose by."""
        with self._lock:
            for state in State:
                self._state.of(state.value).set(state is status.state)
            for reason, count in status.restarts.items():
                known = self._restarts.get(reason, 0)
                self._restarted.of(reason).inc(max(0, count - known))
                self._restarts[reason] = max(count, known)


def _cause(reason: str | None) -> str:
    """The kind of a frame report's reason, which for a raised error is its type and its words."""
    if reason and _RAISED.match(reason):
        return "error"
    return reason or OTHER
