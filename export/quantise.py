"""Layers in 8 bits: what they read and their weights quantised and taken back (QDQ), by ranges that were measured.

ONNX Runtime's calibrator measures. The pairs are placed here, because its own placement quantises what layers give as
well, which TensorRT advises against, and takes float8's scale from a standard deviation, beyond which it cuts.
TensorRT's scheme: symmetric, one scale for what is read, one per output channel for weights, biases as they are.
"""

from __future__ import annotations

import io
import math
import tempfile
from collections.abc import Callable, Iterable, Mapping
from contextlib import redirect_stdout
from functools import partial
from pathlib import Path
from typing import Any, Final

import ml_dtypes
import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from engine.errors import BackendError, ConfigError
from export.keep import MOVES, POINTWISE
from export.wiring import Wiring, attribute, line

Calibration = Iterable[Mapping[str, NDArray[Any]]]
"""What a graph is given in use: one array per input and case."""

OPSET: Final = 19
"""The first in which scales may be float16 and values float8; the last before TensorRT misreads GridSample."""
PERCENTILE: Final = 99.99
"""Share of what is read that a scale has room for; the rest is cut."""
_IR_VERSION = 9
_LAYERS = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})
_LARGEST: Final = {"int8": 127.0, "fp8": 448.0}
_TINY = float(np.finfo(np.float16).tiny)


def quantised(
    model: onnx.ModelProto, precision: str, kept: set[str], calibration: Calibration
) -> onnx.ModelProto:
    """A float32 graph with QDQ pairs in front of its layers, all of it float32 otherwise, in opset 19.

    precision: int8 or fp8 (E4M3). kept: nodes, by their first output, that are not quantised; nor are the layers that
    read a picture or make a port, by which a viewer would see every step. Raises ConfigError for a calibration set that
    is empty or does not fit, and for a graph in which nothing can be quantised.
    """
    wiring = Wiring(model)
    if wiring.opset not in (18, OPSET):
        raise ConfigError(
            f"precision {precision}: the graph is of opset {wiring.opset}, expected 18; export it again"
        )
    layers = [node for node in wiring.nodes if _fits(wiring, node, kept)]
    if not layers:
        raise ConfigError(
            f"precision {precision}: graph {model.graph.name} has no layer between its ends to quantise; take fp16"
        )
    ranges = _ranges(wiring, {node.input[0] for node in layers}, calibration, precision)
    made = _Quantised(wiring, precision, ranges)
    return made.model({node.output[0] for node in layers})


def _fits(wiring: Wiring, node: onnx.NodeProto, kept: set[str]) -> bool:
    """A layer with weights of its own, away from the graph's ends."""
    if node.op_type not in _LAYERS or node.output[0] in kept:
        return False
    weight = wiring.constants.get(node.input[1])
    if weight is None or weight.ndim < 2 or node.input[0] in wiring.constants:
        return False
    return not (_reads_port(wiring, node) or _makes_port(wiring, node))


def _reads_port(wiring: Wiring, node: onnx.NodeProto) -> bool:
    left, through = [node.input[0]], POINTWISE | MOVES
    while left:
        name = left.pop()
        if name in wiring.inputs:
            return True
        maker = wiring.made(name)
        if maker is not None and maker.op_type in through:
            left.extend(maker.input)
    return False


def _makes_port(wiring: Wiring, node: onnx.NodeProto) -> bool:
    left, through = list(node.output), POINTWISE | MOVES | {"GridSample"}
    while left:
        name = left.pop()
        if name in wiring.outputs:
            return True
        for reader, _ in wiring.readers.get(name, ()):
            if reader.op_type in through:
                left.extend(reader.output)
    return False


def _ranges(wiring: Wiring, names: set[str], calibration: Calibration, precision: str) -> dict[str, float]:
    """The largest size of every tensor that has to be represented, over the calibration set."""
    from onnxruntime.quantization import CalibrationMethod
    from onnxruntime.quantization.calibrate import create_calibrator

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "graph.onnx"
        onnx.save(wiring.model, path)
        calibrator = _quietly(
            precision,
            lambda: create_calibrator(
                path,
                sorted(_LAYERS),
                str(Path(folder) / "observed.onnx"),
                CalibrationMethod.Percentile,
                extra_options={"symmetric": True, "percentile": PERCENTILE, "num_bins": 2048},
            ),
        )
        count = 0
        for case in calibration:
            _check_case(wiring, case, precision)
            # One at a time: what it keeps of all of them at once would not fit in memory.
            _quietly(precision, partial(calibrator.collect_data, _One(case)))
            count += 1
        if not count:
            raise ConfigError(
                f"precision {precision}: the calibration set is empty; expected inputs of the graph, 16 or more"
            )
        found = _quietly(precision, calibrator.compute_data).data
    return {name: max(abs(float(limit)) for limit in found[name].range_value) for name in names}


