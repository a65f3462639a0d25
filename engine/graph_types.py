"""Which results of a graph are whole numbers, and that no division of them ends the process.

A processor has no answer to a division of whole numbers by 0, nor to the least of them by -1: ONNX Runtime 1.31 then
ends the process by SIGFPE, which nobody can catch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

from engine.graph_nodes import INT64, Constant, Node

FLOATS: Final = frozenset({1, 10, 11, 16})
"""ONNX's numbers of the types that have fractions."""

_BOOL: Final = 9
_UNKNOWN: Final = 0
_DIVISORS: Final = {2: "u1", 3: "i1", 6: "<i4", 7: "<i8"}
_FIXED: Final = {
    "And": _BOOL, "ArgMax": INT64, "Equal": _BOOL, "Greater": _BOOL, "GreaterOrEqual": _BOOL, "Less": _BOOL,
    "LessOrEqual": _BOOL, "Not": _BOOL, "Or": _BOOL, "Shape": INT64,
}  # fmt: skip
"""Operators whose results are of one type, whatever goes in; all others but three give what goes in first."""


def check_divisions(
    nodes: Sequence[Node], constants: Mapping[str, Constant], inputs: Mapping[str, int]
) -> None:
    """Raises ValueError where whole numbers are divided by anything but constants other than 0 and -1. inputs:
    ONNX's number of each type, by name."""
    types = {name: one.dtype for name, one in constants.items()} | dict(inputs)
    for node in nodes:
        if node.kind == "Div" and types.get(node.inputs[-1], _UNKNOWN) not in FLOATS:
            _check_divisor(constants.get(node.inputs[-1]))
        given = _type(node, types)
        for index, name in enumerate(node.outputs):
            if name:  # MaxPool tells beside it where each was found
                types[name] = INT64 if node.kind == "MaxPool" and index else given


def _check_divisor(divisor: Constant | None) -> None:
    if divisor is None or divisor.dtype not in _DIVISORS:
        raise ValueError("a Div of whole numbers is by what is computed, expected a constant")
    values = np.frombuffer(divisor.data, _DIVISORS[divisor.dtype]).astype(np.int64)
    if ((values == 0) | (values == -1)).any():
        raise ValueError("a Div of whole numbers is by 0 or -1, expected a constant of others")


def _type(node: Node, types: Mapping[str, int]) -> int:
    """Of the first result."""
    if node.kind == "Cast":
        to = node.attributes.get("to")
        return to if isinstance(to, int) else _UNKNOWN
    first = 1 if node.kind == "Where" else 0
    given = types.get(node.inputs[first], _UNKNOWN) if first < len(node.inputs) else _UNKNOWN
    return _FIXED.get(node.kind, given)
