"""Under which key a plan is kept: everything that makes it another plan."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

from engine.errors import PlanError
from engine.plans.request import LOWERING, Flavour, PlanRequest, Precision
from engine.plans.structure import structure

_NAMED_BY: Final = 16
"""Hex digits of the graph's hash, and of its structure's, that begin a file's name, so that plans of one graph are
found, and those whose weights can be exchanged for its own."""


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
    was lowered. structure: the same without its weights (engine.plans.structure), "" where the plan is not for refit.
    lowering: the number of the pass that lowered it."""

    graph: str
    precision: Precision
    batches: tuple[int, ...]
    refit: bool
    flavour: Flavour
    target: Target
    lowering: int = LOWERING
    structure: str = ""

    def facts(self) -> dict[str, Any]:
        """As JSON values."""
        found: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        return found

    def name(self) -> str:
        """A name for files: letters, digits and dashes; plans of one graph begin alike."""
        text = json.dumps(self.facts(), sort_keys=True, separators=(",", ":"))
        return f"{self.graph[:_NAMED_BY]}{self._kin}{hashlib.sha256(text.encode()).hexdigest()[:32]}"

    def is_kin(self, name: str) -> bool:
        """Whether a name may be that of a plan whose weights could be exchanged for this one's."""
        return bool(self.structure) and self._kin in name and name != self.name()

    @property
    def _kin(self) -> str:
        return f"-{self.structure[:_NAMED_BY]}-" if self.structure else "-"

    def fits(self, facts: Any) -> bool:
        """Whether `facts` are this key's and nothing else."""
        return isinstance(facts, Mapping) and dict(facts) == self.facts()

    def differs_in_weights(self, facts: Any) -> bool:
        """Whether `facts` are of a plan that can be refitted to this key's graph: the same all but for the weights."""
        mine = self.facts()
        return (
            bool(self.structure)
            and isinstance(facts, Mapping)
            and facts.get("graph") != self.graph
            and {**facts, "graph": self.graph} == mine
        )


def key_of(request: PlanRequest, target: Target) -> PlanKey:
    """The key of what was asked for. The workspace is not part of it: it decides on speed alone. Raises PlanError for
    what is no ONNX file, where it is to be refitted."""
    graph = hashlib.sha256(request.graph).hexdigest()
    kin = ""
    if request.refit:
        try:
            kin = structure(request.graph)
        except ValueError as error:
            raise PlanError(f"{request.name} is no ONNX file ({error}); export it again") from error
    return PlanKey(
        graph, request.precision, request.batches, request.refit, request.flavour, target, structure=kin
    )
