"""A system's narrow graphs, exported once for all tests of a process, and small graphs written as text."""

from __future__ import annotations

from collections.abc import Mapping

import onnx
import pytest

from engine.free_batch import settled
from export.checkpoints import load
from export.onnx import write_graph
from export.systems import plan_of

_EXPORTED: dict[str, dict[str, bytes]] = {}


def narrow(system: str, request: pytest.FixtureRequest) -> Mapping[str, onnx.ModelProto]:
    """The graphs of the fixture that is called like the system, by name, as they are for one entry."""
    if system not in _EXPORTED:
        plan = plan_of(load(request.getfixturevalue(system)()))
        _EXPORTED[system] = {graph.name: settled(write_graph(graph), 1) for graph in plan.graphs}
    return {name: onnx.load_from_string(settled(data, 1)) for name, data in _EXPORTED[system].items()}


def written(text: str, opset: int = 18) -> onnx.ModelProto:
    """A graph from ONNX's own notation, its signature in front: "(float[1,4] x) => (float[1,4] y) {...}"."""
    head = f'<ir_version: 8, opset_import: ["" : {opset}]> small '
    model = onnx.parser.parse_model(head + text)
    onnx.checker.check_model(model, full_check=True)
    return model
