"""Everything that moves one body, opened: mesh, bundle, tracker, and the person taken apart."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from engine import backends, blend
from engine.backends import Choice
from engine.body.fitter import BodyFitter
from engine.bundle import Bundle
from engine.errors import ConfigError, NoBodyError
from engine.generators import MOST_THREADS, check_bundle, moves_bodies
from engine.generators.batch_runner import BatchRunner, open_runner
from engine.generators.graph_runner import GraphRunner
from engine.generators.liquid_warping.given import PersonGraphs
from engine.generators.liquid_warping.opening import open_graphs
from engine.imitation.mesh import SYNTHETIC, BodyMesh, open_mesh
from engine.imitation.person import (
    BodyPicture,
    PreparedBody,
    Wearing,
    chosen_of,
    prepare_body,
    read_picture,
    seen_ahead,
)
from engine.imitation.puppet import BodyPuppet
from engine.imitation.wearing import Wear, shares
from engine.media import open_media, resize_within
from engine.media.opening import MediaReader
from engine.puppet import Opening, Picture
from engine.several import MOST_SOURCES
from engine.source import MAX_SIDE
from engine.track.body import BodyTracker
from engine.track.person import PersonSegmenter

LOOKED_AT: Final = 24
"""Frames of a clip among which pictures of a person are chosen."""


@dataclass(frozen=True, slots=True, eq=False)
class Opened:
    """puppet: the person, ready. choice: what runs the networks."""

    puppet: BodyPuppet
    mesh: BodyMesh
    choice: Choice

    @property
    def prepared(self) -> PreparedBody:
        return self.puppet.prepared

    def driver_fitter(self) -> BodyFitter:
        """For a driver's frames."""
        return BodyFitter(self.mesh.model)


def check_body(bundle: str | Path, body: str | Path | None) -> None:
    """Raise ConfigError where a bundle needs a body model that is not given, or has no use for the one that is."""
    bodies = moves_bodies(bundle)
    if bodies and body is None:
        raise ConfigError(
            f"{bundle}: it moves whole bodies; expected --body FILE, your own SMPL file, or --body {SYNTHETIC}"
        )
    if not bodies and body is not None:
        raise ConfigError(
            f"{bundle}: its mesh is no body's; expected a bundle that was trained on SMPL's mesh, or no body"
        )


def open_body(
    source: Sequence[Picture],
    opening: Opening,
    opened: ExitStack,
    *,
    bundle: str | Path,
    body: str | Path,
    wear: Sequence[Wear] = (),
    accept: Iterable[str] = (),
) -> Opened:
    """One person of pictures or a clip, with parts of others where they are named; closed with `opened`.

    Raises MarotteError where a file, a picture or a name cannot be used.
    """
    check_body(bundle, body)
    if not source:
        raise ConfigError("source: got none, expected a picture or clip of a whole person")
    choice, mesh = backends.choose(opening.backend), open_mesh(body)
    parts = shares(mesh.layout, wear)
    fitter = BodyFitter(mesh.model)
    with closing(opening.body()) as tracker, closing(opening.segmenter()) as segmenter:
        found = [
            _pictures(one, mesh, fitter, tracker, segmenter)
            for one in (source, *(one.pictures for one in wear))
        ]
    chosen = check_bundle(bundle, frozenset(accept))
    if chosen is None:
        raise ConfigError(f"{bundle}: it has no network; expected the folder of a bundle")
    graphs, runner = _opened(chosen, opening.backend, mesh, opened)
    worn = [Wearing(pictures, faces) for pictures, faces in zip(found[1:], parts)]
    prepared = prepare_body(found[0], mesh, fitter, graphs, worn)
    blend.warm_up()
    return Opened(BodyPuppet(chosen.name, prepared, mesh, runner), mesh, choice)


def _opened(
    bundle: Bundle, backend: str, mesh: BodyMesh, opened: ExitStack
) -> tuple[PersonGraphs, BatchRunner | GraphRunner]:
    threads = max(1, min(MOST_THREADS, (os.cpu_count() or 1) // 2))
    graphs = opened.enter_context(closing(open_graphs(bundle, backend, threads, mesh.layout)))
    runner = opened.enter_context(closing(open_runner(bundle, "generator", backend, threads, None, (1,))))
    return graphs, runner


def _pictures(
    given: Sequence[Picture],
    mesh: BodyMesh,
    fitter: BodyFitter,
    tracker: BodyTracker,
    segmenter: PersonSegmenter,
) -> list[BodyPicture]:
    found: list[BodyPicture] = []
    for one in given:
        if not isinstance(one, (str, Path)):
            found.append(read_picture(resize_within(one, MAX_SIDE), "picture", tracker, fitter, segmenter))
            continue
        with open_media(one) as media:
            if media.still:
                rgb = resize_within(next(iter(media)).rgb, MAX_SIDE)
                found.append(read_picture(rgb, media.name, tracker, fitter, segmenter))
            else:
                found += _of_clip(media, mesh, fitter, tracker, segmenter)
    return found


def _of_clip(
    media: MediaReader,
    mesh: BodyMesh,
    fitter: BodyFitter,
    tracker: BodyTracker,
    segmenter: PersonSegmenter,
) -> list[BodyPicture]:
    """Frames of a clip, the one that shows most of a person from ahead first, and as many more as a bundle may take."""
    step, due, looks = (media.duration_s or 10.0) / LOOKED_AT, 0.0, list[BodyPicture]()
    for frame in media:
        if frame.time_s < due or len(looks) >= LOOKED_AT:
            continue
        due = frame.time_s + step
        rgb = resize_within(frame.rgb, MAX_SIDE)
        try:
            looks.append(read_picture(rgb, f"{media.name} at {frame.time_s:.1f} s", tracker, fitter, None))
        except NoBodyError:
            continue
    if not looks:
        raise NoBodyError(
            f"{media.name}: no body found; expected a clip of one person from the waist up or more"
        )
    first = max(
        range(len(looks)), key=lambda k: (int(looks[k].fit.moving.sum()), seen_ahead(looks[k], mesh, fitter))
    )
    ordered = [looks[first], *(one for k, one in enumerate(looks) if k != first)]
    chosen = chosen_of(ordered, mesh, fitter, MOST_SOURCES)
    return [replace(one, person=segmenter.mask(one.rgb)) for one in chosen]
