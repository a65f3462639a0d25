"""An attribute exchanged between two pictures, each at its own size."""

from __future__ import annotations

from contextlib import ExitStack, closing
from pathlib import Path

from engine import backends
from engine.config import file_path
from engine.consent.doors import Consent, permit
from engine.errors import ConfigError
from engine.generators import open_generator
from engine.marks import MarksConfig
from engine.marks.files import session_of, write_marked
from engine.marks.lowering import note_lowered
from engine.media import read_picture
from engine.provenance.sealing import ingredients_of, made_by, sealer
from engine.puppet import Opening
from engine.source import sources_from_picture
from engine.track.face import FaceTracker
from engine.types import Mode, Source


def swap_pictures(
    one: Path | str,
    other: Path | str,
    out: Path | str,
    other_out: Path | str,
    *,
    bundle: str,
    accept: frozenset[str] = frozenset(),
    backend: str = "auto",
    cache: Path | None = None,
    consent: Consent = None,
    marks: MarksConfig | None = None,
) -> tuple[str, ...]:
    """Write to `out` what `one` looks like with the attribute of `other`, and to `other_out` `other` without it.

    consent: as in engine.consent.doors.permit, for both. marks: as in engine.render.render. Returns notes for the user.
    Raises MarotteError before anything is written when a picture, the bundle (of GeoGAN, with removal) or a name cannot
    be used.
    """
    from engine.generators.geogan import Geogan, swap
    from engine.generators.geogan.runner import GeoganRunner

    paths = [file_path("out", out), file_path("swap_out", other_out)]
    if len({path.absolute() for path in (*paths, Path(one), Path(other))}) < 4:
        raise ConfigError("swap: expected four different files, two to read and two to write")
    allowed = tuple(record.id for record in permit("render", [one, other], bundle=bundle, consent=consent))
    marks, session = marks or MarksConfig(), session_of(f"{bundle} swap", [one, other])
    how = made_by(bundle, edits=True, consent=allowed, session=session, marks=marks.on, lowered=marks.lowered)
    opening = Opening(backends.choose(backend).name, cache=cache)
    with closing(opening.detector()) as detector:
        first, second = _source(one, detector), _source(other, detector)
    with ExitStack() as opened:
        generator, runner = open_generator(bundle, backend=backend, accept=accept, frames=False)
        opened.callback(runner.close)
        if not (isinstance(generator, Geogan) and isinstance(runner, GeoganRunner)):
            raise ConfigError(f"swap: {generator.name} takes no attributes, expected a bundle of geogan")
        if "remove" not in generator.heeds:
            raise ConfigError(f"swap: {generator.name} cannot take an attribute away; name another bundle")
        notes = [note for source in (first, second) for note in generator.prepare(source, Mode.EDIT).notes]
        pictures = swap(generator, runner, first, second)
    note_lowered(marks, "swap")
    for path, picture, shown in zip(paths, pictures, (one, other)):
        parts = (
            ingredients_of(one, other, edits=True)
            if shown is other
            else ingredients_of(other, one, edits=True)
        )
        write_marked(path, picture, marks, session, sealer(how, parts, notes))
    return tuple(notes)


def _source(picture: Path | str, detector: FaceTracker) -> Source:
    """The main face of a picture as large as it is."""
    return sources_from_picture(read_picture(picture), detector, None, name=Path(picture).name)[0]
