"""Off-line: a source moved by a driver from file to file, with the driver's sound and time stamps."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from engine.errors import InputError, NoFaceError
from engine.features.still import still_neutral
from engine.media import MediaWriter, open_media, open_writer
from engine.media.picture import PICTURE_SUFFIXES
from engine.pipeline import Session
from engine.puppet import Loaded, load
from engine.track.face import FaceTracker
from engine.types import U8, Controls, Face, Frame, FrameReport

Progress = Callable[[int, int | None], None]
"""Called after each frame with the frames done and, where it is known, their number."""


@dataclass(slots=True)
class Tally:
    """What a render did, frame by frame, for its report."""

    frames: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    seconds: dict[str, list[float]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def add(self, report: FrameReport) -> None:
        self.frames += 1
        self.outcomes[report.outcome.value] += 1
        if report.reason:
            self.reasons[report.reason] += 1
        for stage, spent in report.seconds.items():
            self.seconds.setdefault(stage, []).append(spent)

    def as_dict(self) -> dict[str, Any]:
        """Plain data: counts, and per stage the median and 95th percentile in milliseconds."""
        stages = {
            stage: {
                "median_ms": 1e3 * float(np.median(spent)),
                "p95_ms": 1e3 * float(np.quantile(spent, 0.95)),
            }
            for stage, spent in self.seconds.items()
        }
        return {
            "frames": self.frames,
            "outcomes": dict(self.outcomes),
            "reasons": dict(self.reasons),
            "stages": stages,
            "notes": self.notes,
        }


def render(
    source: Path | str | U8,
    driver: Path | str,
    out: Path | str,
    *,
    bundle: str = "mesh_flow",
    backend: str = "auto",
    faces: int = 1,
    driver_pixels: bool = False,
    cache: Path | None = None,
    progress: Progress | None = None,
) -> Tally:
    """Move `source` (picture, clip or decoded picture) by `driver` (picture or clip) and write `out`.

    A driver's picture gives a picture when `out` is named as one. Interrupted (KeyboardInterrupt), what was
    written so far becomes a playable file, and the interruption goes on to the caller.
    """
    out = Path(out)
    with open_media(driver) as media:
        if not media.still and out.suffix.lower() in PICTURE_SUFFIXES:
            raise InputError(f"{out.name}: the driver is a clip; expected an output such as {out.stem}.mp4")
        loaded = load(source, bundle=bundle, backend=backend, faces=faces, cache=cache)
        height, width = loaded.sources[0].rgb.shape[:2]
        with (
            closing(FaceTracker(backend=backend, max_faces=faces, cache=cache)) as tracker,
            open_writer(
                out, (width, height), media.time_base, media.rate, None if media.still else driver
            ) as writer,
        ):
            if media.still:
                return _render_still(loaded, next(iter(media)), tracker, driver_pixels, writer)
            controls = Controls(driver_pixels=driver_pixels)
            session = Session(tracker, loaded.generator, loaded.runner, loaded.sources, controls=controls)
            return write_frames(session, media, writer, media.frame_count, progress)


def write_frames(
    session: Session,
    frames: Iterable[Frame],
    writer: MediaWriter,
    total: int | None,
    progress: Progress | None,
) -> Tally:
    """Every frame through the session into the writer. The tally's notes are the writer's."""
    tally = Tally(notes=writer.notes)
    for frame in frames:
        result, report = session.step(frame)
        writer.write(result)
        tally.add(report)
        if progress is not None:
            progress(tally.frames, total)
    return tally


def _render_still(
    loaded: Loaded, frame: Frame, tracker: FaceTracker, driver_pixels: bool, writer: MediaWriter
) -> Tally:
    """A picture has no neutral of its own: its expression is taken against a resting face estimated from itself."""
    found = tracker.detect(frame.rgb)
    if not found:
        raise NoFaceError("driver: no face found in the picture; expected one clearly visible face")
    session = Session(
        _Found(found),
        loaded.generator,
        loaded.runner,
        loaded.sources,
        controls=Controls(driver_pixels=driver_pixels),
        neutral=still_neutral(found[0]),
    )
    return write_frames(session, [frame], writer, 1, None)


class _Found:
    """A tracker of one picture whose faces are known."""

    def __init__(self, faces: tuple[Face, ...]) -> None:
        self._faces = faces

    def track(self, frame: Frame) -> tuple[Face, ...]:
        return self._faces

    def reset(self) -> None:
        """Nothing is followed."""


def write_report(path: Path, content: dict[str, Any]) -> None:
    """JSON, whole or not at all."""
    part = path.with_name(path.name + ".part")
    part.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    os.replace(part, path)
