"""What the two processes tell each other beside pictures: JSON, checked on arrival.

Both sides treat what they get as data: a message that does not read as one is a WorkerError.
"""

from __future__ import annotations

import base64
import json
import math
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Protocol, TypeVar

import numpy as np

from engine import errors
from engine.coach.measures import Measures, numbers, of_numbers
from engine.denied.hashing import BYTES
from engine.errors import InputError, MarotteError, WorkerError
from engine.fallback import FallbackConfig
from engine.self_check import signs
from engine.self_check.signs import Signs
from engine.types import U8, FrameReport, Mode, Outcome
from engine.worker.changes import Change
from engine.worker.interface import BundleInfo, DriverKind, PictureInfo, SessionSpec, SourceInfo, Stamp

MOST_BYTES = 1 << 24
"""Longest message: what is offered, with the pictures of the persons that bundles for bodies hold."""

NO_STAMP = Stamp(0, 0.0)
"""For a picture that stands for no frame."""

_MOST_NOTES, _LONGEST_NOTE = 8, 500

T = TypeVar("T")


class Pipe(Protocol):
    """What both processes use of a `multiprocessing` connection; its class differs between systems."""

    def send_bytes(self, buf: bytes, /) -> None: ...

    def recv_bytes(self, maxlength: int | None = None, /) -> bytes: ...

    def poll(self, timeout: float = 0.0, /) -> bool: ...

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Message:
    """One message. kind: what it tells. fields: its values, of JSON's types."""

    kind: str
    fields: Mapping[str, Any]

    def get(self, name: str, kind: type[T]) -> T:
        """A field of that type (an int also serves as a float). Raises WorkerError."""
        value = self.fields.get(name)
        if kind is float and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            raise WorkerError(f"message {self.kind}: {name}: got {value!r:.80}, expected {kind.__name__}")
        if isinstance(value, float) and not math.isfinite(value):
            raise WorkerError(f"message {self.kind}: {name}: got {value!r}, expected a finite number")
        return value


def pack(kind: str, **fields: Any) -> bytes:
    """One message as it travels."""
    return json.dumps([kind, fields], separators=(",", ":"), default=_number).encode()


def _number(value: object) -> float:
    """NumPy's numbers are allowed in controls."""
    return float(value)  # type: ignore[arg-type]


def unpack(data: bytes) -> Message:
    """Raises WorkerError."""
    try:
        kind, fields = json.loads(data)
    except (ValueError, TypeError, RecursionError) as error:
        raise WorkerError(f"message: got {data[:80]!r}, expected a kind and its fields") from error
    if not isinstance(kind, str) or not isinstance(fields, dict):
        raise WorkerError(f"message: got {data[:80]!r}, expected a kind and its fields")
    return Message(kind, fields)


def spec_fields(spec: SessionSpec) -> dict[str, Any]:
    """See read_spec."""
    return {
        "source": spec.source,
        "driver": spec.driver.value,
        "controls": dict(spec.controls),
        "smoothing": spec.smoothing,
        "fallback": asdict(spec.fallback),
        "bundle": spec.bundle,
        "mode": None if spec.mode is None else spec.mode.value,
        "donors": spec.donors,
        "expression": spec.expression,
        "self_check": spec.self_check,
        "self_checks": spec.self_checks,
    }


def read_spec(message: Message) -> SessionSpec:
    """What a session is to be opened with; it was checked where it was asked for."""
    fallback = message.get("fallback", dict)
    mode, expression = message.fields.get("mode"), message.fields.get("expression")
    return SessionSpec(
        message.get("source", str),
        DriverKind(message.get("driver", str)),
        message.get("controls", dict),
        message.get("smoothing", float),
        FallbackConfig(**fallback),
        message.get("bundle", str),
        None if mode is None else Mode(mode),
        tuple(message.get("donors", list)),
        None if expression is None else (expression[0], expression[1]),
        message.get("self_check", bool),
        message.get("self_checks", int),
    )


