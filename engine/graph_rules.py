"""For every operator that a graph may use, a rule from the sizes of its inputs to those of its outputs.

Where a size depends on what is computed (the bounds of a Slice, say) the rule gives the largest it can be: all rules
grow with their inputs, so that what is told is never too little. A rule raises IndexError where sizes make no sense.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any, Final, NamedTuple

import numpy as np

INT64: Final = 7
"""ONNX's number of the type."""
_MOST_STEP: Final = (
    1 << 20
)  # of a Slice; OpenVINO 2026.4 reads elsewhere where one is beyond its whole numbers

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


def _paired(*lists: Sequence[Any]) -> list[tuple[Any, ...]]:
    """Those that belong together, of lists that have to be of one length."""
    if len({len(one) for one in lists}) != 1:
        raise IndexError(lists)
    return list(zip(*lists))


def _axis(axis: int, rank: int) -> int:
    if not -rank <= axis < max(rank, 1):
        raise IndexError(axis)
    return axis % max(rank, 1)


def _same(given: Given) -> list[Shape]:
    return [given(0)]


def _broadcast(*shapes: Shape) -> Shape:
    pairs = zip_longest(*(reversed(shape) for shape in shapes), fillvalue=1)
    return tuple(0 if 0 in sizes else max(sizes) for sizes in pairs)[::-1]


def _together(given: Given) -> list[Shape]:
    return [_broadcast(*given.all)]


def _expand(given: Given) -> list[Shape]:
    return [_broadcast(given(0), tuple(given.stated(1)))]


