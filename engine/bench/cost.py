"""What one run of a graph costs at least: arithmetic and bytes, counted from its file.

A multiplication and an addition are one operation each, so that a dot product of n numbers has 2 n. What only moves
numbers has none. Functions such as exp or tanh count as one: what they really take is the runtime's own affair.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from engine.bench.nodes import Node, Tensor, read_nodes
from engine.bench.sizes import infer

Tensors = Sequence[Tensor | None]

_MOVING: Final = frozenset({
    "Cast", "Concat", "DepthToSpace", "Expand", "Flatten", "Gather", "GatherElements", "GatherND", "Identity", "Pad",
    "Reshape", "ScatterND", "Shape", "Slice", "SpaceToDepth", "Split", "Squeeze", "Tile", "Transpose", "Unsqueeze",
})  # fmt: skip
_VIEWS: Final = frozenset({"Flatten", "Identity", "Reshape", "Shape", "Squeeze", "Unsqueeze"})
"""Nothing is written for these: the same bytes are seen otherwise."""

_PER_RESULT: Final = {
    "BatchNormalization": 2, "Clip": 2, "DequantizeLinear": 2, "HardSigmoid": 4, "HardSwish": 5,
    "InstanceNormalization": 8, "LayerNormalization": 8, "LeakyRelu": 2, "PRelu": 2, "QuantizeLinear": 4, "Softmax": 5,
}  # fmt: skip
"""Operations per entry of the result, where it is not one. InstanceNormalization, say: 1 for the mean, 3 for the
variance, 4 for shifting, scaling by it, and the layer's own scale and shift."""


@dataclass(frozen=True, slots=True)
class Cost:
    """flop: operations. weight_bytes: what is stored in the file. port_bytes: what goes in and comes out.
    traffic_bytes: what is read and written where every node by itself fetches what it takes and stores what it gives.
    """

    flop: int
    weight_bytes: int
    port_bytes: int
    traffic_bytes: int

    @property
    def least_bytes(self) -> int:
        """What no runtime gets around: every weight, input and output once."""
        return self.weight_bytes + self.port_bytes

    def floor_s(self, flop_per_s: float, bytes_per_s: float) -> float:
        """Seconds that a device of these peaks needs at least."""
        return max(self.flop / flop_per_s, self.least_bytes / bytes_per_s)


def count(data: bytes, shapes: Mapping[str, tuple[int, ...]] | None = None) -> Cost:
    """Of an ONNX file. shapes: of the inputs, where they are free or are to be others.

    Raises BundleError for a file that cannot be counted: an operator that is not known here, a size that is free.
    """
    graph = read_nodes(data)
    known = infer(graph, shapes)
    flop = traffic = 0
    used = set(graph.outputs)
    for node in graph.nodes:
        given = [known[name] if name else None for name in node.inputs]
        results = [known[name] for name in node.outputs if name]
        used.update(node.inputs)
        flop += flops(node, given, results)
        if node.kind not in _VIEWS:
            traffic += sum(one.size_bytes for one in (*given, *results) if one is not None)
    weights = sum(one.size_bytes for name, one in graph.weights.items() if name in used)
    ports = sum(known[name].size_bytes for name in (*graph.inputs, *graph.outputs))
    return Cost(flop, weights, ports, traffic)


def flops(node: Node, given: Tensors, results: Sequence[Tensor]) -> int:
    """Operations of one node."""
    if node.kind in _MOVING:
        return 0
    rule = _RULES.get(node.kind)
    if rule is not None:
        return rule(node, given, results)
    return results[0].count * _PER_RESULT.get(node.kind, 1)


def _there(given: Tensors, index: int) -> Tensor:
    one = given[index]
    if one is None:  # sizes.infer has refused it before
        raise ValueError(f"input {index} is missing")
    return one


def _bias(given: Tensors, results: Sequence[Tensor]) -> int:
    return results[0].count if len(given) > 2 and given[2] is not None else 0


def _conv(node: Node, given: Tensors, results: Sequence[Tensor]) -> int:
    """Every result is a dot product over the kernel and the channels of its group."""
    return 2 * results[0].count * math.prod(_there(given, 1).shape[1:]) + _bias(given, results)


def _conv_transpose(node: Node, given: Tensors, results: Sequence[Tensor]) -> int:
    """Every input is multiplied by the kernel of each channel of its group, and added to what lies there."""
    return 2 * _there(given, 0).count * math.prod(_there(given, 1).shape[1:]) + _bias(given, results)


def _matmul(node: Node, given: Tensors, results: Sequence[Tensor]) -> int:
    return 2 * results[0].count * _there(given, 0).shape[-1]


def _gemm(node: Node, given: Tensors, results: Sequence[Tensor]) -> int:
    inner = _there(given, 0).shape[0 if node.attributes.get("transA", 0) else 1]
    return 2 * results[0].count * inner + _bias(given, results)


def _pool(node: Node, given: Tensors, results: Sequence[Tensor]) -> int:
    return results[0].count * math.prod(int(size) for size in node.attributes["kernel_shape"])


def _whole(node: Node, given: Tensors, results: Sequence[Tensor]) -> int:
    return _there(given, 0).count


def _squares(node: Node, given: Tensors, results: Sequence[Tensor]) -> int:
    return 2 * _there(given, 0).count


def _grid_sample(node: Node, given: Tensors, results: Sequence[Tensor]) -> int:
    """Linear: each result is the weighted sum of the corners around it, 4 products and 3 sums in a plane, 8 and 7 in
    space. The corners' places and weights are shared by all channels, and are not counted."""
    mode = node.attributes.get("mode", b"bilinear")
    if mode == b"nearest":
        return 0
    rank = len(results[0].shape) - 2
    corners = int((4 if mode in (b"bicubic", b"cubic") else 2) ** rank)
    return results[0].count * (2 * corners - 1)


def _resize(node: Node, given: Tensors, results: Sequence[Tensor]) -> int:
    """As GridSample's, along the axes that change."""
    mode = node.attributes.get("mode", b"nearest")
    changed = sum(old != new for old, new in zip(_there(given, 0).shape, results[0].shape))
    if mode == b"nearest" or not changed:
        return 0
    corners = int((4 if mode == b"cubic" else 2) ** changed)
    return results[0].count * (2 * corners - 1)


_RULES: Final[Mapping[str, Callable[[Node, Tensors, Sequence[Tensor]], int]]] = {
    "Conv": _conv, "ConvTranspose": _conv_transpose, "MatMul": _matmul, "Gemm": _gemm, "MaxPool": _pool,
    "AveragePool": _pool, "GlobalAveragePool": _whole, "GlobalMaxPool": _whole, "ReduceMax": _whole,
    "ReduceMin": _whole, "ReduceSum": _whole, "ReduceMean": _whole, "ReduceProd": _whole, "ArgMax": _whole,
    "ReduceL1": _squares, "ReduceL2": _squares, "ReduceSumSquare": _squares, "GridSample": _grid_sample,
    "Resize": _resize,
}  # fmt: skip
