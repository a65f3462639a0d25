"""Reading a TFLite file: the tables of its flatbuffer that a conversion needs, bounds-checked.

Field numbers are those of the public TFLite schema (schema.fbs, version 3).
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from engine.errors import ModelError

Array = NDArray[Any]

_IDENTIFIER: Final = b"TFL3"
_DTYPES: Final[dict[int, type[np.generic]]] = {
    0: np.float32,
    1: np.float16,
    2: np.int32,
    3: np.uint8,
    4: np.int64,
    6: np.bool_,
    7: np.int16,
    9: np.int8,
    10: np.float64,
}
_DENSE_LIMIT: Final = 2**26
_SPARSE_VECTORS: Final = {1: "<i4", 2: "<u2", 3: "u1"}


@dataclass(frozen=True, slots=True)
class Table:
    """One flatbuffer table: fields are reached by number through its vtable, absent ones give the default."""

    data: bytes
    start: int

    def _field(self, number: int) -> int:
        """Absolute position of a field, 0 when it is absent."""
        vtable = self.start - struct.unpack_from("<i", self.data, self.start)[0]
        size = struct.unpack_from("<H", self.data, vtable)[0]
        slot = 4 + 2 * number
        if slot >= size:
            return 0
        offset = int(struct.unpack_from("<H", self.data, vtable + slot)[0])
        return self.start + offset if offset else 0

    def number(self, field: int, code: str, default: int | float = 0) -> Any:
        """A scalar of the given struct code."""
        at = self._field(field)
        return struct.unpack_from("<" + code, self.data, at)[0] if at else default

    def integer(self, field: int, default: int = 0) -> int:
        """An int32."""
        return int(self.number(field, "i", default))

    def flag(self, field: int) -> bool:
        """A bool or a small enumeration that is not its zero."""
        return bool(self.number(field, "b"))

    def _target(self, field: int) -> int:
        at = self._field(field)
        return at + int(struct.unpack_from("<I", self.data, at)[0]) if at else 0

    def table(self, field: int) -> Table | None:
        """A nested table."""
        at = self._target(field)
        return Table(self.data, at) if at else None

    def vector(self, field: int, dtype: str) -> Array | None:
        """A vector of numbers, as a view into the file."""
        at = self._target(field)
        if not at:
            return None
        count = struct.unpack_from("<I", self.data, at)[0]
        return np.frombuffer(self.data, dtype, count, at + 4)

    def text(self, field: int) -> str:
        """A UTF-8 string; empty when absent."""
        letters = self.vector(field, "u1")
        return "" if letters is None else letters.tobytes().decode("utf-8")

    def tables(self, field: int) -> Iterator[Table]:
        """The tables of a vector of tables."""
        offsets = self.vector(field, "<u4")
        if offsets is None:
            return
        first = self._target(field) + 4
        for index, offset in enumerate(offsets.tolist()):
            yield Table(self.data, first + 4 * index + offset)


@dataclass(frozen=True, slots=True)
class Tensor:
    """One tensor. value is None for what is computed, else its constant (sparse ones already dense)."""

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    value: Array | None


@dataclass(frozen=True, slots=True)
class Operator:
    """One node. code: the built-in operator's number, 32 for custom ones, which have a name and a version."""

    code: int
    name: str
    version: int
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: Table
    custom: bytes


