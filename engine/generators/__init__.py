"""The generators: mesh_flow, which needs no weights, and the systems whose weights a bundle holds."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from engine import bundles
from engine.bundle import PERSON, Bundle, open_bundle, read_manifest
from engine.config import file_path, known
from engine.errors import ConfigError
from engine.generators.frame_opening import takes_frames, with_frames
from engine.modes import check_mode, check_no_source
from engine.plug import Generator, Runner
from engine.types import Mode

if TYPE_CHECKING:
    from engine.generators.liquid_warping.own import OwnPerson

MOST_THREADS = 4

BUILT_IN = ("mesh_flow",)

TAKE_DONORS = frozenset({"geogan", "maskgan"})
"""Systems whose edit takes something of a donor."""

TAKE_SEVERAL = frozenset({"liquid_warping"})
"""Systems whose puppet is made of several pictures of one person."""

BODY_MESH = "smpl"
"""The mesh, as a bundle's facts state it, of one that moves whole bodies; every other one moves faces."""


def names() -> tuple[str, ...]:
    """What can be opened by name: the generators that need no bundle, and the shipped bundles."""
    return (*BUILT_IN, *bundles.names())


def open_generator(
    bundle: str | Path,
    *,
    backend: str = "auto",
    accept: frozenset[str] = frozenset(),
    threads: int | None = None,
    batches: tuple[int, ...] = (1,),
    frames: bool | None = None,
) -> tuple[Generator, Runner]:
    """A generator and what executes it, compiled before the first frame.

    bundle: one of `names`, or the folder of a bundle. backend: what runs its graphs, as in engine.backends. accept:
    names of acceptances that were given. threads: cores that a graph may use, default half of this machine's, at most
    MOST_THREADS. batches: how many entries its graph is to take at once, 1 among them; where it was exported for one at
    a time it takes one. frames: whether whole frames go through the bundle's frame graph (docs/frame_graph.md); None
    leaves it to the backend. Raises ConfigError for an unknown name or system, BundleError, BackendError.
    """
    opened = check_bundle(bundle, accept)
    if opened is None:
        if frames:
            raise ConfigError(
                f"{bundle}: it has no frame graph, as it has no network; name a bundle that has one"
            )
        return _mesh_flow()
    threads = threads or max(1, min(MOST_THREADS, (os.cpu_count() or 1) // 2))
    whole = takes_frames(opened, backend, frames)
    generator, runner = _SYSTEMS[opened.manifest.system](opened, backend, threads, batches)
    if not whole:
        return generator, runner
    return with_frames(opened, generator, runner, backend, threads, batches)


def check_bundle(bundle: str | Path, accept: frozenset[str] = frozenset()) -> Bundle | None:
    """A bundle whose files were looked at while none of its graphs is open yet; None for what needs none.

    Raises ConfigError and BundleError as open_generator does.
    """
    folder = find_bundle(bundle)
    if folder is None:
        return None
    opened = open_bundle(folder, accept)
    known(opened.manifest.system, _SYSTEMS, f"bundle {opened.name}: system")
    return opened


def check_asked(bundle: str | Path, mode: Mode, *, donors: bool) -> None:
    """Raises ConfigError where a bundle has not this mode, or takes none of the donors that are given, by what its
    manifest says: before anything is opened, or a face looked for. BundleError for a manifest that cannot be used."""
    folder = find_bundle(bundle)
    if folder is None:
        check_mode(str(bundle), {Mode.PUPPET}, mode)
        return
    manifest, name = read_manifest(folder), folder.name
    check_mode(name, manifest.parameters.modes, mode)
    check_no_source(name, mode, given=donors, takes=manifest.system in TAKE_DONORS)


def takes_several(bundle: str | Path) -> bool:
    """Whether a bundle's puppet is made of several pictures of one person, by its manifest. Raises BundleError for one
    that cannot be used."""
    folder = find_bundle(bundle)
    return folder is not None and read_manifest(folder).system in TAKE_SEVERAL


def holds_person(bundle: str | Path) -> bool:
    """Whether a bundle holds the pictures of the person that it was tuned to, by its manifest, so that its puppet needs
    no source. Raises BundleError for one that cannot be used."""
    return person_folder(bundle) is not None


def person_folder(bundle: str | Path) -> Path | None:
    """The folder of a bundle that holds its person, None for any other. Raises as `holds_person`."""
    folder = find_bundle(bundle)
    if folder is None:
        return None
    manifest = read_manifest(folder)
    return folder if manifest.system in TAKE_SEVERAL and PERSON in manifest.graphs else None


def moves_bodies(bundle: str | Path) -> bool:
    """Whether a bundle is for whole bodies, by its manifest. Raises BundleError for one that cannot be used."""
    folder = find_bundle(bundle)
    if folder is None:
        return False
    manifest = read_manifest(folder)
    return manifest.system in TAKE_SEVERAL and manifest.parameters.facts.get("mesh") == BODY_MESH


def own_person(
    bundle: str | Path, *, backend: str = "auto", accept: frozenset[str] = frozenset()
) -> OwnPerson:
    """That person. Raises ConfigError where it holds none, BundleError or BackendError."""
    from engine.generators.liquid_warping.own import read_person

    folder = person_folder(bundle)
    if folder is None:
        raise ConfigError(f"{bundle}: it holds no person; name a bundle of marotte enrol liquid_warping")
    return read_person(open_bundle(folder, accept), backend)


def find_bundle(bundle: str | Path) -> Path | None:
    """The folder of a bundle by name or path, None for what needs none. Raises ConfigError that names the nearest."""
    if bundle in BUILT_IN:
        return None
    path = file_path("bundle", bundle)
    if isinstance(bundle, str) and len(path.parts) <= 1 and not bundle.startswith(".") and not path.is_dir():
        known(bundle, names(), "bundle")  # names the built-in ones as well
    return bundles.find(bundle)


def _mesh_flow() -> tuple[Generator, Runner]:
    from engine.generators.mesh_flow import MeshFlow, MeshFlowRunner, warm_up

    warm_up()
    return MeshFlow(), MeshFlowRunner()


def _ganimation(
    bundle: Bundle, backend: str, threads: int, batches: tuple[int, ...]
) -> tuple[Generator, Runner]:
    from engine.generators.ganimation import open_ganimation

    return open_ganimation(bundle, backend, threads, batches)


def _geogan(bundle: Bundle, backend: str, threads: int, batches: tuple[int, ...]) -> tuple[Generator, Runner]:
    from engine.generators.geogan import open_geogan

    return open_geogan(bundle, backend, threads, batches)


def _maskgan(
    bundle: Bundle, backend: str, threads: int, batches: tuple[int, ...]
) -> tuple[Generator, Runner]:
    from engine.generators.maskgan import open_maskgan

    return open_maskgan(bundle, backend, threads, batches)


def _stit(bundle: Bundle, backend: str, threads: int, batches: tuple[int, ...]) -> tuple[Generator, Runner]:
    from engine.generators.stit import open_stit

    return open_stit(bundle, backend, threads, batches)


def _liquid_warping(
    bundle: Bundle, backend: str, threads: int, batches: tuple[int, ...]
) -> tuple[Generator, Runner]:
    from engine.generators.liquid_warping import open_liquid_warping

    return open_liquid_warping(bundle, backend, threads, batches)


_SYSTEMS: dict[str, Callable[[Bundle, str, int, tuple[int, ...]], tuple[Generator, Runner]]] = {
    "ganimation": _ganimation,
    "geogan": _geogan,
    "stit": _stit,
    "maskgan": _maskgan,
    "liquid_warping": _liquid_warping,
}
