"""What goes into a graph: features that are no numbers stop the frame, whatever a runtime makes of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper

from engine.backends import Graph, open_graph
from engine.backends.carried import Carried
from engine.errors import PortError
from engine.generators.batch_runner import BatchRunner
from engine.generators.graph_runner import MOST_FEATURES, GraphRunner, check_given
from engine.plug import Ports


def relu_graph() -> bytes:
    """shown = max(aus, 0), float32 (1, 3)."""
    ports = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 3]) for name in ("aus", "shown")]
    graph = helper.make_graph([helper.make_node("Relu", ["aus"], ["shown"])], "g", ports[:1], ports[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    return bytes(model.SerializeToString())


@pytest.fixture(params=["openvino", "onnxruntime"])
def graph(request: pytest.FixtureRequest) -> Iterator[Graph]:
    found = open_graph(Path("relu.onnx"), request.param, data=relu_graph())
    yield found
    found.close()


def entry(value: float) -> Ports:
    return {"aus": np.array([[0.5, value, 1.0]], np.float32)}


@pytest.mark.parametrize("kind", ["one by one", "in batches"])
@pytest.mark.parametrize("value", [np.nan, -np.inf])
def test_features_that_are_no_numbers_are_refused(graph: Graph, kind: str, value: float) -> None:
    """Although a ReLU may make 0 of them, which a runner could not tell from a face at rest; the others go on."""
    runner = GraphRunner(graph) if kind == "one by one" else BatchRunner({1: graph})
    answers = runner.run([entry(value), entry(0.25)])
    assert isinstance(answers[0], PortError)
    assert "port 'aus': expected finite numbers, got others" in str(answers[0])
    assert not isinstance(answers[1], Exception)
    np.testing.assert_array_equal(answers[1]["shown"], [[0.5, 0.25, 1.0]])


def test_only_features_are_looked_through() -> None:
    """Pictures and maps would cost a frame's time, and what a face carries lies on its device."""
    carried = Carried((1, 3))
    carried[:] = np.nan
    check_given({"map": np.full((1, MOST_FEATURES + 1), np.nan, np.float32), "steady": carried})
    check_given({"image": np.full((1, 8, 8, 3), 255, np.uint8), "labels": np.zeros((1, 8, 8), np.int64)})
    with pytest.raises(PortError, match="'codes'"):
        check_given({"codes": np.full((1, MOST_FEATURES), np.nan, np.float32)})
