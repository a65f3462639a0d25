"""Off-line: a source moved by a driver from file to file, with the driver's sound and time stamps.

Fail closed, as everywhere: where the driver shows no face the clip holds the still portrait, and a note says so.
A driver's picture has no neutral of its own, so its expression is taken against a resting face estimated from
itself; of several faces in it the most prominent drives.
"""

from __future__ import annotations

import json
import logging
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from engine.config import file_path
from engine.errors import ConfigError, NoFaceError
from engine.features.still import still_neutral
from engine.generators import find_bundle
from engine.media import MediaReader, MediaWriter, open_media, open_writer
from engine.media.picture import PICTURE_SUFFIXES
from engine.media.unfinished import Unfinished
from engine.media.video_writer import VIDEO_SUFFIXES
from engine.pipeline import Session
from engine.puppet import Loaded, Opening, load, open_session
from engine.source import find_faces
from engine.types import U8, Controls, Face, Frame, FrameReport
from engine.versions import versions

_log = logging.getLogger("marotte.render")

Progress = Callable[[int, int | None], None]
"""Called after each frame with the frames done and, where it is known, their number."""

_NO_FACE = "no face"


@dataclass(slots=True)
class Span:
    """Frames in a row with the same outcome. from_s: the driver's time of the first."""

    outcome: str
    from_s: float
    frames: int = 0


