"""Off-line: a source moved by a driver from file to file, or the driver edited, with its sound and time stamps.

Fail closed, as everywhere: where the driver shows no face the clip holds the still portrait, or a card of the last
edited picture, and a note says so.
A driver's picture has no neutral of its own, so its expression is taken against a resting face estimated from
itself; of several faces in it the most prominent drives.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, Protocol, TypedDict, Unpack

from engine import expressions
from engine.config import file_path, known
from engine.consent.doors import Consent, permit
from engine.errors import ConfigError, InputError, NoFaceError
from engine.features.doubts import doubts
from engine.features.still import still_neutral
from engine.generators import find_bundle
from engine.imitation.faces import dressed
from engine.imitation.wearing import Wear
from engine.marks import Marks, MarksConfig
from engine.marks.files import session_of
from engine.marks.lowering import note_lowered
from engine.measuring import Tracker
from engine.media import MediaReader, MediaWriter, open_media, open_writer
from engine.media.unfinished import Seal
from engine.pipeline import Session
from engine.plug import Generator
from engine.provenance.credentials import SignerConfig
from engine.provenance.sealing import ingredients_of, made_by, sealing
from engine.puppet import Given, Loaded, Opening, load, mode_of, open_session, pictures_of
from engine.render_files import check_apart, check_out, concluded
from engine.source import find_faces
from engine.tally import Tally, counted
from engine.types import AU_NAMES, LAYOUT_PARTS, U8, Controls, Face, Frame, FrameReport, Mode
from engine.versions import versions

Progress = Callable[[int, int | None], None]
"""Called after each frame with the frames done and, where it is known, their number."""


class Stepping(Protocol):
    """What turns a driver's frame into one of the result, as engine.pipeline.Session does."""

    def step(self, frame: Frame) -> tuple[Frame, FrameReport]: ...


__all__ = ["Progress", "Tally", "check_heeded", "counted", "render", "write_frames"]


class Asked(TypedDict, total=False):
    """Of a render: the controls that it keeps from its first frame to its last, as in Controls."""

    au_offsets: Mapping[str, float] | None
    """Added to the action units, by name, in place of those of the named expression."""
    expression: str | None
    remove: bool
    """Take the attribute away."""
    driver_pixels: bool
    directions: Mapping[str, float] | None
    output_size: int
    layout: Mapping[str, float] | None
    donor_layout: bool
    donor_style: bool
    project: bool


def render(
    source: Given,
    driver: Path | str,
    out: Path | str,
    *,
    mode: Mode | str = Mode.PUPPET,
    bundle: str = "mesh_flow",
    accept: Iterable[str] = (),
    backend: str = "auto",
    frame_graph: bool | None = None,
    faces: int = 1,
    wear: Sequence[Wear] = (),
    report: Path | str | None = None,
    cache: Path | None = None,
    task: Path | None = None,
    progress: Progress | None = None,
    signer: SignerConfig | None = None,
    consent: Consent = None,
    marks: MarksConfig | None = None,
    **asked: Unpack[Asked],
) -> Tally:
    """Move `source` (picture, clip or decoded picture) by `driver` (picture or clip) and write `out`; or, in mode
    "edit", edit the driver's own face, where `source` is a donor, a list of donors, or None.

    The result lasts as long as the driver. A picture as driver gives one frame, as a picture where `out` is named as
    one; a clip as source gives its best frame. With several faces the driver's main face moves the source's main face,
    and each further face of the driver one of the others; an edit edits so many faces of the driver. accept: names of
    acceptances that were given. wear: parts that other persons give to a puppet. report: a JSON file for the tally.
    frame_graph, task: as frames and task of engine.puppet.Opening. signer: of the result's C2PA manifest, by default
    the one of this installation (engine.provenance). consent: as in engine.consent.doors.permit, for the source, the
    donors, who gives parts, and of an edit the driver too. marks: those that every frame carries, all of
    them by default; one that is off is written into the session log. asked: see Asked. Interrupted (KeyboardInterrupt),
    what was rendered so far becomes a playable file, the report is written, and the interruption goes on to the
    caller; before the first frame nothing is written. Raises MarotteError before anything is written when an input, an
    option or a name cannot be used, and leaves an older file of that name alone.
    """
    mode, marks = mode_of(mode), marks or MarksConfig()
    find_bundle(bundle)
    controls = _controls(**asked)
    out, report = file_path("out", out), None if report is None else file_path("report", report)
    opening = Opening(backend, faces, cache, task, frames=frame_graph)
    others = {f"wear {k}": one for k, one in enumerate((one for each in wear for one in each.pictures), 1)}
    check_apart(_roles(source, mode) | others | {"driver": driver, "out": out, "report": report})
    shown = [*pictures_of(source), *others.values(), *([driver] if mode is Mode.EDIT else [])]
    allowed = tuple(one.id for one in permit("render", shown, bundle=bundle, consent=consent))
    tally = Tally()
    with ExitStack() as opened:
        media = opened.enter_context(open_media(driver))
        opened.enter_context(concluded(tally, out, report))
        check_out(out, media, tally)
        edits = mode is Mode.EDIT
        parts = ingredients_of(
            source, driver, others.values(), edits=edits, pixels=controls.driver_pixels, still=media.still
        )
        session = session_of(f"{bundle} {mode.value}", [*shown, driver])
        made = made_by(
            bundle, edits=edits, consent=allowed, session=session, marks=marks.on, lowered=marks.lowered
        )
        seal = sealing(out, made, parts, tally.notes, signer)
        loaded = _load(source, opening, controls, opened, bundle=bundle, mode=mode, accept=accept)
        loaded = dressed(loaded, wear, opening, accept)
        tally.about = _about(source, driver, out, bundle, controls, opening, loaded)
        tally.about |= {"consent": list(allowed), "session": session, "marks": list(marks.on)}
        note_lowered(marks, "render")
        _play(
            loaded,
            opening,
            media,
            controls,
            opened,
            tally,
            driver=driver,
            out=out,
            progress=progress,
            seal=seal,
            marking=lambda size: Marks.of(size, marks, session, mode),
        )
    return tally


