"""A graph that runs for every frame is exported for any number of entries, and held against torch for several."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from engine.backends import open_graph
from engine.bundle import PortInfo
from engine.errors import BundleError
from engine.free_batch import is_free, settled
from export.checkpoints import load
from export.onnx import rounded_plan, write_graph
from export.parity import cases, measure
from export.plan import GraphPlan
from export.systems import EXPORTERS, plan_of
from tests.export.tiny_plan import graph


@pytest.fixture(scope="module")
def free() -> bytes:
    return write_graph(replace(graph(), batched=True))


def test_a_batched_plan_gives_one_file_for_every_size(free: bytes) -> None:
    """Its first sizes are free, its weights stand in it once, and for one entry it is what it would be without."""
    assert is_free(free)
    plain = write_graph(graph())
    assert not is_free(plain)
    assert len(free) < len(plain) + 512
    found = {}
    for name, data in (("free", settled(free, 1)), ("plain", plain)):
        opened = open_graph(Path(name), "onnxruntime", data=data)
        case = next(cases(graph()))
        found[name] = opened.run({port: tensor.numpy() for port, tensor in case.items()})["made"].copy()
        opened.close()
    assert (found["free"] == found["plain"]).all()


def test_weights_as_float16_stay_so_in_a_batched_graph() -> None:
    """Making room for a batch must not write them out again."""
    plan = rounded_plan(graph())
    plain, free = write_graph(plan, half=True), write_graph(replace(plan, batched=True), half=True)
    assert len(free) < len(plain) + 512


@pytest.mark.parametrize("system", sorted(EXPORTERS))
def test_every_system_has_a_graph_for_the_frames_of_several_sessions(
    system: str, request: pytest.FixtureRequest
) -> None:
    """A further system is told here that its plan has to say which one that is."""
    assert any(graph.batched for graph in plan_of(load(request.getfixturevalue(system)())).graphs)


class Mixing(nn.Module):
    """What it gives for one entry is that entry."""

    def forward(self, x: Tensor) -> Tensor:
        return 2.0 * x - x.mean(0, keepdim=True)


def test_a_batch_that_differs_from_its_entries_is_not_packed() -> None:
    """A file that is right for one entry and mixes several is found when they are run at once."""
    ports = (PortInfo("x", (1, 8), "float32", (0.0, 1.0)),), (PortInfo("y", (1, 8), "float32", None),)
    plan = GraphPlan("mixing", Mixing(), *ports, batched=True)
    nodes = [
        helper.make_node("ReduceMean", ["x"], ["mean"], axes=[0], keepdims=1),
        helper.make_node("Mul", ["x", "two"], ["doubled"]),
        helper.make_node("Sub", ["doubled", "mean"], ["y"]),
    ]
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 8]) for name in "xy"]
    two = numpy_helper.from_array(np.array([2.0], np.float32), "two")
    model = helper.make_model(
        helper.make_graph(nodes, "mixing", values[:1], values[1:], [two]),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
    )
    onnx.checker.check_model(model)
    data = model.SerializeToString()
    assert measure([replace(plan, batched=False)], {"mixing": data}).cases == 6
    with pytest.raises(BundleError, match=r"graph mixing, port 'y': .* differs from torch by"):
        measure([plan], {"mixing": data})
