"""What a builder of plans is asked for and gives back: all that the engine knows of it, for it lives elsewhere."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final, Literal, Protocol, get_args

from engine.errors import PlanError

Precision = Literal["fp32", "fp16", "bf16", "int8", "fp8"]
"""How the numbers of a graph are computed. The graph itself is given in it already: what is named is what it holds."""

Flavour = Literal["tensorrt", "rtx"]
"""tensorrt: a plan of this very GPU. rtx: a portable one of TensorRT for RTX, finished on the card at first use."""

PRECISIONS: Final[tuple[Precision, ...]] = get_args(Precision)
FLAVOURS: Final[tuple[Flavour, ...]] = get_args(Flavour)
BATCHES: Final = (1, 2, 4, 8)
WORKSPACE_BYTES: Final = 4 << 30
MOST_BATCH: Final = 64
LOWERING: Final = 2
"""Raised whenever export/precision.py and its keep list make another graph of the same one: plans of before are then
built anew. Nothing notices when that is forgotten."""

Progress = Callable[[str, int, int], None]
"""Told of every step: the phase's name, steps done, steps in all. Called from the builder's own threads."""


@dataclass(frozen=True, slots=True)
class PlanRequest:
    """A plan to be built.

    graph: an ONNX file, lowered to `precision` beforehand; its first dimension is free where `batches` has more than
    (1,). name: for messages. batches: sizes that get an optimisation profile each, rising. workspace_bytes: most GPU
    memory that a layer may use while it runs. refit: its weights can be exchanged later. base: the plan of another file
    of the same structure, built for refit: a builder that can may give it this graph's weights instead of building.
    base_structure: Built.structure of that plan. Raises PlanError for values that mean nothing.
    """

    graph: bytes = field(repr=False)
    name: str
    precision: Precision
    batches: tuple[int, ...] = BATCHES
    workspace_bytes: int = WORKSPACE_BYTES
    refit: bool = False
    flavour: Flavour = "tensorrt"
    base: bytes = field(default=b"", repr=False)
    base_structure: str = ""

    def __post_init__(self) -> None:
        if not self.graph:
            raise PlanError(f"plan {self.name}: the graph is empty; export it again")
        if self.precision not in PRECISIONS:
            raise self._refusal("precision", self.precision, f"one of {', '.join(PRECISIONS)}")
        if self.flavour not in FLAVOURS:
            raise self._refusal("flavour", self.flavour, f"one of {', '.join(FLAVOURS)}")
        sizes = self.batches
        rising = bool(sizes) and all(low < high for low, high in pairwise(sizes))
        if not (rising and sizes[0] >= 1 and sizes[-1] <= MOST_BATCH):
            raise self._refusal("batches", sizes, f"rising sizes in 1 .. {MOST_BATCH}")
        if self.workspace_bytes < 1:
            raise self._refusal("workspace_bytes", self.workspace_bytes, "1 or more")

    def _refusal(self, what: str, got: object, expected: str) -> PlanError:
        return PlanError(f"plan {self.name}: {what}: expected {expected}, got {got!r}")


@dataclass(frozen=True, slots=True, eq=False)
class Built:
    """A finished plan. plan: the bytes that the runtime loads. versions: of what built it, by name ("tensorrt", say).
    log: the builder's warnings, a line each. structure: of the graph as it was compiled, where the plan can be refitted
    (engine.plans.structure). refitted: it is the request's base with other weights. probe: a question and its answer,
    as of engine.plans.probe, b"" where there is none."""

    plan: bytes = field(repr=False)
    versions: Mapping[str, str]
    log: tuple[str, ...] = ()
    structure: str = ""
    refitted: bool = False
    probe: bytes = field(default=b"", repr=False)


class Builder(Protocol):
    """Builds plans; minutes for a large graph."""

    def __call__(
        self, request: PlanRequest, *, progress: Progress | None, cancel: threading.Event | None
    ) -> Built:
        """progress: told of every step. cancel: once set, the build ends soon, by PlanCancelled.

        Raises PlanError when the graph is refused or the builder fails, with the builder's own log lines.
        """
        ...
