"""Graphs that TensorRT compiles in a blink, and the skip that says why where its compiler is not installed."""

from __future__ import annotations

import os
from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from engine.plans.request import Built, PlanRequest
from export.tensorrt.build import build

SIZE = 8


def needs_compiler() -> None:
    """CI has it, and does not skip."""
    if find_spec("tensorrt_rtx_bindings") is None and not os.environ.get("CI"):
        pytest.skip("TensorRT for RTX is not installed: python -m pip install 'marotte[dev]', on Linux")


def compiled(
    graph: bytes, name: str = "tiny", precision: Any = "fp32", batches: Sequence[int] = (1,), **options: Any
) -> Built:
    """A plan by the project's own builder over the compiler that needs no GPU."""
    fields = {key: options.pop(key) for key in ("workspace_bytes", "refit") if key in options}
    request = PlanRequest(graph, name, precision, tuple(batches), flavour="rtx", **fields)
    return build(request, **options)


def tiny(
    seed: int = 0,
    *,
    batch: int | str = 1,
    kind: int = TensorProto.FLOAT,
    sides: Any = (SIZE, SIZE),
    deep: bool = False,
) -> bytes:
    """uint8 (N, 8, 8, 3) `image` to a 3 x 3 convolution with a bias, a ReLU and a 1 x 1 convolution, `out`.

    deep: with one more between, since the first and the last are left as they are where a graph is quantised.
    """
    rng = np.random.default_rng(seed)
    dtype = {TensorProto.FLOAT: np.float32, TensorProto.FLOAT16: np.float16}[kind]
    weights = {
        "first.weight": rng.normal(0, 0.3, (4, 3, 3, 3)).astype(dtype),
        "first.bias": rng.normal(0, 0.3, 4).astype(dtype),
        "last.weight": rng.normal(0, 0.5, (2, 4, 1, 1)).astype(dtype),
    }
    nodes = [
        helper.make_node("Cast", ["image"], ["numbers"], name="cast_0", to=kind),
        helper.make_node("Transpose", ["numbers"], ["planes"], name="transpose_0", perm=[0, 3, 1, 2]),
        helper.make_node("Mul", ["planes", "scale"], ["scaled"], name="mul_0"),
        helper.make_node(
            "Conv", ["scaled", "first.weight", "first.bias"], ["seen"], name="conv_0", pads=[1] * 4
        ),
        helper.make_node("Relu", ["seen"], ["kept"], name="relu_0"),
        helper.make_node("Conv", ["kept", "last.weight"], ["made"], name="conv_1"),
        helper.make_node("Cast", ["made"], ["out"], name="cast_1", to=TensorProto.FLOAT),
    ]
    if deep:
        weights["middle.weight"] = rng.normal(0, 0.3, (4, 4, 3, 3)).astype(dtype)
        nodes[5].input[0] = "more"
        middle = helper.make_node("Conv", ["kept", "middle.weight"], ["more"], name="conv_2", pads=[1] * 4)
        nodes.insert(5, middle)
    constants = {"scale": np.asarray(1 / 255, dtype)} | weights
    height, width = sides
    return _file(
        nodes,
        [("image", TensorProto.UINT8, [batch, height, width, 3])],
        [("out", TensorProto.FLOAT, [batch, 2, height, width])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )


def unsupported() -> bytes:
    """A valid ONNX file with a determinant, which TensorRT does not have."""
    node = helper.make_node("Det", ["matrix"], ["out"], name="det_0")
    ports = [("matrix", TensorProto.FLOAT, [1, 3, 3])], [("out", TensorProto.FLOAT, [1])]
    return _file([node], *ports, [])


def _file(nodes: list[Any], inputs: list[Any], outputs: list[Any], constants: list[Any]) -> bytes:
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info(*port) for port in inputs],
        [helper.make_tensor_value_info(*port) for port in outputs],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    data: bytes = model.SerializeToString()
    return data
