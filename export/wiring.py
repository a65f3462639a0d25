"""An ONNX graph ready to be rewritten: nothing left to compute beforehand, every type and shape known, who reads what.

Shared by what changes a graph after its export: its precision (export/precision.py) and its batch (export/batch.py).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import AttributeProto, TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from engine.errors import BundleError

Array = NDArray[Any]
Shape = tuple[int | str | None, ...]

FLOATS = frozenset({TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16})
_DOMAINS = ("", "ai.onnx")
_QUANTISING = {"QuantizeLinear", "DequantizeLinear"}
_MOST_FOLDED = 1 << 20  # entries: a grid may be stored, a large plane of one value may not


class Wiring:
    """A copy of a model's graph, to be read; `model` is the copy.

    constants: every initialiser by name. types, shapes: of every tensor, ONNX's numbers and sizes (a name where a size
    is free). makers, readers: which node gives a tensor and which nodes read it, at which place. inputs, outputs: the
    ports' names. Raises BundleError for a graph that cannot be understood wholly: other domains, control flow,
    functions, sizes that no inference finds.
    """

    def __init__(self, model: onnx.ModelProto) -> None:
        self.model = onnx.ModelProto()
        self.model.CopyFrom(model)
        _refuse_foreign(self.model)
        try:
            _fold(self.model)
        except (RuntimeError, NotImplementedError, ValueError, TypeError) as error:
            raise BundleError(
                f"graph {self.model.graph.name}: a constant cannot be computed: {line(error)}"
            ) from error
        graph = self.model.graph
        self.opset = opset(self.model)
        self.constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
        self.nodes = list(graph.node)
        self.inputs = [value.name for value in graph.input]
        self.outputs = [value.name for value in graph.output]
        self.types: dict[str, int] = {tensor.name: tensor.data_type for tensor in graph.initializer}
        self.shapes: dict[str, Shape] = {name: value.shape for name, value in self.constants.items()}
        self._infer()
        self.makers = {name: node for node in self.nodes for name in node.output if name}
        self.readers: dict[str, list[tuple[onnx.NodeProto, int]]] = {}
        for node in self.nodes:
            for place, name in enumerate(node.input):
                if name:
                    self.readers.setdefault(name, []).append((node, place))

    def _infer(self) -> None:
        try:
            inferred = onnx.shape_inference.infer_shapes(
                self.model, check_type=True, strict_mode=True, data_prop=True
            )
        except onnx.shape_inference.InferenceError as error:
            raise BundleError(f"graph {self.model.graph.name}: {line(error)}") from error
        graph = inferred.graph
        for value in (*graph.input, *graph.output, *graph.value_info):
            tensor = value.type.tensor_type
            self.types[value.name] = tensor.elem_type
            if tensor.HasField("shape"):
                self.shapes[value.name] = tuple(_size(entry) for entry in tensor.shape.dim)
        for node in self.nodes:
            for name in node.output:
                if name and (name not in self.types or name not in self.shapes):
                    raise BundleError(
                        f"graph {self.model.graph.name}: type and size of {name!r} ({node.op_type}) cannot be told; "
                        "export it with fixed sizes"
                    )

    def made(self, name: str) -> onnx.NodeProto | None:
        """The node that gives a tensor; None for a port or a constant."""
        return self.makers.get(name)

    def readers_of(self, node: onnx.NodeProto) -> Iterator[onnx.NodeProto]:
        """The nodes that read any of a node's outputs."""
        for name in node.output:
            for reader, _ in self.readers.get(name, ()):
                yield reader

    def makers_of(self, node: onnx.NodeProto) -> Iterator[onnx.NodeProto]:
        """The nodes that give any of a node's inputs."""
        for name in node.input:
            if name in self.makers:
                yield self.makers[name]

    def entries(self, name: str) -> int | None:
        """How many entries a tensor has; None where a size is free."""
        count = 1
        for size in self.shapes[name]:
            if not isinstance(size, int):
                return None
            count *= size
        return count


def opset(model: onnx.ModelProto) -> int:
    """The version of ONNX's own operators that a model is written in."""
    return next(int(entry.version) for entry in model.opset_import if entry.domain in _DOMAINS)