@dataclass(frozen=True, slots=True)
class Model:
    """The first sub-graph of a file: inference models have no other."""

    tensors: tuple[Tensor, ...]
    operators: tuple[Operator, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


def read_model(data: bytes) -> Model:
    """Reads a TFLite file's bytes. Raises ModelError when they are none or are damaged."""
    if len(data) < 8 or data[4:8] != _IDENTIFIER:
        raise ModelError("not a TFLite file: it lacks the identifier TFL3; name a .tflite file of version 3")
    try:
        return _model(Table(data, struct.unpack_from("<I", data, 0)[0]))
    except (struct.error, ValueError, LookupError, MemoryError) as error:
        raise ModelError(f"damaged TFLite file: {error}; fetch it again") from error


def _model(root: Table) -> Model:
    graphs = list(root.tables(2))
    if len(graphs) != 1:
        raise ModelError(f"TFLite file has {len(graphs)} sub-graphs, expected 1; only plain networks convert")
    graph = graphs[0]
    buffers = list(root.tables(4))
    codes = list(root.tables(1))
    model = Model(
        tensors=tuple(_tensor(entry, buffers) for entry in graph.tables(0)),
        operators=tuple(_operator(entry, codes) for entry in graph.tables(3)),
        inputs=_indices(graph, 1),
        outputs=_indices(graph, 2),
    )
    _check_indices(model)
    return model


def _check_indices(model: Model) -> None:
    """Every index has to name a tensor; only an operator's input may be left out, which is -1."""
    known = range(len(model.tensors))
    named = [*model.inputs, *model.outputs]
    for operator in model.operators:
        named += operator.outputs
        named += [index for index in operator.inputs if index != -1]
    for index in named:
        if index not in known:
            raise ModelError(
                f"TFLite file names tensor {index} of {len(known)}: it is damaged; fetch it again"
            )


def _indices(table: Table, field: int) -> tuple[int, ...]:
    found = table.vector(field, "<i4")
    return () if found is None else tuple(found.tolist())


def _tensor(table: Table, buffers: list[Table]) -> Tensor:
    shape = _indices(table, 0)
    dtype = np.dtype(_DTYPES[table.number(1, "b")])
    raw = buffers[table.number(2, "I")].vector(0, "u1")
    value = None
    if raw is not None and raw.size:
        flat = np.frombuffer(raw.tobytes(), dtype)
        sparsity = table.table(6)
        value = flat.reshape(shape) if sparsity is None else _densify(flat, shape, sparsity)
    return Tensor(table.text(3), shape, dtype, value)


def _operator(table: Table, codes: list[Table]) -> Operator:
    code = codes[table.number(0, "I")]
    custom = table.vector(5, "u1")
    return Operator(
        # Old writers fill only the byte-sized field, new ones both.
        code=max(code.number(0, "b"), code.integer(3)),
        name=code.text(1),
        version=code.integer(2, 1),
        inputs=_indices(table, 1),
        outputs=_indices(table, 2),
        options=table.table(4) or _EMPTY,
        custom=b"" if custom is None else custom.tobytes(),
    )


_EMPTY: Final = Table(struct.pack("<iHH", -4, 4, 0), 0)


def _densify(values: Array, shape: tuple[int, ...], sparsity: Table) -> Array:
    """Spreads the stored values of a sparse tensor: its last dimension compressed, the others dense."""
    dimensions = list(sparsity.tables(2))
    order = _indices(sparsity, 0)
    if _indices(sparsity, 1) or order != tuple(range(len(shape))) or len(dimensions) != len(shape):
        raise ModelError(f"sparse tensor of order {order} with blocks: only unblocked rows in order are read")
    formats = [dimension.flag(0) for dimension in dimensions]
    if formats != [False] * (len(shape) - 1) + [True]:
        raise ModelError(f"sparse tensor of formats {formats}: only its last dimension may be compressed")
    last = dimensions[-1]
    segments = _sparse_vector(last, 2)
    columns = _sparse_vector(last, 4)
    if math.prod(shape) > _DENSE_LIMIT:
        raise ModelError(
            f"sparse tensor of shape {shape}: more than {_DENSE_LIMIT} values is no model of ours"
        )
    dense = np.zeros((math.prod(shape[:-1]), shape[-1]), values.dtype)
    rows = np.repeat(np.arange(len(dense)), np.diff(segments))
    dense[rows, columns] = values[: len(columns)]
    return dense.reshape(shape)


def _sparse_vector(dimension: Table, field: int) -> Array:
    kind = dimension.number(field, "B")
    holder = dimension.table(field + 1)
    values = None if holder is None else holder.vector(0, _SPARSE_VECTORS[kind])
    if values is None:
        raise ModelError("sparse tensor without its row segments or columns: the file is damaged")
    return values.astype(np.int64)
