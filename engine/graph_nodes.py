"""A graph's nodes and weights, as they were read from its file, and what a rule on their sizes looks at."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np

INT64: Final = 7
"""ONNX's number of the type."""

Shape = tuple[int, ...]


class Constant(NamedTuple):
    """A weight. data: its bytes. dtype: ONNX's number."""

    dims: Shape
    data: memoryview
    dtype: int


@dataclass(frozen=True, slots=True)
class Node:
    """One operator of a graph. attributes: a number, bytes, or a list of either, by name."""

    kind: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any]


class Given:
    """What a rule looks at: a node, and the sizes of its inputs."""

    def __init__(self, node: Node, shapes: Sequence[Shape | None], constants: Mapping[str, Constant]) -> None:
        self.node, self._shapes, self._constants = node, shapes, constants

    def __call__(self, index: int) -> Shape:
        """The sizes of an input that has to be there."""
        shape = self._shapes[index]
        if shape is None:
            raise IndexError(index)
        return shape

    @property
    def all(self) -> list[Shape]:
        return [shape for shape in self._shapes if shape is not None]

    def has(self, index: int) -> bool:
        return index < len(self._shapes) and self._shapes[index] is not None

    def constant(self, index: int) -> Constant | None:
        """An input that is a weight; None where it is not there, or computed."""
        return self._constants.get(self.node.inputs[index]) if self.has(index) else None

    def values(self, index: int) -> list[int] | None:
        """The whole numbers of an input; None where it is not there, or computed."""
        constant = self.constant(index)
        if constant is None or constant.dtype != INT64:
            return None
        return [int(value) for value in np.frombuffer(constant.data, "<i8")]

    def stated(self, index: int) -> list[int]:
        """The same where it has to be stated."""
        found = self.values(index)
        if found is None:
            raise ValueError(f"the sizes of a {self.node.kind} are computed, expected constants")
        return found

    def scales(self, index: int) -> list[float]:
        constant = self._constants.get(self.node.inputs[index])
        if constant is None:
            raise ValueError(f"the sizes of a {self.node.kind} are computed, expected constants")
        return [float(value) for value in np.frombuffer(constant.data, "<f4")]

    def number(self, name: str, default: int) -> int:
        value = self.node.attributes.get(name, default)
        return int(value) if isinstance(value, (int, float)) else default

    def numbers(self, name: str, default: Sequence[int] = (), least: int | None = None) -> list[int]:
        value = self.node.attributes.get(name)
        found = list(value) if isinstance(value, list) and value else list(default)
        if least is not None and any(one < least for one in found):
            raise ValueError(f"a {self.node.kind} has {name} {found[:8]}, expected {least} or more")
        return found

    def text(self, name: str, default: str) -> str:
        value = self.node.attributes.get(name, default.encode())
        return bytes(value).decode("ascii", "replace")


Rule = Callable[[Given], list[Shape]]
"""From a node and its inputs to the sizes of its outputs; the last stands for all further ones. Raises IndexError where
sizes make no sense, and ValueError, with the reason, for what is not allowed."""


def paired(*lists: Sequence[Any]) -> list[tuple[Any, ...]]:
    """Those that belong together, of lists that have to be of one length: IndexError else."""
    if len({len(one) for one in lists}) != 1:
        raise IndexError(lists)
    return list(zip(*lists))


def axis_of(axis: int, rank: int) -> int:
    """An axis that may be counted from the end, as 0 .. rank - 1. IndexError where there is none."""
    if not -rank <= axis < max(rank, 1):
        raise IndexError(axis)
    return axis % max(rank, 1)
