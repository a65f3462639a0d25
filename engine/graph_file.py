"""What a graph of a bundle may hold: an ONNX file looked through before any runtime sees it, without the onnx package.

Allowed is one graph of the operators listed here, in one of the opsets that ONNX Runtime, OpenVINO and TensorRT all
take, with its weights inside it. Refused are external data, functions, other domains, control flow and sub-graphs,
training information, ports other than those of the manifest, whose sizes are all fixed but a frame's, results that
would take more memory than any face needs (engine/graph_sizes.py), and divisions that end a process
(engine/graph_types.py).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final, Protocol

import numpy as np

from engine.errors import BundleError
from engine.free_batch import settled
from engine.graph_nodes import Constant, Node
from engine.graph_sizes import check_memory, check_size
from engine.graph_types import check_divisions
from engine.protobuf import Field, Kind, Layout, read

OPSETS: Final = (17, 18)
"""Versions of the operator set. GridSample needs 16; TensorRT computes it wrong at 20 and right at 18."""
IR_VERSIONS: Final = (8, 9, 10)

OPERATORS: Final = frozenset({
    "Abs", "Add", "And", "ArgMax", "AveragePool", "BatchNormalization", "Cast", "Ceil", "Clip", "Concat",
    "Conv", "ConvTranspose", "Cos", "DepthToSpace", "Div", "Elu", "Equal", "Erf", "Exp", "Expand",
    "Flatten", "Floor", "Gather", "GatherElements", "GatherND", "Gemm", "GlobalAveragePool", "Greater",
    "GreaterOrEqual", "GridSample", "HardSigmoid", "HardSwish", "Identity", "InstanceNormalization",
    "LayerNormalization", "LeakyRelu", "Less", "LessOrEqual", "Log", "MatMul", "Max", "MaxPool", "Min",
    "Mul", "Neg", "Not", "Or", "PRelu", "Pad", "Pow", "Reciprocal", "ReduceMax", "ReduceMean",
    "ReduceMin", "ReduceSum", "Relu", "Reshape", "Resize", "Round", "ScatterND", "Shape", "Sigmoid",
    "Sin", "Slice", "Softmax", "Softplus", "SpaceToDepth", "Split", "Sqrt", "Squeeze", "Sub", "Tanh", "Tile",
    "Transpose", "Unsqueeze", "Where",
})  # fmt: skip
"""Operators of the ONNX domain that a graph may use: arithmetic on tensors and nothing else."""

MOST_NODES: Final = 20_000
MOST_TENSORS: Final = 20_000
_MOST_ENTRIES: Final = 4096  # of an attribute
_MOST_SHOWN: Final = 400  # letters of what is wrong: names in it come out of the file
_MOST_SCALE: Final = 16.0  # of one Resize, per axis

_MOST_PADDING: Final = 65536

_DTYPES: Final[Mapping[int, tuple[str, int]]] = {
    1: ("float32", 4),
    2: ("uint8", 1),
    3: ("int8", 1),
    6: ("int32", 4),
    7: ("int64", 8),
    9: ("bool", 1),
    10: ("float16", 2),
}
_FLOAT, _INT, _STRING, _FLOATS, _INTS, _STRINGS = 1, 2, 3, 6, 7, 8
_VALUES: Final = {_FLOAT: "f", _INT: "i", _STRING: "s", _FLOATS: "floats", _INTS: "ints", _STRINGS: "strings"}
_EMPTY: Final[Mapping[str, Any]] = {"f": 0.0, "i": 0, "s": b""}
"""What a field holds that is not written, being that."""
_SHAPING: Final[Mapping[str, Sequence[int]]] = {
    "Expand": (1,), "Pad": (1,), "Reshape": (1,), "Resize": (2, 3), "Slice": (1, 2, 3, 4), "Split": (1,),
    "Squeeze": (1,), "Tile": (1,), "Unsqueeze": (1,),
}  # fmt: skip
"""Inputs that decide on a size: they have to be constants, so that all sizes are known beforehand."""


class PortLike(Protocol):
    """What is compared of a manifest's port."""

    @property
    def name(self) -> str: ...
    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def dtype(self) -> str: ...


