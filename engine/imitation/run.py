"""Motion imitation from file to file: a body of pictures does what the body of a clip does."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

from engine.config import file_path
from engine.consent.doors import Consent, permit
from engine.imitation.opening import Opened, check_body, open_body
from engine.imitation.session import NO_BODY, BodySession
from engine.imitation.wearing import Wear
from engine.marks import Marks, MarksConfig
from engine.marks.files import session_of
from engine.marks.lowering import note_lowered
from engine.media import MediaReader, open_media, open_writer
from engine.media.unfinished import Seal
from engine.provenance.credentials import SignerConfig
from engine.provenance.sealing import ingredients_of, made_by, sealing
from engine.puppet import Given, Opening, pictures_of
from engine.render import Progress, write_frames
from engine.render_files import check_apart, check_out, concluded
from engine.tally import Tally
from engine.track.body import BodyTracker
from engine.types import Mode
from engine.versions import versions


def imitate(
    source: Given,
    driver: Path | str,
    out: Path | str,
    *,
    bundle: str,
    body: Path | str,
    wear: Sequence[Wear] = (),
    accept: Iterable[str] = (),
    backend: str = "auto",
    report: Path | str | None = None,
    cache: Path | None = None,
    progress: Progress | None = None,
    signer: SignerConfig | None = None,
    consent: Consent = None,
    marks: MarksConfig | None = None,
) -> Tally:
    """Move the person of `source` (pictures or a clip) by the body of `driver` (picture or clip) and write `out`.

    body: an SMPL or SMPL-H file of the user's own beside the official maps, or engine.imitation.mesh.SYNTHETIC. wear:
    parts that other persons give. Everything else, files and interruptions among it, as engine.render.render does. A
    frame without a person holds the picture, which then fades to the source's.
    """
    check_body(bundle, body)
    marks = marks or MarksConfig()
    out, report = file_path("out", out), None if report is None else file_path("report", report)
    given, others = pictures_of(source), [one for each in wear for one in each.pictures]
    roles = {f"source {number}": one for number, one in enumerate(given, 1)}
    roles |= {f"wear {number}": one for number, one in enumerate(others, 1)}
    check_apart({**roles, "driver": driver, "out": out, "report": report})
    opening, tally = Opening(backend, cache=cache), Tally()
    with ExitStack() as opened:
        media = opened.enter_context(open_media(driver))
        allowed = tuple(one.id for one in permit("render", [*given, *others], bundle=bundle, consent=consent))
        opened.enter_context(concluded(tally, out, report))
        check_out(out, media, tally)
        parts = ingredients_of(source, driver, others, still=media.still)
        session = session_of(f"{bundle} imitation", [*given, *others, driver])
        made = made_by(bundle, consent=allowed, session=session, marks=marks.on, lowered=marks.lowered)
        seal = sealing(out, made, parts, tally.notes, signer)
        ready = open_body(given, opening, opened, bundle=bundle, body=body, wear=wear, accept=accept)
        tally.about = _about(given, wear, driver, out, bundle, ready) | {"consent": list(allowed)}
        tally.about |= {"session": session, "marks": list(marks.on)}
        note_lowered(marks, "render")
        height, width = ready.prepared.picture.rgb.shape[:2]
        marking = Marks.of((width, height), marks, session)
        _play(
            ready,
            opening,
            media,
            opened,
            tally,
            driver=driver,
            out=out,
            progress=progress,
            seal=seal,
            marks=marking,
        )
    return tally


def _play(
    ready: Opened,
    opening: Opening,
    media: MediaReader,
    opened: ExitStack,
    tally: Tally,
    *,
    driver: Path | str,
    out: Path,
    progress: Progress | None,
    seal: Seal | None,
    marks: Marks,
) -> None:
    tracker = opened.enter_context(closing(BodyTracker(opening.backend, opening.cache, every_frame=True)))
    session = BodySession(ready.puppet, tracker, ready.driver_fitter())
    tally.notes += session.notes
    sound = None if media.still else driver
    writer = opened.enter_context(
        open_writer(out, marks.size, media.time_base, media.rate, sound, seal, marks)
    )
    try:
        write_frames(tally, session, media, writer, media.frame_count, progress)
    finally:
        tally.conclude(media, writer, 1, 1, Mode.PUPPET, NO_BODY.removeprefix("no "))


def _about(
    given: Sequence[Any], wear: Sequence[Wear], driver: Path | str, out: Path, bundle: str, ready: Opened
) -> dict[str, Any]:
    def named(pictures: Sequence[Any]) -> list[str]:
        return [str(one) if isinstance(one, (str, Path)) else "a picture in memory" for one in pictures]

    return {
        "mode": "imitation",
        "sources": named(given),
        "wear": {",".join(one.parts): named(one.pictures) for one in wear},
        "driver": str(driver),
        "out": str(out),
        "bundle": bundle,
        "body": ready.mesh.name,
        "backend": {"name": ready.choice.name, "reason": ready.choice.reason},
        "versions": versions(),
    }
