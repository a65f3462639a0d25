"""The size of everything that a graph computes, from the sizes that go in.

Opset 13 to 18. What decides on a size (a Reshape's target, say) has to be stored in the file, or to follow from sizes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np

from engine.bench.nodes import Node, Nodes, Tensor
from engine.errors import BundleError

Given = Sequence[Tensor | None]
"""A node's inputs; None for one that is left out."""
Rule = Callable[[Node, Given], list[Tensor]]

_MOST_KNOWN: Final = 4096  # entries of a value that is carried along
_SAME: Final = (
    "Abs", "BatchNormalization", "Ceil", "Clip", "Cos", "Elu", "Erf", "Exp", "Floor", "HardSigmoid", "HardSwish",
    "Identity", "InstanceNormalization", "LayerNormalization", "LeakyRelu", "Log", "Neg", "Not", "Reciprocal",
    "Relu", "Round", "ScatterND", "Sigmoid", "Sin", "Softmax", "Softplus", "Sqrt", "Tanh",
)  # fmt: skip
_WIDEST: Final = ("Add", "Div", "Max", "Min", "Mul", "PRelu", "Pow", "Sub")
_TRUTHS: Final = ("And", "Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Or")
_REDUCED: Final = (
    "ReduceL1", "ReduceL2", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd", "ReduceSum", "ReduceSumSquare",
)  # fmt: skip
_CAST_WIDTHS: Final = {1: 4, 2: 1, 3: 1, 6: 4, 7: 8, 9: 1, 10: 2, 16: 2, 17: 1}


def infer(graph: Nodes, shapes: Mapping[str, tuple[int, ...]] | None = None) -> dict[str, Tensor]:
    """Every tensor of a graph by name. shapes: of the inputs, where they are free or are to be others.

    Raises BundleError for a free size that was not given, an operator that is not known, and sizes that do not fit.
    """
    known = dict(graph.weights)
    for name, port in graph.inputs.items():
        shape = (shapes or {}).get(name, port.shape)
        if 0 in shape:
            raise BundleError(f"port {name!r} has a free size: expected it to be given, got {shape}")
        known[name] = replace(port, shape=tuple(shape))
    for node in graph.nodes:
        given = [known[name] if name else None for name in node.inputs]
        rule = RULES.get(node.kind)
        if rule is None:
            raise BundleError(f"the sizes of a {node.kind} are not known here; the graph is not counted")
        try:
            found = rule(node, given)
        except (ValueError, TypeError, IndexError, AttributeError, KeyError) as error:
            raise BundleError(f"the sizes of a {node.kind} do not fit: {error}") from error
        known.update(zip(node.outputs, found, strict=False))
    return known


def _first(given: Given) -> Tensor:
    return _at(given, 0)


def _at(given: Given, index: int) -> Tensor:
    one = given[index] if index < len(given) else None
    if one is None:
        raise ValueError(f"input {index} is missing")
    return one


def _numbers(node: Node, given: Given, index: int, attribute: str = "") -> list[int] | None:
    """Whole numbers that stand in an input, or in an attribute as older opsets have them."""
    if index < len(given) and (one := given[index]) is not None:
        if one.value is None:
            raise ValueError(f"input {index} is computed, expected a constant")
        return [int(number) for number in np.atleast_1d(one.value)]
    found = node.attributes.get(attribute)
    return None if found is None else [int(number) for number in found]


def _asked(node: Node, given: Given, index: int, attribute: str = "") -> list[int]:
    found = _numbers(node, given, index, attribute)
    if found is None:
        raise ValueError(f"input {index} is missing")
    return found


def _same(node: Node, given: Given) -> list[Tensor]:
    first = _first(given)
    value = first.value if node.kind == "Identity" else None
    return [Tensor(first.shape, first.width, value)]


def _broadcast(node: Node, given: Given) -> list[Tensor]:
    there = [one for one in given if one is not None]
    shape = np.broadcast_shapes(*(one.shape for one in there))
    if node.kind in _TRUTHS:
        return [Tensor(shape, 1)]
    value = None
    computed = _ARITHMETIC.get(node.kind)
    if computed is not None and len(there) == 2 and there[0].value is not None and there[1].value is not None:
        value = computed(there[0].value, there[1].value)
    return [Tensor(shape, there[-1].width, value)]


