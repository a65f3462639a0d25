"""What a graph costs, counted from its file: against closed forms, and its sizes against the onnx package's own."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from engine.bench.cost import Cost, count
from engine.bench.nodes import read_nodes
from engine.bench.peak import PRODUCTS, products_graph
from engine.bench.sizes import RULES, infer
from engine.errors import BundleError
from engine.graph_file import OPERATORS
from engine.models import locate

FLOAT, HALF, LONG = TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.INT64


def whole(*numbers: int) -> np.ndarray:
    return np.array(numbers, np.int64)


def zeros(*shape: int) -> np.ndarray:
    return np.zeros(shape, np.float32)


def file_of(
    nodes: list[onnx.NodeProto],
    inputs: dict[str, tuple[int | str, ...]],
    outputs: list[str],
    weights: dict[str, np.ndarray] | None = None,
) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info(name, FLOAT, shape) for name, shape in inputs.items()],
        [helper.make_tensor_value_info(name, TensorProto.UNDEFINED, None) for name in outputs],
        [numpy_helper.from_array(array, name) for name, array in (weights or {}).items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)
    del model.graph.output[:]
    model.graph.output.extend(inferred.graph.output)
    return model


def node_cost(kind: str, shapes: list[tuple[int, ...]], weights: list[np.ndarray], **attributes: Any) -> Cost:
    """Of one node: its inputs first, then its weights."""
    inputs = {f"x{place}": shape for place, shape in enumerate(shapes)}
    stored = {f"w{place}": array for place, array in enumerate(weights)}
    node = helper.make_node(kind, [*inputs, *stored], ["y"], **attributes)
    return count(file_of([node], inputs, ["y"], stored).SerializeToString())


def test_a_convolution_has_its_closed_form() -> None:
    """Two operations per kernel entry, channel of the group and result; the bias is one more."""
    cost = node_cost(
        "Conv",
        [(2, 6, 15, 20)],
        [zeros(8, 3, 3, 5), zeros(8)],
        group=2,
        strides=[2, 1],
        pads=[1, 2, 1, 2],
        dilations=[1, 1],
    )
    results = 2 * 8 * 8 * 20
    assert cost.flop == 2 * results * 3 * 3 * 5 + results
    assert cost.weight_bytes == 4 * (8 * 3 * 3 * 5 + 8)
    assert cost.port_bytes == 4 * (2 * 6 * 15 * 20 + results)
    assert cost.traffic_bytes == cost.weight_bytes + cost.port_bytes == cost.least_bytes
    assert node_cost("Conv", [(1, 4, 9, 9)], [zeros(2, 4, 3, 3)], dilations=[2, 2]).flop == 2 * 2 * 25 * 36


def test_a_transposed_convolution_has_its_closed_form() -> None:
    """Each input entry is multiplied into the kernel of every channel of its group."""
    cost = node_cost(
        "ConvTranspose",
        [(2, 6, 5, 7)],
        [zeros(6, 4, 4, 3), zeros(8)],
        group=2,
        strides=[2, 3],
        pads=[1, 0, 1, 0],
        output_padding=[0, 1],
    )
    results = 2 * 8 * (2 * 4 + 4 - 2) * (3 * 6 + 3 + 1)
    assert cost.flop == 2 * (2 * 6 * 5 * 7) * 4 * 4 * 3 + results


def test_products_of_matrices_have_their_closed_form() -> None:
    """2 M N K, for every matrix of a stack; a Gemm's third matrix is one addition each."""
    assert node_cost("MatMul", [(3, 1, 5, 7), (4, 7, 6)], []).flop == 2 * 3 * 4 * 5 * 6 * 7
    assert node_cost("MatMul", [(7,), (7,)], []).flop == 2 * 7
    gemm = node_cost("Gemm", [(7, 5)], [zeros(6, 7), zeros(6)], transA=1, transB=1)
    assert gemm.flop == 2 * 5 * 6 * 7 + 5 * 6


@pytest.mark.parametrize(
    ("shape", "grid", "mode", "each"),
    [
        ((2, 3, 8, 9), (2, 4, 5, 2), "linear", 4 + 3),
        ((2, 3, 8, 9, 10), (2, 4, 5, 6, 3), "linear", 8 + 7),
        ((2, 3, 8, 9), (2, 4, 5, 2), "nearest", 0),
        ((2, 3, 8, 9), (2, 4, 5, 2), "cubic", 16 + 15),
    ],
)
def test_a_grid_sample_has_its_closed_form(
    shape: tuple[int, ...], grid: tuple[int, ...], mode: str, each: int
) -> None:
    """Corners' products and their sum, for every channel of every point."""
    nodes = [
        helper.make_node(
            "GridSample", ["x", "g"], ["y"], mode={"linear": "bilinear", "cubic": "bicubic"}.get(mode, mode)
        )
    ]
    inputs = helper.make_tensor_value_info("x", FLOAT, shape), helper.make_tensor_value_info("g", FLOAT, grid)
    result = (*shape[:2], *grid[1:-1])
    output = helper.make_tensor_value_info("y", FLOAT, result)
    model = helper.make_model(helper.make_graph(nodes, "g", list(inputs), [output]))
    assert count(model.SerializeToString()).flop == each * int(np.prod(result))