@dataclass(slots=True)
class Tally:
    """What a render did, for its report. about: what was rendered by what. spans: the outcomes in order of time.
    most_faces: moved in one frame. notes: what the user should know about the result. interrupted: it ended before
    the driver did.
    """

    about: dict[str, Any] = field(default_factory=dict)
    frames: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    most_faces: int = 0
    spans: list[Span] = field(default_factory=list)
    seconds: dict[str, array[float]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    interrupted: bool = False

    def add(self, report: FrameReport, time_s: float) -> None:
        """Count the frame at `time_s` of the driver's clock."""
        self.frames += 1
        self.most_faces = max(self.most_faces, report.faces)
        self.outcomes[report.outcome.value] += 1
        if not self.spans or self.spans[-1].outcome != report.outcome.value:
            self.spans.append(Span(report.outcome.value, time_s))
        self.spans[-1].frames += 1
        if report.reason:
            self.reasons[report.reason] += 1
        for stage, spent in report.seconds.items():
            self.seconds.setdefault(stage, array("d")).append(spent)

    def conclude(self, media: MediaReader, writer: MediaWriter, faces: int, found: int) -> None:
        """Put into notes what is not as a user would expect it. faces: asked for; found: in the source."""
        self.notes += writer.notes
        if found < faces:
            self.notes.append(f"{found} of {faces} faces were found in the source")
        if 0 < self.most_faces < found:
            self.notes.append(
                f"{media.name}: at most {self.most_faces} of {found} faces moved at once; the others stand still"
            )
        if media.dropped:
            self.notes.append(f"{media.name}: {counted(media.dropped)} left out, being damaged")
        if self.frames and self.reasons[_NO_FACE] == self.frames:
            self.notes.append(
                f"{media.name}: no face in any of {counted(self.frames)}: the portrait stands still"
            )
        for reason, count in self.reasons.items():
            if reason != _NO_FACE:
                self.notes.append(f"{counted(count)} failed, where the fallback stands ({reason})")

    def as_dict(self) -> dict[str, Any]:
        """Plain data: counts, and per stage the median and 95th percentile in milliseconds."""
        stages = {
            stage: {
                "median_ms": 1e3 * float(np.median(spent)),
                "p95_ms": 1e3 * float(np.quantile(spent, 0.95)),
            }
            for stage, spent in self.seconds.items()
        }
        return self.about | {
            "interrupted": self.interrupted,
            "frames": self.frames,
            "outcomes": dict(self.outcomes),
            "reasons": dict(self.reasons),
            "spans": [asdict(span) for span in self.spans],
            "stages": stages,
            "notes": self.notes,
        }


def counted(frames: int) -> str:
    """In words: 1 frame, 2 frames."""
    return f"{frames} frame" if frames == 1 else f"{frames} frames"


def render(
    source: Path | str | U8,
    driver: Path | str,
    out: Path | str,
    *,
    bundle: str = "mesh_flow",
    backend: str = "auto",
    faces: int = 1,
    driver_pixels: bool = False,
    report: Path | str | None = None,
    cache: Path | None = None,
    task: Path | None = None,
    progress: Progress | None = None,
) -> Tally:
    """Move `source` (picture, clip or decoded picture) by `driver` (picture or clip) and write `out`.

    The result lasts as long as the driver. A picture as driver gives one frame, as a picture where `out` is named as
    one; a clip as source gives its best frame. With several faces the driver's main face moves the source's main
    face, and each further face of the driver one of the others. report: a JSON file for the tally. task: as in
    engine.puppet.Opening. Interrupted
    (KeyboardInterrupt), what was rendered so far becomes a playable file, the report is written, and the
    interruption goes on to the caller; before the first frame nothing is written.
    Raises MarotteError before anything is written when an input, an option or
    a name cannot be used, and leaves an older file of that name alone.
    """
    find_bundle(bundle)
    out, report = file_path("out", out), None if report is None else file_path("report", report)
    opening = Opening(backend, faces, cache, task)
    _check_apart({"source": source, "driver": driver, "out": out, "report": report})
    tally = Tally()
    with ExitStack() as opened:
        media = opened.enter_context(open_media(driver))
        opened.enter_context(_concluded(tally, out, report))
        _check_out(out, still=media.still)
        if media.still and out.suffix.lower() not in PICTURE_SUFFIXES:
            tally.notes.append(
                f"{media.name} is a picture: the result is one frame; name a .png for a picture"
            )
        loaded = load(source, opening, bundle=bundle)
        opened.callback(loaded.runner.close)
        tally.about = _about(source, driver, out, bundle, driver_pixels, opening, loaded)
        begin = _begin_still if media.still else _begin
        session, frames = begin(loaded, opening, media, Controls(driver_pixels=driver_pixels), opened)
        height, width = loaded.sources[0].rgb.shape[:2]
        sound = None if media.still else driver
        writer = opened.enter_context(open_writer(out, (width, height), media.time_base, media.rate, sound))
        loaded.announce()
        try:
            write_frames(tally, session, frames, writer, media.frame_count, progress)
        finally:
            tally.conclude(media, writer, faces, len(loaded.sources))
    return tally


def write_frames(
    tally: Tally,
    session: Session,
    frames: Iterable[Frame],
    writer: MediaWriter,
    total: int | None,
    progress: Progress | None,
) -> None:
    """Every frame through the session into the writer, counted in the tally."""
    for frame in frames:
        result, report = session.step(frame)
        writer.write(result)
        tally.add(report, frame.time_s)
        if progress is not None:
            progress(tally.frames, total)


def _begin(
    loaded: Loaded, opening: Opening, media: MediaReader, controls: Controls, opened: ExitStack
) -> tuple[Session, Iterable[Frame]]:
    tracker = opened.enter_context(closing(opening.tracker()))
    return open_session(loaded, opening, tracker, opened, controls=controls), media


def _begin_still(
    loaded: Loaded, opening: Opening, media: MediaReader, controls: Controls, opened: ExitStack
) -> tuple[Session, Iterable[Frame]]:
    frame = next(iter(media))
    with closing(opening.detector()) as detector:
        found = find_faces(frame.rgb, detector)
    if not found:
        raise NoFaceError(f"{media.name}: no face found; expected a driver with one clearly visible face")
    face, neutral = _Found(found[0]), still_neutral(found[0])
    return open_session(loaded, opening, face, opened, controls=controls, neutral=neutral), [frame]


class _Found:
    """A tracker of one picture whose face is known."""

    def __init__(self, face: Face) -> None:
        self._face = face
        self.main_id = face.track_id

    def track(self, frame: Frame) -> tuple[Face, ...]:
        return (self._face,)


def _check_apart(paths: dict[str, Path | str | U8 | None]) -> None:
    """No file that is read may be written to, and no two outputs may be one."""
    files = {role: Path(path) for role, path in paths.items() if isinstance(path, (str, Path))}
    for role, other in (("out", "source"), ("out", "driver"), *(("report", one) for one in files)):
        if role != other and role in files and other in files and _same(files[role], files[other]):
            raise ConfigError(f"{role}: {files[role]} is also the {other}; expected another file name")


def _check_out(out: Path, *, still: bool) -> None:
    """Whether the result can be written, before a minute goes into making it."""
    suffix = out.suffix.lower()
    if not still and suffix in PICTURE_SUFFIXES:
        raise ConfigError(f"{out.name}: the driver is a clip; expected an output such as {out.stem}.mp4")
    if suffix not in (*VIDEO_SUFFIXES, *PICTURE_SUFFIXES):
        expected = ", ".join((*VIDEO_SUFFIXES, *PICTURE_SUFFIXES) if still else VIDEO_SUFFIXES)
        raise ConfigError(f"out: got {out.name!r}, expected a name that ends in {expected}")
    Unfinished(out).discard()


def _same(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except (OSError, ValueError):  # one of them is not there yet
        return one.absolute() == other.absolute()


@contextmanager
def _concluded(tally: Tally, out: Path, report: Path | None) -> Iterator[None]:
    """Write the report when the render ends or is interrupted, but not when it failed."""
    with ExitStack() as opened:
        # Opened first: that it cannot be written is told before an hour of rendering, not after it.
        file = None if report is None else opened.enter_context(Unfinished(report))
        try:
            yield
        except KeyboardInterrupt:
            if tally.frames:
                tally.interrupted = True
                _write(file, tally)
                if file is not None:
                    file.finish()
                _log.warning("%s holds the %s done until then", out, counted(tally.frames))
            raise
        _write(file, tally)


def _write(file: Unfinished | None, tally: Tally) -> None:
    if file is not None:
        file.write((json.dumps(tally.as_dict(), indent=2) + "\n").encode())


def _about(
    source: Path | str | U8,
    driver: Path | str,
    out: Path,
    bundle: str,
    driver_pixels: bool,
    opening: Opening,
    loaded: Loaded,
) -> dict[str, Any]:
    return {
        "source": str(source) if isinstance(source, (str, Path)) else "a picture in memory",
        "driver": str(driver),
        "out": str(out),
        "bundle": bundle,
        "backend": {"name": loaded.choice.name, "reason": loaded.choice.reason},
        "tracker": "Marotte's" if opening.task is None else f"MediaPipe with {opening.task}",
        "faces": opening.faces,
        "driver_pixels": driver_pixels,
        "versions": versions(),
    }
