"""By which axis every operator's results count items, for each operator that a graph may hold.

A rule gets a copy of the node, mends the constants that it reads where they state a size, and gives the axis of its
outputs; what would mix items it refuses.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np
import onnx
from onnx import helper

from export.items import Items
from export.keep import POINTWISE, SUMS
from export.wiring import attribute

_END: Final = np.iinfo(np.int64).max

_ELEMENTWISE: Final = POINTWISE | {
    "Abs", "And", "Ceil", "Clip", "Equal", "Floor", "Greater", "GreaterOrEqual", "Identity", "Less", "LessOrEqual",
    "Max", "Min", "Mod", "Neg", "Not", "Or", "Relu", "Round", "Sign", "Where",
}  # fmt: skip
_FIRST_AXIS: Final = frozenset({
    "AveragePool", "BatchNormalization", "Conv", "ConvTranspose", "DepthToSpace", "GlobalAveragePool",
    "InstanceNormalization", "MaxPool", "SpaceToDepth",
})  # fmt: skip
"""Operators whose first input counts items by its first axis, and whose further inputs are weights."""


def axis_of(items: Items, node: onnx.NodeProto) -> int:
    """The axis of a node's outputs that counts items; one of its inputs counts them. Raises BundleError."""
    kind = node.op_type
    if kind in _ELEMENTWISE:
        return _elementwise(items, node)
    if kind in _FIRST_AXIS:
        items.only_first(node)
        return items.data(node, first=True)
    if kind in SUMS or kind in ("ReduceMax", "ReduceMin"):
        return _reduce(items, node)
    if kind not in _RULES:
        raise items.refusal(node, "it is not known how it counts items")
    return _RULES[kind](items, node)


def _elementwise(items: Items, node: onnx.NodeProto) -> int:
    rank = items.rank(node.output[0])
    places = {
        axis + rank - items.rank(name)
        for name in node.input
        if name and (axis := items.axis[name]) is not None
    }
    if len(places) > 1:
        raise items.refusal(node, f"its inputs count items by different axes ({sorted(places)})")
    axis = places.pop()
    if items.wiring.shapes[node.output[0]][axis] != 1:
        raise items.refusal(node, f"axis {axis}, which counts items, meets a constant that is longer there")
    return axis


def _reduce(items: Items, node: onnx.NodeProto) -> int:
    items.only_first(node)
    axis, rank = items.data(node), items.rank(node.input[0])
    keep = bool(attribute(node, "keepdims", 1))
    stated = attribute(node, "axes")
    if stated is None and len(node.input) > 1 and node.input[1]:
        stated = items.wiring.constants[node.input[1]].tolist()
    if node.op_type == "GlobalAveragePool":
        return axis
    if node.op_type == "CumSum":
        raise items.refusal(node, "it is not known how it counts items")
    axes = {entry % rank for entry in stated} if stated else set(range(rank))
    if not stated and attribute(node, "noop_with_empty_axes", 0):
        return axis
    if axis in axes:
        raise items.refusal(node, "it sums over the items")
    return axis if keep else axis - sum(entry < axis for entry in axes)


def _softmax(items: Items, node: onnx.NodeProto) -> int:
    return items.along(node, items.data(node), attribute(node, "axis", -1), "compares")


def _cumsum(items: Items, node: onnx.NodeProto) -> int:
    along = int(items.wiring.constants[node.input[1]])
    return items.along(node, items.data(node), along, "sums over")


def _best(items: Items, node: onnx.NodeProto) -> int:
    along = attribute(node, "axis", 0) % items.rank(node.input[0])
    axis = items.along(node, items.data(node), along, "compares")
    return axis if attribute(node, "keepdims", 1) else axis - (along < axis)


def _layer_norm(items: Items, node: onnx.NodeProto) -> int:
    items.only_first(node)
    axis = items.data(node)
    if attribute(node, "axis", -1) % items.rank(node.input[0]) <= axis:
        raise items.refusal(node, "it normalises over the items")
    return axis


def _transpose(items: Items, node: onnx.NodeProto) -> int:
    rank = items.rank(node.input[0])
    order = attribute(node, "perm", list(range(rank))[::-1])
    return int(list(order).index(items.data(node)))


def _reshape(items: Items, node: onnx.NodeProto) -> int:
    """The shape as it is, with the items where a size of 1 comes first."""
    axis = items.data(node)
    before, after = items.shape(node.input[0]), items.shape(node.output[0])
    if any(size != 1 for size in before[:axis]):
        raise items.refusal(node, "the items are not counted by the outermost axis of what it reads")
    if after[:1] != (1,):
        raise items.refusal(node, f"its result {after} has no size of 1 in front that could count items")
    shape = np.array(after, np.int64)
    shape[0] = -1 if items.batch is None else items.batch
    node.input[1] = items.constant(f"{node.output[0]}_shape", shape)
    return 0