def _load(
    source: Given,
    opening: Opening,
    controls: Controls,
    opened: ExitStack,
    *,
    bundle: str,
    mode: Mode,
    accept: Iterable[str],
) -> Loaded:
    """As engine.puppet.load, closed with `opened`, and refused where it has no use for the controls."""
    loaded = load(source, opening, bundle=bundle, mode=mode, accept=accept)
    opened.callback(loaded.runner.close)
    check_heeded(loaded.generator, controls)
    _check_donor(loaded, controls)
    return loaded


def _play(
    loaded: Loaded,
    opening: Opening,
    media: MediaReader,
    controls: Controls,
    opened: ExitStack,
    tally: Tally,
    *,
    driver: Path | str,
    out: Path,
    progress: Progress | None,
    seal: Seal | None,
    marking: Callable[[tuple[int, int]], Marks],
) -> None:
    """The driver's frames, one by one, into the result."""
    begin = _begin_still if media.still else _begin
    session, frames = begin(loaded, opening, media, controls, opened, tally)
    tally.notes += session.notes
    height, width = loaded.sources[0].rgb.shape[:2] if loaded.mode is Mode.PUPPET else media.size[::-1]
    size = (width, height)
    sound = None if media.still else driver
    writer = opened.enter_context(
        open_writer(out, size, media.time_base, media.rate, sound, seal, marking(size))
    )
    loaded.announce()
    try:
        write_frames(tally, session, frames, writer, media.frame_count, progress)
    finally:
        tally.conclude(media, writer, opening.faces, len(loaded.sources), loaded.mode)


def check_heeded(generator: Generator, controls: Controls) -> None:
    """Raise ConfigError for a control that was set and that the generator would ignore or cut short."""
    for one in fields(Controls):
        if getattr(controls, one.name) != getattr(Controls(), one.name) and one.name not in generator.heeds:
            known_ones = ", ".join(sorted(generator.heeds)) or "none"
            raise ConfigError(
                f"{generator.name}: it has no {one.name}, expected controls among: {known_ones}"
            )
    reaches = {name: (low, high) for name, low, high in getattr(generator, "directions", ())}
    for name, strength in controls.directions.items():
        low, high = reaches[known(name, reaches, "direction")]
        if not low <= strength <= high:
            raise ConfigError(
                f"direction {name}: got {strength:g}, expected {low:g} .. {high:g}, the reach that "
                f"{generator.name} has"
            )


def _check_donor(loaded: Loaded, controls: Controls) -> None:
    """Raise InputError for an edit that takes an attribute of a donor and has none: no frame of it could be edited."""
    donors = loaded.mode is Mode.EDIT and loaded.generator.takes_source(loaded.mode)
    donors = donors and not getattr(loaded.generator, "edits_alone", False)
    if donors and not loaded.sources and not controls.remove:
        instead = ", or --remove" if "remove" in loaded.generator.heeds else ""
        raise InputError(
            f"{loaded.generator.name}: got no donor, expected a picture whose attribute is taken: "
            f"add --donor{instead}"
        )