def _int(name: str, many: bool = False) -> Field:
    return Field(name, Kind.INT, many)


def _text(name: str, many: bool = False) -> Field:
    return Field(name, Kind.TEXT, many)


def _bytes(name: str, many: bool = False) -> Field:
    return Field(name, Kind.BYTES, many)


# Field numbers of onnx.proto3; those left out are what no graph may hold.
_MODEL: Final[Layout] = {
    1: _int("ir_version"), 2: _text("producer_name"), 3: _text("producer_version"), 4: _text("domain"),
    5: _int("model_version"), 6: _text("doc_string"), 7: _bytes("graph"), 8: _bytes("opset_import", True),
    14: _bytes("metadata_props", True),
}  # fmt: skip
_OPSET: Final[Layout] = {1: _text("domain"), 2: _int("version")}
_GRAPH: Final[Layout] = {
    1: _bytes("node", True), 2: _text("name"), 5: _bytes("initializer", True), 10: _text("doc_string"),
    11: _bytes("input", True), 12: _bytes("output", True), 13: _bytes("value_info", True),
    16: _bytes("metadata_props", True),
}  # fmt: skip
_NODE: Final[Layout] = {
    1: _text("input", True), 2: _text("output", True), 3: _text("name"), 4: _text("op_type"),
    5: _bytes("attribute", True), 6: _text("doc_string"), 7: _text("domain"), 9: _bytes("metadata_props", True),
}  # fmt: skip
_ATTRIBUTE: Final[Layout] = {
    1: _text("name"), 2: Field("f", Kind.FLOAT), 3: _int("i"), 4: _bytes("s"),
    7: Field("floats", Kind.FLOAT, True), 8: _int("ints", True), 9: _bytes("strings", True),
    13: _text("doc_string"), 20: _int("type"),
}  # fmt: skip
_TENSOR: Final[Layout] = {
    1: _int("dims", True), 2: _int("data_type"), 8: _text("name"), 9: _bytes("raw_data"), 12: _text("doc_string"),
    14: _int("data_location"), 16: _bytes("metadata_props", True),
}  # fmt: skip
_VALUE: Final[Layout] = {
    1: _text("name"), 2: _bytes("type"), 3: _text("doc_string"), 4: _bytes("metadata_props", True),
}  # fmt: skip
_TYPE: Final[Layout] = {1: _bytes("tensor_type"), 6: _text("denotation")}
_TENSOR_TYPE: Final[Layout] = {1: _int("elem_type"), 2: _bytes("shape")}
_SHAPE: Final[Layout] = {1: _bytes("dim", True)}
_DIM: Final[Layout] = {1: _int("dim_value"), 2: _text("dim_param"), 3: _text("denotation")}


def check_graph(data: bytes, inputs: Sequence[PortLike], outputs: Sequence[PortLike]) -> None:
    """Raises BundleError where an ONNX file holds anything that no graph may hold, or has other ports. A graph that
    takes batches is looked at as it is for one entry."""
    try:
        model = read(memoryview(settled(data, 1)), _MODEL, "the model")
        _check_versions(model)
        graph = read(model.get("graph", memoryview(b"")), _GRAPH, "the graph")
        _check_ports("input", graph["input"], inputs)
        _check_ports("output", graph["output"], outputs)
        constants = _constants(graph["initializer"])
        nodes = _checked_nodes(graph["node"], constants, inputs, outputs)
        codes = {name: code for code, (name, _) in _DTYPES.items()}
        check_divisions(nodes, constants, {port.name: codes[port.dtype] for port in inputs})
        sizes = {port.name: port.shape for port in inputs}
        check_memory(nodes, constants, sizes, [port.name for port in outputs])
    except ValueError as error:
        shown = "".join(letter if letter.isprintable() else "?" for letter in str(error)[:_MOST_SHOWN])
        raise BundleError(f"the graph cannot be used: {shown}; export it again") from error


