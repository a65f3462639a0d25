"""How plans are come by in this process."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from engine.errors import ConfigError
from engine.plans.cache import MOST_BYTES
from engine.plans.request import BATCHES, PRECISIONS, WORKSPACE_BYTES, Precision

BUILDER: Final = "export.tensorrt.from_bundle:build_from_bundle"
"""Marotte's own builder, by name: it is started in a process of its own, and never imported here."""


@dataclass(frozen=True, slots=True)
class PlanPolicy:
    """builder: "package.module:function" of an engine.plans.request.Builder that takes graphs as bundles hold them;
    None runs only the plans that are there. precision: of bundles' graphs; the tracker's are float32. batches: sizes
    for graphs that take any. folder: of the plans, None for the cache's. most_bytes: of all plans. wait: build before
    anything is served, and not while another backend serves.
    """

    builder: str | None = BUILDER
    precision: Precision = "fp16"
    batches: tuple[int, ...] = BATCHES
    workspace_bytes: int = WORKSPACE_BYTES
    folder: Path | None = None
    most_bytes: int = MOST_BYTES
    wait: bool = False

    def __post_init__(self) -> None:
        if self.precision not in PRECISIONS:
            raise ConfigError(f"precision: got {self.precision!r}, expected one of {', '.join(PRECISIONS)}")
        if self.builder is not None and not all(self.builder.partition(":")):
            raise ConfigError(f"builder: got {self.builder!r}, expected package.module:function")


_policy = PlanPolicy()


def use(policy: PlanPolicy) -> None:
    """From now on, for all graphs that are opened in this process. Called once, by what starts it."""
    global _policy
    _policy = policy


def current() -> PlanPolicy:
    """What `use` was given last."""
    return _policy
