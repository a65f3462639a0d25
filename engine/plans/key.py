"""Under which key a plan is kept: everything that makes it another plan."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

from engine.plans.request import LOWERING, Flavour, PlanRequest, Precision

_NAMED_BY: Final = 16
"""Hex digits of the graph's hash that begin a file's name, so that plans of one graph stand together."""


@dataclass(frozen=True, slots=True)
class Target:
    """What a plan is built for and loaded by.

    gpu: its name, as the driver gives it. capability: of its processor, (9, 0) say. driver: the driver's release.
    tensorrt: the version of the library that builds and loads.
    """

    gpu: str
    capability: tuple[int, int]
    driver: str
    tensorrt: str


@dataclass(frozen=True, slots=True)
class PlanKey:
    """A plan is loaded only for the very same key. graph: SHA-256 of the request's ONNX file, hex, as it was before it
    was lowered. lowering: the number of the pass that lowered it."""

    graph: str
    precision: Precision
    batches: tuple[int, ...]
    refit: bool
    flavour: Flavour
    target: Target
    lowering: int = LOWERING

    def facts(self) -> dict[str, Any]:
        """As JSON values."""
        found: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        return found

    def name(self) -> str:
        """A name for files: letters, digits and one dash; plans of one graph begin alike."""
        text = json.dumps(self.facts(), sort_keys=True, separators=(",", ":"))
        return f"{self.graph[:_NAMED_BY]}-{hashlib.sha256(text.encode()).hexdigest()[:32]}"

    def fits(self, facts: Any) -> bool:
        """Whether `facts` are this key's and nothing else."""
        return isinstance(facts, Mapping) and dict(facts) == self.facts()


def key_of(request: PlanRequest, target: Target) -> PlanKey:
    """The key of what was asked for. The workspace is not part of it: it decides on speed alone."""
    graph = hashlib.sha256(request.graph).hexdigest()
    return PlanKey(graph, request.precision, request.batches, request.refit, request.flavour, target)
