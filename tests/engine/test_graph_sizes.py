"""How much memory a graph asks for is told from its file, before a runtime sees it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper, shape_inference

from engine.bundle import PortInfo, read_manifest
from engine.bundles import SHIPPED, names
from engine.errors import BundleError
from engine.free_batch import settled
from engine.graph_file import OPERATORS, check_graph
from engine.graph_nodes import Constant, Node
from engine.graph_rules import RULES
from engine.graph_sizes import check_memory, shapes_of

FLOAT = TensorProto.FLOAT


def longs(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


def model(nodes: list[Any], shape: list[int], constants: dict[str, Any] | None = None) -> Any:
    """One that computes y (float32, of no stated shape) from x."""
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", FLOAT, shape)],
        [helper.make_tensor_value_info("y", FLOAT, None)],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in (constants or {}).items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


def parts_of(found: Any) -> tuple[list[Node], dict[str, Constant], dict[str, tuple[int, ...]]]:
    """Nodes, constants and inputs, as the walk over a file gives them."""
    nodes = [
        Node(
            node.op_type,
            tuple(node.input),
            tuple(node.output),
            {
                one.name: list(value) if isinstance(value := helper.get_attribute_value(one), (list, tuple)) else value
                for one in node.attribute
            },
        )
        for node in found.graph.node
    ]  # fmt: skip
    constants = {
        one.name: Constant(tuple(one.dims), memoryview(numpy_helper.to_array(one).tobytes()), one.data_type)
        for one in found.graph.initializer
    }
    inputs = {
        port.name: tuple(size.dim_value for size in port.type.tensor_type.shape.dim)
        for port in found.graph.input
    }
    return nodes, constants, inputs


def inferred(found: Any) -> dict[str, tuple[int, ...]]:
    """The same by the onnx package, where it knows them."""
    graph = shape_inference.infer_shapes(found, strict_mode=True, data_prop=True).graph
    shapes = {
        one.name: tuple(size.dim_value for size in one.type.tensor_type.shape.dim)
        for one in (*graph.value_info, *graph.output)
        if one.type.tensor_type.HasField("shape")
    }
    return {name: shape for name, shape in shapes.items() if all(shape)}


def check_alike(found: Any) -> int:
    told = shapes_of(*parts_of(found))
    known = inferred(found)
    assert {name: told[name] for name in known} == known
    return len(known)


def test_every_operator_has_a_rule() -> None:
    """None that a graph may use goes by unseen."""
    assert RULES.keys() == OPERATORS


@pytest.mark.parametrize("name", names())
def test_shipped_graphs_are_told_as_onnx_tells_them(name: str) -> None:
    """Every result in between of a real network, size by size."""
    for info in read_manifest(SHIPPED / name).graphs.values():
        found = onnx.load_from_string(settled((SHIPPED / name / info.file).read_bytes(), 1))
        assert check_alike(found) >= len(found.graph.node) - 3


def node(kind: str, *inputs: str, **attributes: Any) -> Any:
    return helper.make_node(kind, inputs or ("x",), ["y"], **attributes)


W = np.zeros((6, 4, 3, 3), np.float32)
EXAMPLES: list[tuple[Any, list[int], dict[str, Any]]] = [
    (node("Conv", "x", "w", strides=[2, 1], pads=[1, 0, 2, 1], dilations=[1, 2]), [1, 4, 9, 10], {"w": W}),
    (node("Conv", "x", "w", auto_pad="SAME_UPPER", strides=[2, 2]), [1, 4, 9, 10], {"w": W}),
    (node("Conv", "x", "w", auto_pad="VALID", group=2), [1, 8, 9, 10], {"w": W}),
    (node("ConvTranspose", "x", "w", strides=[2, 3], pads=[1, 0, 1, 1], output_padding=[1, 0]), [1, 6, 5, 7], {"w": W}),
    (node("ConvTranspose", "x", "w", group=3, dilations=[2, 2]), [1, 6, 5, 7], {"w": W}),
    (node("ConvTranspose", "x", "w", output_shape=[11, 15], strides=[2, 2]), [1, 6, 5, 7], {"w": W}),
    (node("MaxPool", kernel_shape=[3, 2], strides=[2, 2], ceil_mode=1), [1, 4, 10, 9], {}),
    (node("AveragePool", kernel_shape=[2, 2], pads=[1, 1, 0, 0]), [1, 4, 10, 9], {}),
    (node("GlobalAveragePool"), [2, 4, 10, 9], {}),
    (node("Add", "x", "c"), [2, 1, 5], {"c": np.zeros((4, 1), np.float32)}),
    (node("Expand", "x", "c"), [3, 1], {"c": longs(2, 1, 6)}),
    (node("Concat", "x", "c", axis=-1), [2, 3], {"c": np.zeros((2, 5), np.float32)}),
    (node("Gather", "x", "c", axis=1), [2, 3, 4], {"c": longs(0, 2, 1, 1, 0).reshape(5, 1)}),
    (node("GatherElements", "x", "c", axis=1), [2, 3], {"c": np.zeros((2, 7), np.int64)}),
    (node("GatherND", "x", "c"), [2, 3, 4], {"c": np.zeros((5, 2), np.int64)}),
    (node("GatherND", "x", "c", batch_dims=1), [2, 3, 4], {"c": np.zeros((2, 5, 1), np.int64)}),
    (node("Gemm", "x", "c", transA=1, transB=1), [3, 2], {"c": np.zeros((5, 3), np.float32)}),
    (node("MatMul", "x", "c"), [2, 1, 3, 4], {"c": np.zeros((5, 4, 6), np.float32)}),
    (node("MatMul", "x", "c"), [2, 3, 4], {"c": np.zeros(4, np.float32)}),
    (node("Flatten", axis=-1), [2, 3, 4], {}),
    (node("Transpose"), [2, 3, 4], {}),
    (node("Transpose", perm=[1, 0, 2]), [2, 3, 4], {}),
    (node("GridSample", "x", "c"), [1, 3, 8, 9], {"c": np.zeros((1, 5, 6, 2), np.float32)}),
    (node("DepthToSpace", blocksize=2), [1, 12, 3, 4], {}),
    (node("SpaceToDepth", blocksize=2), [1, 3, 6, 4], {}),
    (node("Reshape", "x", "c"), [2, 3, 4], {"c": longs(0, -1, 2)}),
    (node("Resize", "x", "", "c"), [1, 2, 5, 6], {"c": np.array([1, 1, 2.5, 0.5], np.float32)}),
    (node("Resize", "x", "", "", "c"), [1, 2, 5, 6], {"c": longs(1, 2, 9, 3)}),
    (node("Resize", "x", "", "", "c", axes=[3, 2]), [1, 2, 5, 6], {"c": longs(9, 3)}),
    (
        node("Slice", "x", "a", "b", "c", "d"),
        [8, 9],
        {"a": longs(-2, 1), "b": longs(-100, 7), "c": longs(0, 1), "d": longs(-2, 3)},
    ),
    (node("Slice", "x", "a", "b"), [8, 9], {"a": longs(2), "b": longs(1 << 60)}),
    (helper.make_node("Split", ["x", "c"], ["y", "z"], axis=1), [2, 7], {"c": longs(3, 4)}),
    (helper.make_node("Split", ["x"], ["y", "z"], axis=1, num_outputs=2), [2, 7], {}),
    (node("Squeeze"), [1, 2, 1], {}),
    (node("Squeeze", "x", "c"), [1, 2, 1], {"c": longs(-1)}),
    (node("Unsqueeze", "x", "c"), [2, 3], {"c": longs(-1, 0)}),
    (node("Tile", "x", "c"), [2, 3], {"c": longs(3, 2)}),
    (node("Pad", "x", "c"), [2, 3], {"c": longs(1, 0, -1, 4)}),
    (node("Pad", "x", "c", "", "a"), [2, 3], {"c": longs(2, 4), "a": longs(-1)}),
    (node("ReduceMean", "x", "c"), [2, 3, 4], {"c": longs(-1)}),
    (node("ReduceSum", "x", keepdims=0), [2, 3, 4], {}),
    (node("ReduceMax", "x", "c", keepdims=0), [2, 3, 4], {"c": longs(0, 2)}),
    (node("Softmax"), [2, 3], {}),
    (node("Where", "c", "x", "x"), [2, 3], {"c": np.ones((4, 1, 1), bool)}),
]  # fmt: skip


@pytest.mark.parametrize(
    ("found", "shape", "constants"), EXAMPLES, ids=[f"{k}-{one[0].op_type}" for k, one in enumerate(EXAMPLES)]
)
def test_an_operator_is_told_as_onnx_tells_it(
    found: Any, shape: list[int], constants: dict[str, Any]
) -> None:
    """Each operator that has sizes of its own, in the forms that it takes."""
    assert check_alike(model([found], shape, constants)) >= 1


def chain(kind: str, length: int, *inputs: str, **attributes: Any) -> list[Any]:
    """x through so many of them."""
    at = ["x", *(f"t{k}" for k in range(length - 1)), "y"]
    return [
        helper.make_node(kind, [at[k] if name == "x" else name for name in inputs], [at[k + 1]], **attributes)
        for k in range(length)
    ]


ONE = np.zeros((1, 1, 1, 1), np.float32)
CRAFTED: dict[str, Callable[[], Any]] = {
    "a Resize after a Resize": lambda: model(
        chain("Resize", 4, "x", "", "s"), [1, 1, 16, 16], {"s": np.array([1, 1, 16, 16], np.float32)}
    ),
    "what is given to itself": lambda: model(chain("Concat", 40, "x", "x", axis=0), [1]),
    "a stride": lambda: model([node("ConvTranspose", "x", "w", strides=[5000, 5000])], [1, 1, 8, 8], {"w": ONE}),
    "a stride that overflows": lambda: model(
        [node("ConvTranspose", "x", "w", strides=[1 << 40, 1 << 40])], [1, 1, 8, 8], {"w": ONE}
    ),
    "borders": lambda: model(
        [node("Conv", "x", "w", pads=[40000, 40000, 40000, 40000])], [1, 1, 8, 8], {"w": ONE}
    ),
    "a Tile after a Tile": lambda: model(chain("Tile", 5, "x", "c"), [8], {"c": longs(1 << 10)}),
    "a Pad after a Pad": lambda: model(chain("Pad", 2, "x", "c"), [1, 1], {"c": longs(*[60_000] * 4)}),
    "rows by columns": lambda: model([node("Mul", "x", "c")], [1 << 15, 1], {"c": np.zeros((1, 1 << 15), np.float32)}),
    "a product": lambda: model([node("MatMul", "x", "c")], [1 << 15, 1], {"c": np.zeros((1, 1 << 15), np.float32)}),
    "a Gather": lambda: model([node("Gather", "x", "c")], [4, 1 << 20], {"c": np.zeros(1000, np.int64)}),
    "a grid": lambda: model(
        [helper.make_node("Expand", ["g", "c"], ["e"]), node("GridSample", "x", "e")],
        [1, 512, 4, 4],
        {"g": np.zeros((1, 1, 1, 2), np.float32), "c": longs(1, 1000, 1000, 2)},
    ),
    "depth": lambda: model([node("DepthToSpace", blocksize=0)], [1, 4, 4, 4]),
    "ranks": lambda: model([node("Unsqueeze", "x", "c")], [2], {"c": longs(*range(30))}),
}  # fmt: skip


@pytest.mark.parametrize("name", CRAFTED)
def test_a_graph_that_asks_for_too_much_is_refused(name: str) -> None:
    """By one line, from the file alone: a small one may ask for terabytes."""
    found = CRAFTED[name]()
    found.graph.output[0].CopyFrom(helper.make_tensor_value_info("y", FLOAT, [1]))
    (given,) = found.graph.input
    shape = tuple(size.dim_value for size in given.type.tensor_type.shape.dim)
    ports = (PortInfo("x", shape, "float32", None),), (PortInfo("y", (1,), "float32", None),)
    data = found.SerializeToString()
    assert len(data) < 1 << 20
    with pytest.raises(BundleError, match=r"entries at most|fixed sizes|make no sense|more than"):
        check_graph(data, *ports)


ONES = np.ones(1, np.float32)
OUTSIDE: dict[str, tuple[Any, dict[str, Any], str]] = {
    "written": (node("ScatterND", "x", "i", "u"), {"i": longs(4).reshape(1, 1), "u": ONES}, "beyond what it takes"),
    "written before": (
        node("ScatterND", "x", "i", "u"), {"i": longs(-5).reshape(1, 1), "u": ONES}, "beyond what it takes",
    ),
    "more written than there is": (
        node("ScatterND", "x", "i", "u"), {"i": longs(0, 1).reshape(2, 1), "u": ONES}, "make no sense",
    ),
    "read": (node("GatherND", "x", "i"), {"i": longs(1 << 33).reshape(1, 1)}, "beyond what it takes"),
    "read of another batch": (
        node("GatherND", "x", "i", batch_dims=-1), {"i": longs(0, 0).reshape(1, 2)}, "make no sense",
    ),
    "read one by one": (node("GatherElements", "x", "i"), {"i": longs(4)}, "beyond what it takes"),
    "read where it is computed": (node("GatherElements", "x", "x"), {}, "are computed"),
    "more taken away than there is": (node("Pad", "x", "i"), {"i": longs(-5, 5)}, "make no sense"),
    "more taken away than there was": (node("Pad", "x", "i"), {"i": longs(5, -5)}, "make no sense"),
    "a step beyond 32 bits": (
        node("Slice", "x", "s", "e", "a", "t"),
        {"s": longs(3), "e": longs(-99), "a": longs(0), "t": longs(-(1 << 62))}, "make no sense",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", OUTSIDE)
def test_a_graph_stays_within_its_memory(name: str) -> None:
    """A runtime that trusts indices and borders reads or writes what lies beside a tensor: data would be code."""
    one, constants, told = OUTSIDE[name]
    with pytest.raises(ValueError, match=told):
        shapes_of(*parts_of(model([one], [4], constants)))


def test_what_lies_just_within_is_taken() -> None:
    """The last place, the first counted from the end, and all that there is taken away."""
    for one, constants in (
        (node("ScatterND", "x", "i", "u"), {"i": longs(3, -4).reshape(2, 1), "u": np.ones(2, np.float32)}),
        (node("GatherND", "x", "i"), {"i": longs(3, -4).reshape(2, 1)}),
        (node("GatherElements", "x", "i"), {"i": longs(3, -4)}),
        (node("Pad", "x", "i"), {"i": longs(-4, 4)}),
        (
            node("Slice", "x", "i", "e", "a", "t"),
            {"i": longs(3), "e": longs(-9), "a": longs(0), "t": longs(-4)},
        ),
    ):
        shapes_of(*parts_of(model([one], [4], constants)))


def test_what_is_needed_at_one_time_is_bounded_and_not_what_passes() -> None:
    """A long row of large results is like any network's; as many that are all still needed are not."""
    row = parts_of(model(chain("Relu", 200, "x"), [1, 64, 1024, 1024]))
    check_memory(*row, ["y"])
    held = [helper.make_node("Relu", ["x"], [f"h{k}"]) for k in range(20)]
    last = helper.make_node("Max", [f"h{k}" for k in range(20)], ["y"])
    with pytest.raises(ValueError, match="more than 4 GB at once"):
        check_memory(*parts_of(model([*held, last], [1, 64, 1024, 1024])), ["y"])