def formal(
    node: onnx.NodeProto, version: int, place: int, output: bool = False
) -> tuple[str, frozenset[str]]:
    """The type variable of a node's input or output ("T"), and the types that it may stand for ("tensor(float)")."""
    schema = onnx.defs.get_schema(node.op_type, version, node.domain)
    stated = schema.outputs if output else schema.inputs
    return stated[min(place, len(stated) - 1)].type_str, frozenset(stated[min(place, len(stated) - 1)].types)


def attribute(node: onnx.NodeProto, name: str, default: Any = None) -> Any:
    """The value of a node's attribute."""
    for entry in node.attribute:
        if entry.name == name:
            return helper.get_attribute_value(entry)
    return default


def line(error: Exception) -> str:
    """An error's text on one line."""
    return " ".join(str(error).split())[:300]


def _refuse_foreign(model: onnx.ModelProto) -> None:
    name = model.graph.name
    if model.functions:
        raise BundleError(
            f"graph {name}: it calls the function {model.functions[0].name}, expected operators only"
        )
    for node in model.graph.node:
        if node.domain not in _DOMAINS:
            raise BundleError(
                f"graph {name}: {node.op_type} is of the domain {node.domain}, expected ONNX's own"
            )
        if any(entry.type in (AttributeProto.GRAPH, AttributeProto.GRAPHS) for entry in node.attribute):
            raise BundleError(f"graph {name}: {node.op_type} holds a graph of its own, expected none")
    version = opset(model)
    for node in model.graph.node:
        if not onnx.defs.has(node.op_type, version):
            raise BundleError(f"graph {name}: {node.op_type} is no operator of ONNX's opset {version}")
    if any(tensor.external_data for tensor in model.graph.initializer):
        raise BundleError(f"graph {name}: weights lie outside of the file, expected them inside")


def _fold(model: onnx.ModelProto) -> None:
    """Constants as initialisers, and what follows from constants alone computed, in place.

    A weight that is stored as float16 with a Cast behind it is float32 afterwards, under its own name.
    """
    graph = model.graph
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    renamed: dict[str, str] = {}
    cast_only = _read_by_casts_alone(graph)
    kept = []
    version = opset(model)
    ports = {value.name for value in graph.output}
    for node in graph.node:
        for place, name in enumerate(node.input):
            node.input[place] = renamed.get(name, name)
        if ports.intersection(node.output) or not _computable(node, constants):
            kept.append(node)
            continue
        values = _computed(node, constants, version)
        if values is None:
            kept.append(node)
            continue
        for name, value in zip(node.output, values):
            if node.op_type == "Cast" and node.input[0] in cast_only:
                renamed[name] = name = node.input[0]
            constants[name] = value
    read = {name for node in kept for name in node.input} | ports
    del graph.node[:], graph.initializer[:], graph.value_info[:]
    graph.node.extend(kept)
    graph.initializer.extend(
        numpy_helper.from_array(np.asarray(value, order="C"), name)
        for name, value in constants.items()
        if name in read
    )


def _read_by_casts_alone(graph: onnx.GraphProto) -> set[str]:
    """Initialisers that one Cast reads and nothing else."""
    readers: dict[str, list[str]] = {}
    for node in graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node.op_type)
    return {tensor.name for tensor in graph.initializer if readers.get(tensor.name) == ["Cast"]}


def _computable(node: onnx.NodeProto, constants: dict[str, Array]) -> bool:
    if node.op_type == "Constant":
        return True
    if node.op_type in _QUANTISING or not node.input:
        return False
    return all(name in constants for name in node.input if name)


def _computed(node: onnx.NodeProto, constants: dict[str, Array], version: int) -> Sequence[Array] | None:
    """A node's outputs; None where storing them would take more room than they are worth."""
    given = {name: constants[name] for name in node.input if name}
    graph = helper.make_graph(
        [node],
        "constant",
        [
            helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(value.dtype), value.shape)
            for name, value in given.items()
        ],
        [onnx.ValueInfoProto(name=name) for name in node.output],
    )
    found = ReferenceEvaluator(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", version)])
    ).run(None, given)
    values = [np.asarray(value) for value in found]
    largest = max([value.size for value in given.values()], default=0)
    if node.op_type != "Constant" and any(value.size > max(largest, _MOST_FOLDED) for value in values):
        return None
    return values


def _size(entry: onnx.TensorShapeProto.Dimension) -> int | str | None:
    if entry.HasField("dim_value"):
        return int(entry.dim_value)
    return str(entry.dim_param) or None
