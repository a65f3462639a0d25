"""A lowered graph as a CPU can show it: computed in float32, every number rounded to the type that the graph says.

The CPU runtimes cannot be asked themselves. ONNX Runtime has no bfloat16 layers, and computes a chain of float16 ones
in float32 without rounding in between; OpenVINO does the same with float16. What a GPU's matrix units do is this:
products of low numbers, summed in float32, the sum rounded to the low type.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from export.wiring import attribute

_LOW = (TensorProto.FLOAT16, TensorProto.BFLOAT16)


def rounded(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same graph with float32 everywhere and a pair of Casts behind whatever the graph gives in a low type.

    model: from export.precision.lower. Its numbers are those of the lowered graph up to the order of summing.
    """
    made = onnx.ModelProto()
    made.CopyFrom(model)
    graph = made.graph
    low = {tensor.name: tensor.data_type for tensor in graph.initializer if tensor.data_type in _LOW}
    low |= {
        value.name: value.type.tensor_type.elem_type
        for value in graph.value_info
        if value.type.tensor_type.elem_type in _LOW
    }
    constants = [_widened(tensor) for tensor in graph.initializer]
    nodes = [part for node in graph.node for part in _parts(node, low)]
    del graph.initializer[:], graph.node[:], graph.value_info[:]
    graph.initializer.extend(constants)
    graph.node.extend(nodes)
    return made


def _widened(tensor: onnx.TensorProto) -> onnx.TensorProto:
    if tensor.data_type not in _LOW:
        return tensor
    return numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float32), tensor.name)


def _parts(node: onnx.NodeProto, low: dict[str, int]) -> list[onnx.NodeProto]:
    """A node and the rounding of what it gives; a Cast up from a low type is a copy here."""
    if node.op_type == "Cast":
        kind = attribute(node, "to")
        if kind in _LOW:
            return _rounding(node.input[0], node.output[0], kind)
        if node.input[0] in low and kind == TensorProto.FLOAT:
            return [helper.make_node("Identity", node.input[:], node.output[:], node.name)]
        return [node]
    copied = onnx.NodeProto()
    copied.CopyFrom(node)
    parts = [copied]
    for place, name in enumerate(node.output):
        if name in low:
            copied.output[place] = f"{name}_wide"
            parts += _rounding(f"{name}_wide", name, low[name])
    return parts


def _rounding(given: str, made: str, kind: int) -> list[onnx.NodeProto]:
    down, up = f"{made}_down", f"{made}_up"
    return [
        helper.make_node("Cast", [given], [down], down, to=kind),
        helper.make_node("Cast", [down], [made], up, to=TensorProto.FLOAT),
    ]