def _quietly(precision: str, step: Callable[[], Any]) -> Any:
    """A step of ONNX Runtime's calibrator, which prints what it does."""
    try:
        with redirect_stdout(io.StringIO()):
            return step()
    except Exception as error:  # its exceptions share no public base class
        raise BackendError(f"precision {precision}: the calibration failed: {line(error)}") from error


def _check_case(wiring: Wiring, case: Mapping[str, NDArray[Any]], precision: str) -> None:
    for name in wiring.inputs:
        if name not in case:
            raise ConfigError(
                f"precision {precision}: a calibration case has no {name!r}, expected all inputs"
            )
        shape, expected = np.shape(case[name]), wiring.shapes[name]
        fits = len(shape) == len(expected) and all(
            not isinstance(want, int) or want == got for want, got in zip(expected, shape)
        )
        if not fits or helper.np_dtype_to_tensor_dtype(case[name].dtype) != wiring.types[name]:
            raise ConfigError(
                f"precision {precision}: calibration input {name!r} is {shape} {case[name].dtype}, expected {expected} "
                f"{helper.tensor_dtype_to_np_dtype(wiring.types[name])}"
            )


class _One:
    """A calibration case as ONNX Runtime reads it."""

    def __init__(self, case: Mapping[str, NDArray[Any]]) -> None:
        self._case: dict[str, NDArray[Any]] | None = dict(case)

    def get_next(self) -> dict[str, NDArray[Any]] | None:
        case, self._case = self._case, None
        return case


class _Quantised:
    """The graph under way. ranges: of what the layers read."""

    def __init__(self, wiring: Wiring, precision: str, ranges: Mapping[str, float]) -> None:
        self.wiring, self.ranges, self.largest = wiring, ranges, _LARGEST[precision]
        self.zero = np.zeros((), np.int8 if precision == "int8" else ml_dtypes.float8_e4m3fn)
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, onnx.TensorProto] = {}
        self.made: dict[tuple[str, int | None], str] = {}

    def model(self, layers: set[str]) -> onnx.ModelProto:
        for node in self.wiring.nodes:
            copied = onnx.NodeProto()
            copied.CopyFrom(node)
            if node.output[0] in layers:
                copied.input[0] = self._pair(node.input[0], None, np.asarray(self.ranges[node.input[0]]))
                axis, limits = _limits(node, self.wiring.constants[node.input[1]])
                copied.input[1] = self._pair(node.input[1], axis, limits)
            self.nodes.append(copied)
        made = onnx.ModelProto()
        made.CopyFrom(self.wiring.model)
        del made.graph.node[:], made.graph.value_info[:]
        made.graph.node.extend(self.nodes)
        made.graph.initializer.extend(self.constants.values())
        made.ir_version = max(made.ir_version, _IR_VERSION)
        for entry in made.opset_import:
            entry.version = OPSET  # its operators of 18 mean the same in 19
        return made

    def _pair(self, name: str, axis: int | None, limits: NDArray[Any]) -> str:
        """A tensor quantised and taken back, once for all that read it. axis: along which the limits are, if any."""
        if (name, axis) in self.made:
            return self.made[name, axis]
        stem = name if (name, None) not in self.made else f"{name}_{axis}"
        scale = self._stored(f"{stem}_scale", _scale(limits / self.largest))
        zero = self._stored(f"{stem}_zero", np.broadcast_to(self.zero, limits.shape))
        along = {} if axis is None else {"axis": axis}
        down, up = f"{stem}_quantised", f"{stem}_again"
        self.nodes.append(helper.make_node("QuantizeLinear", [name, scale, zero], [down], down, **along))
        self.nodes.append(helper.make_node("DequantizeLinear", [down, scale, zero], [up], up, **along))
        self.made[name, axis] = up
        return up

    def _stored(self, name: str, value: NDArray[Any]) -> str:
        self.constants[name] = numpy_helper.from_array(np.asarray(value, order="C"), name)
        return name


def _limits(node: onnx.NodeProto, weight: NDArray[Any]) -> tuple[int | None, NDArray[Any]]:
    """The axis of a layer's output channels among its weights, and the largest size in each."""
    if node.op_type == "MatMul":
        axis = weight.ndim - 1
    elif node.op_type == "Gemm":
        axis = 0 if attribute(node, "transB", 0) else 1
    elif node.op_type == "ConvTranspose":
        if attribute(node, "group", 1) != 1:
            return None, np.asarray(np.abs(weight).max())
        axis = 1
    else:
        axis = 0
    others = tuple(place for place in range(weight.ndim) if place != axis)
    return axis, np.abs(weight).max(axis=others)


def _scale(exact: NDArray[Any]) -> NDArray[np.float32]:
    """The next larger number that float16 holds: scales become float16, and none of what was measured is cut."""
    exact = np.maximum(np.asarray(exact, np.float64), _TINY)
    half = exact.astype(np.float16)
    raised = np.where(half.astype(np.float64) < exact, np.nextafter(half, np.float16(math.inf)), half)
    return raised.astype(np.float32)