def _check_versions(model: Mapping[str, Any]) -> None:
    version = model.get("ir_version")
    if version not in IR_VERSIONS:
        raise ValueError(f"its ONNX format is {version}, expected one of {_listed(IR_VERSIONS)}")
    opsets = [read(entry, _OPSET, "an opset") for entry in model["opset_import"]]
    for opset in opsets:
        if opset.get("domain", "") not in ("", "ai.onnx"):
            raise ValueError(f"it uses operators of the domain {opset['domain']!r}, expected ONNX's own")
    versions = [opset.get("version") for opset in opsets]
    if len(versions) != 1 or versions[0] not in OPSETS:
        raise ValueError(f"its opset is {_listed(versions)}, expected {_listed(OPSETS, 'or')}")


def _check_ports(side: str, entries: Sequence[memoryview], expected: Sequence[PortLike]) -> None:
    found = dict(_port(entry, side) for entry in entries)
    if len(found) < len(entries):
        raise ValueError(f"it names an {side} twice")
    stated = {port.name: (port.shape, port.dtype) for port in expected}
    if found.keys() != stated.keys():
        raise ValueError(f"its {side}s are {_listed(sorted(found))}, expected {_listed(sorted(stated))}")
    for name, kind in found.items():
        if kind != stated[name]:
            raise ValueError(f"its {side} {name!r} is {kind[1]} {kind[0]}, expected {stated[name]}")


def _port(entry: memoryview, side: str) -> tuple[str, tuple[tuple[int, ...], str]]:
    value = read(entry, _VALUE, f"an {side}")
    name = value.get("name", "")
    kind = read(value.get("type", memoryview(b"")), _TYPE, f"the type of {name!r}")
    tensor = read(kind.get("tensor_type", memoryview(b"")), _TENSOR_TYPE, f"the type of {name!r}")
    shape = read(tensor.get("shape", memoryview(b"")), _SHAPE, f"the shape of {name!r}")
    sizes = tuple(
        _size(read(dim, _DIM, f"a size of {name!r}"), f"the {side} {name!r}") for dim in shape["dim"]
    )
    check_size(sizes, f"the {side} {name!r}")
    return name, (sizes, _dtype(tensor.get("elem_type"), name)[0])


def _size(dim: Mapping[str, Any], what: str) -> int:
    """0 for a free size, which has a name and no value."""
    if dim.get("dim_param", ""):
        return 0
    if dim.get("dim_value", 0) < 1:
        raise ValueError(f"{what} has a size that is neither a number from 1 on nor named as free")
    return int(dim["dim_value"])


def _dtype(code: int | None, name: str) -> tuple[str, int]:
    if code is None or code not in _DTYPES:
        raise ValueError(f"{name!r} has the ONNX type {code}, expected one of {_listed(sorted(_DTYPES))}")
    return _DTYPES[code]


def _constants(entries: Sequence[memoryview]) -> dict[str, Constant]:
    """The weights by name."""
    if len(entries) > MOST_TENSORS:
        raise ValueError(f"it has {len(entries)} weights, expected {MOST_TENSORS} at most")
    found: dict[str, Constant] = {}
    for entry in entries:
        tensor = read(entry, _TENSOR, "a weight")
        name = tensor.get("name", "")
        if not name or name in found:
            raise ValueError(f"two weights have the name {name!r}")
        if tensor.get("data_location", 0):
            raise ValueError(f"the weight {name!r} lies outside the file")
        check_size(tensor["dims"], f"the weight {name!r}")
        expected = math.prod(tensor["dims"]) * _dtype(tensor.get("data_type"), name)[1]
        raw = tensor.get("raw_data", memoryview(b""))
        if len(raw) != expected:
            raise ValueError(f"the weight {name!r} has {len(raw)} bytes, expected {expected}")
        found[name] = Constant(tuple(tensor["dims"]), raw, tensor["data_type"])
    return found


