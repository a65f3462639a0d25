"""A float32 graph in a lower precision, written so that its types say everything.

TensorRT 11 takes a network as it is typed and chooses nothing by itself: what computes in float16 has to be float16 in
the file. The ports keep their names and types. The graph stays in its opset (19 with quantisation, whose scales have
float16 from there on), because GridSample is computed wrong by TensorRT from opset 20 on. ONNX lets Conv have bfloat16
from opset 22 on only; TensorRT and OpenVINO take it in 18, ONNX Runtime has no kernel for it in any.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import ml_dtypes
import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from engine.errors import BundleError, ConfigError
from engine.plans.request import PRECISIONS, Precision
from export.keep import MOVES, Keep
from export.quantise import Calibration, quantised
from export.wiring import FLOATS, Wiring, attribute, formal, line

_LOW: Final = {"fp16": TensorProto.FLOAT16, "bf16": TensorProto.BFLOAT16}
_DTYPES: Final[Mapping[int, Any]] = {
    TensorProto.FLOAT16: np.float16,
    TensorProto.BFLOAT16: ml_dtypes.bfloat16,
}
_NOT_IN_BF16: Final = frozenset({"ConvTranspose", "HardSwish"})
"""What TensorRT refuses in bfloat16 (tried with RTX 1.7.1) of what it takes in float16."""
_SUFFIX: Final = {TensorProto.FLOAT: "fp32", TensorProto.FLOAT16: "fp16", TensorProto.BFLOAT16: "bf16"}
_FEW = 256  # entries: among so few numbers one that becomes zero or infinite is a threshold or an epsilon


def lower(
    model: onnx.ModelProto,
    precision: Precision,
    *,
    keep: Keep | None = None,
    calibration: Calibration | None = None,
) -> onnx.ModelProto:
    """The graph in a precision; the model given is not changed.

    keep: what stays in float32, all of export/keep.py's rules when None. calibration: needed by int8 and fp8, whose
    float parts become fp16; read once. Raises BundleError for a graph that cannot be lowered, ConfigError for what was
    asked wrongly.
    """
    keep = Keep() if keep is None else keep
    if precision not in PRECISIONS:
        raise ConfigError(f"precision: got {precision!r}, expected one of {', '.join(PRECISIONS)}")
    wiring = Wiring(model)
    if precision == "fp32":
        return wiring.model
    _refuse_lowered(wiring)
    kept = keep.nodes(wiring)
    if precision not in _LOW:
        if calibration is None:
            raise ConfigError(
                f"precision {precision}: no calibration set was given; expected inputs of graph {model.graph.name} as "
                "they come in use (--calibration FOLDER), or take fp16"
            )
        wiring = Wiring(quantised(wiring.model, precision, kept, calibration))
    lowered = _Lowered(wiring, kept, _LOW.get(precision, TensorProto.FLOAT16)).model()
    _check(lowered)
    return lowered


class _Lowered:
    """The graph under way. low: the nodes that compute in the low type. types: of every tensor as it is made."""

    def __init__(self, wiring: Wiring, kept: set[str], low: int) -> None:
        self.wiring, self.type = wiring, low
        self.high = {node.output[0] for node in wiring.nodes if node.output[0] in kept or not self._can(node)}
        self.high |= self._between()
        self.high -= self._quantisers()
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, onnx.TensorProto] = {}
        self.types: dict[str, int] = dict(wiring.types)
        self.shapes = dict(wiring.shapes)
        self.made: dict[tuple[str, int], str] = {}

    def model(self) -> onnx.ModelProto:
        for node in self.wiring.nodes:
            self._add(node)
        model = onnx.ModelProto()
        model.CopyFrom(self.wiring.model)
        graph = model.graph
        del graph.node[:], graph.initializer[:], graph.value_info[:]
        graph.node.extend(self.nodes)
        graph.initializer.extend(self.constants.values())
        ports = {*self.wiring.inputs, *self.wiring.outputs}
        graph.value_info.extend(
            helper.make_tensor_value_info(name, self.types[name], self.shapes[name])
            for node in self.nodes
            for name in node.output
            if name and name not in ports
        )
        return model

    def _can(self, node: onnx.NodeProto) -> bool:
        """Whether a node may compute in the low type: every float that it gives may, and so do its constants."""
        if self.type == TensorProto.BFLOAT16 and node.op_type in _NOT_IN_BF16:
            return False
        gives = [place for place, name in enumerate(node.output) if name and self._is_float(name)]
        if not gives or not all(self._lowable(node, place, output=True) for place in gives):
            return False
        for place, name in enumerate(node.input):
            value = self.wiring.constants.get(name)
            if value is not None and self._lowable(node, place) and not _holds(value, self.type):
                return False
        return True

    def _is_float(self, name: str) -> bool:
        return self.wiring.types.get(name) == int(TensorProto.FLOAT)

    def _lowable(self, node: onnx.NodeProto, place: int, output: bool = False) -> bool:
        """Whether an input or output follows the node's type: Resize's scales, say, are float32 always."""
        if node.op_type == "Resize" and place and not output:
            return False
        variable, types = formal(node, self.wiring.opset, place, output)
        return "(" not in variable and "tensor(float16)" in types

    def _between(self) -> set[str]:
        """Nodes that only move values, on a way from float32 to float32: lowered they would round for nothing."""
        after: set[str] = set()  # tensors that come from float32 by way of moves
        before: set[str] = set()  # tensors that go to float32 likewise
        moves = [
            node for node in self.wiring.nodes if node.op_type in MOVES and node.output[0] not in self.high
        ]
        names = {node.output[0] for node in moves}
        for node in moves:
            read = [name for name in node.input if self._is_float(name) and name not in self.wiring.constants]
            if any(self._from_high(name, names, after) for name in read):
                after.update(node.output)
        for node in reversed(moves):
            if any(
                name in self.wiring.outputs
                or any(
                    reader.output[0] in self.high
                    or (reader.output[0] in names and reader.output[0] in before)
                    for reader, _ in self.wiring.readers.get(name, ())
                )
                for name in node.output
            ):
                before.update(node.output)
        return {node.output[0] for node in moves if node.output[0] in after and node.output[0] in before}

    def _quantisers(self) -> set[str]:
        """Those whose scale has to be low, as what they read is; weights are stored low."""
        return {
            node.output[0]
            for node in self.wiring.nodes
            if node.op_type == "QuantizeLinear"
            and (
                node.input[0] in self.wiring.constants
                or (
                    (maker := self.wiring.made(node.input[0])) is not None
                    and maker.output[0] not in self.high
                )
            )
        }

    def _from_high(self, name: str, moves: set[str], after: set[str]) -> bool:
        maker = self.wiring.made(name)
        if maker is None:
            return True
        return name in after if maker.output[0] in moves else maker.output[0] in self.high

    def _add(self, node: onnx.NodeProto) -> None:
        low = node.output[0] not in self.high
        copied = onnx.NodeProto()
        copied.CopyFrom(node)
        for place, name in enumerate(node.input):
            if name and self._is_float(name):
                wanted = self.type if low and self._lowable(node, place) else TensorProto.FLOAT
                copied.input[place] = self._as(name, wanted)
            elif name in self.wiring.constants and name not in self.constants:
                self._store(name, self.wiring.constants[name])
        ports = []
        for place, name in enumerate(node.output):
            if not (low and name and self._is_float(name)):
                continue
            if name in self.wiring.outputs:
                ports.append(name)
                copied.output[place] = self._known(f"{name}_{_SUFFIX[self.type]}", name, self.type)
                self.made[name, self.type] = copied.output[place]
            else:
                self.types[name] = self.type
        if low and node.op_type == "Cast":
            _set_type(copied, self.type)
        if ports and copied.name:
            copied.name = copied.output[0]  # the port's own name is its Cast's now
        self.nodes.append(copied)
        for name in ports:
            self._cast(self.made[name, self.type], name, TensorProto.FLOAT)

    def _as(self, name: str, wanted: int) -> str:
        """What a tensor is called in the wanted type; made where it is not there yet."""
        if name in self.wiring.constants:
            return self._constant(name, wanted)
        if self.types[name] == wanted:
            return name
        if (name, wanted) not in self.made:
            made = self._known(f"{name}_{_SUFFIX[wanted]}", name, wanted)
            self._cast(name, made, wanted)
            self.made[name, wanted] = made
        return self.made[name, wanted]

    def _cast(self, name: str, made: str, wanted: int) -> None:
        self.nodes.append(helper.make_node("Cast", [name], [made], made, to=wanted))

    def _known(self, name: str, like: str, kind: int) -> str:
        while name in self.types:
            name += "_"
        self.types[name], self.shapes[name] = kind, self.shapes[like]
        return name

    def _constant(self, name: str, wanted: int) -> str:
        """A constant in the wanted type; it keeps its name in the first type that is asked for."""
        if (name, wanted) not in self.made:
            value = self.wiring.constants[name]
            taken = name in self.constants
            made = self._known(f"{name}_{_SUFFIX[wanted]}", name, wanted) if taken else name
            self.types[made] = wanted
            self._store(made, value if wanted == TensorProto.FLOAT else value.astype(_DTYPES[wanted]))
            self.made[name, wanted] = made
        return self.made[name, wanted]

    def _store(self, name: str, value: NDArray[Any]) -> None:
        self.constants[name] = numpy_helper.from_array(np.asarray(value, order="C"), name)


def _set_type(node: onnx.NodeProto, kind: int) -> None:
    for entry in node.attribute:
        if entry.name == "to":
            entry.i = kind


def _holds(value: NDArray[Any], low: int) -> bool:
    """Whether a constant survives: nothing becomes infinite, and no threshold or epsilon becomes zero."""
    if value.dtype != np.float32:
        return True
    with np.errstate(over="ignore"):
        lowered = value.astype(_DTYPES[low]).astype(np.float32)
    if (np.isfinite(value) & ~np.isfinite(lowered)).any():
        return False
    return value.size > _FEW or not ((value != 0) & (lowered == 0)).any()


def _refuse_lowered(wiring: Wiring) -> None:
    for node in wiring.nodes:
        for name in node.output:
            if name and wiring.types[name] in (FLOATS - {TensorProto.FLOAT}) | {TensorProto.DOUBLE}:
                kind = TensorProto.DataType.Name(wiring.types[name])
                raise BundleError(
                    f"graph {wiring.model.graph.name}: {name!r} is {kind} already; expected a graph in float32"
                )


def _check(model: onnx.ModelProto) -> None:
    """That every type fits. A bfloat16 graph is looked at as if it were float16: ONNX has the same rules for both,
    but for the opset in which they begin."""
    twin = onnx.ModelProto()
    twin.CopyFrom(model)
    graph = twin.graph
    for tensor in graph.initializer:
        if tensor.data_type == TensorProto.BFLOAT16:
            tensor.data_type = TensorProto.FLOAT16
    for value in graph.value_info:
        if value.type.tensor_type.elem_type == TensorProto.BFLOAT16:
            value.type.tensor_type.elem_type = TensorProto.FLOAT16
    for node in graph.node:
        if node.op_type == "Cast" and attribute(node, "to") == TensorProto.BFLOAT16:
            _set_type(node, TensorProto.FLOAT16)
    try:
        onnx.checker.check_model(twin, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise BundleError(f"graph {graph.name}: lowered, its types do not fit: {line(error)}") from error
