"""What a worker offers: opened bundles, and what is told of them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from engine import backends
from engine.batching import BatchingRunner
from engine.bundle import MANIFEST, read_manifest
from engine.errors import ConfigError
from engine.generators import check_bundle, find_bundle, moves_bodies
from engine.media.planes import i420_of
from engine.plug import Offered
from engine.staged import body_driven
from engine.types import U8, Mode
from engine.worker.interface import BundleInfo, SourceInfo, WorkerConfig, bundle_name, held_by

REMOVAL = "removal"
"""The graph by which an edit takes its attribute away."""

_BUILT_IN = {"mesh_flow": "Mesh flow"}
_OWN_LICENCE = "Apache-2.0"
_MODES = (Mode.PUPPET, Mode.EDIT)  # in the order in which they are offered


@dataclass(frozen=True, slots=True, eq=False)
class OpenBundle:
    """A bundle that sessions can be opened with. runner: what they share; each has a session of it."""

    info: BundleInfo
    generator: Offered
    runner: BatchingRunner


def check_offers(config: WorkerConfig) -> None:
    """Whether all that is to be offered can be, before a process or a network is opened for it. Raises MarotteError."""
    backends.choose(config.backend)
    for bundle in config.bundles:
        opened = check_bundle(bundle, config.accept)
        if opened is not None:
            _allowed(bundle_name(bundle), opened.manifest.parameters.modes, config.edit)
        if moves_bodies(bundle):
            from engine.imitation.live import check_live  # the mesh and its kernels, which faces do without

            check_live(bundle, config.body)


def _allowed(name: str, modes: frozenset[Mode], edit: bool) -> tuple[Mode, ...]:
    """Those of a bundle's modes that the operator allows. Raises ConfigError for none."""
    allowed = tuple(mode for mode in _MODES if mode in modes and (edit or mode is not Mode.EDIT))
    if not allowed:
        raise ConfigError(
            f"bundle {name}: it only edits the driver's own picture; allow that by name with --edit"
        )
    return allowed


def offer(bundle: str, generator: Offered, *, edit: bool) -> BundleInfo:
    """What is told of an opened bundle. edit: the operator allows it.

    Raises ConfigError where the bundle can do nothing else and the operator does not, and what reading its manifest
    raises.
    """
    name = bundle_name(bundle)
    modes = _allowed(name, generator.modes, edit)
    takes = frozenset(mode for mode in modes if generator.takes_source(mode))
    folder = find_bundle(bundle)
    if folder is None:
        title = _BUILT_IN.get(bundle, bundle)
        return BundleInfo(name, title, bundle, _OWN_LICENCE, modes, takes, heeds=_heeds(generator))
    manifest = read_manifest(folder)
    return BundleInfo(
        name,
        manifest.title,
        manifest.system,
        manifest.licence,
        modes,
        takes,
        aus="au_offsets" in generator.heeds,
        removes=REMOVAL in manifest.graphs,
        directions=getattr(generator, "directions", ()),
        outputs=getattr(generator, "outputs", ()),
        heeds=_heeds(generator),
        pictures=getattr(generator, "sources", 1),
        own=None if (driven := body_driven(generator)) is None else _own(name, driven.still),
        sha256=hashlib.sha256((folder / MANIFEST).read_bytes()).hexdigest(),
    )


def _own(name: str, rgb: U8) -> SourceInfo:
    """The person of a bundle as its pictures show them."""
    still = i420_of(rgb)
    still.setflags(write=False)
    return SourceInfo(held_by(name), name, (rgb.shape[1], rgb.shape[0]), 1, still)


def _heeds(generator: Offered) -> tuple[str, ...]:
    return tuple(sorted(generator.heeds))


def first_kind(bundles: Sequence[BundleInfo]) -> tuple[str, Mode] | None:
    """Bundle and mode in which a source is tried when it is added; None where no source is used at all."""
    kinds = (
        (bundle.name, mode) for bundle in bundles for mode in bundle.modes if mode in bundle.takes_source
    )
    return next(kinds, None)
