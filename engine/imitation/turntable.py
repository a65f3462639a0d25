"""Novel views: a person seen from around, from pictures alone.

A body turns once about its own axis. A head turns as far as its pictures look and a stretch beyond, to one side and to
the other, about the lower end of its neck; shoulders stay.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Final

import cv2
import numpy as np

from engine import blend
from engine.body.fitter import UPRIGHT
from engine.config import file_path, known
from engine.consent.doors import Consent, permit
from engine.errors import ConfigError
from engine.generators import moves_bodies
from engine.generators.liquid_warping import LiquidWarping
from engine.generators.liquid_warping.reach import BEYOND
from engine.geometry import head_pose, pose_rotation
from engine.imitation.faces import dressed
from engine.imitation.opening import check_body, open_body
from engine.imitation.puppet import around, upright
from engine.imitation.wearing import Wear
from engine.marks import Marks, MarksConfig
from engine.marks.files import session_of, write_marked
from engine.marks.lowering import note_lowered
from engine.media import open_writer
from engine.media.picture import PICTURE_SUFFIXES
from engine.media.unfinished import Unfinished
from engine.media.video_writer import VIDEO_SUFFIXES
from engine.mesh.face.bust import PIVOT
from engine.provenance.sealing import ingredients_of, made_by, sealer
from engine.puppet import Given, Opening, load, pictures_of
from engine.render import Progress
from engine.render_files import check_apart
from engine.types import U8, FaceShape, Frame, HeadPose, Mode

POSES: Final = ("own", "t")
SHEET_VIEWS: Final = 8
_COLUMNS: Final = 4
_CELL: Final = 256
_INK: Final = (30, 30, 30)
_PAPER: Final = 245
_MOST_FRAMES: Final = 3600


@dataclass(slots=True)
class Turned:
    """frames: that were written. span: degrees, from the first to the last view's side. notes: what should be known."""

    frames: int = 0
    span: tuple[float, float] = (0.0, 0.0)
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Subject:
    """show: from degrees to the picture (H, W, 3). angles: of every frame. size: (width, height)."""

    show: Callable[[float], U8]
    angles: Sequence[float]
    span: tuple[float, float]
    size: tuple[int, int]
    notes: tuple[str, ...]


def turntable(
    source: Given,
    out: Path | str,
    *,
    bundle: str,
    body: Path | str | None = None,
    pose: str = "own",
    wear: Sequence[Wear] = (),
    frames: int = 120,
    fps: int = 30,
    sheet: Path | str | None = None,
    accept: Iterable[str] = (),
    backend: str = "auto",
    cache: Path | None = None,
    progress: Progress | None = None,
    consent: Consent = None,
    marks: MarksConfig | None = None,
) -> Turned:
    """Write a clip of the person of `source` seen from around, and where it is asked for a sheet of SHEET_VIEWS views.

    body: as for engine.imitation.run.imitate, of a bundle for bodies. pose: of POSES, of a body: the picture's own, or
    arms stretched out. wear: parts that other persons give. consent: as in engine.consent.doors.permit.
    marks: as in engine.render.render, of the clip and of the sheet.
    Raises MarotteError before anything is written.
    """
    known(pose, POSES, "pose")
    for name, value, most in (("frames", frames, _MOST_FRAMES), ("fps", fps, 120)):
        if isinstance(value, bool) or not isinstance(value, int) or not 2 <= value <= most:
            raise ConfigError(f"{name}: got {value!r}, expected a whole number in 2 .. {most}")
    out, sheet = file_path("out", out), None if sheet is None else file_path("sheet", sheet)
    _check_files(source, wear, out, sheet)
    check_body(bundle, body)
    given = [*pictures_of(source), *(one for each in wear for one in each.pictures)]
    allowed = tuple(one.id for one in permit("render", given, bundle=bundle, consent=consent))
    marks, session = marks or MarksConfig(), session_of(f"{bundle} turntable {pose}", given)
    note_lowered(marks, "turntable")
    opening, made = Opening(backend, cache=cache, frames=False), Turned()
    how = made_by(bundle, consent=allowed, session=session, marks=marks.on, lowered=marks.lowered)
    seals = sealer(how, ingredients_of(given), made.notes)
    with ExitStack() as opened:
        opens = _body if moves_bodies(bundle) else _head
        subject = opens(source, opening, opened, bundle, body, pose, wear, accept, frames)
        made.notes += subject.notes
        made.span = subject.span
        base = Fraction(1, fps)
        marking = Marks.of(subject.size, marks, session)
        writer = opened.enter_context(
            open_writer(out, subject.size, base, Fraction(fps), seal=seals(out), marks=marking)
        )
        for number, angle in enumerate(subject.angles):
            writer.write(Frame(subject.show(angle), number, base, 0.0))
            made.frames += 1
            if progress is not None:
                progress(made.frames, frames)
        made.notes += writer.notes
        if sheet is not None:
            write_marked(sheet, _sheet(subject), marks, session, seals)
    return made


