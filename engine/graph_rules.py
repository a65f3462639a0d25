"""For every operator that a graph may use, a rule from the sizes of its inputs to those of its outputs.

Where a size depends on what is computed (the bounds of a Slice, say) the rule gives the largest it can be: all rules
grow with their inputs, so that what is told is never too little.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import zip_longest
from typing import Final

from engine.graph_moves import MOVES
from engine.graph_nodes import Given, Rule, Shape, axis_of
from engine.graph_windows import WINDOWS


def _same(given: Given) -> list[Shape]:
    return [given(0)]


def _broadcast(*shapes: Shape) -> Shape:
    pairs = zip_longest(*(reversed(shape) for shape in shapes), fillvalue=1)
    return tuple(0 if 0 in sizes else max(sizes) for sizes in pairs)[::-1]


def _together(given: Given) -> list[Shape]:
    return [_broadcast(*given.all)]


def _expand(given: Given) -> list[Shape]:
    return [_broadcast(given(0), tuple(given.stated(1)))]


def _reduced(given: Given) -> list[Shape]:
    shape = given(0)
    axes: list[int] | None = given.numbers("axes")
    if given.node.kind == "ArgMax":
        axes = [given.number("axis", 0)]
    elif given.has(1):
        axes = given.values(1)
        if axes is None:
            return [shape]
    elif not axes and not given.number("noop_with_empty_axes", 0):
        axes = list(range(len(shape)))
    over = {axis_of(axis, len(shape)) for axis in axes or ()}
    if given.number("keepdims", 1):
        return [tuple(1 if k in over else size for k, size in enumerate(shape))]
    return [tuple(size for k, size in enumerate(shape) if k not in over)]


def _mat_mul(given: Given) -> list[Shape]:
    one, other = given(0), given(1)
    rows = (one[-2],) if len(one) > 1 else ()
    columns = (other[-1],) if len(other) > 1 else ()
    return [(*_broadcast(one[:-2], other[:-2]), *rows, *columns)]


def _gemm(given: Given) -> list[Shape]:
    rows = given(0)[1 if given.number("transA", 0) else 0]
    return [(rows, given(1)[0 if given.number("transB", 0) else 1])]


def _shape(given: Given) -> list[Shape]:
    return [(len(given(0)),)]


_OWN: Final[Mapping[str, Rule]] = {
    "ArgMax": _reduced, "Expand": _expand, "Gemm": _gemm, "MatMul": _mat_mul, "ReduceMax": _reduced,
    "ReduceMean": _reduced, "ReduceMin": _reduced, "ReduceSum": _reduced, "Shape": _shape,
}  # fmt: skip
_TOGETHER: Final = (
    "Add", "And", "Div", "Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Max", "Min", "Mul", "Or",
    "PRelu", "Pow", "Sub", "Where",
)  # fmt: skip
_SAME: Final = (
    "Abs", "BatchNormalization", "Cast", "Ceil", "Clip", "Cos", "Elu", "Erf", "Exp", "Floor", "HardSigmoid",
    "HardSwish", "Identity", "InstanceNormalization", "LayerNormalization", "LeakyRelu", "Log", "Neg", "Not",
    "Reciprocal", "Relu", "Round", "Sigmoid", "Sin", "Softmax", "Softplus", "Sqrt", "Tanh",
)  # fmt: skip
RULES: Final[Mapping[str, Rule]] = {
    **dict.fromkeys(_SAME, _same), **dict.fromkeys(_TOGETHER, _together), **_OWN, **WINDOWS, **MOVES
}  # fmt: skip
"""By operator: see Rule."""
