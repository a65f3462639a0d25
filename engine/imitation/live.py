"""A body bundle live: the person that it holds, moved by whoever stands before the camera.

A live worker asks it for what every generator is asked for; no face drives it, so it begins its sessions itself.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import ExitStack, closing
from pathlib import Path

from engine.body.files import read_body
from engine.body.fitter import BodyFitter
from engine.bundle import Bundle
from engine.config import file_path
from engine.errors import ConfigError
from engine.fallback import FallbackConfig
from engine.generators import MOST_THREADS, check_bundle, person_folder
from engine.generators.batch_runner import open_runner
from engine.generators.liquid_warping.opening import open_graphs
from engine.generators.liquid_warping.own import read_person
from engine.imitation.mesh import SYNTHETIC, BodyMesh, open_mesh
from engine.imitation.opening import check_body
from engine.imitation.performing import BodyPerformer
from engine.imitation.person import PreparedBody, prepare_body, read_picture
from engine.imitation.puppet import BodyPuppet
from engine.imitation.session import BodySession, Follower
from engine.media import resize_within
from engine.plug import Runner
from engine.puppet import Opening
from engine.types import U8, Mode, Signal, Source


class BodyGenerator:
    """A body bundle as an engine.staged.BodyDriven. person: the one that it holds, ready."""

    needs: frozenset[Signal] = frozenset()
    heeds: frozenset[str] = frozenset()
    modes = frozenset({Mode.PUPPET})

    def __init__(self, name: str, mesh: BodyMesh, person: PreparedBody) -> None:
        self.name, self._mesh, self._person = name, mesh, person

    @property
    def still(self) -> U8:
        """The person's picture."""
        return self._person.picture.rgb

    def takes_source(self, mode: Mode) -> bool:
        return False

    def prepare(self, source: Source | None, mode: Mode) -> PreparedBody:
        if source is not None or mode is not Mode.PUPPET:
            raise ConfigError(f"{self.name}: it moves the body of the person that it holds, and nothing else")
        return self._person

    def session(
        self, tracker: Follower, runner: Runner, person: PreparedBody, fallback: FallbackConfig
    ) -> BodySession:
        """A puppet of its own for one driver."""
        puppet = BodyPuppet(self.name, person, self._mesh, runner)
        return BodySession(puppet, tracker, BodyFitter(self._mesh.model), fallback, reuse=True)

    def performer(self) -> BodyPerformer:
        """Of this bundle's body model."""
        return BodyPerformer(self._mesh.model)


def check_live(bundle: str | Path, body: str | Path | None) -> None:
    """Raise ConfigError or ModelError where a bundle for bodies cannot be driven live, before anything is opened: no
    body model is named or there is no such file, or the bundle holds nobody."""
    check_body(bundle, body)
    if body is not None and body != SYNTHETIC and not (path := file_path("body", body)).is_file():
        read_body(path)  # which says what is missing, and where it comes from
    if person_folder(bundle) is None:
        raise ConfigError(
            f"{bundle}: it holds no person, and live a bundle for bodies moves the one that it holds; make one by "
            "marotte export --person PICTURE, or move pictures from file to file by marotte render"
        )


def open_live(
    bundle: str | Path, opening: Opening, *, accept: Iterable[str] = (), batches: tuple[int, ...] = (1,)
) -> tuple[BodyGenerator, Runner]:
    """The generator of a bundle for bodies, its person taken apart, and what executes it.

    Raises ConfigError, ModelError or InputError that names the file or picture which is missing or does not fit,
    BundleError, BackendError.
    """
    check_live(bundle, opening.body_model)
    assert opening.body_model is not None  # it was looked at
    mesh, chosen = open_mesh(opening.body_model), check_bundle(bundle, frozenset(accept))
    assert chosen is not None  # it has a folder
    threads = max(1, min(MOST_THREADS, (os.cpu_count() or 1) // 2))
    with ExitStack() as undo:
        runner = open_runner(chosen, "generator", opening.backend, threads, None, batches)
        undo.callback(runner.close)
        generator = BodyGenerator(chosen.name, mesh, _person(chosen, mesh, opening, threads))
        undo.pop_all()
    return generator, runner


def _person(bundle: Bundle, mesh: BodyMesh, opening: Opening, threads: int) -> PreparedBody:
    """Whoever the bundle holds, at most opening.side pixels large."""
    own, fitter = read_person(bundle, opening.backend), BodyFitter(mesh.model)
    with closing(opening.body()) as bodies, closing(opening.segmenter()) as segmenter:
        pictures = [
            read_picture(_even(resize_within(rgb, opening.side)), name, bodies, fitter, segmenter)
            for rgb, name in zip(own.pictures, own.names)
        ]
    with closing(open_graphs(bundle, opening.backend, threads, mesh.layout)) as graphs:
        return prepare_body(pictures, mesh, fitter, graphs)


def _even(rgb: U8) -> U8:
    """Without a last odd row and column: a row less costs nothing, another grid would blur."""
    height, width = rgb.shape[:2]
    return rgb[: height // 2 * 2, : width // 2 * 2]