def test_what_only_moves_numbers_costs_bytes_alone() -> None:
    """And what only sees them otherwise costs nothing."""
    moved = node_cost("Transpose", [(2, 3, 4)], [], perm=[2, 0, 1])
    assert (moved.flop, moved.traffic_bytes) == (0, 2 * 4 * 24)
    seen = node_cost("Reshape", [(2, 3, 4)], [whole(6, -1)])
    assert (seen.flop, seen.traffic_bytes) == (0, 0)


def test_half_precision_weighs_half() -> None:
    """Bytes are those of the file's own types; the arithmetic is the same."""

    def model(dtype: type, code: int) -> bytes:
        nodes = [
            helper.make_node("Cast", ["x"], ["h"], to=code),
            helper.make_node("MatMul", ["h", "w"], ["p"]),
            helper.make_node("Cast", ["p"], ["y"], to=FLOAT),
        ]
        return file_of(nodes, {"x": (4, 8)}, ["y"], {"w": np.ones((8, 16), dtype)}).SerializeToString()

    full, half = count(model(np.float32, FLOAT)), count(model(np.float16, HALF))
    assert full.flop == half.flop == 2 * 4 * 8 * 16
    assert (full.weight_bytes, half.weight_bytes) == (4 * 128, 2 * 128)
    assert half.port_bytes == full.port_bytes


def test_the_floor_is_the_slower_of_arithmetic_and_bytes() -> None:
    """In seconds of a device of given peaks."""
    cost = Cost(flop=1000, weight_bytes=30, port_bytes=20, traffic_bytes=500)
    assert cost.floor_s(100.0, 1000.0) == 10.0
    assert cost.floor_s(1e9, 5.0) == 10.0


CASES: dict[str, tuple[list[tuple[int, ...]], list[np.ndarray], dict[str, Any]]] = {
    "Add": ([(2, 1, 4), (3, 1)], [], {}),
    "Concat": ([(2, 3), (2, 5)], [], {"axis": -1}),
    "Split": ([(2, 7)], [whole(3, 4)], {"axis": 1}),
    "Slice": ([(9, 8, 7)], [whole(7, -5), whole(-100, 100), whole(0, 2), whole(-2, 1)], {}),
    "Gather": ([(4, 5, 6)], [whole(1, 2, 3).reshape(3, 1)], {"axis": -2}),
    "GatherElements": ([(4, 5)], [whole(0, 1, 2, 3, 0, 1).reshape(2, 3)], {"axis": 1}),
    "GatherND": ([(4, 5, 6)], [whole(0, 1, 2, 3).reshape(2, 2)], {}),
    "Flatten": ([(2, 3, 4)], [], {"axis": 2}),
    "Squeeze": ([(1, 3, 1, 4)], [whole(0, -2)], {}),
    "Unsqueeze": ([(3, 4)], [whole(0, -1)], {}),
    "Expand": ([(3, 1)], [whole(2, 1, 4)], {}),
    "Tile": ([(3, 2)], [whole(2, 3)], {}),
    "Pad": ([(1, 2, 3, 4)], [whole(0, 0, 1, 2, 0, 0, 3, 4)], {"mode": "constant"}),
    "DepthToSpace": ([(1, 12, 2, 3)], [], {"blocksize": 2}),
    "SpaceToDepth": ([(1, 3, 4, 6)], [], {"blocksize": 2}),
    "ReduceMean": ([(2, 3, 4)], [whole(-1, 0)], {"keepdims": 0}),
    "ArgMax": ([(2, 3, 4)], [], {"axis": -1, "keepdims": 0}),
    "MaxPool": ([(1, 2, 9, 10)], [], {"kernel_shape": [3, 2], "strides": [2, 2], "ceil_mode": 1}),
    "AveragePool": ([(1, 2, 9, 10)], [], {"kernel_shape": [3, 3], "auto_pad": "SAME_UPPER", "strides": [2, 2]}),
    "GlobalAveragePool": ([(1, 2, 9, 10)], [], {}),
    "Greater": ([(2, 3), (3,)], [], {}),
    "Cast": ([(2, 3)], [], {"to": HALF}),
    "Shape": ([(2, 3, 4)], [], {"start": 1}),
    "Softmax": ([(2, 3)], [], {}),
    "Reshape": ([(2, 3, 4)], [whole(0, -1, 2)], {}),
    "Transpose": ([(2, 3, 4)], [], {}),
}  # fmt: skip