def _controls(
    au_offsets: Mapping[str, float] | None = None,
    expression: str | None = None,
    directions: Mapping[str, float] | None = None,
    layout: Mapping[str, float] | None = None,
    **others: Any,
) -> Controls:
    for what, names, allowed in (
        ("option", others, tuple(Asked.__annotations__)),
        ("au_offsets", au_offsets or {}, AU_NAMES),
        ("layout", layout or {}, LAYOUT_PARTS),
    ):
        for name in names:
            known(name, allowed, what)
    named = {} if expression is None else expressions.expression(expression)
    offsets = {**named, **(au_offsets or {})}
    try:
        return Controls(au_offsets=offsets, directions=directions or {}, layout=layout or {}, **others)
    except ValueError as error:
        raise ConfigError(str(error)) from error


def _roles(source: Given, mode: Mode) -> dict[str, Path | str | U8 | None]:
    given = pictures_of(source)
    role = "source" if mode is Mode.PUPPET else "donor"
    if len(given) <= 1:
        return {role: given[0] if given else None}
    return {f"{role} {number}": one for number, one in enumerate(given, 1)}


def write_frames(
    tally: Tally,
    session: Stepping,
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
    loaded: Loaded, opening: Opening, media: MediaReader, controls: Controls, opened: ExitStack, tally: Tally
) -> tuple[Session, Iterable[Frame]]:
    tracker: Tracker = opened.enter_context(closing(opening.tracker()))
    if loaded.mode is Mode.EDIT:
        tracker = _Doubting(tracker, media.name, tally)
    return open_session(loaded, opening, tracker, opened, controls=controls), media


def _begin_still(
    loaded: Loaded, opening: Opening, media: MediaReader, controls: Controls, opened: ExitStack, tally: Tally
) -> tuple[Session, Iterable[Frame]]:
    frame = next(iter(media))
    with closing(opening.detector()) as detector:
        found = find_faces(frame.rgb, detector)
    if not found:
        raise NoFaceError(f"{media.name}: no face found; expected a driver with one clearly visible face")
    edits = loaded.mode is Mode.EDIT
    chosen = found[: opening.faces] if edits else found[:1]
    if edits:
        tally.notes += [note for face in chosen for note in doubts(frame.rgb, face, media.name)]
    tracker, neutral = _Found(chosen), still_neutral(chosen[0])
    return open_session(loaded, opening, tracker, opened, controls=controls, neutral=neutral), [frame]


class _Found:
    """A tracker of one picture whose faces are known, main face first."""

    def __init__(self, faces: Sequence[Face]) -> None:
        self._faces = tuple(replace(face, track_id=number) for number, face in enumerate(faces))
        self.main_id = 0

    def track(self, frame: Frame) -> tuple[Face, ...]:
        return self._faces


class _Doubting:
    """A tracker seen through: what is in doubt about the first face that it finds goes into the notes."""

    def __init__(self, inner: Tracker, name: str, tally: Tally) -> None:
        self._inner, self._name, self._tally, self._told = inner, name, tally, False

    @property
    def main_id(self) -> int | None:
        return self._inner.main_id

    def track(self, frame: Frame) -> tuple[Face, ...]:
        faces = self._inner.track(frame)
        if faces and not self._told:
            self._told = True
            self._tally.notes += doubts(frame.rgb, faces[0], self._name)
        return faces


def _about(
    source: Given,
    driver: Path | str,
    out: Path,
    bundle: str,
    controls: Controls,
    opening: Opening,
    loaded: Loaded,
) -> dict[str, Any]:
    given = [
        str(one) if isinstance(one, (str, Path)) else "a picture in memory" for one in pictures_of(source)
    ]
    moved = (
        {"sources": given} if len(given) > 1 else {"source": given[0] if given else "the bundle's own person"}
    )
    about = {"mode": loaded.mode.value} | (
        moved if loaded.mode is Mode.PUPPET else {"donors": given, "remove": controls.remove}
    )
    return about | {
        "driver": str(driver),
        "out": str(out),
        "bundle": bundle,
        "backend": {"name": loaded.choice.name, "reason": loaded.choice.reason},
        "tracker": "Marotte's" if opening.task is None else f"MediaPipe with {opening.task}",
        "faces": opening.faces,
        "driver_pixels": controls.driver_pixels,
        "au_offsets": dict(controls.au_offsets),
        "directions": dict(controls.directions),
        "layout": dict(controls.layout),
        "versions": versions(),
    }