def _windows(given: Given, sizes: Shape, kernel: Sequence[int]) -> Shape:
    """How often a window fits, per axis."""
    rank = len(sizes)
    steps = given.numbers("strides", [1] * rank, 1)
    dilations = given.numbers("dilations", [1] * rank, 1)
    pads, auto = given.numbers("pads", [0] * 2 * rank), given.text("auto_pad", "NOTSET")
    found = []
    for k, size in enumerate(sizes):
        if auto.startswith("SAME"):
            found.append(-(-size // steps[k]))
            continue
        around = 0 if auto == "VALID" else pads[k] + pads[k + rank]
        room = size + around - dilations[k] * (kernel[k] - 1) - 1
        found.append(max(0, (-(-room // steps[k]) if given.number("ceil_mode", 0) else room // steps[k]) + 1))
    return tuple(found)


def _conv(given: Given) -> list[Shape]:
    picture, weight = given(0), given(1)
    return [(picture[0], weight[0], *_windows(given, picture[2:], weight[2:]))]


def _pool(given: Given) -> list[Shape]:
    picture = given(0)
    return [(*picture[:2], *_windows(given, picture[2:], given.numbers("kernel_shape", (), 1)))]


def _conv_transpose(given: Given) -> list[Shape]:
    picture, weight = given(0), given(1)
    rank = len(picture) - 2
    channels = weight[1] * given.number("group", 1)
    if stated := given.numbers("output_shape", (), 1):
        return [(picture[0], channels, *stated[-rank:])]
    steps = given.numbers("strides", [1] * rank, 1)
    dilations = given.numbers("dilations", [1] * rank, 1)
    pads, more = given.numbers("pads", [0] * 2 * rank), given.numbers("output_padding", [0] * rank, 0)
    same = given.text("auto_pad", "NOTSET").startswith("SAME")
    sizes = [
        steps[k] * size
        if same
        else steps[k] * (size - 1)
        + more[k]
        + dilations[k] * (weight[2 + k] - 1)
        + 1
        - pads[k]
        - pads[k + rank]
        for k, size in enumerate(picture[2:])
    ]
    return [(picture[0], channels, *(max(0, size) for size in sizes))]


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
    over = {_axis(axis, len(shape)) for axis in axes or ()}
    if given.number("keepdims", 1):
        return [tuple(1 if k in over else size for k, size in enumerate(shape))]
    return [tuple(size for k, size in enumerate(shape) if k not in over)]


def _global_pool(given: Given) -> list[Shape]:
    return [(*given(0)[:2], *[1] * (len(given(0)) - 2))]


def _concat(given: Given) -> list[Shape]:
    axis = _axis(given.number("axis", 0), len(given(0)))
    sizes = [max(found) for found in _paired(*given.all)]
    sizes[axis] = sum(shape[axis] for shape in given.all)
    return [tuple(sizes)]


def _gather(given: Given) -> list[Shape]:
    data, axis = given(0), _axis(given.number("axis", 0), len(given(0)))
    return [(*data[:axis], *given(1), *data[axis + 1 :])]


def _check_places(given: Given, sizes: Sequence[int]) -> None:
    """That the indices of input 1 lie within `sizes`, one for each entry of their last axis. OpenVINO 2026.4 takes them
    unseen, and reads or writes outside of its memory, so that computed ones cannot be allowed at all."""
    constant = given.constant(1)
    if constant is None or constant.dtype != INT64:
        raise ValueError(f"the indices of a {given.node.kind} are computed, expected int64 constants")
    places = np.frombuffer(constant.data, "<i8").reshape(-1, len(sizes))
    most = np.array(sizes, np.int64)
    if ((places < -most) | (places >= most)).any():
        raise ValueError(f"a {given.node.kind} has indices beyond what it takes them from")


def _gather_nd(given: Given) -> list[Shape]:
    skipped = given.number("batch_dims", 0)
    depth = given(1)[-1] + skipped
    if skipped < 0 or not skipped < depth <= len(given(0)) or given(0)[:skipped] != given(1)[:skipped]:
        raise IndexError(depth)
    _check_places(given, given(0)[skipped:depth])
    return [(*given(1)[:-1], *given(0)[depth:])]


def _gather_elements(given: Given) -> list[Shape]:
    data, places, axis = given(0), given(1), _axis(given.number("axis", 0), len(given(0)))
    if any(size > data[k] for k, (_, size) in enumerate(_paired(data, places)) if k != axis):
        raise IndexError(places)
    _check_places(given, data[axis : axis + 1])
    return [places]


def _scatter_nd(given: Given) -> list[Shape]:
    data, places, depth = given(0), given(1), given(1)[-1]
    if not 0 < depth <= len(data) or given(2) != (*places[:-1], *data[depth:]):
        raise IndexError(depth)
    _check_places(given, data[:depth])
    return [data]


def _mat_mul(given: Given) -> list[Shape]:
    one, other = given(0), given(1)
    rows = (one[-2],) if len(one) > 1 else ()
    columns = (other[-1],) if len(other) > 1 else ()
    return [(*_broadcast(one[:-2], other[:-2]), *rows, *columns)]


def _gemm(given: Given) -> list[Shape]:
    rows = given(0)[1 if given.number("transA", 0) else 0]
    return [(rows, given(1)[0 if given.number("transB", 0) else 1])]


def _flatten(given: Given) -> list[Shape]:
    shape, axis = given(0), given.number("axis", 1)
    axis += len(shape) if axis < 0 else 0
    return [(math.prod(shape[:axis]), math.prod(shape[axis:]))]


def _transpose(given: Given) -> list[Shape]:
    shape = given(0)
    order = given.numbers("perm", range(len(shape))[::-1])
    if sorted(order) != list(range(len(shape))):
        raise IndexError(order)
    return [tuple(shape[k] for k in order)]


def _grid_sample(given: Given) -> list[Shape]:
    return [(*given(0)[:2], *given(1)[1:-1])]


def _four(shape: Shape) -> tuple[int, int, int, int]:
    if len(shape) != 4:
        raise IndexError(shape)
    return shape[0], shape[1], shape[2], shape[3]


def _block(given: Given) -> int:
    block = given.number("blocksize", 0)
    if block < 1:
        raise IndexError(block)
    return block


def _depth_to_space(given: Given) -> list[Shape]:
    (n, channels, height, width), block = _four(given(0)), _block(given)
    return [(n, -(-channels // block**2), height * block, width * block)]


def _space_to_depth(given: Given) -> list[Shape]:
    (n, channels, height, width), block = _four(given(0)), _block(given)
    return [(n, channels * block**2, -(-height // block), -(-width // block))]


def _reshape(given: Given) -> list[Shape]:
    shape, wanted = given(0), given.stated(1)
    if not given.number("allowzero", 0):
        wanted = [shape[k] if size == 0 else size for k, size in enumerate(wanted)]
    if wanted.count(-1) > 1 or any(size < -1 for size in wanted):
        raise IndexError(wanted)
    others = math.prod(size for size in wanted if size != -1)
    rest = -(-math.prod(shape) // others) if -1 in wanted and others else 0
    return [tuple(rest if size == -1 else size for size in wanted)]


def _resize(given: Given) -> list[Shape]:
    shape = given(0)
    axes = [_axis(axis, len(shape)) for axis in given.numbers("axes", range(len(shape)))]
    found = list(shape)
    if given.has(3):
        wanted = given.stated(3)
        if given.text("keep_aspect_ratio_policy", "stretch") != "stretch":
            scale = max(size / max(1, shape[axis]) for axis, size in _paired(axes, wanted))
            wanted = [math.ceil(scale * shape[axis]) for axis in axes]
    else:
        wanted = [math.floor(shape[axis] * scale) for axis, scale in _paired(axes, given.scales(2))]
    for axis, size in _paired(axes, wanted):
        found[axis] = size
    return [tuple(found)]


def _slice(given: Given) -> list[Shape]:
    shape = given(0)
    starts, ends = given.values(1), given.values(2)
    axes = given.values(3) if given.has(3) else list(range(len(starts or ())))
    steps = given.stated(4) if given.has(4) else [1] * len(starts or ())
    if any(not 0 < abs(step) <= _MOST_STEP for step in steps):
        raise IndexError(steps)
    if starts is None or ends is None or axes is None:
        return [shape]
    found = list(shape)
    for start, end, axis, step in _paired(starts, ends, axes, steps):
        place = _axis(axis, len(shape))
        found[place] = len(range(*slice(start, end, step).indices(shape[place])))
    return [tuple(found)]


def _split(given: Given) -> list[Shape]:
    shape, count = given(0), len(given.node.outputs)
    axis = _axis(given.number("axis", 0), len(shape))
    part = -(-shape[axis] // count)
    sizes = given.stated(1) if given.has(1) else [part] * (count - 1) + [shape[axis] - part * (count - 1)]
    if len(sizes) != count or min(sizes) < 0:
        raise IndexError(count)
    return [(*shape[:axis], size, *shape[axis + 1 :]) for size in sizes]


def _squeeze(given: Given) -> list[Shape]:
    shape = given(0)
    axes = given.stated(1) if given.has(1) else [k for k, size in enumerate(shape) if size == 1]
    gone = {_axis(axis, len(shape)) for axis in axes}
    return [tuple(size for k, size in enumerate(shape) if k not in gone)]


def _unsqueeze(given: Given) -> list[Shape]:
    axes = given.stated(1)
    rank = len(given(0)) + len(axes)
    new, sizes = {_axis(axis, rank) for axis in axes}, iter(given(0))
    return [tuple(1 if k in new else next(sizes, 1) for k in range(rank))]


def _tile(given: Given) -> list[Shape]:
    return [tuple(size * times for size, times in _paired(given(0), given.stated(1)))]


def _pad(given: Given) -> list[Shape]:
    shape, pads = list(given(0)), given.stated(1)
    axes = given.stated(3) if given.has(3) else list(range(len(shape)))
    if len(pads) != 2 * len(axes):
        raise IndexError(pads)
    for k, axis in enumerate(axes):
        place, before, after = _axis(axis, len(shape)), pads[k], pads[k + len(axes)]
        if (
            shape[place] + min(0, before) + min(0, after) < 0
        ):  # OpenVINO 2026.4 writes outside of its memory there
            raise IndexError(pads)
        shape[place] += before + after
    return [tuple(shape)]


def _shape(given: Given) -> list[Shape]:
    return [(len(given(0)),)]


Rule = Callable[[Given], list[Shape]]

_OWN: Final[Mapping[str, Rule]] = {
    "ArgMax": _reduced, "AveragePool": _pool, "Concat": _concat, "Conv": _conv, "ConvTranspose": _conv_transpose,
    "DepthToSpace": _depth_to_space, "Expand": _expand, "Flatten": _flatten, "Gather": _gather,
    "GatherElements": _gather_elements, "GatherND": _gather_nd, "Gemm": _gemm, "GlobalAveragePool": _global_pool,
    "GridSample": _grid_sample, "MatMul": _mat_mul, "MaxPool": _pool, "Pad": _pad, "ReduceMax": _reduced,
    "ReduceMean": _reduced, "ReduceMin": _reduced, "ReduceSum": _reduced, "Reshape": _reshape, "Resize": _resize,
    "ScatterND": _scatter_nd, "Shape": _shape, "Slice": _slice, "SpaceToDepth": _space_to_depth, "Split": _split,
    "Squeeze": _squeeze, "Tile": _tile, "Transpose": _transpose, "Unsqueeze": _unsqueeze,
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
    **dict.fromkeys(_SAME, _same), **dict.fromkeys(_TOGETHER, _together), **_OWN
}  # fmt: skip
"""From a node and its inputs to the sizes of its outputs; the last stands for all further ones."""
