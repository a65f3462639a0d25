"""A traced graph written anew: only what the outputs need, named by order, every field stated, weights inside.

What torch's exporter adds (paths of source files, names of its own functions, versions) is left out, so that the same
module gives the same bytes wherever and whenever it is exported.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from engine.bundle import PortInfo
from engine.free_batch import FREE

IR_VERSION = 8
"""The oldest version of the file format that goes with opset 18."""

_TYPES = {"uint8": TensorProto.UINT8, "float32": TensorProto.FLOAT, "int64": TensorProto.INT64}
_FOLDED = {"Cast", "Concat", "Reshape", "Slice", "Squeeze", "Transpose", "Unsqueeze"}
"""Operators that are computed at once where their inputs are constants; none of them makes more of them."""
_LEAST_HALVED = 64  # entries: below, a Cast costs more bytes than it saves

Array = NDArray[Any]


def tidy(
    model: onnx.ModelProto,
    title: str,
    inputs: Sequence[PortInfo],
    outputs: Sequence[PortInfo],
    *,
    opset: int,
    half: bool,
    free: bool = False,
) -> bytes:
    """The file's bytes. half: weights that a float16 holds exactly are stored as one. free: the first size of every
    port is left free, as the model has it. Raises ValueError for a graph with something in it that no bundle may hold,
    or without one of the ports."""
    return _Tidied(model, inputs, outputs, opset, half).data(title, free)


class _Tidied:
    """The graph under way. names: what an old name is called now. constants: by old name."""

    def __init__(
        self,
        model: onnx.ModelProto,
        inputs: Sequence[PortInfo],
        outputs: Sequence[PortInfo],
        opset: int,
        half: bool,
    ) -> None:
        if model.functions:
            raise ValueError(
                f"the function {model.functions[0].name} was left in it; expected operators only"
            )
        self.inputs, self.outputs, self.opset, self.half = inputs, outputs, opset, half
        self.stems = {tensor.name: str(tensor.name) for tensor in model.graph.initializer}
        self.constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
        self.names: dict[str, str] = {}
        self.stored: dict[str, onnx.TensorProto] = {}
        self.nodes: list[onnx.NodeProto] = []
        self._aliases: dict[str, str] = {}
        self._counts: dict[str, int] = {}
        self._taken = {port.name for port in (*inputs, *outputs)}
        self._shared: dict[tuple[str, bytes, tuple[int, ...]], str] = {}
        self._check_ports(model.graph)
        for node in self._needed(self._plain(model.graph.node, opset)):
            self._add(node)
        read = {name for node in self.nodes for name in node.input}
        for port in inputs:
            if port.name not in read:  # ONNX Runtime would not have the port then
                raise ValueError(
                    f"nothing reads the input {port.name!r}; leave it out of the plan, or use it"
                )

    def _check_ports(self, graph: onnx.GraphProto) -> None:
        made = {value.name for value in graph.output}
        for port in self.outputs:
            if port.name not in made:
                raise ValueError(f"the module does not compute its output {port.name!r}")
        self.names.update({port.name: port.name for port in self.inputs})

    def _plain(self, nodes: Sequence[onnx.NodeProto], opset: int) -> Iterator[onnx.NodeProto]:
        """Without constants, what follows from constants alone, and copies, which only rename."""
        ports = {port.name for port in self.outputs}
        for node in nodes:
            read = [self._origin(name) for name in node.input]
            if node.op_type == "Constant":
                self.constants[node.output[0]] = _value(node)
            elif node.op_type == "Identity" and node.output[0] not in ports:
                self._aliases[node.output[0]] = read[0]
            elif node.op_type in _FOLDED and all(name in self.constants or not name for name in read):
                self._fold(node, read, opset)
            else:
                yield node

    def _fold(self, node: onnx.NodeProto, read: Sequence[str], opset: int) -> None:
        """Compute a node now; a part of a weight keeps the weight's name as its stem."""
        given = {name: self.constants[origin] for name, origin in zip(node.input, read) if name}
        for name, value in zip(node.output, _computed(node, given, opset)):
            self.constants[name] = value
            if read[0] in self.stems:
                self.stems[name] = self.stems[read[0]]

    def _origin(self, name: str) -> str:
        return self._aliases.get(name, name)

    def _needed(self, nodes: Iterator[onnx.NodeProto]) -> list[onnx.NodeProto]:
        return needed(list(nodes), [port.name for port in self.outputs], self._origin)

    def _add(self, node: onnx.NodeProto) -> None:
        pictures = {port.name for port in self.inputs if port.dtype == "uint8"}
        if node.op_type != "Cast" and (read := pictures.intersection(node.input)):
            raise ValueError(
                f"a {node.op_type} reads the picture {min(read)!r}; cast it first, as TensorRT has uint8 in ports only"
            )
        inputs = [self._read(self._origin(name)) for name in node.input]
        while inputs and not inputs[-1]:
            inputs.pop()
        made = [self._made(name, node.op_type) for name in node.output]
        while made and not made[-1]:
            made.pop()
        copied = helper.make_node(node.op_type, inputs, made, made[0], domain=node.domain)
        for attribute in sorted(node.attribute, key=lambda entry: str(entry.name)):
            plain = copied.attribute.add()
            plain.CopyFrom(attribute)
            plain.ClearField("doc_string")
        self.nodes.append(copied)

    def _made(self, name: str, kind: str) -> str:
        if not name:
            return ""
        port = any(port.name == name for port in self.outputs)
        self.names[name] = name if port else self._fresh(kind.lower())
        return self.names[name]

    def _read(self, name: str) -> str:
        if not name:
            return ""
        if name not in self.names:
            if name not in self.constants:
                raise ValueError(f"{name!r} is read and nothing gives it")
            self.names[name] = self._store(name, self.constants[name])
        return self.names[name]

    def _store(self, name: str, value: Array) -> str:
        """The name under which a constant is read; equal ones share an entry."""
        value = np.asarray(value, order="C")  # ascontiguousarray would give a scalar an axis
        key = (value.dtype.str, value.tobytes(), value.shape)
        if key not in self._shared:
            stem = self.stems.get(name, "constant")
            named = stem != "constant" and stem not in self._taken
            self._shared[key] = self._stored(stem if named else self._fresh(stem), value)
        return self._shared[key]

    def _stored(self, name: str, value: Array) -> str:
        self._taken.add(name)
        if not (self.half and _fits_half(value)):
            self.stored[name] = numpy_helper.from_array(value, name)
            return name
        self.stored[name] = numpy_helper.from_array(value.astype(np.float16), name)
        cast = self._fresh("weight")
        self.nodes.append(helper.make_node("Cast", [name], [cast], cast, to=TensorProto.FLOAT))
        return cast

    def _fresh(self, stem: str) -> str:
        """A name that nothing has yet."""
        while True:
            count = self._counts.get(stem, 0)
            self._counts[stem] = count + 1
            if (name := f"{stem}_{count}") not in self._taken:
                self._taken.add(name)
                return name

    def data(self, title: str, free: bool) -> bytes:
        graph = helper.make_graph(
            self.nodes,
            title,
            [_value_info(port, free) for port in self.inputs],
            [_value_info(port, free) for port in self.outputs],
            initializer=list(self.stored.values()),
        )
        model = helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", self.opset)], producer_name="marotte"
        )
        model.ir_version = IR_VERSION
        data: bytes = model.SerializeToString(deterministic=True)
        return data