def _check_files(source: Given, wear: Sequence[Wear], out: Path, sheet: Path | None) -> None:
    others = [one for each in wear for one in each.pictures]
    read = {f"source {k}": one for k, one in enumerate((*pictures_of(source), *others), 1)}
    check_apart({**read, "out": out, "sheet": sheet})
    if out.suffix.lower() not in VIDEO_SUFFIXES:
        raise ConfigError(f"out: got {out.name!r}, expected a name that ends in {', '.join(VIDEO_SUFFIXES)}")
    Unfinished(out).discard()
    if sheet is not None:
        if sheet.suffix.lower() not in PICTURE_SUFFIXES:
            raise ConfigError(
                f"sheet: got {sheet.name!r}, expected a name that ends in {', '.join(PICTURE_SUFFIXES)}"
            )
        Unfinished(sheet).discard()


def _body(
    source: Given,
    opening: Opening,
    opened: ExitStack,
    bundle: str,
    body: Path | str | None,
    pose: str,
    wear: Sequence[Wear],
    accept: Iterable[str],
    frames: int,
) -> _Subject:
    assert body is not None  # check_body looked
    given = pictures_of(source)
    ready = open_body(given, opening, opened, bundle=bundle, body=body, wear=wear, accept=accept)
    one = ready.prepared
    rotations = upright(one.picture.fit.rotations)
    if pose == "t":
        rotations = np.repeat(np.eye(3, dtype=np.float32)[None], len(rotations), axis=0)
        rotations[0] = UPRIGHT

    def show(angle: float) -> U8:
        return ready.puppet.show(around(rotations, angle), one.camera)

    angles = np.linspace(0.0, 360.0, frames, endpoint=False).tolist()
    height, width = one.picture.rgb.shape[:2]
    return _Subject(show, angles, (0.0, 360.0), (width, height), one.notes)


def _head(
    source: Given,
    opening: Opening,
    opened: ExitStack,
    bundle: str,
    body: Path | str | None,
    pose: str,
    wear: Sequence[Wear],
    accept: Iterable[str],
    frames: int,
) -> _Subject:
    if pose != "own":
        raise ConfigError(f"pose: got {pose!r}, expected 'own' of a head; a body has others")
    loaded = load(source, opening, bundle=bundle, accept=accept)
    opened.callback(loaded.runner.close)
    loaded = dressed(loaded, wear, opening, accept)
    generator, runner = loaded.generator, loaded.runner
    if not isinstance(generator, LiquidWarping):
        raise ConfigError(f"{bundle}: it cannot be seen from around; expected a bundle of liquid_warping")
    one = generator.prepare(loaded.sources[0], Mode.PUPPET)
    state = generator.begin(one)
    low, high = one.span[0] - BEYOND[0], one.span[1] + BEYOND[0]

    def show(angle: float) -> U8:
        (answer,) = runner.run([generator.posed(state, _turned(one.shape, angle))])
        if isinstance(answer, Exception):
            raise answer
        return blend.paste(generator.patch(state, answer))

    phase = np.linspace(0.0, 2.0 * np.pi, frames, endpoint=False)
    angles = (0.5 * (low + high) + 0.5 * (high - low) * np.sin(phase)).tolist()
    height, width = one.source.rgb.shape[:2]
    return _Subject(show, angles, (low, high), (width, height), one.notes)


def _turned(shape: FaceShape, yaw: float) -> FaceShape:
    """A face that looks to `yaw`, its neck where it was."""
    start = head_pose(shape.rotation)
    rotation = pose_rotation(HeadPose(yaw, start.pitch, start.roll))
    neck = shape.translation + shape.scale * (shape.rotation @ PIVOT)
    return FaceShape(shape.local, rotation, shape.scale, neck - shape.scale * (rotation @ PIVOT))


def _sheet(subject: _Subject) -> U8:
    """SHEET_VIEWS views, evenly over the span, each with its degrees."""
    low, high = subject.span
    whole = high - low >= 360.0
    angles = np.linspace(low, high, SHEET_VIEWS, endpoint=not whole)
    cells = [_cell(subject.show(float(angle)), f"{angle:.0f} degrees") for angle in angles]
    rows = [np.concatenate(cells[k : k + _COLUMNS], axis=1) for k in range(0, SHEET_VIEWS, _COLUMNS)]
    return np.ascontiguousarray(np.concatenate(rows, axis=0))


def _cell(rgb: U8, title: str) -> U8:
    height, width = rgb.shape[:2]
    factor = _CELL / max(height, width)
    small = cv2.resize(
        rgb, (max(1, round(factor * width)), max(1, round(factor * height))), interpolation=cv2.INTER_AREA
    )
    paper = np.full((_CELL + 20, _CELL, 3), _PAPER, np.uint8)
    left = (_CELL - small.shape[1]) // 2
    paper[20 : 20 + small.shape[0], left : left + small.shape[1]] = small
    cv2.putText(paper, title, (4, 14), cv2.FONT_HERSHEY_SIMPLEX, 0.4, _INK, 1, cv2.LINE_AA)
    return paper
