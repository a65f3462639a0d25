"""A graph whose division would end the process is refused before a runtime sees it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from engine.bundle import PortInfo
from engine.errors import BundleError
from engine.graph_file import check_graph

FLOAT, INT, LONG, BYTE = TensorProto.FLOAT, TensorProto.INT32, TensorProto.INT64, TensorProto.UINT8


def check(nodes: list[Any], **constants: Any) -> None:
    """Of a graph that computes y from x, both float32 (1, 1, 4, 4)."""
    shape = [1, 1, 4, 4]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", FLOAT, shape)],
        [helper.make_tensor_value_info("y", FLOAT, shape)],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    port = (1, 1, 4, 4), "float32", None
    check_graph(model.SerializeToString(), (PortInfo("x", *port),), (PortInfo("y", *port),))


def whole(to: int, by: str = "d") -> list[Any]:
    """x as whole numbers, divided."""
    return [
        helper.make_node("Cast", ["x"], ["c"], to=to),
        helper.make_node("Div", ["c", by], ["q"]),
        helper.make_node("Cast", ["q"], ["y"], to=FLOAT),
    ]


@pytest.mark.parametrize(
    ("to", "divisor"),
    [
        (LONG, np.array([-1])),
        (LONG, np.array([2, 3, 0, 4])),
        (INT, np.array([0], np.int32)),
        (INT, np.array([-1], np.int32)),
        (TensorProto.INT8, np.array([-1], np.int8)),
        (BYTE, np.array([0], np.uint8)),
    ],
)
def test_whole_numbers_are_not_divided_by_0_or_minus_1(to: int, divisor: Any) -> None:
    """Not in any entry, nor in any of the types: the least of them divided by -1 traps as 0 does."""
    with pytest.raises(BundleError, match="by 0 or -1, expected a constant of others; export it again"):
        check(whole(to), d=divisor)


def test_a_divisor_of_whole_numbers_is_a_constant() -> None:
    """What is computed may be 0, however the graph hides that these are whole numbers."""
    hidden = {
        "of a Cast": whole(LONG, "c"),
        "of a MaxPool": [
            helper.make_node("MaxPool", ["x"], ["m", "at"], kernel_shape=[1, 1]),
            helper.make_node("Div", ["at", "at"], ["q"]),
            helper.make_node("Cast", ["q"], ["y"], to=FLOAT),
        ],
        "of a Where": [
            helper.make_node("Greater", ["x", "f"], ["b"]),
            helper.make_node("Where", ["b", "d", "d"], ["w"]),
            *whole(LONG, "w"),
        ],
        "of an ArgMax": [helper.make_node("ArgMax", ["x"], ["a"], axis=3), *whole(LONG, "a")],
    }
    for nodes in hidden.values():
        with pytest.raises(BundleError, match="by what is computed, expected a constant"):
            check(nodes, d=np.array([3]), f=np.zeros(1, np.float32))


def test_what_cannot_end_the_process_is_taken() -> None:
    """Whole numbers by other constants, 255 where that is not -1, and anything that has fractions."""
    check(whole(LONG), d=np.array([2, -2, 3, 1 << 40]))
    check(whole(BYTE), d=np.array([255], np.uint8))
    check([helper.make_node("Div", ["x", "d"], ["y"])], d=np.zeros(1, np.float32))
    check([helper.make_node("Div", ["d", "x"], ["y"])], d=np.ones(1, np.float32))
    check([*whole(LONG)[:1], helper.make_node("Cast", ["c"], ["f"], to=FLOAT),
           helper.make_node("Div", ["x", "f"], ["y"])])  # fmt: skip
