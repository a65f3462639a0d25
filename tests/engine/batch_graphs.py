"""Small graphs that take batches, for every runtime of a CPU."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

SIDE = 4
_FLOAT, _BYTE = TensorProto.FLOAT, TensorProto.UINT8
Size = int | str


def mixed_graph(first: Size = "batch", out: Size | None = None) -> bytes:
    """sum = mean(image) + gain * 100; root = sqrt(gain), which is NaN for a gain below 0.

    Ports: image uint8 (n, 4, 4, 3), gain float32 (n, 1); sum, root float32 (n, 1). first, out: what n is in the file.
    """
    nodes = [
        helper.make_node("Cast", ["image"], ["levels"], to=_FLOAT),
        helper.make_node("ReduceMean", ["levels"], ["flat"], axes=[1, 2, 3], keepdims=0),
        helper.make_node("Unsqueeze", ["flat", "axis"], ["mean"]),
        helper.make_node("Mul", ["gain", "hundred"], ["gained"]),
        helper.make_node("Add", ["mean", "gained"], ["sum"]),
        helper.make_node("Sqrt", ["gain"], ["root"]),
    ]
    inputs = {"image": (_BYTE, [first, SIDE, SIDE, 3]), "gain": (_FLOAT, [first, 1])}
    last = first if out is None else out
    return _file(nodes, inputs, {"sum": [last, 1], "root": [last, 1]}, hundred=100.0, axis=[1])


def value_graph() -> bytes:
    """value = given, float32 (n,)."""
    nodes = [helper.make_node("Mul", ["given", "one"], ["value"])]
    return _file(nodes, {"given": (_FLOAT, ["batch"])}, {"value": ["batch"]}, one=1.0)


def growing_graph(first: Size = "batch") -> bytes:
    """grown_out = grown + gain, sum = grown_out + donor, float32 (n, 3): what leaves by grown_out enters by grown."""
    nodes = [
        helper.make_node("Add", ["grown", "gain"], ["grown_out"]),
        helper.make_node("Add", ["grown_out", "donor"], ["sum"]),
    ]
    shape = [first, 3]
    inputs = dict.fromkeys(("grown", "gain", "donor"), (_FLOAT, shape))
    return _file(nodes, inputs, {"grown_out": shape, "sum": shape})


def turned_graph(mean: bool = False) -> bytes:
    """Of n entries the k-th is answered by what belongs to the one that stands as far from the end, or by the mean of
    all; of one entry it is right. Ports: image uint8 (n, 4, 4, 3), sum float32 (n, 1)."""
    nodes = [
        helper.make_node("Cast", ["image"], ["levels"], to=_FLOAT),
        helper.make_node("ReduceMean", ["levels"], ["flat"], axes=[1, 2, 3], keepdims=0),
        helper.make_node("Unsqueeze", ["flat", "axis"], ["own"]),
        helper.make_node("Slice", ["own", "last", "before", "rows", "back"], ["turned"]),
        helper.make_node("ReduceMean", ["own"], ["all"], axes=[0], keepdims=1),
        helper.make_node("Mul", ["own", "nothing"], ["none"]),
        helper.make_node("Add", ["none", "all" if mean else "turned"], ["sum"]),
    ]
    constants = {"axis": [1], "last": [-1], "before": [-1000], "rows": [0], "back": [-1], "nothing": 0.0}
    return _file(nodes, {"image": (_BYTE, ["batch", SIDE, SIDE, 3])}, {"sum": ["batch", 1]}, **constants)


def _file(
    nodes: Sequence[Any], inputs: dict[str, Any], outputs: dict[str, Sequence[Size]], **constants: Any
) -> bytes:
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info(name, kind, shape) for name, (kind, shape) in inputs.items()],
        [helper.make_tensor_value_info(name, _FLOAT, shape) for name, shape in outputs.items()],
        [
            numpy_helper.from_array(
                np.asarray(value, np.int64 if isinstance(value, list) else np.float32), name
            )
            for name, value in constants.items()
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    data: bytes = model.SerializeToString(deterministic=True)
    return data