def report_fields(report: FrameReport, stamp: Stamp) -> dict[str, Any]:
    """See read_report."""
    return {
        "stamp": (stamp.pts, stamp.arrived_s, stamp.mark),
        "pts": report.pts,
        "outcome": report.outcome.value,
        "seconds": dict(report.seconds),
        "age_s": report.age_s,
        "filter_lag_s": report.filter_lag_s,
        "faces": report.faces,
        "batch": report.batch,
        "reason": report.reason,
    }


def read_report(message: Message) -> tuple[FrameReport, Stamp]:
    """Raises WorkerError."""
    stamp = message.get("stamp", list)
    seconds = message.get("seconds", dict)
    reason = message.fields.get("reason")
    try:
        pts, arrived_s, mark = stamp
        outcome = Outcome(message.get("outcome", str))
        report = FrameReport(
            message.get("pts", int),
            outcome,
            {str(stage): float(value) for stage, value in seconds.items()},
            message.get("age_s", float),
            message.get("filter_lag_s", float),
            message.get("faces", int),
            None if reason is None else str(reason),
            message.get("batch", int),
        )
        return report, Stamp(int(pts), float(arrived_s), int(mark))
    except (ValueError, TypeError, OverflowError) as error:
        raise WorkerError(f"message {message.kind}: {error}") from error


def read_kind(message: Message) -> tuple[str, Mode]:
    """By which bundle and in which mode a picture was made. Raises WorkerError."""
    try:
        return message.get("bundle", str), Mode(message.get("mode", str))
    except ValueError as error:
        raise WorkerError(f"message {message.kind}: {error}") from error


def error_fields(error: BaseException) -> dict[str, Any]:
    """For an error that crosses: what is not Marotte's own crosses as a WorkerError."""
    kind = type(error).__name__ if isinstance(error, MarotteError) else WorkerError.__name__
    text = str(error) if isinstance(error, MarotteError) else f"{type(error).__name__}: {error}"
    return {"error": kind, "text": text[:2000]}


def read_error(message: Message) -> MarotteError:
    """The error itself, of the class that it had."""
    kind = getattr(errors, message.get("error", str), WorkerError)
    if not (isinstance(kind, type) and issubclass(kind, MarotteError)):
        kind = WorkerError
    return kind(message.get("text", str))


def change_fields(change: Change) -> dict[str, Any]:
    """As Worker.change takes it."""
    fields: dict[str, Any] = {"controls": dict(change.controls)}
    if change.smoothing is not None:
        fields["smoothing"] = change.smoothing
    if change.source is not None:
        fields["source"] = change.source
    if change.driver is not None:
        fields["driver"] = change.driver.value
    if change.recalibrate:
        fields["recalibrate"] = True
    if change.expression is not None:
        fields["expression"] = dict(zip(("name", "intensity"), change.expression))
    if change.bundle is not None:
        fields["bundle"] = change.bundle
    if change.mode is not None:
        fields["mode"] = change.mode.value
    if change.donors is not None:
        fields["donors"] = change.donors
    if change.self_check is not None:
        fields["self_check"] = change.self_check
    return fields


def bundle_fields(info: BundleInfo) -> dict[str, Any]:
    """See read_bundles."""
    modes = {"modes": [mode.value for mode in info.modes], "takes_source": _values(info.takes_source)}
    own = None if info.own is None else source_fields(info.own) | {"still": _coded(info.own.still)}
    return asdict(replace(info, own=None)) | modes | {"own": own}


def _coded(still: U8) -> str:
    """The planes of a still, to the last value."""
    return base64.b64encode(zlib.compress(still.tobytes(), 1)).decode("ascii")


def _values(modes: frozenset[Mode]) -> list[str]:
    return sorted(mode.value for mode in modes)


