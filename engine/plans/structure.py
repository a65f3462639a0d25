"""Whether two ONNX files are one graph with other weights: told by their bytes, without the onnx package.

Of a personalised generator only the weights differ. A plan that was built for refit fits every file of its structure.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from typing import Any, Final

from engine.protobuf import parts, rewritten

# Field numbers of onnx.proto3.
_MODEL_GRAPH: Final = 7
_VERSIONS: Final = (1, 8)  # of the format, and of the operators
_NODE, _WEIGHT, _PORTS = 1, 5, (11, 12)
_NODE_SAYS: Final = (1, 2, 4, 5, 7)  # inputs, outputs, operator, attributes, domain
_INPUT, _OPERATOR, _NODE_NAME = 1, 4, 3
_DIMS, _TYPE, _WEIGHT_NAME, _VALUES = 1, 2, 8, 9
_VALUE_NAME, _VALUE_TYPE = 1, 2

_KERNEL, _MATRIX = 4, 2  # ranks of weights
_SIZED_BY: Final = {"Resize": (1, 2)}
"""Inputs that may be floats and decide on a size; all others that do are whole numbers."""

FLOATS: Final = frozenset({1, 10, 16})
"""ONNX's float32, float16 and bfloat16: the types of weights."""


def structure(graph: bytes) -> str:
    """SHA-256, hex, of all but the weights: versions, nodes with their names, ports, and the names, shapes and types of
    the weights.

    Whole numbers among the constants, and floats that a size is made of, belong to it. Who exported the file, and what
    it says for people, does not. Raises ValueError for what is no ONNX file.
    """
    digest = hashlib.sha256()
    for piece in _told(graph):
        digest.update(len(piece).to_bytes(8, "big"))
        digest.update(piece)
    return digest.hexdigest()


def _told(data: bytes) -> Iterator[bytes]:
    model = parts(data)
    yield from _fields(model, _VERSIONS)
    inside = [field for number, value in model if number == _MODEL_GRAPH for field in parts(_message(value))]
    nodes = [parts(_message(value)) for number, value in inside if number == _NODE]
    sizes = {name for node in nodes for name in _sizes(node)}
    for node in nodes:
        yield b"node"
        yield from _fields(node, (*_NODE_SAYS, _NODE_NAME))
    for number, value in inside:
        if number == _WEIGHT:
            yield from _weight(parts(_message(value)), sizes)
        elif number in _PORTS:
            yield b"port %d" % number
            yield from _fields(parts(_message(value)), (_VALUE_NAME, _VALUE_TYPE))


def _weight(fields: list[tuple[int, Any]], sizes: set[bytes]) -> Iterator[bytes]:
    """Its name, type and shape; and its numbers where they are no weights."""
    name = b"".join(bytes(value) for number, value in fields if number == _WEIGHT_NAME)
    kind = next((value for number, value in fields if number == _TYPE), 0)
    yield b"weight"
    yield from _fields(fields, (_DIMS, _TYPE, _WEIGHT_NAME))
    if kind not in FLOATS or name in sizes:
        yield from _fields(fields, tuple({number for number, _ in fields} - {_DIMS, _TYPE, _WEIGHT_NAME}))


def _sizes(node: list[tuple[int, Any]]) -> list[bytes]:
    """The inputs of a node that its result's size is made of."""
    kind = next((bytes(value).decode() for number, value in node if number == _OPERATOR), "")
    inputs = [bytes(value) for number, value in node if number == _INPUT]
    return [inputs[at] for at in _SIZED_BY.get(kind, ()) if at < len(inputs) and inputs[at]]


def _fields(fields: list[tuple[int, Any]], wanted: tuple[int, ...]) -> Iterator[bytes]:
    for number, value in sorted(fields, key=lambda field: field[0]):
        if number in wanted:
            yield b"%d" % number
            yield b"=%d" % value if isinstance(value, int) else bytes(value)


def _message(value: int | memoryview) -> memoryview:
    if isinstance(value, int):
        raise ValueError("a number stands where a part of the graph was expected")
    return value


def without_kernels(graph: bytes) -> bytes:
    """The graph with zeros for its kernels, or for its matrices where it has no kernels: what is left is what it
    answers whatever it learnt. Raises ValueError for what is no ONNX file."""
    ranks = {_rank(value) for value in _weights(graph)}
    rank = _KERNEL if _KERNEL in ranks else _MATRIX

    def emptied(weight: memoryview) -> bytes:
        if _rank(weight) != rank:
            return bytes(weight)
        return rewritten(weight, {_VALUES: lambda values: bytes(len(values))})

    return rewritten(graph, {_MODEL_GRAPH: lambda inside: rewritten(inside, {_WEIGHT: emptied})})


def _weights(graph: bytes) -> Iterator[memoryview]:
    for number, value in parts(graph):
        if number == _MODEL_GRAPH:
            inside = parts(_message(value))
            yield from (_message(weight) for which, weight in inside if which == _WEIGHT)


def _rank(weight: memoryview) -> int:
    """Of a weight that a network learns; 0 for whole numbers and for single ones."""
    fields = parts(weight)
    sizes = [value for number, value in fields if number == _DIMS]
    kind = next((value for number, value in fields if number == _TYPE), 0)
    learnt = kind in FLOATS and math.prod(size for size in sizes[:2] if isinstance(size, int)) > 1
    return len(sizes) if learnt else 0