def needed(
    nodes: Sequence[onnx.NodeProto], outputs: Iterable[str], origin: Callable[[str], str] = str
) -> list[onnx.NodeProto]:
    """The nodes on which the outputs depend, in their order. origin: what a name that is read really is."""
    wanted = set(outputs)
    kept = []
    for node in reversed(nodes):
        if wanted.intersection(node.output):
            wanted.update(origin(name) for name in node.input)
            kept.append(node)
    return kept[::-1]


def _computed(node: onnx.NodeProto, given: Mapping[str, Array], opset: int) -> list[Array]:
    graph = helper.make_graph(
        [node],
        "one",
        [
            helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(value.dtype), value.shape)
            for name, value in given.items()
        ],
        [onnx.ValueInfoProto(name=name) for name in node.output],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    found = ReferenceEvaluator(model).run(None, dict(given))
    return [np.asarray(value) for value in found]


def _value(node: onnx.NodeProto) -> Array:
    if [attribute.name for attribute in node.attribute] != ["value"]:
        raise ValueError(f"the constant {node.output[0]!r} is no tensor")
    found: Array = numpy_helper.to_array(node.attribute[0].t)
    return found


def _fits_half(value: Array) -> bool:
    if value.dtype != np.float32 or value.ndim < 2 or value.size < _LEAST_HALVED:
        return False
    with np.errstate(over="ignore"):
        return bool(np.array_equal(value.astype(np.float16).astype(np.float32), value))


def _value_info(port: PortInfo, free: bool) -> onnx.ValueInfoProto:
    shape = (FREE, *port.shape[1:]) if free else port.shape
    return helper.make_tensor_value_info(port.name, _TYPES[port.dtype], shape)
