"""A graph for one item turned into one for many: every port's first size becomes a number or free.

Each tensor is followed from the ports: which of its axes counts the items. Constants that state a size (of Reshape,
Slice, Resize) are rewritten, constants that meet items where ONNX does not repeat them by itself (Concat, GridSample)
are spread, and whatever would mix the items is refused by its name, so that a result of a batch is the one that each
item has alone. Batch first and lower the precision afterwards: ONNX cannot tell the types of bfloat16 in opset 18.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from engine.errors import BundleError, ConfigError
from export.keep import POINTWISE, SUMS
from export.wiring import Wiring, attribute

BATCH: Final = "batch"
"""The name of a free first size."""
MOST: Final = 1024
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


def batched(model: onnx.ModelProto, batch: int | None) -> onnx.ModelProto:
    """The same graph for `batch` items at once, or for any number of them (None: the first size is called "batch").

    The model given is not changed; its ports start with a size of 1. Raises BundleError for a graph that would mix its
    items, with the node's name, ConfigError for a batch that is no size.
    """
    if batch is not None and not (isinstance(batch, int) and 1 <= batch <= MOST):
        raise ConfigError(f"batch: got {batch!r}, expected a size in 1 .. {MOST}, or None for a free one")
    if any(tensor.data_type == TensorProto.BFLOAT16 for tensor in model.graph.initializer):
        raise ConfigError(
            f"batch: graph {model.graph.name} is in bf16; batch it first, then lower its precision"
        )
    wiring = Wiring(model)
    for name in wiring.inputs:
        if wiring.shapes[name][:1] != (1,):
            raise BundleError(
                f"graph {wiring.model.graph.name}: the port {name!r} is {_shown(wiring, name)}, "
                "expected a first size of 1"
            )
    return _Batched(wiring, batch).model()


class _Batched:
    """The graph under way. axis: of every tensor, the axis that counts items; None where there is one for all."""

    def __init__(self, wiring: Wiring, batch: int | None) -> None:
        self.wiring, self.batch = wiring, batch
        self.axis: dict[str, int | None] = dict.fromkeys(wiring.constants)
        self.axis.update(dict.fromkeys(wiring.inputs, 0))
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, onnx.TensorProto] = {}
        self._counted: str | None = None
        self._spread: dict[str, str] = {}

    def model(self) -> onnx.ModelProto:
        for node in self.wiring.nodes:
            copied = onnx.NodeProto()
            copied.CopyFrom(node)
            counted = any(self.axis[name] is not None for name in node.input if name)
            axis = self._follow(copied) if counted else None
            self.nodes.append(copied)
            self.axis.update(dict.fromkeys((name for name in node.output if name), axis))
        for name in self.wiring.outputs:
            self._finish(name)
        return self._written()

    def _written(self) -> onnx.ModelProto:
        model = onnx.ModelProto()
        model.CopyFrom(self.wiring.model)
        graph = model.graph
        del graph.node[:], graph.value_info[:]
        graph.node.extend(self.nodes)
        read = {name for node in self.nodes for name in node.input}
        kept = [tensor for tensor in graph.initializer if tensor.name in read]
        del graph.initializer[:]
        graph.initializer.extend([*kept, *self.constants.values()])
        for value in (*graph.input, *graph.output):
            first = value.type.tensor_type.shape.dim[0]
            if self.batch is None:
                first.dim_param = BATCH
            else:
                first.dim_value = self.batch
        self._check(Wiring(model))
        return model

    def _check(self, made: Wiring) -> None:
        """That ONNX's own inference comes to the same sizes."""
        wanted = BATCH if self.batch is None else self.batch
        for name in made.outputs:
            expected = (wanted, *self.wiring.shapes[name][1:])
            if made.shapes[name] != expected:
                raise BundleError(
                    f"graph {made.model.graph.name}: batched, {name!r} is {made.shapes[name]}, expected {expected}"
                )

    def _follow(self, node: onnx.NodeProto) -> int:
        """The axis of a node's outputs; its constants are mended on the way."""
        kind = node.op_type
        if kind in _ELEMENTWISE:
            return self._elementwise(node)
        if kind in _FIRST_AXIS:
            self._only_first(node)
            return self._data(node, first=True)
        if kind in SUMS or kind in ("ReduceMax", "ReduceMin"):
            return self._reduce(node)
        if kind not in _RULES:
            raise self._refusal(node, "it is not known how it counts items")
        return _RULES[kind](self, node)

    def _refusal(self, node: onnx.NodeProto, why: str) -> BundleError:
        name = node.name or node.output[0]
        return BundleError(
            f"graph {self.wiring.model.graph.name}: {node.op_type} {name!r} cannot be batched: {why}; "
            "run it with batch 1, or export it otherwise"
        )

    def _data(self, node: onnx.NodeProto, *, first: bool = False) -> int:
        """The axis of the first input, which has to have one. first: it has to be the first."""
        axis = self.axis[node.input[0]]
        if axis is None:
            raise self._refusal(
                node, f"{node.input[0]!r} is the same for all items, its other inputs are not"
            )
        if first and axis:
            raise self._refusal(
                node, f"items are counted by axis {axis} of {node.input[0]!r}, expected the first"
            )
        return axis

    def _only_first(self, node: onnx.NodeProto) -> None:
        """Refuse items in any input but the first."""
        for name in node.input[1:]:
            if name and self.axis[name] is not None:
                raise self._refusal(node, f"its input {name!r} differs from item to item")

    def _shape(self, name: str) -> tuple[int, ...]:
        shape = self.wiring.shapes[name]
        if not all(isinstance(size, int) for size in shape):
            raise BundleError(
                f"graph {self.wiring.model.graph.name}: {name!r} is {_shown(self.wiring, name)}, expected fixed sizes"
            )
        return tuple(int(size or 0) for size in shape)

    def _rank(self, name: str) -> int:
        return len(self.wiring.shapes[name])

    def _elementwise(self, node: onnx.NodeProto) -> int:
        rank = self._rank(node.output[0])
        places = {
            axis + rank - self._rank(name)
            for name in node.input
            if name and (axis := self.axis[name]) is not None
        }
        if len(places) > 1:
            raise self._refusal(node, f"its inputs count items by different axes ({sorted(places)})")
        axis = places.pop()
        if self.wiring.shapes[node.output[0]][axis] != 1:
            raise self._refusal(
                node, f"axis {axis}, which counts items, meets a constant that is longer there"
            )
        return axis

    def _reduce(self, node: onnx.NodeProto) -> int:
        self._only_first(node)
        axis, rank = self._data(node), self._rank(node.input[0])
        keep = bool(attribute(node, "keepdims", 1))
        stated = attribute(node, "axes")
        if stated is None and len(node.input) > 1 and node.input[1]:
            stated = self.wiring.constants[node.input[1]].tolist()
        if node.op_type == "GlobalAveragePool":
            return axis
        if node.op_type == "CumSum":
            raise self._refusal(node, "it is not known how it counts items")
        axes = {entry % rank for entry in stated} if stated else set(range(rank))
        if not stated and attribute(node, "noop_with_empty_axes", 0):
            return axis
        if axis in axes:
            raise self._refusal(node, "it sums over the items")
        return axis if keep else axis - sum(entry < axis for entry in axes)

    def _along(self, node: onnx.NodeProto, axis: int, along: int, what: str) -> int:
        """The axis, where the node does not work along it."""
        if along % self._rank(node.input[0]) == axis:
            raise self._refusal(node, f"it {what} the items")
        return axis

    def _softmax(self, node: onnx.NodeProto) -> int:
        return self._along(node, self._data(node), attribute(node, "axis", -1), "compares")

    def _cumsum(self, node: onnx.NodeProto) -> int:
        along = int(self.wiring.constants[node.input[1]])
        return self._along(node, self._data(node), along, "sums over")

    def _best(self, node: onnx.NodeProto) -> int:
        along = attribute(node, "axis", 0) % self._rank(node.input[0])
        axis = self._along(node, self._data(node), along, "compares")
        return axis if attribute(node, "keepdims", 1) else axis - (along < axis)

    def _layer_norm(self, node: onnx.NodeProto) -> int:
        self._only_first(node)
        axis = self._data(node)
        if attribute(node, "axis", -1) % self._rank(node.input[0]) <= axis:
            raise self._refusal(node, "it normalises over the items")
        return axis

    def _transpose(self, node: onnx.NodeProto) -> int:
        rank = self._rank(node.input[0])
        order = attribute(node, "perm", list(range(rank))[::-1])
        return int(list(order).index(self._data(node)))

    def _reshape(self, node: onnx.NodeProto) -> int:
        """The shape as it is, with the items where a size of 1 comes first."""
        axis = self._data(node)
        before, after = self._shape(node.input[0]), self._shape(node.output[0])
        if any(size != 1 for size in before[:axis]):
            raise self._refusal(node, "the items are not counted by the outermost axis of what it reads")
        if after[:1] != (1,):
            raise self._refusal(node, f"its result {after} has no size of 1 in front that could count items")
        shape = np.array(after, np.int64)
        shape[0] = -1 if self.batch is None else self.batch
        node.input[1] = self._constant(f"{node.output[0]}_shape", shape)
        return 0

    def _flatten(self, node: onnx.NodeProto) -> int:
        if self._data(node, first=True) == attribute(node, "axis", 1):  # both zero: one row of everything
            del node.attribute[:]
            node.attribute.append(helper.make_attribute("axis", 1))
        elif attribute(node, "axis", 1) % max(self._rank(node.input[0]), 1) != 1 and any(
            size != 1 for size in self._shape(node.input[0])[1 : attribute(node, "axis", 1)]
        ):
            raise self._refusal(node, "it puts the items in one row with other axes")
        return 0

    def _expand(self, node: onnx.NodeProto) -> int:
        axis = self._data(node) + self._rank(node.output[0]) - self._rank(node.input[0])
        if self.wiring.shapes[node.output[0]][axis] != 1:
            raise self._refusal(node, "it repeats the axis that counts items")
        return axis

    def _tile(self, node: onnx.NodeProto) -> int:
        axis = self._data(node)
        if self.wiring.constants[node.input[1]][axis] != 1:
            raise self._refusal(node, "it repeats the axis that counts items")
        return axis

    def _squeeze(self, node: onnx.NodeProto) -> int:
        axis, shape = self._data(node), self._shape(node.input[0])
        stated = self.wiring.constants[node.input[1]].tolist() if len(node.input) > 1 else None
        axes: set[int] = {entry % len(shape) for entry in stated} if stated is not None else set()
        if stated is None or axis in axes:
            raise self._refusal(node, "it takes away the axis that counts items")
        return axis - sum(entry < axis for entry in axes)

    def _unsqueeze(self, node: onnx.NodeProto) -> int:
        axis, rank = self._data(node), self._rank(node.output[0])
        added = {entry % rank for entry in self.wiring.constants[node.input[1]].tolist()}
        return [entry for entry in range(rank) if entry not in added][axis]

    def _concat(self, node: onnx.NodeProto) -> int:
        axes = {axis for name in node.input if (axis := self.axis[name]) is not None}
        if len(axes) > 1:
            raise self._refusal(node, f"its inputs count items by different axes ({sorted(axes)})")
        axis = axes.pop()
        self._along(node, axis, attribute(node, "axis"), "joins")
        self._spread_others(node, range(len(node.input)), axis)
        return axis

    def _split(self, node: onnx.NodeProto) -> int:
        return self._along(node, self._data(node), attribute(node, "axis", 0), "parts")

    def _slice(self, node: onnx.NodeProto) -> int:
        """A part of the axis that counts items can only have been all of it."""
        axis, rank = self._data(node), self._rank(node.input[0])
        ends = self.wiring.constants[node.input[2]].astype(np.int64)
        axes = (
            [entry % rank for entry in self.wiring.constants[node.input[3]].tolist()]
            if len(node.input) > 3 and node.input[3]
            else list(range(len(ends)))
        )
        if axis in axes:
            place = axes.index(axis)
            if self.wiring.shapes[node.output[0]][axis] != 1 or self._steps_back(node, place):
                raise self._refusal(node, "it takes a part of the items")
            ends[place] = _END
            node.input[2] = self._constant(f"{node.output[0]}_ends", ends)
        return axis

    def _steps_back(self, node: onnx.NodeProto, place: int) -> bool:
        start = self.wiring.constants[node.input[1]].reshape(-1)[place]
        step = self.wiring.constants[node.input[4]].reshape(-1)[place] if len(node.input) > 4 else 1
        return bool(step != 1 or start > 0)

    def _pad(self, node: onnx.NodeProto) -> int:
        axis, rank = self._data(node), self._rank(node.input[0])
        pads = self.wiring.constants[node.input[1]]
        axes = (
            [entry % rank for entry in self.wiring.constants[node.input[3]].tolist()]
            if len(node.input) > 3 and node.input[3]
            else list(range(rank))
        )
        if axis in axes:
            place = axes.index(axis)
            if pads[place] or pads[place + len(axes)]:
                raise self._refusal(node, "it adds items")
        return axis

    def _resize(self, node: onnx.NodeProto) -> int:
        """Sizes become scales where the number of items is free, as they would state it."""
        self._only_first(node)
        axis = self._data(node)
        before, after = self._shape(node.input[0]), self._shape(node.output[0])
        if before[axis] != after[axis]:
            raise self._refusal(node, "it resizes the axis that counts items")
        if len(node.input) > 3 and node.input[3] and attribute(node, "axes") is None:
            scales = np.array([new / old for old, new in zip(before, after)], np.float32)
            if [int(np.floor(old * scale)) for old, scale in zip(before, scales)] != list(after):
                raise self._refusal(node, f"its sizes {after} of {before} cannot be stated as scales")
            node.input[2] = self._constant(f"{node.output[0]}_scales", scales)
            del node.input[3:]
        return axis

    def _grid_sample(self, node: onnx.NodeProto) -> int:
        for name in node.input:
            if self.axis[name] not in (None, 0):
                raise self._refusal(
                    node, f"{name!r} counts items by axis {self.axis[name]}, expected the first"
                )
        self._spread_others(node, range(2), 0)
        return 0

    def _matmul(self, node: onnx.NodeProto) -> int:
        left, right = (self.axis[name] for name in node.input)
        ranks = [self._rank(name) for name in node.input]
        rank = self._rank(node.output[0])
        if right is None and left is not None and left != ranks[0] - 1:
            return left + rank - ranks[0] if ranks[0] > 1 else 0
        places = {
            axis + rank - own
            for axis, own in zip((left, right), ranks)
            if axis is not None and axis < own - 2
        }
        inner = any(axis is not None and axis >= own - 2 for axis, own in zip((left, right), ranks))
        if inner or len(places) != 1:
            raise self._refusal(node, "its product sums over the items, or mixes them")
        return places.pop()

    def _gemm(self, node: onnx.NodeProto) -> int:
        axis = self._data(node)
        if self.axis[node.input[1]] is not None:
            raise self._refusal(node, f"its input {node.input[1]!r} differs from item to item")
        if axis != (1 if attribute(node, "transA", 0) else 0):
            raise self._refusal(node, "its product sums over the items")
        if len(node.input) > 2 and self.axis[node.input[2]] not in (None, self._rank(node.input[2]) - 2):
            raise self._refusal(node, f"its input {node.input[2]!r} counts items by another axis")
        return 0

    def _gather(self, node: onnx.NodeProto) -> int:
        along = int(attribute(node, "axis", 0)) % self._rank(node.input[0])
        inner = self.axis[node.input[1]]
        if self.axis[node.input[0]] is None and inner is not None:
            return along + inner
        if inner is not None:
            raise self._refusal(node, f"its indices {node.input[1]!r} differ from item to item")
        axis = self._along(node, self._data(node), along, "chooses among")
        return axis if axis < along else axis + self._rank(node.input[1]) - 1

    def _gather_elements(self, node: onnx.NodeProto) -> int:
        axes = {axis for name in node.input if (axis := self.axis[name]) is not None}
        if len(axes) > 1:
            raise self._refusal(node, f"its inputs count items by different axes ({sorted(axes)})")
        axis = axes.pop()
        self._along(node, axis, attribute(node, "axis", 0), "chooses among")
        self._spread_others(node, range(2), axis)
        return axis

    def _gather_nd(self, node: onnx.NodeProto) -> int:
        if attribute(node, "batch_dims", 0) < 1 or {self.axis[name] for name in node.input} - {None, 0}:
            raise self._refusal(node, "its indices choose among the items")
        self._spread_others(node, range(2), 0)
        return 0

    def _quantise(self, node: onnx.NodeProto) -> int:
        self._only_first(node)
        if self.wiring.constants[node.input[1]].size > 1:
            return self._along(node, self._data(node), attribute(node, "axis", 1), "scales")
        return self._data(node)

    def _spread_others(self, node: onnx.NodeProto, places: Sequence[int] | range, axis: int) -> None:
        """Repeat, for every item, the inputs that are the same for all."""
        counted = next(name for name in node.input if name and self.axis[name] is not None)
        for place in places:
            if self.axis[node.input[place]] is None:
                node.input[place] = self._repeated(node.input[place], axis, counted)

    def _repeated(self, name: str, axis: int, counted: str) -> str:
        """A tensor that is the same for all items, repeated; counted: one that counts them."""
        if name in self._spread:
            return self._spread[name]
        shape = np.array(self._shape(name), np.int64)
        if shape[axis] != 1:
            raise BundleError(
                f"graph {self.wiring.model.graph.name}: {name!r} is {tuple(shape)} and the same for all items; "
                f"expected a size of 1 in axis {axis}"
            )
        if self.batch is None:
            sizes = self._sizes(name, shape, axis, counted)
        else:
            shape[axis] = self.batch
            sizes = self._constant(f"{name}_shape", shape)
        made = self._fresh(f"{name}_each")
        self.nodes.append(helper.make_node("Expand", [name, sizes], [made], made))
        self._spread[name] = made
        return made

    def _sizes(self, name: str, shape: NDArray[np.int64], axis: int, counted: str) -> str:
        """A shape whose entry `axis` is the number of items."""
        place = self.axis[counted] or 0
        number = self._fresh(f"{name}_items")
        self.nodes.append(helper.make_node("Shape", [counted], [number], number, start=place, end=place + 1))
        parts = [
            *([self._constant(f"{name}_before", shape[:axis])] if axis else []),
            number,
            *([self._constant(f"{name}_after", shape[axis + 1 :])] if axis + 1 < len(shape) else []),
        ]
        made = self._fresh(f"{name}_shape")
        self.nodes.append(helper.make_node("Concat", parts, [made], made, axis=0))
        return made

    def _finish(self, name: str) -> None:
        """An output counts items by its first axis; one that is the same for all is repeated."""
        if self.wiring.shapes[name][:1] != (1,):
            raise BundleError(
                f"graph {self.wiring.model.graph.name}: the port {name!r} is {_shown(self.wiring, name)}, "
                "expected a first size of 1"
            )
        axis = self.axis[name]
        if axis == 0:
            return
        if axis is not None:
            raise BundleError(
                f"graph {self.wiring.model.graph.name}: the port {name!r} counts items by axis {axis}, "
                "expected the first"
            )
        maker = next(node for node in self.nodes if name in node.output)
        single = self._fresh(f"{name}_single")
        for node in self.nodes:
            for place, read in enumerate(node.input):
                if read == name:
                    node.input[place] = single
        maker.output[list(maker.output).index(name)] = single
        self.axis[single] = None
        self.wiring.shapes[single] = self.wiring.shapes[name]
        self._repeated(single, 0, self.wiring.inputs[0])
        self.nodes[-1].output[0] = name

    def _fresh(self, name: str) -> str:
        while name in self.axis or name in self.constants:
            name += "_"
        self.axis[name] = None
        return name

    def _constant(self, name: str, value: NDArray[Any]) -> str:
        name = self._fresh(name)
        self.constants[name] = numpy_helper.from_array(np.asarray(value, order="C"), name)
        return name