def _checked_nodes(
    entries: Sequence[memoryview],
    constants: Mapping[str, Constant],
    inputs: Sequence[PortLike],
    outputs: Sequence[PortLike],
) -> list[Node]:
    if len(entries) > MOST_NODES:
        raise ValueError(f"it has {len(entries)} nodes, expected {MOST_NODES} at most")
    known = set(constants) | {port.name for port in inputs}
    if len(known) < len(constants) + len(inputs):
        raise ValueError("an input has the name of a weight")
    nodes = []
    for entry in entries:
        node = read(entry, _NODE, "a node")
        nodes.append(_checked_node(node, constants))
        for name in node["input"]:
            if name and name not in known:
                raise ValueError(f"a {node['op_type']} reads {name!r}, which nothing before it gives")
        for name in node["output"]:
            if name in known:
                raise ValueError(f"{name!r} is computed twice")
            known |= {name} if name else set()
    for port in outputs:
        if port.name not in known:
            raise ValueError(f"nothing computes its output {port.name!r}")
    return nodes


def _checked_node(node: Mapping[str, Any], constants: Mapping[str, Constant]) -> Node:
    kind, domain = node.get("op_type", ""), node.get("domain", "")
    if domain not in ("", "ai.onnx"):
        raise ValueError(f"it uses {domain}.{kind}, expected operators of ONNX's own domain")
    if kind not in OPERATORS:
        raise ValueError(f"it uses the operator {kind!r}, which is not one of those that a bundle may use")
    if not node["input"] or not node["output"]:
        raise ValueError(f"a {kind} reads or gives nothing")
    attributes = dict(
        _attribute(read(entry, _ATTRIBUTE, f"an attribute of a {kind}"), kind) for entry in node["attribute"]
    )
    if len(attributes) < len(node["attribute"]):
        raise ValueError(f"a {kind} states an attribute twice")
    for index in _SHAPING.get(kind, ()):
        name = node["input"][index] if index < len(node["input"]) else ""
        if name and name not in constants and not _part_of_constant(node, constants):
            raise ValueError(f"the sizes of a {kind} are computed, expected constants")
        if name in constants:
            _check_shaping(kind, index, constants[name].data)
    return Node(kind, tuple(node["input"]), tuple(node["output"]), attributes)


def _part_of_constant(node: Mapping[str, Any], constants: Mapping[str, Constant]) -> bool:
    """Whether a node takes a part of a constant: it is no larger than that, whatever its bounds are."""
    return bool(node["op_type"] == "Slice" and node["input"] and node["input"][0] in constants)


def _attribute(attribute: Mapping[str, Any], kind: str) -> tuple[str, Any]:
    """Its name, and what it holds as its type says. Raises ValueError."""
    if attribute.get("type") not in (_FLOAT, _INT, _STRING, _FLOATS, _INTS, _STRINGS):
        shown = f"{attribute.get('name', '')!r} of a {kind}"
        raise ValueError(
            f"the attribute {shown} is of type {attribute.get('type')}, expected numbers or text"
        )
    if max(len(attribute[name]) for name in ("floats", "ints", "strings")) > _MOST_ENTRIES:
        raise ValueError(f"an attribute of a {kind} has more than {_MOST_ENTRIES} entries")
    name = _VALUES[attribute["type"]]
    return attribute.get("name", ""), attribute.get(name, _EMPTY.get(name))


def _check_shaping(kind: str, index: int, data: memoryview) -> None:
    """A size that is stated in the file stays within the bounds."""
    if kind == "Resize" and index == 2:
        scales = np.frombuffer(data, "<f4") if len(data) % 4 == 0 else np.zeros(1, np.float32)
        if not np.all((scales > 0) & (scales <= _MOST_SCALE)):
            raise ValueError(f"a Resize scales by more than {_MOST_SCALE:g}")
    elif kind in ("Expand", "Pad", "Resize", "Tile"):
        if len(data) % 8:
            raise ValueError(f"the sizes of a {kind} are not int64")
        sizes = [int(size) for size in np.frombuffer(data, "<i8")]
        if kind != "Pad":
            check_size(sizes, f"the result of a {kind}")
        elif any(abs(size) > _MOST_PADDING for size in sizes):
            raise ValueError(f"a Pad adds more than {_MOST_PADDING} on one side")


def _listed(entries: Sequence[Any], last: str = "and") -> str:
    shown = [str(entry) for entry in entries][:20]
    return (
        f" {last} ".join([", ".join(shown[:-1]), shown[-1]]) if len(shown) > 1 else "".join(shown) or "none"
    )
