"""A bundle's figures on given pictures: one sheet and one video a source, or one of all targets and donors."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from engine import blend
from engine.bundle import CropRule, Parameters
from engine.config import file_path
from engine.consent.doors import Consent, permit
from engine.errors import ConfigError
from engine.evaluate.changers import Opened
from engine.evaluate.request_run import parameters_of
from engine.evaluate.subjects import Detector, Subject, mode_of, reading_of
from engine.evaluate.transfers import OpenedTransfer
from engine.generators import open_generator
from engine.marks import MarksConfig
from engine.marks.files import session_of, write_marked
from engine.marks.lowering import note_lowered
from engine.plug import Generator, Runner
from engine.provenance.sealing import Sealer, ingredients_of, made_by, sealer
from engine.puppet import Opening, find_sources
from engine.sweep import asked, film, given, strengths
from engine.sweep.paper import sheet
from engine.types import AU_NAMES, Mode

Progress = Callable[[int, int | None], None]

MOST_SOURCES = 24


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is drawn. aus: by name. sets: the random expressions. video: whether one is written beside the sheet."""

    aus: Sequence[str]
    ends: asked.Ends
    sets: Sequence[Mapping[str, float]]
    video: bool = True


class _Marking(NamedTuple):
    """What every file of a sweep carries."""

    config: MarksConfig
    session: str
    sealer: Sealer


@dataclass(slots=True)
class _Count:
    """How many pictures are made of how many."""

    total: int
    progress: Progress | None
    done: int = 0

    def told(self) -> None:
        self.done += 1
        if self.progress is not None:
            self.progress(self.done, self.total)


def sweep(
    bundle: str,
    sources: Sequence[Path],
    out: Path,
    wanted: Wanted,
    *,
    donors: Sequence[Path] = (),
    mode: str | None = None,
    accept: frozenset[str] = frozenset(),
    backend: str = "auto",
    cache: Path | None = None,
    progress: Progress | None = None,
    consent: Consent = None,
    marks: MarksConfig | None = None,
) -> list[Path]:
    """Write the figures of `bundle` on `sources` (pictures or clips) into the folder `out`; returns the files.

    A generator that is asked for AUs gets a sheet and a video per source, named after it; edits with strengths of their
    own (directions, parts of a layout) stand on the sheet, and have no video. One that takes donors gets one sheet and
    one video of all: the sources are its targets, and its donors too where none are given. mode: "puppet" or "edit", by
    default the first that the generator has. consent: as in engine.consent.doors.permit, for all pictures. marks: as in
    engine.render.render, of every sheet and video; what is measured is measured before. Older files of these names are
    replaced by whole ones. Raises MarotteError before anything is written where an input, a name or the bundle cannot
    be used.
    """
    parameters = parameters_of(bundle)
    _check(wanted, sources, donors, out, parameters)
    allowed = tuple(one.id for one in permit("render", [*sources, *donors], bundle=bundle, consent=consent))
    marks = marks or MarksConfig()
    note_lowered(marks, "sweep")
    session = session_of(f"{bundle} sweep", [*sources, *donors])
    how = made_by(bundle, consent=allowed, session=session, marks=marks.on, lowered=marks.lowered)
    marking = _Marking(marks, session, sealer(how, ingredients_of([*sources, *donors])))
    opening = Opening(backend=backend, cache=cache)
    names = unique_names([*sources, *donors])
    with ExitStack() as stack:
        generator, runner = open_generator(bundle, backend=backend, accept=accept)
        stack.callback(runner.close)
        chosen = choose_mode(bundle, generator, mode)
        blend.warm_up()
        people = [
            _subject(path, name, opening) for path, name in zip([*sources, *donors], names, strict=True)
        ]
        detector = stack.enter_context(closing(opening.detector()))
        alone = getattr(generator, "edits_alone", False)  # donors are no condition of an edit
        if chosen is Mode.EDIT and generator.takes_source(chosen) and not alone:
            crop = CropRule("face", 256) if parameters is None else parameters.crop
            targets, others = people[: len(sources)], people[len(sources) :]
            return _given(
                bundle, targets, others or targets, generator, runner, crop, out, wanted, progress, marking
            )
        if donors:
            raise ConfigError(f"donor: {bundle} takes none; leave the option out")
        changer = Opened(generator, runner, chosen, keep_ports=parameters is not None)
        dials = strengths.dials(generator)
        if "au_offsets" not in generator.heeds:
            if not dials:
                raise ConfigError(
                    f"bundle: {bundle} takes no action units and offers no edits; nothing to draw"
                )
            wanted = replace(wanted, aus=(), sets=(), video=False)
        return _asked(bundle, people, changer, dials, detector, out, wanted, parameters, progress, marking)