def _flatten(items: Items, node: onnx.NodeProto) -> int:
    if items.data(node, first=True) == attribute(node, "axis", 1):  # both zero: one row of everything
        del node.attribute[:]
        node.attribute.append(helper.make_attribute("axis", 1))
    elif attribute(node, "axis", 1) % max(items.rank(node.input[0]), 1) != 1 and any(
        size != 1 for size in items.shape(node.input[0])[1 : attribute(node, "axis", 1)]
    ):
        raise items.refusal(node, "it puts the items in one row with other axes")
    return 0


def _expand(items: Items, node: onnx.NodeProto) -> int:
    axis = items.data(node) + items.rank(node.output[0]) - items.rank(node.input[0])
    if items.wiring.shapes[node.output[0]][axis] != 1:
        raise items.refusal(node, "it repeats the axis that counts items")
    return axis


def _tile(items: Items, node: onnx.NodeProto) -> int:
    axis = items.data(node)
    if items.wiring.constants[node.input[1]][axis] != 1:
        raise items.refusal(node, "it repeats the axis that counts items")
    return axis


def _squeeze(items: Items, node: onnx.NodeProto) -> int:
    axis, shape = items.data(node), items.shape(node.input[0])
    stated = items.wiring.constants[node.input[1]].tolist() if len(node.input) > 1 else None
    axes: set[int] = {entry % len(shape) for entry in stated} if stated is not None else set()
    if stated is None or axis in axes:
        raise items.refusal(node, "it takes away the axis that counts items")
    return axis - sum(entry < axis for entry in axes)


def _unsqueeze(items: Items, node: onnx.NodeProto) -> int:
    axis, rank = items.data(node), items.rank(node.output[0])
    added = {entry % rank for entry in items.wiring.constants[node.input[1]].tolist()}
    return [entry for entry in range(rank) if entry not in added][axis]


def _concat(items: Items, node: onnx.NodeProto) -> int:
    axes = {axis for name in node.input if (axis := items.axis[name]) is not None}
    if len(axes) > 1:
        raise items.refusal(node, f"its inputs count items by different axes ({sorted(axes)})")
    axis = axes.pop()
    items.along(node, axis, attribute(node, "axis"), "joins")
    items.spread_others(node, range(len(node.input)), axis)
    return axis


def _split(items: Items, node: onnx.NodeProto) -> int:
    return items.along(node, items.data(node), attribute(node, "axis", 0), "parts")


def _slice(items: Items, node: onnx.NodeProto) -> int:
    """A part of the axis that counts items can only have been all of it."""
    axis, rank = items.data(node), items.rank(node.input[0])
    ends = items.wiring.constants[node.input[2]].astype(np.int64)
    axes = (
        [entry % rank for entry in items.wiring.constants[node.input[3]].tolist()]
        if len(node.input) > 3 and node.input[3]
        else list(range(len(ends)))
    )
    if axis in axes:
        place = axes.index(axis)
        if items.wiring.shapes[node.output[0]][axis] != 1 or _steps_back(items, node, place):
            raise items.refusal(node, "it takes a part of the items")
        ends[place] = _END
        node.input[2] = items.constant(f"{node.output[0]}_ends", ends)
    return axis


def _steps_back(items: Items, node: onnx.NodeProto, place: int) -> bool:
    start = items.wiring.constants[node.input[1]].reshape(-1)[place]
    step = items.wiring.constants[node.input[4]].reshape(-1)[place] if len(node.input) > 4 else 1
    return bool(step != 1 or start > 0)


def _pad(items: Items, node: onnx.NodeProto) -> int:
    axis, rank = items.data(node), items.rank(node.input[0])
    pads = items.wiring.constants[node.input[1]]
    axes = (
        [entry % rank for entry in items.wiring.constants[node.input[3]].tolist()]
        if len(node.input) > 3 and node.input[3]
        else list(range(rank))
    )
    if axis in axes:
        place = axes.index(axis)
        if pads[place] or pads[place + len(axes)]:
            raise items.refusal(node, "it adds items")
    return axis


