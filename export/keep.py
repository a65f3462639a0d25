"""What of a graph stays in float32 when the rest is lowered, found in the graph itself.

Each rule is there because leaving it out costs picture; docs/precision.md has the figures.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final

import onnx
from onnx import TensorProto

from engine.errors import ConfigError
from export.frame import OWN
from export.wiring import FLOATS, Wiring, attribute

NORMS: Final = frozenset({
    "BatchNormalization", "GroupNormalization", "InstanceNormalization", "LayerNormalization", "LpNormalization",
    "MeanVarianceNormalization", "RMSNormalization",
})  # fmt: skip
SUMS: Final = frozenset({
    "CumSum", "GlobalAveragePool", "ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMean",
    "ReduceSum", "ReduceSumSquare",
})  # fmt: skip
SOFTMAX: Final = frozenset({"Hardmax", "LogSoftmax", "Softmax"})
FUNCTIONS: Final = frozenset({
    "Acos", "Asin", "Atan", "Cos", "Erf", "Exp", "Log", "Pow", "Reciprocal", "Sin", "Softplus", "Sqrt", "Tan",
})  # fmt: skip
STEPS: Final = frozenset({
    "ArgMax", "ArgMin", "Ceil", "Equal", "Floor", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Mod",
    "Round", "Sign", "TopK",
})  # fmt: skip
MOVES: Final = frozenset({
    "Abs", "Clip", "Concat", "DepthToSpace", "Expand", "Flatten", "Gather", "GatherElements", "GatherND", "Identity",
    "Max", "MaxPool", "Min", "Neg", "Pad", "ReduceMax", "ReduceMin", "Relu", "Reshape", "Slice", "SpaceToDepth",
    "Split", "Squeeze", "Tile", "Transpose", "Unsqueeze", "Where",
})  # fmt: skip
"""Operators that round nothing: they choose among their inputs' values, or change a sign."""
POINTWISE: Final = FUNCTIONS | {
    "Add", "Cast", "Div", "Elu", "HardSigmoid", "HardSwish", "LeakyRelu", "Mul", "PRelu", "Sigmoid", "Sub", "Sum",
    "Tanh",
}  # fmt: skip
_SMALL: Final = 256
"""Entries up to which arithmetic costs nothing whatever its type: angles, rotations, key points, weights of blends."""

Nodes = set[str]
"""Nodes by their first output."""


@dataclass(frozen=True, slots=True)
class Keep:
    """What stays in float32.

    rules: names from RULES. operators: further types of node, everywhere. names: further nodes, by the beginning of the
    name of one of their outputs (or of their own).
    """

    rules: frozenset[str] = field(default_factory=lambda: frozenset(RULES))
    operators: frozenset[str] = frozenset()
    names: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        for rule in self.rules - RULES.keys():
            raise ConfigError(f"keep: got the rule {rule!r}, expected one of {', '.join(RULES)}")

    def plus(self, entries: Iterable[str]) -> Keep:
        """With what a system names: rules, types of node ("Softmax"), or beginnings of names."""
        rules, operators, names = set(self.rules), set(self.operators), set(self.names)
        for entry in entries:
            group = rules if entry in RULES else operators if onnx.defs.has(entry) else names
            group.add(entry)
        return Keep(frozenset(rules), frozenset(operators), frozenset(names))

    def without(self, *rules: str) -> Keep:
        """Without some rules: to measure what they are worth."""
        return Keep(self.rules - set(rules), self.operators, self.names)

    def nodes(self, wiring: Wiring) -> Nodes:
        """The nodes of a graph that stay. Raises ConfigError for a name that nothing in the graph bears."""
        found: Nodes = set()
        for rule in self.rules:
            found |= RULES[rule](wiring)
        found |= _of_type(wiring, self.operators)
        for name in self.names:
            found |= _named(wiring, name)
        return found


def _of_type(wiring: Wiring, operators: frozenset[str]) -> Nodes:
    return {node.output[0] for node in wiring.nodes if node.op_type in operators}


def _named(wiring: Wiring, beginning: str) -> Nodes:
    found = {
        node.output[0]
        for node in wiring.nodes
        if any(name.startswith(beginning) for name in (node.name, *node.output))
    }
    if not found:
        names = [name for node in wiring.nodes for name in node.output]
        near = difflib.get_close_matches(beginning, names, 1)
        hint = f"did you mean {near[0]!r}?" if near else "state the beginning of a node's name"
        raise ConfigError(f"keep: nothing in graph {wiring.model.graph.name} is called {beginning!r}; {hint}")
    return found


def _norms(wiring: Wiring) -> Nodes:
    """Norms as one operator, and those written out: a reduction, what is computed of its result (a deviation, a scale,
    the factors of a demodulation), and where that meets the whole."""
    found = _of_type(wiring, NORMS)
    statistics: set[str] = set()
    applied: set[str] = set()
    for node in wiring.nodes:
        if node.op_type in SUMS:
            statistics.add(node.output[0])
            if any(reader.op_type in POINTWISE for reader in wiring.readers_of(node)):
                found.add(node.output[0])
        elif node.op_type in POINTWISE | {"Clip", "Max"}:
            read = [name for name in node.input if name and name not in wiring.constants]
            if not read or not statistics.union(applied).intersection(read):
                continue
            if statistics.issuperset(read) and _same_size(wiring, node, read[0]):
                statistics.add(node.output[0])
            elif statistics.intersection(read) or applied.issuperset(read):
                applied.add(node.output[0])
            else:
                continue
            found.add(node.output[0])
    return found