_RULES: Final[dict[str, Callable[[_Batched, onnx.NodeProto], int]]] = {
    "ArgMax": _Batched._best,
    "ArgMin": _Batched._best,
    "Concat": _Batched._concat,
    "CumSum": _Batched._cumsum,
    "DequantizeLinear": _Batched._quantise,
    "Expand": _Batched._expand,
    "Flatten": _Batched._flatten,
    "Gather": _Batched._gather,
    "GatherElements": _Batched._gather_elements,
    "GatherND": _Batched._gather_nd,
    "Gemm": _Batched._gemm,
    "GridSample": _Batched._grid_sample,
    "LayerNormalization": _Batched._layer_norm,
    "LogSoftmax": _Batched._softmax,
    "MatMul": _Batched._matmul,
    "Pad": _Batched._pad,
    "QuantizeLinear": _Batched._quantise,
    "Reshape": _Batched._reshape,
    "Resize": _Batched._resize,
    "Slice": _Batched._slice,
    "Softmax": _Batched._softmax,
    "Split": _Batched._split,
    "Squeeze": _Batched._squeeze,
    "Tile": _Batched._tile,
    "Transpose": _Batched._transpose,
    "Unsqueeze": _Batched._unsqueeze,
}


def _shown(wiring: Wiring, name: str) -> str:
    return "(" + ", ".join("any" if size is None else str(size) for size in wiring.shapes[name]) + ")"
