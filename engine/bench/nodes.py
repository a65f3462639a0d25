"""An ONNX file taken apart into what its sizes and its cost can be counted from, without the onnx package.

Read is what the project's own files hold, in every precision: graphs of bundles, of the tracker, and those made of
them. What may stand in a bundle is another question, which engine/graph_file.py answers before anything runs.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from engine.errors import BundleError
from engine.protobuf import Field, Kind, Layout, read

_WIDTHS: Final = {
    1: 4, 2: 1, 3: 1, 4: 2, 5: 2, 6: 4, 7: 8, 9: 1, 10: 2, 11: 8, 12: 4, 13: 8, 16: 2, 17: 1, 18: 1, 19: 1, 20: 1,
}  # fmt: skip
"""Bytes of an entry, by ONNX's number of its type."""
_INTEGERS: Final = {6: "<i4", 7: "<i8"}


@dataclass(frozen=True, slots=True)
class Tensor:
    """What is known of one array. width: bytes of an entry. value: its entries, where they are few whole numbers."""

    shape: tuple[int, ...]
    width: int = 4
    value: NDArray[Any] | None = None

    @property
    def count(self) -> int:
        return math.prod(self.shape)

    @property
    def size_bytes(self) -> int:
        return self.count * self.width


@dataclass(frozen=True, slots=True)
class Node:
    """attributes: int, float, bytes, or a list of those, by name."""

    kind: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Nodes:
    """A graph. inputs: 0 stands for a size that is free. weights: what is stored in the file, by name."""

    nodes: tuple[Node, ...]
    inputs: Mapping[str, Tensor]
    outputs: tuple[str, ...]
    weights: Mapping[str, Tensor]


def _fields(**kinds: tuple[int, Kind, bool]) -> Layout:
    return {number: Field(name, kind, many) for name, (number, kind, many) in kinds.items()}


def _int(number: int, many: bool = False) -> tuple[int, Kind, bool]:
    return number, Kind.INT, many


def _text(number: int, many: bool = False) -> tuple[int, Kind, bool]:
    return number, Kind.TEXT, many


def _bytes(number: int, many: bool = False) -> tuple[int, Kind, bool]:
    return number, Kind.BYTES, many


# Field numbers of onnx.proto3.
_MODEL = _fields(
    ir_version=_int(1), producer_name=_text(2), producer_version=_text(3), domain=_text(4), model_version=_int(5),
    doc_string=_text(6), graph=_bytes(7), opset_import=_bytes(8, True), metadata_props=_bytes(14, True),
)  # fmt: skip
_GRAPH = _fields(
    node=_bytes(1, True), name=_text(2), initializer=_bytes(5, True), doc_string=_text(10), input=_bytes(11, True),
    output=_bytes(12, True), value_info=_bytes(13, True), quantization_annotation=_bytes(14, True),
    metadata_props=_bytes(16, True),
)  # fmt: skip
_NODE = _fields(
    input=_text(1, True), output=_text(2, True), name=_text(3), op_type=_text(4), attribute=_bytes(5, True),
    doc_string=_text(6), domain=_text(7), overload=_text(8), metadata_props=_bytes(9, True),
)  # fmt: skip
_ATTRIBUTE = _fields(
    name=_text(1), f=(2, Kind.FLOAT, False), i=_int(3), s=_bytes(4), t=_bytes(5), floats=(7, Kind.FLOAT, True),
    ints=_int(8, True), strings=_bytes(9, True), doc_string=_text(13), type=_int(20),
)  # fmt: skip
_TENSOR = _fields(
    dims=_int(1, True), data_type=_int(2), float_data=(4, Kind.FLOAT, True), int32_data=_int(5, True),
    int64_data=_int(7, True), name=_text(8), raw_data=_bytes(9), doc_string=_text(12), data_location=_int(14),
    metadata_props=_bytes(16, True),
)  # fmt: skip
_VALUE = _fields(name=_text(1), type=_bytes(2), doc_string=_text(3), metadata_props=_bytes(4, True))
_TYPE = _fields(tensor_type=_bytes(1), denotation=_text(6))
_TENSOR_TYPE = _fields(elem_type=_int(1), shape=_bytes(2))
_SHAPE = _fields(dim=_bytes(1, True))
_DIM = _fields(dim_value=_int(1), dim_param=_text(2), denotation=_text(3))
_ATTRIBUTE_FIELDS: Final = {1: "f", 2: "i", 3: "s", 4: "t", 6: "floats", 7: "ints", 8: "strings"}
_EMPTY: Final = memoryview(b"")


