"""One file to its pictures, parsing masks and rows; what was left out, and why."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import cv2

from engine import backends
from engine.annotate.expressions import expressions
from engine.annotate.gates import Gates, Refused, pass_real, reason_of
from engine.annotate.inputs import Input
from engine.annotate.labels import DYNAMIC, STATIC, Labels, label, parsing_of
from engine.annotate.synthesise import Moved, synthesise
from engine.annotate.table import Cells, Row
from engine.errors import ConfigError, DecodeError, InputError, NoFaceError, StateError
from engine.features import action_units, extract
from engine.features.calibration import Calibration
from engine.features.shape import fit_shape
from engine.media import MediaReader, open_media, resize_within, write_picture
from engine.media.unfinished import Unfinished
from engine.models import locate
from engine.source import MAX_SIDE, find_faces, sources_from_picture
from engine.track.identity import prominence
from engine.track.region import Region
from engine.types import F32, U8, Face, Frame, Signal, Source

DRAWN_BY = "mesh_flow"
MODELS = ("face_detection", "face_mesh_attention", "selfie_segmentation")
"""What a stage opens."""
_MEASURED = frozenset({Signal.SHAPE, Signal.OPENNESS, Signal.GAZE, Signal.HEAD_POSE})
_FACES_LOOKED_AT = 8
_SAME_S = 1e-6


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything beside the files themselves that decides a prepared folder. size: pixels of the stored pictures.
    synthesise: expressions per still. per_second, most: frames taken from a clip."""

    size: int = 128
    crop: str = "face"
    mode: str = STATIC
    synthesise: int = 0
    per_second: float = 6.0
    most: int = 80
    gates: Gates = field(default_factory=Gates)

    def __post_init__(self) -> None:
        for name, low, high in (("size", 16, 1024), ("synthesise", 0, 999), ("most", 1, 100_000)):
            value = getattr(self, name)
            if not (isinstance(value, int) and low <= value <= high):
                raise ConfigError(f"{name}: got {value!r}, expected a whole number in {low} .. {high}")
        if not (math.isfinite(self.per_second) and self.per_second > 0):
            raise ConfigError(f"per-second: got {self.per_second!r}, expected more than 0")


class Stage:
    """What measures and draws, open while entered. backend, cache: as everywhere."""

    def __init__(self, *, backend: str = "auto", cache: Path | None = None) -> None:
        self._options: dict[str, Any] = {"backend": backend, "cache": cache}

    def check(self) -> None:
        """Whether it can be opened, before a folder is begun for it. Raises BackendError and ModelError."""
        backends.choose(self._options["backend"])
        for name in MODELS:
            locate(name, self._options["cache"])

    def __enter__(self) -> Self:
        from engine.generators import open_generator
        from engine.track.face import FaceTracker
        from engine.track.person import PersonSegmenter

        with ExitStack() as stack:
            self.detector = FaceTracker(max_faces=_FACES_LOOKED_AT, **self._options)
            stack.callback(self.detector.close)
            self.tracker = FaceTracker(max_faces=1, **self._options)
            stack.callback(self.tracker.close)
            self.segmenter = PersonSegmenter(**self._options)
            stack.callback(self.segmenter.close)
            self.generator, self.runner = open_generator(DRAWN_BY)
            stack.callback(self.runner.close)
            self._open = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()


@dataclass(slots=True)
class Outcome:
    """rows: cells in the order of KEPT. refused: picture, reason and detail."""

    rows: list[Cells] = field(default_factory=list)
    refused: list[tuple[str, str, str]] = field(default_factory=list)


