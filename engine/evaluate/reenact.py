"""The seam between the protocol and what it measures: a source, a clip, and the pictures that come out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from engine.evaluate.clip import Clip, Tracker
from engine.features import gaze, openness
from engine.features.shape import fit_shape
from engine.measuring import Measurers
from engine.pipeline import Session
from engine.plug import Generator, Ports, Prepared, Runner
from engine.source import Segmenter, sources_from_picture
from engine.types import (
    U8,
    Controls,
    Drive,
    Face,
    FaceShape,
    Frame,
    Mode,
    Neutral,
    Outcome,
    Patch,
    Signal,
    Source,
)


@dataclass(frozen=True, slots=True, eq=False)
class Played:
    """What came out for one frame. neutral: the driver's resting shape in use, None where nothing was
    generated.
    """

    rgb: U8
    outcome: Outcome
    neutral: FaceShape | None


class Reenactor(Protocol):
    """Moves a source by a clip."""

    def source(self, rgb: U8, name: str) -> Source:
        """Raises InputError when the picture cannot be moved."""
        ...

    def play(self, source: Source, clip: Clip, *, driver_pixels: bool, pin_first: bool) -> Iterator[Played]:
        """One answer per frame of the clip. pin_first: the driver's neutral is the source's own face."""
        ...


class SessionReenactor:
    """The shipped session with its shipped settings, over faces that were tracked once.

    measurers: what measures the driver beside the tracker, as live sessions have it; one clip is played at a time.
    """

    def __init__(
        self,
        tracker: Tracker,
        segmenter: Segmenter | None,
        generator: Generator,
        runner: Runner,
        measurers: Measurers | None = None,
    ) -> None:
        self._tracker, self._segmenter = tracker, segmenter
        self._generator, self._runner = generator, runner
        self._measurers: Measurers = measurers or {}

    def source(self, rgb: U8, name: str) -> Source:
        return sources_from_picture(rgb, self._tracker, self._segmenter, name=name)[0]

    def play(self, source: Source, clip: Clip, *, driver_pixels: bool, pin_first: bool) -> Iterator[Played]:
        watched = _Watched(self._generator)
        if occlusion := self._measurers.get("occlusion"):
            occlusion.reset()
        session = Session(
            _Replay(clip.faces),
            watched,
            self._runner,
            [source],
            controls=Controls(driver_pixels=driver_pixels),
            neutral=resting(source.face) if pin_first else None,
            **self._measurers,
        )
        for frame in clip.frames:
            watched.neutral = None
            moved, report = session.step(frame)
            yield Played(moved.rgb, report.outcome, watched.neutral)


def resting(face: Face) -> Neutral:
    """A face taken as the driver's resting face, as it stands."""
    shape = fit_shape(face.points)
    return Neutral(shape, openness.measure(shape), gaze.measure(shape), 1.0)


class _Replay:
    """A tracker that gives back, frame by frame, what was found before."""

    def __init__(self, faces: tuple[tuple[Face, ...], ...]) -> None:
        self._next = iter(faces)
        self.main_id: int | None = None

    def track(self, frame: Frame) -> tuple[Face, ...]:
        found = next(self._next)
        self.main_id = found[0].track_id if found else None
        return found


class _Watched:
    """A generator seen through: notes the neutral of each drive on its way in."""

    def __init__(self, inner: Generator) -> None:
        self._inner = inner
        self.neutral: FaceShape | None = None

    @property
    def name(self) -> str:
        return self._inner.name

    @property
    def needs(self) -> frozenset[Signal]:
        return self._inner.needs

    @property
    def modes(self) -> frozenset[Mode]:
        return self._inner.modes

    @property
    def heeds(self) -> frozenset[str]:
        return self._inner.heeds

    def takes_source(self, mode: Mode) -> bool:
        return self._inner.takes_source(mode)

    def prepare(self, source: Source | None, mode: Mode) -> Prepared:
        return self._inner.prepare(source, mode)

    def begin(self, prepared: Any, *donors: Any) -> Any:
        return self._inner.begin(prepared, *donors)

    def inputs(self, state: Any, drive: Drive) -> Ports:
        self.neutral = drive.neutral.shape
        return self._inner.inputs(state, drive)

    def patch(self, state: Any, outputs: Ports) -> Patch:
        return self._inner.patch(state, outputs)