def _same_size(wiring: Wiring, node: onnx.NodeProto, name: str) -> bool:
    return wiring.entries(node.output[0]) == wiring.entries(name)


def _sums(wiring: Wiring) -> Nodes:
    """Sums over many values, and the squares that are summed, which leave float16's range first."""
    found = _of_type(wiring, SUMS)
    for node in wiring.nodes:
        if node.op_type in SUMS:
            maker = wiring.made(node.input[0])
            if maker is not None and (
                maker.op_type == "Pow" or (maker.op_type == "Mul" and len(set(maker.input)) == 1)
            ):
                found.add(maker.output[0])
    return found


def _grids(wiring: Wiring) -> Nodes:
    """Sampling, and everything that computes where it samples, back to the layer that predicts it; sampling written
    out by gathers, too, whose coordinates become whole numbers."""
    found = _of_type(wiring, frozenset({"AffineGrid", "GridSample"}))
    coordinates: list[str] = []
    for node in wiring.nodes:
        if node.op_type == "GridSample":
            coordinates.append(node.input[1])
        elif node.op_type == "AffineGrid":
            coordinates.append(node.input[0])
        elif node.op_type == "Cast" and _becomes_whole(wiring, node):
            found.add(node.output[0])
            coordinates.append(node.input[0])
    found |= _back(wiring, coordinates, POINTWISE | MOVES | STEPS)
    return _onward(wiring, found) if coordinates else found


def _becomes_whole(wiring: Wiring, node: onnx.NodeProto) -> bool:
    whole = (TensorProto.INT32, TensorProto.INT64)
    return wiring.types[node.input[0]] in FLOATS and attribute(node, "to") in whole


def _onward(wiring: Wiring, coordinates: Nodes) -> Nodes:
    """With what is computed of coordinates alone: the weights of the neighbours."""
    found = set(coordinates)
    for node in wiring.nodes:
        read = [name for name in node.input if name and name not in wiring.constants]
        alone = read and all(
            wiring.made(name) is not None and wiring.makers[name].output[0] in found for name in read
        )
        sampled = any(wiring.makers[name].op_type == "GridSample" for name in read if name in wiring.makers)
        if alone and not sampled and node.op_type in POINTWISE | MOVES:
            found.add(node.output[0])
    return found


def _ends(wiring: Wiring) -> Nodes:
    """The scaling of the pictures that come in, and what makes the numbers that go out of the last layer; likewise of
    the networks that a frame graph holds."""
    found: Nodes = set()
    given, made = _inner_ends(wiring)
    pictures = given | {name for name in wiring.inputs if wiring.types[name] == TensorProto.UINT8}
    for node in wiring.nodes:
        read = {name for name in node.input if name and name not in wiring.constants}
        if read and read <= pictures and node.op_type in POINTWISE | MOVES:
            pictures.update(node.output)
            found.add(node.output[0])
    return found | _back(wiring, [*wiring.outputs, *made], POINTWISE | MOVES)


def _inner_ends(wiring: Wiring) -> tuple[set[str], list[str]]:
    """What the networks of a frame graph are given and what they make: tensors that cross to and from the nodes written
    around them."""
    given: set[str] = set()
    made: list[str] = []
    for name, maker in wiring.makers.items():
        around = _around(maker)
        if any(_around(reader) != around for reader, _ in wiring.readers.get(name, ())):
            if around:
                given.add(name)
            else:
                made.append(name)
    return given, made


def _around(node: onnx.NodeProto) -> bool:
    return str(node.name).startswith(OWN)


def _small(wiring: Wiring) -> Nodes:
    """Arithmetic on few numbers: what decodes a pose from a network's answers."""
    few = POINTWISE | {"Gemm", "MatMul"}
    found: Nodes = set()
    for node in wiring.nodes:
        if node.op_type in few and all(
            _count(wiring, name) <= _SMALL
            for name in (*node.input, *node.output)
            if name and wiring.types[name] in FLOATS
        ):
            found.add(node.output[0])
    return found


def _count(wiring: Wiring, name: str) -> int:
    """Entries of one item: a free size counts as one."""
    count = 1
    for size in wiring.shapes[name]:
        count *= size if isinstance(size, int) else 1
    return count


def _back(wiring: Wiring, names: Iterable[str], through: frozenset[str]) -> Nodes:
    """The nodes that lead to these tensors, as far back as they are of the types `through`."""
    found: Nodes = set()
    left = list(names)
    while left:
        node = wiring.made(left.pop())
        if node is None or node.output[0] in found or node.op_type not in through:
            continue
        found.add(node.output[0])
        left.extend(node.input)
    return found


RULES: Final[dict[str, Callable[[Wiring], Nodes]]] = {
    "norms": _norms,
    "sums": _sums,
    "softmax": lambda wiring: _of_type(wiring, SOFTMAX),
    "functions": lambda wiring: _of_type(wiring, FUNCTIONS),
    "steps": lambda wiring: _of_type(wiring, STEPS),
    "grids": _grids,
    "ends": _ends,
    "small": _small,
}
"""What stays in float32, by name."""
