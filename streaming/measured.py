"""What the live path tells whoever counts: streaming/metrics.py exports it, the page shows it."""

from __future__ import annotations

from typing import Protocol

from engine.types import FrameReport
from engine.worker.interface import BundleInfo


class Recorder(Protocol):
    """Called from several threads, once per event; never blocks and never raises."""

    def session_opened(self, driver: str) -> None: ...

    def session_closed(self, reason: str) -> None:
        """reason: "page", "stopped", "connection", "replaced", "shutdown", "killed"."""
        ...

    def showing(self, session: str, bundle: str, mode: str) -> None:
        """What an open session runs from now on: an offered bundle, "puppet" or "edit"; both empty at its end."""
        ...

    def frame_received(self) -> None:
        """A driver's frame was decoded."""
        ...

    def frame_dropped(self, reason: str) -> None:
        """reason: "replaced" (a newer one came), "worker away", "paused", "stopped", "late", "unsent", "refused",
        "paced", "withheld" (its source may not be shown)."""
        ...

    def frame_left(self, report: FrameReport, age_s: float, stages: dict[str, float]) -> None:
        """A picture was handed to the encoder at `age_s` after its frame's first packet. stages: seconds by name, those
        of the report and those around it (decode, post, deliver), each a stage of the table in docs/metrics.md."""
        ...

    def fallback_left(self, outcome: str, reason: str) -> None:
        """The network's side sent a held, faded or still picture, because nothing came from the worker."""
        ...

    def encoded(self, codec: str, seconds: float, size_bytes: int, keyframe: bool) -> None: ...

    def bitrate(self, session: str, codec: str, bits_per_s: int) -> None:
        """The encoder's target; 0 when its session has ended, whatever the codec."""
        ...

    def encoder_opened(self, codec: str, reason: str) -> None:
        """reason: "first", "size", "bitrate"."""
        ...

    def encoder_running(self, codec: str, on: bool) -> None:
        """A rung has begun, or ended, to be encoded for somebody."""
        ...

    def picture_encoded(self, codec: str, rung: int) -> None:
        """A picture was encoded for a rung of the ladder, 0 the best, however many watch it."""
        ...

    def pictures_given(self, codec: str, viewers: int) -> None:
        """An encoded picture was given to so many."""
        ...

    def viewer_opened(self) -> None: ...

    def viewer_closed(self, reason: str) -> None:
        """reason: "page", "connection", or that of its session."""
        ...

    def round_trip(self, seconds: float) -> None: ...

    def rooms(self, rooms: int, members: int) -> None:
        """How many there are now, and how many people in them."""
        ...

    def sound_packet(self, outcome: str) -> None:
        """What became of a packet of the driver's sound: "forwarded", "muted", "late" (it came after its time),
        "repeated", "overflow" (nobody took it)."""
        ...

    def sound_waited(self, seconds: float) -> None:
        """A packet was held back for so long."""
        ...

    def sound_skew(self, seconds: float) -> None:
        """By how much sound leaves later than the picture of the same moment; negative: sooner. Once per picture."""
        ...

    def source_added(self, outcome: str) -> None:
        """outcome: "accepted" or the error's kind."""
        ...

    def refused(self, reason: str) -> None:
        """A request was turned away. reason: "token", "scope", "host", "origin", "size", "busy", "headroom",
        "draining", "request"."""
        ...

    def remote(self, kind: str, former: str | None, state: str | None) -> None:
        """A "push" or "pull" has turned from a state of streaming.remote.kept.STATES to another; None: it was not
        there, or is not any more."""
        ...

    def remote_lost(self, kind: str, reason: str) -> None:
        """A connection of one could not be made, or has ended; reason: of streaming.transport.LOST."""
        ...


class EnrolmentRecorder(Protocol):
    """The same of enrolments."""

    def enrolling(self, on: bool) -> None:
        """Whether an enrolment runs."""
        ...

    def enrolled(self, outcome: str) -> None:
        """An enrolment's process has ended. outcome: "done", "stopped", "cancelled", "failed"."""
        ...

    def offer_enrolled(self, bundle: BundleInfo) -> None:
        """An enrolled bundle is offered from now on."""
        ...


class AdmissionRecorder(Protocol):
    """The same of who is let in as a session."""

    def headroom(self, resource: str, share: float) -> None:
        """What is left of one of streaming.admission.RESOURCES, 0 .. 1."""
        ...

    def session_refused(self, reason: str) -> None:
        """A session was turned away. reason: the resource that is short, "limit", "draining" or "killed"."""
        ...

    def killed(self, on: bool) -> None:
        """Whether the operator has stopped all output."""
        ...


class RecordingRecorder(Protocol):
    """The same of recordings."""

    def recording(self, on: bool) -> None:
        """One has begun, or its file is closed."""
        ...

    def recorded(self, why: str, seconds: float, size_bytes: int) -> None:
        """One has ended, for one of the reasons of streaming.recording.taker.Why."""
        ...

    def recording_finished(self, signed: bool) -> None:
        """A file is whole."""
        ...


class ServerRecorder(Recorder, AdmissionRecorder, RecordingRecorder, Protocol):
    """That of all calls of one server."""


class NoRecorder:
    """Counts nothing."""

    def headroom(self, resource: str, share: float) -> None: ...

    def session_refused(self, reason: str) -> None: ...

    def killed(self, on: bool) -> None: ...

    def remote(self, kind: str, former: str | None, state: str | None) -> None: ...

    def remote_lost(self, kind: str, reason: str) -> None: ...

    def session_opened(self, driver: str) -> None: ...

    def session_closed(self, reason: str) -> None: ...

    def showing(self, session: str, bundle: str, mode: str) -> None: ...

    def frame_received(self) -> None: ...

    def frame_dropped(self, reason: str) -> None: ...

    def frame_left(self, report: FrameReport, age_s: float, stages: dict[str, float]) -> None: ...

    def fallback_left(self, outcome: str, reason: str) -> None: ...

    def encoded(self, codec: str, seconds: float, size_bytes: int, keyframe: bool) -> None: ...

    def bitrate(self, session: str, codec: str, bits_per_s: int) -> None: ...

    def encoder_opened(self, codec: str, reason: str) -> None: ...

    def encoder_running(self, codec: str, on: bool) -> None: ...

    def picture_encoded(self, codec: str, rung: int) -> None: ...

    def pictures_given(self, codec: str, viewers: int) -> None: ...

    def viewer_opened(self) -> None: ...

    def viewer_closed(self, reason: str) -> None: ...

    def round_trip(self, seconds: float) -> None: ...

    def rooms(self, rooms: int, members: int) -> None: ...

    def sound_packet(self, outcome: str) -> None: ...

    def sound_waited(self, seconds: float) -> None: ...

    def sound_skew(self, seconds: float) -> None: ...

    def source_added(self, outcome: str) -> None: ...

    def refused(self, reason: str) -> None: ...

    def enrolling(self, on: bool) -> None: ...

    def enrolled(self, outcome: str) -> None: ...

    def offer_enrolled(self, bundle: BundleInfo) -> None: ...

    def recording(self, on: bool) -> None: ...

    def recorded(self, why: str, seconds: float, size_bytes: int) -> None: ...

    def recording_finished(self, signed: bool) -> None: ...