def read_nodes(data: bytes) -> Nodes:
    """Raises BundleError for what is no ONNX file, or one with sub-graphs or data elsewhere."""
    try:
        model = read(memoryview(data), _MODEL, "the model")
        graph = read(model.get("graph", _EMPTY), _GRAPH, "the graph")
        weights = dict(_weight(entry) for entry in graph["initializer"])
        inputs = dict(_port(entry) for entry in graph["input"])
        outputs = tuple(_port(entry)[0] for entry in graph["output"])
        nodes = tuple(_node(entry) for entry in graph["node"])
    except ValueError as error:
        raise BundleError(f"the graph cannot be counted: {error}") from error
    return Nodes(
        nodes, {name: port for name, port in inputs.items() if name not in weights}, outputs, weights
    )


def _width(code: int | None, what: str) -> int:
    if code is None or code not in _WIDTHS:
        raise ValueError(f"{what} has the ONNX type {code}")
    return _WIDTHS[code]


def _weight(entry: memoryview) -> tuple[str, Tensor]:
    tensor = read(entry, _TENSOR, "a weight")
    if tensor.get("data_location", 0):
        raise ValueError("a weight lies outside the file")
    name, code, shape = tensor.get("name", ""), tensor.get("data_type"), tuple(tensor["dims"])
    value = None
    if code in _INTEGERS:
        stored = tensor["int64_data"] or tensor["int32_data"]
        raw = np.frombuffer(tensor.get("raw_data", _EMPTY), _INTEGERS[code])
        value = np.array(stored if stored else raw, np.int64).reshape(shape)
    elif code == 1 and shape and math.prod(shape) <= 8:  # scales of a Resize
        stored = tensor["float_data"]
        value = np.array(stored or np.frombuffer(tensor.get("raw_data", _EMPTY), "<f4"), np.float32).reshape(
            shape
        )
    return name, Tensor(shape, _width(code, f"the weight {name!r}"), value)


def _port(entry: memoryview) -> tuple[str, Tensor]:
    value = read(entry, _VALUE, "a port")
    name = value.get("name", "")
    kind = read(read(value.get("type", _EMPTY), _TYPE, name).get("tensor_type", _EMPTY), _TENSOR_TYPE, name)
    dims = read(kind.get("shape", _EMPTY), _SHAPE, name)["dim"]
    shape = tuple(read(dim, _DIM, name).get("dim_value", 0) for dim in dims)
    return name, Tensor(shape, _width(kind.get("elem_type"), f"the port {name!r}"))


def _node(entry: memoryview) -> Node:
    node = read(entry, _NODE, "a node")
    if node.get("domain", "") not in ("", "ai.onnx"):
        raise ValueError(f"it uses {node['domain']}.{node.get('op_type')}, whose cost is not known")
    attributes = {}
    for one in node["attribute"]:
        attribute = read(one, _ATTRIBUTE, "an attribute")
        field = _ATTRIBUTE_FIELDS.get(attribute.get("type", 0))
        if field is None:
            raise ValueError(f"a {node.get('op_type')} has a sub-graph")
        value: Any = attribute.get(field, _DEFAULTS.get(field))
        attributes[attribute.get("name", "")] = bytes(value) if field == "s" else value
    return Node(node.get("op_type", ""), tuple(node["input"]), tuple(node["output"]), attributes)


_DEFAULTS: Final[Mapping[str, Any]] = {"f": 0.0, "i": 0, "s": b""}
"""What proto3 leaves out."""
