"""What an exporter says of its system: which modules become which graphs, with which ports and parameters."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from torch import Tensor, nn

from engine.bundle import Parameters, PortInfo

Range = tuple[float, float]

GATE: Final = 1e-4
"""Largest difference from torch, of any entry of any port, that is let through where a plan says nothing else."""


@dataclass(frozen=True, slots=True, eq=False)
class GraphPlan:
    """One graph.

    module: its forward takes one tensor per input, in their order and of their fixed shapes, and gives one tensor, or
    a tuple of them, in the order of the outputs. derived: the inputs that another graph computes in use (features of a
    donor, say), from those that are drawn; what it gives is compared in place of random numbers. reference: gives the
    expected values in the comparison, where `module` is an arrangement of it that costs less; None takes `module`.
    batched: the graph runs for every frame, and takes those of several sessions at once (docs/batching.md); the ports
    still say the shapes of one. halved: constants that a float16 holds exactly are always stored as one.
    """

    name: str
    module: nn.Module
    inputs: tuple[PortInfo, ...]
    outputs: tuple[PortInfo, ...]
    derived: Callable[[Mapping[str, Tensor]], Mapping[str, Tensor]] | None = None
    reference: nn.Module | None = None
    batched: bool = False
    halved: bool = False

    def __post_init__(self) -> None:
        self.module.eval()
        if self.reference is not None:
            self.reference.eval()


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """Everything of a bundle that follows from the checkpoint alone. title: one line for people. gate: another one than
    GATE for a system whose sums are worse conditioned; its exporter tells why."""

    system: str
    title: str
    graphs: tuple[GraphPlan, ...]
    parameters: Parameters
    notes: tuple[str, ...] = field(default=())
    gate: float = GATE


def picture(name: str, size: int) -> PortInfo:
    """The port of an RGB crop: uint8 (1, size, size, 3)."""
    return PortInfo(name, (1, size, size, 3), "uint8", (0.0, 255.0))


def numbers(name: str, shape: tuple[int, ...], limits: Range | None = None) -> PortInfo:
    """A float32 port."""
    return PortInfo(name, shape, "float32", limits)


def scaled(image: Tensor) -> Tensor:
    """A picture port as a network's input: uint8 (1, S, S, 3) to float32 (1, 3, S, S) in -1..1.

    The cast comes first, because TensorRT takes uint8 as a port and in nothing else.
    """
    return image.float().permute(0, 3, 1, 2) / 127.5 - 1.0
