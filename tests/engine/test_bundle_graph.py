"""What a graph of a bundle may hold: each thing that may not stand in it is refused, by a message that names it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from engine.bundle import PortInfo
from engine.errors import BundleError
from engine.graph_file import OPERATORS, check_graph
from engine.graph_sizes import MOST_ELEMENTS

INPUTS = (PortInfo("x", (1, 3, 4, 4), "float32", None),)
OUTPUTS = (PortInfo("y", (1, 3, 4, 4), "float32", None),)
SHAPE = [1, 3, 4, 4]


def model(*nodes: Any, constants: dict[str, Any] | None = None, opset: int = 18, ir: int = 8) -> Any:
    """One that computes y from x, by default as a copy."""
    graph = helper.make_graph(
        list(nodes) or [helper.make_node("Relu", ["x"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, SHAPE)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, SHAPE)],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in (constants or {}).items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=ir)


def refused(found: Any, told: str, inputs: Any = INPUTS, outputs: Any = OUTPUTS) -> None:
    data = found if isinstance(found, bytes) else found.SerializeToString()
    with pytest.raises(BundleError) as caught:
        check_graph(data, inputs, outputs)
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("opset", [17, 18])
def test_a_plain_graph_passes(opset: int) -> None:
    """Both opsets that every runtime takes."""
    check_graph(model(opset=opset).SerializeToString(), INPUTS, OUTPUTS)


@pytest.mark.parametrize("opset", [9, 16, 19, 20])
def test_another_opset_is_refused(opset: int) -> None:
    """At 20, TensorRT computes GridSample wrong; below 17 there is none, or another."""
    refused(model(opset=opset), f"opset is {opset}, expected 17 or 18")


def test_external_data_is_refused() -> None:
    """Weights lie in the file: no path in it is followed."""
    found = model(helper.make_node("Add", ["x", "w"], ["y"]), constants={"w": np.ones(SHAPE, np.float32)})
    weight = found.graph.initializer[0]
    weight.ClearField("raw_data")
    weight.data_location = TensorProto.EXTERNAL
    weight.external_data.add(key="location", value="../../etc/passwd")
    refused(found, "field 13, which no graph of a bundle may hold")
    del weight.external_data[:]
    refused(found, "the weight 'w' lies outside the file")


def test_foreign_operators_and_domains_are_refused() -> None:
    """Nothing that a runtime would look for in a library, and no control flow."""
    refused(model(helper.make_node("Relu", ["x"], ["y"], domain="com.evil")), "com.evil.Relu")
    refused(model(helper.make_node("NonMaxSuppression", ["x"], ["y"])), "'NonMaxSuppression'")
    imported = model()
    imported.opset_import.add(domain="com.microsoft", version=1)
    refused(imported, "the domain 'com.microsoft'")
    branch = helper.make_graph([helper.make_node("Relu", ["x"], ["z"])], "b", [], [])
    refused(model(helper.make_node("If", ["x"], ["y"], then_branch=branch)), "'If'")
    refused(model(helper.make_node("Relu", ["x"], ["y"], hidden=branch)), "field 6")
    assert not OPERATORS & {"If", "Loop", "Scan", "Constant", "RandomNormal", "SequenceAt", "DFT"}


def test_local_functions_and_training_information_are_refused() -> None:
    """A function could give an allowed operator another meaning."""
    found = model()
    found.functions.add(name="Relu", domain="")
    refused(found, "field 25")
    found = model()
    found.training_info.add()
    refused(found, "field 20")


def test_sparse_and_quantised_tensors_are_refused() -> None:
    """Their sizes are stated in another place than that of the weights."""
    found = model()
    found.graph.sparse_initializer.add()
    refused(found, "field 15")
    found = model()
    found.graph.quantization_annotation.add()
    refused(found, "field 14")


def test_what_stands_twice_is_refused() -> None:
    """A runtime would merge two graphs in one file, and see another one than was checked."""
    refused(model().SerializeToString() * 2, "twice")


def test_names_are_given_once_and_before_they_are_read() -> None:
    """One value per name, in order, up to the outputs."""
    twice = [helper.make_node("Relu", ["x"], ["y"]), helper.make_node("Tanh", ["x"], ["y"])]
    refused(model(*twice), "'y' is computed twice")
    refused(model(helper.make_node("Relu", ["z"], ["y"])), "reads 'z'")
    refused(model(helper.make_node("Relu", ["x"], ["z"])), "nothing computes its output 'y'")
    refused(model(constants={"x": np.ones(1, np.float32)}), "an input has the name of a weight")


def test_ports_are_those_of_the_manifest() -> None:
    """By name, shape and dtype, on both sides."""
    refused(model(), "its inputs are x, expected z", inputs=(PortInfo("z", (1,), "float32", None),))
    refused(model(), "its outputs are y, expected none", outputs=())
    refused(model(), "is float32 (1, 3, 4, 4)", inputs=(PortInfo("x", (1, 3, 4, 5), "float32", None),))
    refused(model(), "is float32", inputs=(PortInfo("x", (1, 3, 4, 4), "uint8", None),))
    free = model()
    free.graph.input[0].type.tensor_type.shape.dim[2].dim_param = "height"
    refused(free, "'x' is float32 (1, 3, 0, 4), expected")
    nothing = model()
    nothing.graph.input[0].type.tensor_type.shape.dim[2].dim_value = 0
    refused(nothing, "neither a number from 1 on nor named as free")


def test_a_part_of_a_constant_may_have_a_computed_size() -> None:
    """A frame's rows are counted by it: it is never larger than the constant. A part of anything else is refused."""
    bounds = {
        name: np.array([value], np.int64)
        for name, value in (("first", 0), ("axis", 0), ("row", 2), ("next", 3))
    }
    counted = {"rows": np.arange(8, dtype=np.float32)}
    shape = helper.make_node("Shape", ["x"], ["shape"])

    def sliced(what: str) -> Any:
        part = helper.make_node("Slice", [what, "first", "sizes", "axis"], ["part"])
        one = helper.make_node("ReduceMax", ["part"], ["most"], keepdims=0)
        plus = helper.make_node("Add", ["x", "most"], ["y"])
        sizes = helper.make_node("Slice", ["shape", "row", "next", "axis"], ["sizes"])
        return model(shape, sizes, part, one, plus, constants=counted | bounds)

    check_graph(sliced("rows").SerializeToString(), INPUTS, OUTPUTS)
    refused(sliced("x"), "the sizes of a Slice are computed")


