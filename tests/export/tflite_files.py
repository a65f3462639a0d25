"""Writes small TFLite files: only what a test states, in the layout of the public schema."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np

from engine.backends import open_graph
from export.tflite import convert

CODES = {np.dtype(np.float32): 0, np.dtype(np.float16): 1, np.dtype(np.int32): 2, np.dtype(np.int64): 4}

RNG = np.random.default_rng(5)


def values(*shape: int) -> Any:
    """Random float32 numbers around zero."""
    return RNG.normal(size=shape).astype(np.float32)


def run(folder: Path, data: bytes, backend: str = "onnxruntime", **arrays: Any) -> dict[str, Any]:
    """Converts a file's bytes and runs the graph."""
    path = folder / "graph.onnx"
    path.write_bytes(convert(data, "graph").SerializeToString())
    return dict(open_graph(path, backend).run(arrays))


@dataclass
class File:
    """A graph under construction. Tensors are numbered as they are added."""

    tensors: list[tuple[str, Sequence[int], np.dtype[Any], Any, Any]] = field(default_factory=list)
    operators: list[tuple[int, str, int, Sequence[int], Sequence[int], Sequence[Any], bytes]] = field(
        default_factory=list
    )

    def tensor(self, name: str, shape: Sequence[int], dtype: Any = np.float32) -> int:
        """A computed tensor."""
        self.tensors.append((name, shape, np.dtype(dtype), None, None))
        return len(self.tensors) - 1

    def constant(self, value: Any, shape: Sequence[int] | None = None, sparse: Any = None) -> int:
        """A constant. sparse: (segments, columns, code of their integers) of a compressed last dimension."""
        value = np.asarray(value)
        self.tensors.append(
            (f"constant{len(self.tensors)}", shape or value.shape, value.dtype, value, sparse)
        )
        return len(self.tensors) - 1

    def operator(
        self,
        code: int,
        inputs: Sequence[int],
        outputs: Sequence[int],
        options: Sequence[tuple[int, str, Any]] = (),
        custom: tuple[str, int, bytes] = ("", 1, b""),
    ) -> None:
        """A node. options: (field, "b", "i" or "f", value). custom: name, version, bytes of operator 32."""
        self.operators.append((code, custom[0], custom[1], inputs, outputs, options, custom[2]))

    def write(self, inputs: Sequence[int], outputs: Sequence[int]) -> bytes:
        """The file's bytes."""
        builder = flatbuffers.Builder(1024)
        buffers = [_table(builder, [])]
        tensors = []
        for name, shape, dtype, value, sparse in self.tensors:
            tensors.append(_tensor(builder, name, shape, dtype, 0 if value is None else len(buffers), sparse))
            if value is not None:
                buffers.append(
                    _table(builder, [(0, "o", _numbers(builder, np.frombuffer(value.tobytes(), "u1")))])
                )
        codes = [_code(builder, code, name, version) for code, name, version, *_ in self.operators]
        nodes = [_node(builder, index, *entry[3:]) for index, entry in enumerate(self.operators)]
        graph = _table(
            builder,
            [
                (0, "o", _offsets(builder, tensors)),
                (1, "o", _numbers(builder, np.array(inputs, "<i4"))),
                (2, "o", _numbers(builder, np.array(outputs, "<i4"))),
                (3, "o", _offsets(builder, nodes)),
            ],
        )
        fields = [(0, "I", 3), (1, "o", _offsets(builder, codes)), (2, "o", _offsets(builder, [graph]))]
        builder.Finish(
            _table(builder, [*fields, (4, "o", _offsets(builder, buffers))]), file_identifier=b"TFL3"
        )
        return bytes(builder.Output())


def _table(builder: Any, fields: Sequence[tuple[int, str, Any]]) -> int:
    put = {
        "b": builder.PrependInt8Slot,
        "i": builder.PrependInt32Slot,
        "I": builder.PrependUint32Slot,
        "f": builder.PrependFloat32Slot,
        "o": builder.PrependUOffsetTRelativeSlot,
    }
    builder.StartObject(max((number for number, _, _ in fields), default=-1) + 1)
    for number, kind, value in fields:
        put[kind](number, value, 0)
    return int(builder.EndObject())


def _numbers(builder: Any, values: Any) -> int:
    return int(builder.CreateNumpyVector(values))


def _offsets(builder: Any, offsets: Sequence[int]) -> int:
    builder.StartVector(4, len(offsets), 4)
    for offset in reversed(offsets):
        builder.PrependUOffsetTRelative(offset)
    return int(builder.EndVector())


def _code(builder: Any, code: int, name: str, version: int) -> int:
    text = [(1, "o", builder.CreateString(name))] if name else []
    return _table(builder, [(0, "b", min(code, 127)), *text, (2, "i", version), (3, "i", code)])


def _tensor(builder: Any, name: str, shape: Any, dtype: Any, buffer: int, sparse: Any) -> int:
    fields = [
        (0, "o", _numbers(builder, np.array(shape, "<i4"))),
        (1, "b", CODES[dtype]),
        (2, "I", buffer),
        (3, "o", builder.CreateString(name)),
    ]
    if sparse is not None:
        fields.append((6, "o", _sparsity(builder, shape, *sparse)))
    return _table(builder, fields)


def _sparsity(builder: Any, shape: Any, segments: Any, columns: Any, kind: int) -> int:
    dtype = {1: "<i4", 2: "<u2", 3: "u1"}[kind]
    dimensions = [_table(builder, [(0, "b", 0), (1, "i", size)]) for size in shape[:-1]]
    vectors = [
        _table(builder, [(0, "o", _numbers(builder, np.array(v, dtype)))]) for v in (segments, columns)
    ]
    last = [(0, "b", 1), (2, "b", kind), (3, "o", vectors[0]), (4, "b", kind), (5, "o", vectors[1])]
    dimensions.append(_table(builder, last))
    order = _numbers(builder, np.arange(len(shape), dtype="<i4"))
    return _table(builder, [(0, "o", order), (2, "o", _offsets(builder, dimensions))])


def _node(builder: Any, index: int, inputs: Any, outputs: Any, options: Any, custom: bytes) -> int:
    fields = [
        (0, "I", index),
        (1, "o", _numbers(builder, np.array(inputs, "<i4"))),
        (2, "o", _numbers(builder, np.array(outputs, "<i4"))),
        (4, "o", _table(builder, options)),
    ]
    if custom:
        fields.append((5, "o", _numbers(builder, np.frombuffer(custom, "u1"))))
    return _table(builder, fields)