def test_what_comes_of_weights_alone_is_kept_from_the_start() -> None:
    """A runtime computes it when it opens the graph, and frees none of it."""
    shape = longs(1 << 12, 1 << 14)
    grown = [helper.make_node("Expand", ["w", "s"], [f"e{k}"]) for k in range(20)]
    used = [helper.make_node("ReduceMax", [f"e{k}"], [f"m{k}"]) for k in range(20)]
    last = helper.make_node("Max", ["x", *(f"m{k}" for k in range(20))], ["y"])
    pairs = [one for pair in zip(grown, used) for one in pair]
    found = model([*pairs, last], [1, 1], {"w": np.zeros((1, 1), np.float32), "s": shape})
    with pytest.raises(ValueError, match="more than 4 GB at once"):
        check_memory(*parts_of(found), ["y"])


def test_a_free_frame_is_taken_as_a_large_one() -> None:
    """Height and width of a frame are known when it comes: what is computed from it has to fit for full HD."""
    nodes, constants, _ = parts_of(
        model([node("Resize", "x", "", "s")], [1, 3, 4, 4], {"s": np.array([1, 1, 9, 9], np.float32)})
    )
    with pytest.raises(ValueError, match="entries at most"):
        shapes_of(nodes, constants, {"x": (1, 3, 0, 0)})
    assert shapes_of([Node("Relu", ("x",), ("y",), {})], {}, {"x": (1, 0, 0, 3)})["y"] == (1, 1080, 1920, 3)
