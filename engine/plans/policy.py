"""How plans are come by in this process, and in those of its workers."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from engine.errors import ConfigError
from engine.plans.cache import MOST_BYTES, plans_folder
from engine.plans.request import BATCHES, PRECISIONS, WORKSPACE_BYTES, Precision

BUILDER: Final = "export.tensorrt.from_bundle:build_from_bundle"
"""Marotte's own builder, by name: it is started in a process of its own, and never imported here."""


@dataclass(frozen=True, slots=True)
class PlanPolicy:
    """builder: "package.module:function" of an engine.plans.request.Builder that takes graphs as bundles hold them;
    None runs only the plans that are there. precision: of bundles' graphs; the tracker's are float32. batches: sizes
    for graphs that take any. refit: bundles' plans are built so that another bundle of the same graph can have them
    with its own weights; such a plan may be slower. folder: of the plans, None for the cache's. most_bytes: of all
    plans. wait: build before anything is served, and not while another backend serves.
    """

    builder: str | None = BUILDER
    precision: Precision = "fp16"
    batches: tuple[int, ...] = BATCHES
    workspace_bytes: int = WORKSPACE_BYTES
    refit: bool = True
    folder: Path | None = None
    most_bytes: int = MOST_BYTES
    wait: bool = False

    def __post_init__(self) -> None:
        if self.precision not in PRECISIONS:
            raise ConfigError(f"precision: got {self.precision!r}, expected one of {', '.join(PRECISIONS)}")
        if self.builder is not None and not all(self.builder.partition(":")):
            raise ConfigError(f"builder: got {self.builder!r}, expected package.module:function")


def beside_models(policy: PlanPolicy, cache: Path | None) -> PlanPolicy:
    """The same with its plans in the models' cache, where another one than the user's is named; a folder that is named
    for the plans stays. cache: as in engine.models."""
    return policy if cache is None or policy.folder else replace(policy, folder=plans_folder(cache))


_policy = PlanPolicy()


def use(policy: PlanPolicy) -> None:
    """From now on, for all graphs that are opened in this process. Called once, by what starts it."""
    global _policy
    _policy = policy


def current() -> PlanPolicy:
    """What `use` was given last."""
    return _policy


@contextlib.contextmanager
def plans_in(cache: Path | None) -> Iterator[None]:
    """Within it, plans lie beside the models of that cache (see beside_models)."""
    before = current()
    use(beside_models(before, cache))
    try:
        yield
    finally:
        use(before)
