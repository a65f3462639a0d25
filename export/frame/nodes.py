"""A small language for graphs written by hand: values with arithmetic, constants that are shared, networks put in.

What is written here costs no torch, and a graph of a finished bundle can be put into a larger one wherever onnx is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import ArrayLike, NDArray
from onnx import TensorProto, helper, numpy_helper

from engine.bundle import PortInfo
from engine.errors import BundleError
from engine.free_batch import FREE as BATCH
from engine.free_batch import is_free
from export.batch import batched
from export.frame import OWN
from export.tidy import IR_VERSION, needed

_TYPES = {"uint8": TensorProto.UINT8, "float32": TensorProto.FLOAT, "int64": TensorProto.INT64}
_AXES_READ = 18
"""The first opset in which ReduceMax and ReduceMean read their axes; before, they state them."""


class Value:
    """A tensor of the graph under way, float32 where nothing else is said. Numbers and arrays beside one in an
    expression become constants."""

    def __init__(self, graph: Nodes, name: str) -> None:
        self.graph, self.name = graph, name

    def __add__(self, other: Value | ArrayLike) -> Value:
        return self.graph.op("Add", self, other)

    def __sub__(self, other: Value | ArrayLike) -> Value:
        return self.graph.op("Sub", self, other)

    def __mul__(self, other: Value | ArrayLike) -> Value:
        return self.graph.op("Mul", self, other)

    def __truediv__(self, other: Value | ArrayLike) -> Value:
        return self.graph.op("Div", self, other)

    def __rsub__(self, other: ArrayLike) -> Value:
        return self.graph.op("Sub", other, self)

    def __rtruediv__(self, other: ArrayLike) -> Value:
        return self.graph.op("Div", other, self)

    __radd__, __rmul__ = __add__, __mul__

    def clip(self, low: float, high: float) -> Value:
        return self.graph.op("Clip", self, low, high)

    def floor(self) -> Value:
        return self.graph.op("Floor", self)

    def level(self) -> Value:
        """Rounded to whole levels as OpenCV and the kernels of the CPU do: halves go up."""
        return (self + 0.5).floor()

    def channels(self, first: int, end: int) -> Value:
        """Of (B, C, ...), those from `first` to before `end`."""
        return self.graph.op("Slice", self, _ints(first), _ints(end), _ints(1))

    def shaped(self, *shape: int) -> Value:
        return self.graph.op("Reshape", self, _ints(*shape))

    def turned(self, *order: int) -> Value:
        return self.graph.op("Transpose", self, perm=list(order))

    def total(self, *axes: int, keep: bool = True) -> Value:
        """The sum over some axes."""
        return self.graph.op("ReduceSum", self, _ints(*axes), keepdims=int(keep))

    def mean(self, *axes: int, keep: bool = True) -> Value:
        return self.graph.over("ReduceMean", self, axes, keep)

    def largest(self, *axes: int, keep: bool = True) -> Value:
        return self.graph.over("ReduceMax", self, axes, keep)

    def cast(self, dtype: str) -> Value:
        return self.graph.op("Cast", self, to=_TYPES[dtype])


class Nodes:
    """A graph under way."""

    def __init__(self) -> None:
        self._nodes: list[onnx.NodeProto] = []
        self._constants: dict[tuple[str, tuple[int, ...], bytes], onnx.TensorProto] = {}
        self._inputs: list[PortInfo] = []
        self._outputs: list[PortInfo] = []
        self._weights: dict[str, onnx.TensorProto] = {}
        self._opset: int | None = None

    def input(self, port: PortInfo) -> Value:
        """A port; one of uint8 has to be cast before it is read."""
        self._inputs.append(port)
        return Value(self, port.name)

    def output(self, port: PortInfo, value: Value) -> None:
        """`value` leaves by this port."""
        self._outputs.append(port)
        kind = "Cast" if port.dtype == "uint8" else "Identity"
        attributes = {"to": TensorProto.UINT8} if port.dtype == "uint8" else {}
        self._nodes.append(
            helper.make_node(kind, [value.name], [port.name], f"{OWN}{port.name}", **attributes)
        )

    def op(self, kind: str, *inputs: Value | ArrayLike, **attributes: Any) -> Value:
        """The only output of a node."""
        name = f"{OWN}{kind.lower()}_{len(self._nodes)}"
        read = [one.name if isinstance(one, Value) else self.constant(one).name for one in inputs]
        self._nodes.append(helper.make_node(kind, read, [name], name, **attributes))
        return Value(self, name)

    def constant(self, value: ArrayLike) -> Value:
        """float32, or int64 where the array is of whole numbers of that type. Equal ones are stored once."""
        array = np.asarray(value)
        array = np.ascontiguousarray(array if array.dtype == np.int64 and array.ndim else array.astype("<f4"))
        array = array.reshape(np.shape(value))
        key = (array.dtype.str, array.shape, array.tobytes())
        if key not in self._constants:
            self._constants[key] = numpy_helper.from_array(array, f"{OWN}constant_{len(self._constants)}")
        return Value(self, str(self._constants[key].name))

    def over(self, kind: str, value: Value, axes: Sequence[int], keep: bool) -> Value:
        """A reduction, once a network has settled which opset it is written in."""
        if self._opset is None:
            raise ValueError(f"{kind}: put a network in first")
        if self._opset >= _AXES_READ:
            return self.op(kind, value, _ints(*axes), keepdims=int(keep))
        return self.op(kind, value, axes=list(axes), keepdims=int(keep))

    def where(self, test: Value, one: Value | ArrayLike, other: Value | ArrayLike) -> Value:
        return self.op("Where", test, one, other)

    def joined(self, *parts: Value, axis: int = 1) -> Value:
        return self.op("Concat", *parts, axis=axis)

    def sampled(self, picture: Value, grid: Value, padding: str = "border") -> Value:
        """Bilinear; the grid is -1..1 between the centres of the outermost pixels."""
        return self.op("GridSample", picture, grid, mode="bilinear", padding_mode=padding, align_corners=1)

    def network(self, data: bytes, prefix: str, given: Mapping[str, Value]) -> dict[str, Value]:
        """Put a bundle's graph in, for any number of entries; its outputs by port.

        prefix: of the names of its nodes and weights. given: a value per input. A picture's port is given as float32
        levels (B, S, S, 3): TensorRT has uint8 in ports alone, so that the Cast behind that port falls away.
        """
        model = onnx.load_from_string(data)
        if not is_free(data):
            model = batched(model, None)
        opset = next(entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx"))
        if self._opset not in (None, opset):
            raise BundleError(f"{prefix}: its opset is {opset}, and another graph's is {self._opset}")
        self._opset = opset
        pictures = {
            port.name for port in model.graph.input if port.type.tensor_type.elem_type == TensorProto.UINT8
        }
        names = {name: value.name for name, value in given.items()}
        for tensor in model.graph.initializer:
            names[tensor.name] = f"{prefix}.{tensor.name}"
            self._weights[names[tensor.name]] = _renamed(tensor, names[tensor.name])
        for node in model.graph.node:
            if pictures.intersection(node.input):
                if node.op_type != "Cast" or node.attribute[0].i != TensorProto.FLOAT:
                    raise BundleError(f"{prefix}: a {node.op_type} reads a picture, expected a Cast to float")
                names[node.output[0]] = names[node.input[0]]
                continue
            self._nodes.append(_moved(node, prefix, names))
        return {port.name: Value(self, names[port.name]) for port in model.graph.output}

    def data(self, title: str) -> bytes:
        """The ONNX file, without what no output needs; the same bytes every time. Raises BundleError for no file."""
        nodes = needed(self._nodes, [port.name for port in self._outputs])
        read = {name for node in nodes for name in node.input}
        stored = (*self._weights.values(), *self._constants.values())
        graph = helper.make_graph(
            nodes,
            title,
            [_value_info(port) for port in self._inputs],
            [_value_info(port) for port in self._outputs],
            initializer=[tensor for tensor in stored if tensor.name in read],
        )
        model = helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", self._opset or 18)], producer_name="marotte"
        )
        model.ir_version = IR_VERSION
        data: bytes = model.SerializeToString(deterministic=True)
        try:
            onnx.checker.check_model(data, full_check=True)
        except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
            raise BundleError(f"graph {title}: {' '.join(str(error).split())[:300]}") from error
        return data

    @property
    def ports(self) -> tuple[tuple[PortInfo, ...], tuple[PortInfo, ...]]:
        """Inputs and outputs."""
        return tuple(self._inputs), tuple(self._outputs)


def _ints(*values: int) -> NDArray[np.int64]:
    return np.array(values, np.int64)


def _renamed(tensor: onnx.TensorProto, name: str) -> onnx.TensorProto:
    copied = onnx.TensorProto()
    copied.CopyFrom(tensor)
    copied.name = name
    return copied


def _moved(node: onnx.NodeProto, prefix: str, names: dict[str, str]) -> onnx.NodeProto:
    for name in node.output:
        names[name] = f"{prefix}.{name}" if name else ""
    copied = onnx.NodeProto()
    copied.CopyFrom(node)
    del copied.input[:], copied.output[:]
    copied.input.extend(names[name] if name else "" for name in node.input)
    copied.output.extend(names[name] for name in node.output)
    copied.name = f"{prefix}.{node.name or node.output[0]}"
    return copied


FREE: Mapping[int, str] = {1: "height", 2: "width"}
"""Names of a frame port's free sizes, by axis, beside the batch that every port begins with."""


def _value_info(port: PortInfo) -> onnx.ValueInfoProto:
    shape: Sequence[int | str] = [
        BATCH,
        *(size or FREE[axis] for axis, size in enumerate(port.shape) if axis),
    ]
    return helper.make_tensor_value_info(port.name, _TYPES[port.dtype], shape)