def _resize(items: Items, node: onnx.NodeProto) -> int:
    """Sizes become scales where the number of items is free, as they would state it."""
    items.only_first(node)
    axis = items.data(node)
    before, after = items.shape(node.input[0]), items.shape(node.output[0])
    if before[axis] != after[axis]:
        raise items.refusal(node, "it resizes the axis that counts items")
    if len(node.input) > 3 and node.input[3] and attribute(node, "axes") is None:
        scales = np.array([new / old for old, new in zip(before, after)], np.float32)
        if [int(np.floor(old * scale)) for old, scale in zip(before, scales)] != list(after):
            raise items.refusal(node, f"its sizes {after} of {before} cannot be stated as scales")
        node.input[2] = items.constant(f"{node.output[0]}_scales", scales)
        del node.input[3:]
    return axis


def _grid_sample(items: Items, node: onnx.NodeProto) -> int:
    for name in node.input:
        if items.axis[name] not in (None, 0):
            raise items.refusal(node, f"{name!r} counts items by axis {items.axis[name]}, expected the first")
    items.spread_others(node, range(2), 0)
    return 0


def _matmul(items: Items, node: onnx.NodeProto) -> int:
    left, right = (items.axis[name] for name in node.input)
    ranks = [items.rank(name) for name in node.input]
    rank = items.rank(node.output[0])
    if right is None and left is not None and left != ranks[0] - 1:
        return left + rank - ranks[0] if ranks[0] > 1 else 0
    places = {
        axis + rank - own for axis, own in zip((left, right), ranks) if axis is not None and axis < own - 2
    }
    inner = any(axis is not None and axis >= own - 2 for axis, own in zip((left, right), ranks))
    if inner or len(places) != 1:
        raise items.refusal(node, "its product sums over the items, or mixes them")
    return places.pop()


def _gemm(items: Items, node: onnx.NodeProto) -> int:
    axis = items.data(node)
    if items.axis[node.input[1]] is not None:
        raise items.refusal(node, f"its input {node.input[1]!r} differs from item to item")
    if axis != (1 if attribute(node, "transA", 0) else 0):
        raise items.refusal(node, "its product sums over the items")
    if len(node.input) > 2 and items.axis[node.input[2]] not in (None, items.rank(node.input[2]) - 2):
        raise items.refusal(node, f"its input {node.input[2]!r} counts items by another axis")
    return 0


def _gather(items: Items, node: onnx.NodeProto) -> int:
    along = int(attribute(node, "axis", 0)) % items.rank(node.input[0])
    inner = items.axis[node.input[1]]
    if items.axis[node.input[0]] is None and inner is not None:
        return along + inner
    if inner is not None:
        raise items.refusal(node, f"its indices {node.input[1]!r} differ from item to item")
    axis = items.along(node, items.data(node), along, "chooses among")
    return axis if axis < along else axis + items.rank(node.input[1]) - 1


def _gather_elements(items: Items, node: onnx.NodeProto) -> int:
    axes = {axis for name in node.input if (axis := items.axis[name]) is not None}
    if len(axes) > 1:
        raise items.refusal(node, f"its inputs count items by different axes ({sorted(axes)})")
    axis = axes.pop()
    items.along(node, axis, attribute(node, "axis", 0), "chooses among")
    items.spread_others(node, range(2), axis)
    return axis


def _gather_nd(items: Items, node: onnx.NodeProto) -> int:
    if attribute(node, "batch_dims", 0) < 1 or {items.axis[name] for name in node.input} - {None, 0}:
        raise items.refusal(node, "its indices choose among the items")
    items.spread_others(node, range(2), 0)
    return 0


def _quantise(items: Items, node: onnx.NodeProto) -> int:
    items.only_first(node)
    if items.wiring.constants[node.input[1]].size > 1:
        return items.along(node, items.data(node), attribute(node, "axis", 1), "scales")
    return items.data(node)


_RULES: Final[dict[str, Callable[[Items, onnx.NodeProto], int]]] = {
    "ArgMax": _best,
    "ArgMin": _best,
    "Concat": _concat,
    "CumSum": _cumsum,
    "DequantizeLinear": _quantise,
    "Expand": _expand,
    "Flatten": _flatten,
    "Gather": _gather,
    "GatherElements": _gather_elements,
    "GatherND": _gather_nd,
    "Gemm": _gemm,
    "GridSample": _grid_sample,
    "LayerNormalization": _layer_norm,
    "LogSoftmax": _softmax,
    "MatMul": _matmul,
    "Pad": _pad,
    "QuantizeLinear": _quantise,
    "Reshape": _reshape,
    "Resize": _resize,
    "Slice": _slice,
    "Softmax": _softmax,
    "Split": _split,
    "Squeeze": _squeeze,
    "Tile": _tile,
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
}