def _asked(
    bundle: str,
    people: Sequence[Subject],
    changer: Opened,
    dials: Sequence[strengths.Dial],
    detector: Detector,
    out: Path,
    wanted: Wanted,
    parameters: Parameters | None,
    progress: Progress | None,
    marking: _Marking,
) -> list[Path]:
    out.mkdir(parents=True, exist_ok=True)
    each = asked.pictures(wanted.aus, wanted.sets, masks=parameters is not None) if wanted.aus else 0
    each += len(dials) * len(strengths.SHARES)
    each += film.asked_frames(wanted.aus, _shown(wanted)) if wanted.video else 0
    count, files = _Count(len(people) * each, progress), []
    for subject in people:
        answer = changer.begin(subject)
        dialled = [strengths.block(subject, changer.controlled(subject), dials, count.told)] if dials else []
        blocks = (
            dialled
            if not wanted.aus
            else dialled
            + asked.blocks(
                subject,
                answer,
                detector,
                aus=wanted.aus,
                ends=wanted.ends,
                sets=wanted.sets,
                crop=None if parameters is None else parameters.crop,
                mode=mode_of(None if parameters is None else parameters.extractor),
                told=count.told,
            )
        )
        title = f"{Path(bundle).name} on {subject.name}"
        files.append(out / f"{subject.name}.png")
        shown = sheet(title, _NOTE if wanted.aus else "", blocks, asked.CELL)
        write_marked(files[-1], shown, *marking)
        if wanted.video:
            files.append(out / f"{subject.name}.mp4")
            shots = film.asked_shots(subject, answer, wanted.aus, wanted.ends, _shown(wanted))
            film.write_film(files[-1], shots, title, count.told, *marking)
    return files


_NOTE = (
    "Each picture is made of the source alone and of the action units that are asked for, and pasted back at the "
    "source's own resolution. Measured: the same unit read again on the output."
)


def _shown(wanted: Wanted) -> Sequence[Mapping[str, float]]:
    """The random expressions that the video goes through."""
    return wanted.sets[:6]


def _given(
    bundle: str,
    targets: Sequence[Subject],
    donors: Sequence[Subject],
    generator: Generator,
    runner: Runner,
    crop: CropRule,
    out: Path,
    wanted: Wanted,
    progress: Progress | None,
    marking: _Marking,
) -> list[Path]:
    pairs = list(given.couples(targets, donors))
    if not pairs:
        raise ConfigError(
            "source: one face is target and donor at once; expected another source, or a --donor"
        )
    out.mkdir(parents=True, exist_ok=True)
    transfer = OpenedTransfer(generator, runner)
    frames = film.given_frames(len(pairs)) if wanted.video else 0
    count = _Count(given.pictures(targets, donors) + frames, progress)
    blocks = given.blocks(targets, donors, transfer, crop, count.told)
    title = f"{Path(bundle).name}: {_many(targets, 'target')}, {_many(donors, 'donor')}"
    files = [out / "transfer.png"]
    write_marked(files[0], sheet(title, "", blocks, given.CELL), *marking)
    if wanted.video:
        files.append(out / "transfer.mp4")
        shots = film.given_shots([given.bring(transfer, *pair) for pair in pairs])
        film.write_film(files[-1], shots, Path(bundle).name, count.told, *marking)
    return files


def choose_mode(bundle: str, generator: Generator, mode: str | None) -> Mode:
    """The mode of that name, or the first that the generator has. Raises ConfigError where it has not that one."""
    offered = [one for one in Mode if one in generator.modes]
    if mode is None:
        return offered[0]
    if mode not in [one.value for one in offered]:
        has = ", ".join(one.value for one in offered)
        raise ConfigError(f"mode: got {mode!r}, expected one that {bundle} has: {has}")
    return Mode(mode)


def _many(people: Sequence[Subject], what: str) -> str:
    return f"{len(people)} {what}{'' if len(people) == 1 else 's'}"


def _check(
    wanted: Wanted,
    sources: Sequence[Path],
    donors: Sequence[Path],
    out: Path,
    parameters: Parameters | None,
) -> None:
    """Whether all of it can be drawn, before any network is opened."""
    if not sources:
        raise ConfigError("source: got none, expected a picture or a clip")
    if len(sources) > MOST_SOURCES or len(donors) > MOST_SOURCES:
        raise ConfigError(f"source: got {max(len(sources), len(donors))}, expected at most {MOST_SOURCES}")
    for place in (out, *out.parents):
        if os.path.lexists(place) and not place.is_dir():
            raise ConfigError(f"out: {place} is a file; expected the name of a folder")
    known = parameters.aus if parameters is not None and parameters.aus else AU_NAMES
    if unknown := [name for name in wanted.aus if name not in known]:
        raise ConfigError(
            f"aus: {unknown[0]} is none that this bundle was trained on; expected some of {', '.join(known)}"
        )


def unique_names(paths: Sequence[Path]) -> list[str]:
    """A file's stem, with a number where that is taken."""
    names: list[str] = []
    for path in paths:
        stem = file_path("source", path).stem or "source"
        count = sum(1 for name in names if name == stem or name.rpartition("-")[0] == stem)
        names.append(f"{stem}-{count + 1}" if count else stem)
    return names


def _subject(path: Path, name: str, opening: Opening) -> Subject:
    source = find_sources(path, opening)[0]
    return Subject(name, name, source, reading_of(source.face))