class Desk:
    """Works off one input after the other into a folder with images/ and parsing/."""

    def __init__(self, stage: Stage, settings: Settings, folder: Path, alive: Callable[[], None]) -> None:
        self._stage, self._settings, self._folder, self._alive = stage, settings, folder, alive

    def work(self, one: Input) -> Outcome:
        """Never raises for what a file may hold. Raises StateError when results cannot be written."""
        outcome = Outcome()
        try:
            with open_media(one.path) as media:
                if media.still:
                    self._still(one, next(iter(media)).rgb, outcome)
                else:
                    self._clip(one, media, outcome)
        except Refused as refused:
            outcome.refused.append((one.id, refused.reason, refused.detail))
        except InputError as error:
            outcome.refused.append((one.id, reason_of(error), str(error)))
        return outcome

    def _still(self, one: Input, rgb: U8, outcome: Outcome) -> None:
        rgb = resize_within(rgb, MAX_SIDE)
        face = _main(find_faces(rgb, self._stage.detector), rgb, self._settings.gates)
        source = sources_from_picture(rgb, _Found(face), self._stage.segmenter, name=one.shown)[0]
        base = label(rgb, face, self._settings.crop, self._settings.size)
        pass_real(base, self._settings.gates)
        row = _row(one, one.id, base, 0.0)
        self._draw(row, base, source.person)
        outcome.rows.append(row.cells())
        if not self._settings.synthesise:
            return
        self._synthesise(one, base, source, outcome)

    def _synthesise(self, one: Input, base: Labels, source: Source, outcome: Outcome) -> None:
        moved = Moved(source, self._stage.generator, self._stage.runner)
        cut_by = (self._settings.crop, self._settings.mode)
        for index, offsets in enumerate(expressions(one.id, self._settings.synthesise, base.aus)):
            self._alive()
            name = f"{one.id}~s{index:03d}"
            try:
                made = synthesise(
                    moved, base, source.face, offsets, self._stage.detector, self._settings.gates, *cut_by
                )
            except Refused as refused:
                outcome.refused.append((name, refused.reason, refused.detail))
                continue
            row = _row(one, name, made.labels, 0.0, base=one.id, asked=made.asked)
            self._draw(row, made.labels, source.person)
            outcome.rows.append(row.cells())

    def _clip(self, one: Input, media: MediaReader, outcome: Outcome) -> None:
        """Frames at even distances over the whole clip. In dynamic mode rows wait until the neutral is known."""
        waiting: list[tuple[Row, Face]] = []
        calibrations: dict[int, Calibration] = {}
        self._stage.tracker.reset()
        try:
            for frame, taken in _sampled(media, self._settings):
                self._alive()
                tracked = self._follow(frame, calibrations)
                if taken:
                    self._frame(one, frame, tracked, waiting, outcome)
        except DecodeError as error:  # what was read before stays
            outcome.refused.append((one.id, reason_of(error), str(error)))
        neutrals = {track: found.neutral() for track, found in calibrations.items()}
        for row, face in waiting:
            if face.track_id in neutrals:
                row = replace(row, aus=action_units.measure(fit_shape(face.points), neutrals[face.track_id]))
            outcome.rows.append(row.cells())

    def _follow(self, frame: Frame, calibrations: dict[int, Calibration]) -> tuple[Face, ...]:
        """In dynamic mode the followed face, which every frame tells more about; else nobody."""
        if self._settings.mode != DYNAMIC:
            return ()
        tracked = self._stage.tracker.track(frame)
        if tracked:
            _learn(calibrations, tracked[0], frame)
        return tracked

    def _frame(
        self,
        one: Input,
        frame: Frame,
        tracked: tuple[Face, ...],
        waiting: list[tuple[Row, Face]],
        outcome: Outcome,
    ) -> None:
        name = f"{one.id}~f{round(1000 * frame.time_s):06d}"
        try:
            face = self._face_of(frame, tracked)
            labels = label(frame.rgb, face, self._settings.crop, self._settings.size)
            pass_real(labels, self._settings.gates)
        except Refused as refused:
            outcome.refused.append((name, refused.reason, refused.detail))
            return
        except InputError as error:
            outcome.refused.append((name, reason_of(error), str(error)))
            return
        row = _row(one, name, labels, frame.time_s)
        self._draw(row, labels, self._stage.segmenter.mask(frame.rgb))
        waiting.append((row, face))

    def _face_of(self, frame: Frame, tracked: tuple[Face, ...]) -> Face:
        """In dynamic mode the face that was followed, whose resting face is known."""
        if self._settings.mode == STATIC:
            return _main(find_faces(frame.rgb, self._stage.detector), frame.rgb, self._settings.gates)
        if not tracked or tracked[0].score < self._settings.gates.presence:
            raise Refused("no face", "nobody was followed there")
        return tracked[0]

    def _draw(self, row: Row, labels: Labels, person: U8 | None) -> None:
        """Raises StateError when the disk does not take it: the picture is not to blame."""
        parsing = parsing_of(labels, person)
        try:
            write_picture(self._folder / "images" / f"{row.image}.png", labels.rgb)
            write_grey(self._folder / "parsing" / f"{row.image}.png", parsing)
        except InputError as error:
            raise StateError(f"{error}; then run the same command again to go on") from error


def _row(
    one: Input, name: str, labels: Labels, time_s: float, *, base: str = "", asked: F32 | None = None
) -> Row:
    return Row(
        name,
        one.person,
        base,
        one.origin,
        one.licence,
        time_s,
        labels.sharpness,
        labels.pose,
        labels.aus,
        asked,
        labels.landmarks,
    )


class _Found:
    """A face that was found before."""

    def __init__(self, face: Face) -> None:
        self._face = face

    def detect(self, rgb: U8, *, thorough: bool = True, passes: int = 1) -> tuple[Face, ...]:
        return (self._face,)


def write_grey(path: Path, picture: U8) -> None:
    """Write uint8 (H, W) as an 8-bit PNG, whole or not at all."""
    _, coded = cv2.imencode(".png", picture)
    with Unfinished(path) as unfinished:
        unfinished.write(coded.tobytes())


def _main(found: list[Face], rgb: U8, gates: Gates) -> Face:
    """The main face: largest and most in the middle. Raises NoFaceError, or Refused where another rivals it."""
    found = [face for face in found if face.score >= gates.presence]
    if not found:
        raise NoFaceError("no face found")
    if len(found) > 1:
        height, width = rgb.shape[:2]
        first, second = (prominence(_region(face), width, height) for face in found[:2])
        if second > gates.rivals * first:
            raise Refused("several faces", f"the second of {len(found)} is {second / first:.0%} of the first")
    return found[0]


def _region(face: Face) -> Region:
    x0, y0, x1, y1 = map(float, face.box)
    return Region((x0 + x1) / 2, (y0 + y1) / 2, max(x1 - x0, y1 - y0), 0.0)


def _learn(calibrations: dict[int, Calibration], face: Face, frame: Frame) -> None:
    try:
        features = extract(face, frame, _MEASURED)
    except InputError:
        return
    calibrations.setdefault(face.track_id, Calibration()).update(features)


def _sampled(media: MediaReader, settings: Settings) -> Iterator[tuple[Frame, bool]]:
    """Every frame, and whether it is taken: `per_second` of them, fewer where that would be more than `most`."""
    step = 1.0 / settings.per_second
    if media.duration_s:
        step = max(step, media.duration_s / settings.most)
    due, left = -math.inf, settings.most
    for frame in media:
        taken = left > 0 and frame.time_s >= due - _SAME_S
        if taken:
            due = max(due + step, frame.time_s) if due > -math.inf else frame.time_s + step
            left -= 1
        yield frame, taken