_ARITHMETIC: Final[Mapping[str, Callable[[Any, Any], Any]]] = {
    "Add": np.add, "Sub": np.subtract, "Mul": np.multiply, "Div": np.floor_divide, "Max": np.maximum,
    "Min": np.minimum,
}  # fmt: skip


def _cast(node: Node, given: Given) -> list[Tensor]:
    first = _first(given)
    return [Tensor(first.shape, _CAST_WIDTHS[node.attributes["to"]], first.value)]


def _window(node: Node, given: Given, kernel: Sequence[int]) -> list[int]:
    """Positions of a kernel along each axis."""
    spatial = _first(given).shape[2:]
    rank = len(spatial)
    strides = node.attributes.get("strides", [1] * rank)
    dilations = node.attributes.get("dilations", [1] * rank)
    if node.attributes.get("auto_pad", b"NOTSET") in (b"SAME_UPPER", b"SAME_LOWER"):
        return [-(-size // stride) for size, stride in zip(spatial, strides)]
    pads = node.attributes.get("pads", [0] * 2 * rank)
    found = []
    for axis in range(rank):
        room = spatial[axis] + pads[axis] + pads[axis + rank] - dilations[axis] * (kernel[axis] - 1) - 1
        rounded = -(-room // strides[axis]) if node.attributes.get("ceil_mode", 0) else room // strides[axis]
        found.append(rounded + 1)
    return found


def _conv(node: Node, given: Given) -> list[Tensor]:
    first, weight = _first(given), _at(given, 1)
    return [Tensor((first.shape[0], weight.shape[0], *_window(node, given, weight.shape[2:])), first.width)]


def _conv_transpose(node: Node, given: Given) -> list[Tensor]:
    first, weight = _first(given), _at(given, 1)
    rank = len(first.shape) - 2
    strides = node.attributes.get("strides", [1] * rank)
    dilations = node.attributes.get("dilations", [1] * rank)
    pads = node.attributes.get("pads", [0] * 2 * rank)
    more = node.attributes.get("output_padding", [0] * rank)
    stated = node.attributes.get("output_shape")
    same = node.attributes.get("auto_pad", b"NOTSET") in (b"SAME_UPPER", b"SAME_LOWER")
    spatial = [
        stated[axis]
        if stated
        else size * strides[axis]
        if same
        else strides[axis] * (size - 1)
        + more[axis]
        + dilations[axis] * (weight.shape[axis + 2] - 1)
        + 1
        - pads[axis]
        - pads[axis + rank]
        for axis, size in enumerate(first.shape[2:])
    ]
    channels = weight.shape[1] * node.attributes.get("group", 1)
    return [Tensor((first.shape[0], channels, *spatial), first.width)]


def _pool(node: Node, given: Given) -> list[Tensor]:
    first = _first(given)
    if node.kind.startswith("Global"):
        return [Tensor((*first.shape[:2], *(1 for _ in first.shape[2:])), first.width)]
    kernel = node.attributes["kernel_shape"]
    return [Tensor((*first.shape[:2], *_window(node, given, kernel)), first.width)]


def _gemm(node: Node, given: Given) -> list[Tensor]:
    one, other = _first(given), _at(given, 1)
    rows = one.shape[1] if node.attributes.get("transA", 0) else one.shape[0]
    columns = other.shape[0] if node.attributes.get("transB", 0) else other.shape[1]
    return [Tensor((rows, columns), one.width)]


def _matmul(node: Node, given: Given) -> list[Tensor]:
    one, other = _first(given).shape, _at(given, 1).shape
    left, right = (1, *one) if len(one) == 1 else one, (*other, 1) if len(other) == 1 else other
    if left[-1] != right[-2]:
        raise ValueError(f"{one} by {other}")
    shape = [*np.broadcast_shapes(left[:-2], right[:-2])]
    shape += [left[-2]] if len(one) > 1 else []
    shape += [right[-1]] if len(other) > 1 else []
    return [Tensor(tuple(shape), _first(given).width)]


def _concat(node: Node, given: Given) -> list[Tensor]:
    there = [one for one in given if one is not None]
    axis = node.attributes["axis"] % len(there[0].shape)
    shape = list(there[0].shape)
    shape[axis] = sum(one.shape[axis] for one in there)
    values = [one.value for one in there]
    value = None
    if all(one is not None for one in values):
        value = np.concatenate([np.asarray(one) for one in values], axis)
    return [Tensor(tuple(shape), there[0].width, value)]


def _split(node: Node, given: Given) -> list[Tensor]:
    first = _first(given)
    axis = node.attributes.get("axis", 0) % len(first.shape)
    parts = _numbers(node, given, 1, "split")
    if parts is None:
        count = node.attributes.get("num_outputs", len(node.outputs))
        each = -(-first.shape[axis] // count)
        parts = [each] * (count - 1) + [first.shape[axis] - each * (count - 1)]
    return [Tensor((*first.shape[:axis], part, *first.shape[axis + 1 :]), first.width) for part in parts]


def _slice(node: Node, given: Given) -> list[Tensor]:
    first = _first(given)
    starts, ends = _asked(node, given, 1, "starts"), _asked(node, given, 2, "ends")
    axes = _numbers(node, given, 3, "axes") or range(len(starts))
    steps = _numbers(node, given, 4) or [1] * len(starts)
    taken = [slice(None)] * len(first.shape)
    for axis, start, end, step in zip(axes, starts, ends, steps):
        # ONNX: an end before the first entry, going down, takes that entry too
        past = step < 0 and end < -first.shape[axis]
        taken[axis] = slice(start, None if past else end, step)
    shape = tuple(len(range(*one.indices(size))) for one, size in zip(taken, first.shape))
    return [Tensor(shape, first.width, None if first.value is None else first.value[tuple(taken)])]


def _gather(node: Node, given: Given) -> list[Tensor]:
    first, indices = _first(given), _at(given, 1)
    if node.kind == "GatherElements":
        return [Tensor(indices.shape, first.width)]
    if node.kind == "GatherND":
        batch = node.attributes.get("batch_dims", 0)
        return [Tensor((*indices.shape[:-1], *first.shape[batch + indices.shape[-1] :]), first.width)]
    axis = node.attributes.get("axis", 0) % len(first.shape)
    value = None
    if first.value is not None and indices.value is not None:
        value = np.take(first.value, indices.value, axis)
    return [Tensor((*first.shape[:axis], *indices.shape, *first.shape[axis + 1 :]), first.width, value)]


def _shape(node: Node, given: Given) -> list[Tensor]:
    shape = _first(given).shape[node.attributes.get("start", 0) : node.attributes.get("end")]
    return [Tensor((len(shape),), 8, np.array(shape, np.int64))]


def _reshape(node: Node, given: Given) -> list[Tensor]:
    first, target = _first(given), _asked(node, given, 1)
    keeps_zero = node.attributes.get("allowzero", 0)
    shape = [first.shape[axis] if size == 0 and not keeps_zero else size for axis, size in enumerate(target)]
    if -1 in shape:
        shape[shape.index(-1)] = first.count // math.prod(size for size in shape if size != -1)
    if math.prod(shape) != first.count:
        raise ValueError(f"{first.shape} as {tuple(shape)}")
    return [Tensor(tuple(shape), first.width, None if first.value is None else first.value.reshape(shape))]


def _flatten(node: Node, given: Given) -> list[Tensor]:
    first, axis = _first(given), node.attributes.get("axis", 1)
    axis += len(first.shape) if axis < 0 else 0
    return [Tensor((math.prod(first.shape[:axis]), math.prod(first.shape[axis:])), first.width)]


def _squeeze(node: Node, given: Given) -> list[Tensor]:
    first, axes = _first(given), _numbers(node, given, 1, "axes")
    rank = len(first.shape)
    gone = {axis % rank for axis in axes} if axes else {a for a, size in enumerate(first.shape) if size == 1}
    shape = tuple(size for axis, size in enumerate(first.shape) if axis not in gone)
    return [Tensor(shape, first.width, None if first.value is None else first.value.reshape(shape))]


def _unsqueeze(node: Node, given: Given) -> list[Tensor]:
    first, axes = _first(given), _asked(node, given, 1, "axes")
    rank = len(first.shape) + len(axes)
    new, rest = {axis % rank for axis in axes}, iter(first.shape)
    shape = tuple(1 if axis in new else next(rest) for axis in range(rank))
    return [Tensor(shape, first.width, None if first.value is None else first.value.reshape(shape))]


def _transpose(node: Node, given: Given) -> list[Tensor]:
    first = _first(given)
    order = node.attributes.get("perm", range(len(first.shape))[::-1])
    return [Tensor(tuple(first.shape[axis] for axis in order), first.width)]


def _expand(node: Node, given: Given) -> list[Tensor]:
    first = _first(given)
    return [Tensor(np.broadcast_shapes(first.shape, tuple(_asked(node, given, 1))), first.width)]


def _tile(node: Node, given: Given) -> list[Tensor]:
    first = _first(given)
    return [
        Tensor(tuple(size * times for size, times in zip(first.shape, _asked(node, given, 1))), first.width)
    ]


def _pad(node: Node, given: Given) -> list[Tensor]:
    first, pads = _first(given), _asked(node, given, 1, "pads")
    rank = len(first.shape)
    axes = [axis % rank for axis in _numbers(node, given, 3) or range(rank)]
    shape = list(first.shape)
    for place, axis in enumerate(axes):
        shape[axis] += pads[place] + pads[place + len(axes)]
    return [Tensor(tuple(shape), first.width)]


def _resize(node: Node, given: Given) -> list[Tensor]:
    first = _first(given)
    rank = len(first.shape)
    axes = [axis % rank for axis in node.attributes.get("axes", range(rank))]
    sizes = given[3] if len(given) > 3 else None
    scales = given[2] if len(given) > 2 else None
    shape = list(first.shape)
    if sizes is not None:
        found = _asked(node, given, 3)
    elif scales is not None and scales.value is not None:
        found = [math.floor(first.shape[axis] * float(scale)) for axis, scale in zip(axes, scales.value)]
    else:
        raise ValueError("neither sizes nor scales are constants")
    for axis, size in zip(axes, found):
        shape[axis] = size
    return [Tensor(tuple(shape), first.width)]


def _regroup(node: Node, given: Given) -> list[Tensor]:
    first, block = _first(given), node.attributes["blocksize"]
    n, channels, height, width = first.shape
    if node.kind == "DepthToSpace":
        return [Tensor((n, channels // block**2, height * block, width * block), first.width)]
    return [Tensor((n, channels * block**2, height // block, width // block), first.width)]


def _reduce(node: Node, given: Given) -> list[Tensor]:
    first = _first(given)
    rank = len(first.shape)
    if node.kind == "ArgMax":
        axes: Sequence[int] | None = [node.attributes.get("axis", 0)]
    else:
        axes = _numbers(node, given, 1, "axes")
    if not axes:
        if node.attributes.get("noop_with_empty_axes", 0):
            return [Tensor(first.shape, first.width)]
        axes = range(rank)
    gone = {axis % rank for axis in axes}
    keeps = node.attributes.get("keepdims", 1)
    shape = (
        1 if axis in gone else size for axis, size in enumerate(first.shape) if keeps or axis not in gone
    )
    return [Tensor(tuple(shape), 8 if node.kind == "ArgMax" else first.width)]


def _grid_sample(node: Node, given: Given) -> list[Tensor]:
    first, grid = _first(given), _at(given, 1)
    return [Tensor((*first.shape[:2], *grid.shape[1:-1]), first.width)]


def _quantize(node: Node, given: Given) -> list[Tensor]:
    first = _first(given)
    scale = _at(given, 1)
    if node.kind == "DequantizeLinear":
        return [Tensor(first.shape, scale.width)]
    return [Tensor(first.shape, 1)]


RULES: Final[Mapping[str, Rule]] = (
    dict.fromkeys(_SAME, _same)
    | dict.fromkeys((*_WIDEST, *_TRUTHS, "Where"), _broadcast)
    | dict.fromkeys((*_REDUCED, "ArgMax"), _reduce)
    | dict.fromkeys(("AveragePool", "MaxPool", "GlobalAveragePool", "GlobalMaxPool"), _pool)
    | dict.fromkeys(("Gather", "GatherElements", "GatherND"), _gather)
    | dict.fromkeys(("DepthToSpace", "SpaceToDepth"), _regroup)
    | dict.fromkeys(("QuantizeLinear", "DequantizeLinear"), _quantize)
    | {
        "Cast": _cast, "Concat": _concat, "Conv": _conv, "ConvTranspose": _conv_transpose, "Expand": _expand,
        "Flatten": _flatten, "Gemm": _gemm, "GridSample": _grid_sample, "MatMul": _matmul, "Pad": _pad,
        "Reshape": _reshape, "Resize": _resize, "Shape": _shape, "Slice": _slice, "Split": _split,
        "Squeeze": _squeeze, "Tile": _tile, "Transpose": _transpose, "Unsqueeze": _unsqueeze,
    }
)  # fmt: skip
"""What gives the sizes of each operator's results."""