@pytest.mark.parametrize("kind", list(CASES))
def test_sizes_are_those_of_the_onnx_package(kind: str) -> None:
    """Shape and bytes per entry of each result, by its own inference."""
    shapes, weights, attributes = CASES[kind]
    inputs = {f"x{place}": shape for place, shape in enumerate(shapes)}
    stored = {f"w{place}": array for place, array in enumerate(weights)}
    results = ["y", "z"] if kind == "Split" else ["y"]
    model = file_of(
        [helper.make_node(kind, [*inputs, *stored], results, **attributes)], inputs, results, stored
    )
    check_sizes(model)


def check_sizes(model: onnx.ModelProto) -> None:
    known = infer(read_nodes(model.SerializeToString()))
    inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)
    values = [*inferred.graph.value_info, *inferred.graph.output]
    assert values
    for value in values:
        kind = value.type.tensor_type
        width = helper.tensor_dtype_to_np_dtype(kind.elem_type).itemsize
        expected = tuple(dim.dim_value for dim in kind.shape.dim)
        assert (known[value.name].shape, known[value.name].width) == (expected, width), value.name


@pytest.mark.usefixtures("models")
def test_sizes_of_a_whole_network_are_those_of_the_onnx_package() -> None:
    """The tracker's attention mesh: 456 nodes of 22 kinds, each result as the onnx package has it."""
    check_sizes(onnx.load(locate("face_mesh_attention")))


def test_sizes_that_follow_from_sizes_are_known() -> None:
    """A Resize to what Shape, Slice and Concat say, as a graph for frames of any size has it."""
    nodes = [
        helper.make_node("Shape", ["x"], ["s"]),
        helper.make_node("Slice", ["s", "zero", "two"], ["front"]),
        helper.make_node("Concat", ["front", "sides"], ["target"], axis=0),
        helper.make_node("Resize", ["x", "", "", "target"], ["y"], mode="linear"),
    ]
    weights = {"zero": whole(0), "two": whole(2), "sides": whole(8, 6)}
    model = file_of(nodes, {"x": (1, 3, 4, 3)}, ["y"], weights)
    assert infer(read_nodes(model.SerializeToString()))["y"].shape == (1, 3, 8, 6)
    assert count(model.SerializeToString()).flop == 7 * 3 * 8 * 6


def test_a_free_size_has_to_be_given() -> None:
    """A batch of 8 costs eight times the arithmetic, and the weights once."""
    model = file_of(
        [helper.make_node("MatMul", ["x", "w"], ["y"])], {"x": ("batch", 5)}, ["y"], {"w": zeros(5, 7)}
    )
    data = model.SerializeToString()
    with pytest.raises(BundleError, match="port 'x' has a free size"):
        count(data)
    one, eight = (count(data, {"x": (batch, 5)}) for batch in (1, 8))
    assert eight.flop == 8 * one.flop == 8 * 2 * 5 * 7
    assert eight.weight_bytes == one.weight_bytes
    assert eight.port_bytes == 8 * one.port_bytes


def test_every_operator_of_a_bundle_can_be_counted() -> None:
    """A further operator that bundles may use has to get its sizes here, too."""
    assert set(RULES) >= OPERATORS


def test_what_cannot_be_counted_is_refused() -> None:
    """An operator that is not known, sizes that are computed, matrices that do not fit, and what is no ONNX file."""
    with pytest.raises(BundleError, match="sizes of a Det are not known"):
        node_cost("Det", [(2, 3, 3)], [])
    computed = [
        helper.make_node("Cast", ["t"], ["target"], to=LONG),
        helper.make_node("Expand", ["x", "target"], ["y"]),
    ]
    graph = helper.make_graph(
        computed,
        "g",
        [helper.make_tensor_value_info(name, FLOAT, (2,)) for name in ("x", "t")],
        [helper.make_tensor_value_info("y", FLOAT, None)],
    )
    with pytest.raises(BundleError, match="Expand do not fit: input 1 is computed"):
        count(helper.make_model(graph).SerializeToString())
    for data in (b"\xff\xff", b"not an ONNX file at all"):
        with pytest.raises(BundleError, match="cannot be counted"):
            count(data)


@pytest.mark.parametrize("width", [4, 2])
def test_the_peak_is_taken_of_a_sound_graph(width: int) -> None:
    """A whole ONNX file by the package's own checker; its cost is the closed form; its result is finite and moves with
    what goes in, so that no runtime can have it computed beforehand."""
    side = 16
    data = products_graph(side, width)
    onnx.checker.check_model(onnx.load_from_string(data), full_check=True)
    cost = count(data)
    assert cost.flop == PRODUCTS * 2 * side**3 + 2 * side**2
    assert cost.weight_bytes == 2 * width * side**2
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    means = [
        session.run(None, {"shift": np.full((1, 1), shift, np.float32)})[0].item() for shift in (0.0, 1.0)
    ]
    assert np.isfinite(means).all()
    assert means[0] != means[1]