@pytest.mark.parametrize(
    ("kind", "inputs", "constants", "told"),
    [
        ("Expand", ["x", "s"], {"s": np.array([1 << 20, 1 << 20], np.int64)}, "entries at most"),
        ("Tile", ["x", "s"], {"s": np.array([1 << 15, 1 << 15, 1, 1], np.int64)}, "entries at most"),
        ("Resize", ["x", "", "s"], {"s": np.array([1, 1, 64, 64], np.float32)}, "scales by more than 16"),
        ("Resize", ["x", "", "s"], {"s": np.array([1, 1, np.nan, 1], np.float32)}, "scales by more than 16"),
        ("Resize", ["x", "", "", "s"], {"s": np.array([1, 1, 1 << 20, 1 << 20])}, "entries at most"),
        ("Pad", ["x", "s"], {"s": np.array([0, 0, 1 << 40, 0, 0, 0, 0, 0])}, "more than 65536"),
        ("Expand", ["x", "x"], {}, "the sizes of a Expand are computed"),
    ],
)
def test_stated_sizes_have_bounds(kind: str, inputs: list[str], constants: dict[str, Any], told: str) -> None:
    """A file of some bytes cannot ask for all the memory there is, and sizes are constants."""
    refused(model(helper.make_node(kind, inputs, ["y"]), constants=constants), told)


def test_a_weight_is_as_long_as_its_shape_says() -> None:
    """Neither more nor fewer bytes, and never more entries than the bound."""
    found = model(helper.make_node("Add", ["x", "w"], ["y"]), constants={"w": np.ones(SHAPE, np.float32)})
    found.graph.initializer[0].raw_data = b"\0" * 12
    refused(found, "has 12 bytes, expected 192")
    found.graph.initializer[0].dims[0] = MOST_ELEMENTS
    refused(found, "entries at most")
    found.graph.initializer[0].dims[0] = -1
    refused(found, "fixed sizes")


def test_the_walk_reads_what_onnx_wrote(tmp_path: Path) -> None:
    """It agrees with the onnx package about a graph with every kind of field that is allowed."""
    nodes = [
        helper.make_node(
            "Conv", ["x", "w"], ["c"], "conv", pads=[1, 1, 1, 1], auto_pad="NOTSET", doc_string="d"
        ),
        helper.make_node("LeakyRelu", ["c"], ["y"], alpha=0.25),
    ]
    found = model(*nodes, constants={"w": np.ones((3, 3, 3, 3), np.float16).astype(np.float32)})
    found.graph.value_info.append(helper.make_tensor_value_info("c", TensorProto.FLOAT, SHAPE))
    found.metadata_props.add(key="k", value="v")
    onnx.checker.check_model(found)
    check_graph(found.SerializeToString(), INPUTS, OUTPUTS)


@pytest.mark.parametrize(
    "data", [b"", b"\x00", b"\x08", b"PK\x03\x04", b"\xff" * 64, b"\x3a\xff\xff\xff\x7f"]
)
def test_what_is_no_onnx_file_is_refused(data: bytes) -> None:
    """Nothing, half a field, an archive, a length beyond the file."""
    with pytest.raises(BundleError):
        check_graph(data, INPUTS, OUTPUTS)


def test_a_message_stays_on_its_line() -> None:
    """Names in the file come from a stranger: they are shown without what would move a terminal's cursor."""
    with pytest.raises(BundleError) as caught:
        check_graph(
            model(helper.make_node("Re\x1b[2J\nlu", ["x"], ["y"])).SerializeToString(), INPUTS, OUTPUTS
        )
    assert str(caught.value).isprintable()
