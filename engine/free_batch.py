"""The free first size of a graph's ports, settled in the file's bytes before a runtime sees them.

A graph that takes batches names the first size of every port "batch" and is otherwise like any other. Opened for one
entry, or for eight, it is the same file with a number in place of that name: every runtime then plans for fixed sizes,
and the weights stand in the bundle once.
"""

from __future__ import annotations

from typing import Final

from engine.errors import PortError
from engine.protobuf import encoded_int, parts, rewritten

FREE: Final = "batch"
"""What the free size is called in the file."""

# Field numbers of onnx.proto3 on the way from a model to the sizes of its ports.
_GRAPH, _INPUT, _OUTPUT, _BETWEEN = 7, 11, 12, 13
_TYPE, _TENSOR, _SHAPE, _DIM = 2, 1, 2, 1
_DIM_VALUE, _DIM_PARAM = 1, 2

Bytes = bytes | memoryview


class _Settling:
    """One pass over a file. free, fixed: ports met that have the free size, and that have not."""

    def __init__(self, batch: int) -> None:
        self._batch = batch
        self.free = self.fixed = 0

    def model(self, data: Bytes) -> bytes:
        values = dict.fromkeys((_INPUT, _OUTPUT), self._port) | {_BETWEEN: self._value}
        return rewritten(data, {_GRAPH: lambda graph: rewritten(graph, values)})

    def _port(self, value: Bytes) -> bytes:
        before = self.free
        found = self._value(value)
        self.fixed += self.free == before
        return found

    def _value(self, value: Bytes) -> bytes:
        def tensor(data: Bytes) -> bytes:
            return rewritten(data, {_SHAPE: self._shape})

        return rewritten(value, {_TYPE: lambda kind: rewritten(kind, {_TENSOR: tensor})})

    def _shape(self, shape: Bytes) -> bytes:
        left = iter((self._dim,))  # for the first size alone
        return rewritten(shape, {_DIM: lambda dim: next(left, bytes)(dim)})

    def _dim(self, dim: Bytes) -> bytes:
        named = [(number, bytes(value)) for number, value in parts(dim) if not isinstance(value, int)]
        if named != [(_DIM_PARAM, FREE.encode())]:
            return bytes(dim)
        self.free += 1
        return encoded_int(_DIM_VALUE, self._batch)


def is_free(data: Bytes) -> bool:
    """Whether every port of an ONNX file has the free first size. Raises ValueError for what is no such file."""
    settling = _Settling(1)
    settling.model(data)
    return settling.free > 0 and settling.fixed == 0


def settled(data: bytes, batch: int) -> bytes:
    """The same file for batches of one size. A file without the free size is for one entry, and stays as it is.

    Raises PortError for another size of such a file, ValueError for what is no ONNX file, or where only some of its
    ports have the free size.
    """
    settling = _Settling(batch)
    found = settling.model(data)
    if settling.free == 0:
        if batch != 1:
            raise PortError(f"the graph takes 1 entry at a time, expected {batch}; export it again")
        return data
    if settling.fixed:
        raise ValueError(f"only some of its ports have the free size {FREE!r}")
    return found
