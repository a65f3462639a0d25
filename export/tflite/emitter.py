"""The graph under construction: TFLite tensors on one side, ONNX nodes on the other.

TFLite keeps pictures as NHWC, ONNX convolutions want NCHW. Every picture-like result is therefore kept as
NCHW, and turned into the layout that an operator asks for only when one asks, once. Since convolutions,
activations, sums, pools and resizes all stay in NCHW, transposes remain only at the ports and in front of
reshapes that mix channels and places.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from engine.errors import ModelError
from export.tflite.flatbuffer import Model, Operator, Tensor

Array = NDArray[Any]
Shape = tuple[int, ...]

OPSET = 16
IR_VERSION = 8
TO_NCHW = (0, 3, 1, 2)
TO_NHWC = (0, 2, 3, 1)


@dataclass(slots=True)
class Value:
    """What is known of one TFLite tensor on the ONNX side: names by layout, filled when first asked for.

    native: same order as in TFLite. nchw: rank 4 with channels second. padding: top, left, bottom, right
    zeros that are still to be put around nchw (a convolution takes them over at no cost). affine: a 2 x 3
    matrix that stands for MediaPipe's 4 x 4.
    """

    native: str | None = None
    nchw: str | None = None
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)
    affine: str | None = None


class Emitter:
    """Collects nodes and constants. Operators of TFLite are written through it by the functions of the
    tables.
    """

    def __init__(self, model: Model) -> None:
        self.model = model
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, onnx.TensorProto] = {}
        self.values: dict[int, Value] = {}
        self.folded: dict[int, Array] = {}
        self._stems: dict[str, int] = {}
        self._shared: dict[tuple[str, bytes, Shape], str] = {}

    def tensor(self, index: int) -> Tensor:
        """The TFLite tensor of an index."""
        return self.model.tensors[index]

    def shape(self, index: int) -> Shape:
        """Its shape, as in TFLite."""
        return self.model.tensors[index].shape

    def fresh(self, stem: str) -> str:
        """A name that nothing in the graph has yet."""
        count = self._stems.get(stem, 0)
        self._stems[stem] = count + 1
        return f"{stem}_{count}"

    def constant(self, value: Array, stem: str = "constant") -> str:
        """Stores an array, float16 as float32; equal arrays share one entry."""
        if value.dtype == np.float16:
            value = value.astype(np.float32)
        value = np.ascontiguousarray(value)
        key = (value.dtype.str, value.tobytes(), value.shape)
        if key not in self._shared:
            name = self.fresh(stem)
            self.constants[name] = numpy_helper.from_array(value, name)
            self._shared[key] = name
        return self._shared[key]

    def node(self, kind: str, inputs: Sequence[str], stem: str | None = None, **attributes: Any) -> str:
        """Adds a node of one output and gives the output's name."""
        return self.split(kind, inputs, 1, stem, **attributes)[0]

    def split(
        self, kind: str, inputs: Sequence[str], count: int, stem: str | None = None, **attributes: Any
    ) -> list[str]:
        """Adds a node of several outputs."""
        names = [self.fresh(stem or kind.lower()) for _ in range(count)]
        self.nodes.append(helper.make_node(kind, list(inputs), names, names[0], **attributes))
        return names

    def value_of(self, index: int) -> Array | None:
        """The constant of a tensor, or None when it is computed."""
        return self.folded.get(index, self.tensor(index).value)

    def given(self, index: int, use: str) -> Array:
        """The constant of a tensor that has to be one."""
        value = self.value_of(index)
        if value is None:
            raise ModelError(f"{use} of a TFLite operator is computed at run time; only constants convert")
        return value.astype(np.float32) if value.dtype == np.float16 else value

    def native(self, index: int) -> str:
        """The tensor's name in TFLite's own order."""
        value = self._known(index)
        if value.native is None:
            if value.nchw is None:
                raise ModelError(
                    f"tensor {self.tensor(index).name}: a transform matrix where numbers are wanted"
                )
            value.native = self._to_native(self.nchw(index), self.shape(index))
        return value.native

    def nchw(self, index: int) -> str:
        """The name of a rank-4 tensor with channels second and its padding in place."""
        value = self._known(index)
        if value.nchw is None:
            value.nchw = self._to_nchw(self.native(index), self.shape(index))
        if any(value.padding):
            top, left, bottom, right = value.padding
            amounts = self.constant(np.array([0, 0, top, left, 0, 0, bottom, right], np.int64), "pads")
            value.nchw, value.padding = self.node("Pad", [value.nchw, amounts], mode="constant"), (0, 0, 0, 0)
        return value.nchw

    def is_nchw(self, index: int) -> bool:
        """Whether the tensor exists with channels second already."""
        return index in self.values and self.values[index].nchw is not None

    def unpadded(self, index: int) -> tuple[str, tuple[int, int, int, int]]:
        """Channels second, and the zeros that are still to be put around it."""
        value = self._known(index)
        if value.nchw is None:
            return self.nchw(index), (0, 0, 0, 0)
        return value.nchw, value.padding

    def affine(self, index: int) -> str:
        """The 2 x 3 matrix that stands for a 4 x 4 transform."""
        value = self._known(index)
        if value.affine is None:
            raise ModelError(f"tensor {self.tensor(index).name} is used as a transform and is none")
        return value.affine

    def is_affine(self, index: int) -> bool:
        """Whether the tensor is a transform."""
        return index in self.values and self.values[index].affine is not None

    def _known(self, index: int) -> Value:
        if index not in self.values:
            constant = self.value_of(index)
            if constant is None:
                raise ModelError(f"tensor {self.tensor(index).name} is used before anything computes it")
            self.values[index] = Value(native=self.constant(constant))
        return self.values[index]

    def _to_nchw(self, name: str, shape: Shape) -> str:
        _, height, width, channels = shape
        if channels == 1 or height * width == 1:
            return self.reshape(name, tuple(shape[axis] for axis in TO_NCHW))
        return self.node("Transpose", [name], perm=TO_NCHW)

    def _to_native(self, name: str, shape: Shape) -> str:
        _, height, width, channels = shape
        if channels == 1 or height * width == 1:
            return self.reshape(name, shape)
        return self.node("Transpose", [name], perm=TO_NHWC)

    def reshape(self, name: str, shape: Shape) -> str:
        """A Reshape to a fixed shape."""
        return self.node("Reshape", [name, self.constant(np.array(shape, np.int64), "shape")])

    def set_nchw(self, index: int, name: str) -> None:
        """States that a tensor was computed with channels second."""
        self.values[index] = Value(nchw=name)

    def set_native(self, index: int, name: str) -> None:
        """States that a tensor was computed in TFLite's order."""
        self.values[index] = Value(native=name)

    def activated(self, name: str, code: int) -> str:
        """Applies the activation that TFLite fuses into an operator."""
        if code == 0:
            return name
        if code in (1, 4):
            return self.node("Relu" if code == 1 else "Tanh", [name])
        if code in (2, 3):
            low, high = ((-1.0, 1.0), (0.0, 6.0))[code - 2]
            bounds = [self.constant(np.array(bound, np.float32), "bound") for bound in (low, high)]
            return self.node("Clip", [name, *bounds])
        raise ModelError(f"fused activation {code} is not one of TFLite's none, relu, relu1, relu6, tanh")

    def finish(self, title: str) -> onnx.ModelProto:
        """The checked ONNX model: ports named as in the file, in TFLite's order and shapes."""
        for index in self.model.outputs:
            self.nodes.append(helper.make_node("Identity", [self.native(index)], [self.tensor(index).name]))
        self._drop_port_identities()
        graph = helper.make_graph(
            self._reachable(),
            title,
            [self._port(index) for index in self.model.inputs],
            [self._port(index) for index in self.model.outputs],
            initializer=self._used_constants(),
        )
        model = helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", OPSET)], producer_name="marotte"
        )
        model.ir_version = IR_VERSION
        onnx.checker.check_model(onnx.shape_inference.infer_shapes(model, strict_mode=True), full_check=True)
        return model

    def _port(self, index: int) -> onnx.ValueInfoProto:
        tensor = self.tensor(index)
        kind = TensorProto.INT32 if tensor.dtype == np.int32 else TensorProto.FLOAT
        return helper.make_tensor_value_info(tensor.name, kind, tensor.shape)

    def _drop_port_identities(self) -> None:
        """Lets the node that computes an output carry the port's name itself, where nothing else reads it."""
        readers: dict[str, int] = {}
        for node in self.nodes:
            for name in node.input:
                readers[name] = readers.get(name, 0) + 1
        makers = {name: node for node in self.nodes for name in node.output}
        kept = []
        for node in self.nodes:
            if node.op_type == "Identity" and readers[node.input[0]] == 1 and node.input[0] in makers:
                maker = makers[node.input[0]]
                maker.output[list(maker.output).index(node.input[0])] = node.output[0]
            else:
                kept.append(node)
        self.nodes = kept

    def _reachable(self) -> list[onnx.NodeProto]:
        wanted = {self.tensor(index).name for index in self.model.outputs}
        kept = []
        for node in reversed(self.nodes):
            if wanted.intersection(node.output):
                wanted.update(node.input)
                kept.append(node)
        self.nodes = kept[::-1]
        return self.nodes

    def _used_constants(self) -> list[onnx.TensorProto]:
        used = {name for node in self.nodes for name in node.input}
        return [tensor for name, tensor in self.constants.items() if name in used]


@dataclass(frozen=True, slots=True)
class Site:
    """One operator at its place in the graph: what the functions of the tables get."""

    emitter: Emitter
    operator: Operator

    @property
    def inputs(self) -> tuple[int, ...]:
        """Its inputs; -1 stands for one that was left out."""
        return self.operator.inputs

    @property
    def output(self) -> int:
        """Its first output."""
        return self.operator.outputs[0]

    @property
    def shape(self) -> Shape:
        """The shape of its first output, as in TFLite."""
        return self.emitter.shape(self.output)

    def integer(self, field: int, default: int = 0) -> int:
        """An int32 option."""
        return self.operator.options.integer(field, default)

    def small(self, field: int) -> int:
        """A byte-sized option."""
        return int(self.operator.options.number(field, "b"))