def read_bundles(message: Message) -> tuple[BundleInfo, ...]:
    """What a process offers. Raises WorkerError."""
    try:
        return tuple(
            BundleInfo(
                **entry
                | {
                    "modes": tuple(map(Mode, entry["modes"])),
                    "takes_source": frozenset(map(Mode, entry["takes_source"])),
                    "directions": tuple((name, low, high) for name, low, high in entry["directions"]),
                    "outputs": tuple(entry["outputs"]),
                    "heeds": tuple(entry["heeds"]),
                    "own": _own(message, entry["own"]),
                }
            )
            for entry in message.get("bundles", list)
        )
    except (ValueError, TypeError, KeyError, zlib.error) as error:
        raise WorkerError(f"message {message.kind}: bundles: {error!r:.80}") from error


def _own(message: Message, fields: Any) -> SourceInfo | None:
    """The person of a bundle. Raises WorkerError, or what a field of another type does."""
    if fields is None:
        return None
    width, height = fields["size"]
    unpacker = zlib.decompressobj()
    planes = unpacker.decompress(base64.b64decode(fields["still"], validate=True), width * height * 3 // 2)
    still = np.frombuffer(planes, np.uint8).reshape(height * 3 // 2, width)
    return read_source(Message(message.kind, fields), still)


def source_fields(info: SourceInfo) -> dict[str, Any]:
    """Without its still, which goes through a mailbox."""
    named = {"source": info.id, "name": info.name, "size": info.size, "faces": info.faces}
    pictures = [
        (
            one.name,
            one.place,
            one.why,
            *(base64.b64encode(data).decode() for data in (one.thumbnail, one.looks)),
        )
        for one in info.pictures
    ]
    notes = [note[:_LONGEST_NOTE] for note in info.notes[:_MOST_NOTES]]
    told = None if info.measures is None else numbers(info.measures)
    return named | {"notes": notes, "pictures": pictures, "measures": told, "seen": info.seen}


def read_source(message: Message, still: U8 | None) -> SourceInfo:
    """Raises WorkerError."""
    size = message.get("size", list)
    sound = len(size) == 2 and all(isinstance(side, int) and side > 0 and side % 2 == 0 for side in size)
    if not sound or still is None or still.shape != (size[1] * 3 // 2, size[0]):
        raise WorkerError(f"message {message.kind}: size: got {size!r:.40}, expected that of its still")
    still.setflags(write=False)
    name, faces = message.get("name", str), message.get("faces", int)
    notes = tuple(str(note) for note in message.get("notes", list))
    pictures = tuple(_picture(message, one) for one in message.get("pictures", list))
    measures, seen = read_measures(message, "measures"), message.get("seen", int)
    return SourceInfo(
        message.get("source", str), name, (size[0], size[1]), faces, still, notes, pictures, measures, seen
    )


def read_measures(message: Message, name: str) -> Measures | None:
    """None where nothing was measured. Raises WorkerError."""
    told = message.fields.get(name)
    try:
        return None if told is None else of_numbers(told)
    except InputError as error:
        raise WorkerError(f"message {message.kind}: {error}") from error


def read_signs(message: Message, name: str) -> Signs | None:
    """None where no self check runs. Raises WorkerError."""
    told = message.fields.get(name)
    try:
        return None if told is None else signs.of_numbers(told)
    except InputError as error:
        raise WorkerError(f"message {message.kind}: {error}") from error


def _picture(message: Message, fields: Any) -> PictureInfo:
    try:
        name, place, why, *coded = fields
        thumbnail, looks = (base64.b64decode(one, validate=True) for one in coded)
        if len(looks) % BYTES:
            raise ValueError(f"looks: got {len(looks)} bytes, expected a multiple of {BYTES}")
        place = None if place is None else int(place)
        return PictureInfo(str(name), place, str(why), thumbnail, looks)
    except (ValueError, TypeError) as error:
        raise WorkerError(f"message {message.kind}: pictures: {error}") from error
