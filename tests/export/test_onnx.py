"""From a module to the bytes of a graph."""

from __future__ import annotations

import dataclasses
import hashlib
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import helper
from torch import Tensor, nn

from engine.backends import BACKENDS, open_graph
from engine.bundle import PortInfo
from engine.errors import BundleError
from engine.graph_file import OPERATORS
from export import parity
from export.norms import CentredNorm, portable
from export.onnx import OPSET, rounded, rounded_plan, write_graph
from export.parity import GATE, measure
from export.plan import GraphPlan, numbers, picture
from export.tidy import IR_VERSION, tidy
from tests.conftest import PROJECT
from tests.export.tiny_plan import SIDE, Tiny, graph

_FLOAT16 = onnx.TensorProto.FLOAT16


@pytest.fixture(scope="module")
def plain() -> bytes:
    """The tiny graph with weights as they are."""
    return write_graph(graph())


def _model(data: bytes) -> Any:
    return onnx.load_from_string(data)


def test_a_graph_has_its_ports_and_nothing_of_the_exporter(plain: bytes) -> None:
    """Names, types and shapes as planned, operators of the list, no paths of source files, no dead weights."""
    model = _model(plain)
    assert [port.name for port in model.graph.input] == ["image", "shift"]
    assert [port.name for port in model.graph.output] == ["made"]
    assert model.opset_import[0].version == OPSET
    assert model.ir_version == IR_VERSION
    assert {node.op_type for node in model.graph.node} <= OPERATORS
    assert not model.metadata_props
    assert not model.functions
    assert not any(node.metadata_props or node.doc_string for node in model.graph.node)
    assert not any(
        "/" in name for node in model.graph.node for name in (node.name, *node.input, *node.output)
    )
    names = {tensor.name for tensor in model.graph.initializer}
    assert "convolution.weight" in names
    assert not any(name.startswith("dead") for name in names)
    assert all(not tensor.external_data and tensor.raw_data for tensor in model.graph.initializer)


@pytest.mark.full
def test_the_same_module_gives_the_same_bytes(plain: bytes) -> None:
    """Whatever was exported before, and in another process with another hash seed."""
    assert write_graph(graph()) == plain
    code = (
        "import sys, hashlib; from tests.export.tiny_plan import graph; from export.onnx import write_graph\n"
        "print(hashlib.sha256(write_graph(graph())).hexdigest())"
    )
    environment = {"PYTHONHASHSEED": "99", "PATH": ""}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=PROJECT, check=True, env=environment
    )
    assert done.stdout.split()[-1] == hashlib.sha256(plain).hexdigest()


def test_weights_as_float16_are_exact_after_rounding(plain: bytes) -> None:
    """What a float16 holds exactly is stored as one, vectors stay float32, and torch on the same weights agrees."""
    exact = graph()
    halved = rounded_plan(exact)
    data = write_graph(halved, half=True)
    kinds = {tensor.name: tensor.data_type for tensor in _model(data).graph.initializer}
    assert kinds["convolution.weight"] == _FLOAT16
    assert [name for name, kind in kinds.items() if kind == _FLOAT16] == ["convolution.weight"]
    assert len(data) < len(plain)
    report = measure([halved], {"tiny": data}, exact=[exact])
    assert report.rounding is not None
    assert 1e-5 < report.rounding["tiny"]["made"]["max"] < 0.02
    assert all(errors["tiny"]["made"]["max"] < GATE for _, errors in report.runtimes.values())


def test_halves_are_held_against_themselves(plain: bytes) -> None:
    """A reference whose weights are arranged otherwise rounds to others, and is none for halves; but what is exact is
    still held against it."""
    twice = Tiny()
    with torch.no_grad():
        twice.convolution.weight.mul_(1.001)  # which the norm takes away again
    exact = dataclasses.replace(graph(), reference=twice.eval())
    halved = rounded_plan(exact)
    assert halved.reference is None
    data = {"tiny": write_graph(halved, half=True)}
    measure([halved], data, exact=[exact])
    wrong = Tiny()
    with torch.no_grad():
        wrong.norm.weight.mul_(1.5)
    other = dataclasses.replace(exact, reference=wrong.eval())
    with pytest.raises(BundleError, match="its arrangement differs from its reference by"):
        measure([halved], data, exact=[other])


def test_large_inputs_are_compared_two_at_a_time(plain: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same cases and errors, whatever is held at once."""
    together = measure([graph()], {"tiny": plain})
    monkeypatch.setattr(parity, "AT_ONCE", 1)
    pairs = measure([graph()], {"tiny": plain})
    assert (pairs.cases, pairs.runtimes.keys()) == (together.cases, together.runtimes.keys())
    for name, (_, errors) in pairs.runtimes.items():
        assert errors["tiny"]["made"] == pytest.approx(together.runtimes[name][1]["tiny"]["made"], rel=1e-9)


def test_weights_beyond_float16_are_refused() -> None:
    """An infinity in the file would be no rounding."""
    module = Tiny()
    with torch.no_grad():
        module.convolution.weight[0, 0, 0, 0] = 1e5
    with pytest.raises(BundleError, match=r"convolution\.weight is beyond the range of float16"):
        rounded(module)


def test_weights_that_are_not_finite_are_refused() -> None:
    """A training that diverged makes no bundle."""
    module = Tiny()
    with torch.no_grad():
        module.norm.weight[0] = torch.nan
    with pytest.raises(BundleError, match=r"norm\.weight is not finite"):
        write_graph(graph(module))


class _Pick(nn.Module):
    """A part of a weight, and a copy of an input."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(4, 6, 1, 1))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return nn.functional.conv2d(x, self.weight[:, 3:]), x.clone()


def test_parts_of_weights_are_cut_before() -> None:
    """A slice of a weight is stored as that slice, and an output may be an input."""
    outputs = (numbers("y", (1, 4, 4, 4)), numbers("same", (1, 3, 4, 4)))
    plan = GraphPlan("pick", _Pick(), (numbers("x", (1, 3, 4, 4)),), outputs)
    data = write_graph(plan)
    model = _model(data)
    assert [list(tensor.dims) for tensor in model.graph.initializer] == [[4, 3, 1, 1]]
    assert {node.op_type for node in model.graph.node} <= {"Conv", "Identity"}
    measure([plan], {"pick": data})


def _tidied(node: Any, inputs: tuple[PortInfo, ...]) -> bytes:
    """One node that makes `y` of the ports, as torch's exporter might write it."""
    ports = [helper.make_tensor_value_info(port.name, 1, port.shape) for port in inputs]
    made = helper.make_tensor_value_info("y", 1, (1, 3, 4, 4))
    model = helper.make_model(helper.make_graph([node], "g", ports, [made]))
    return tidy(model, "g", inputs, (numbers("y", (1, 3, 4, 4)),), opset=OPSET, half=False)


def test_a_picture_is_cast_before_anything_else() -> None:
    """TensorRT has uint8 in ports and nowhere else."""
    node = helper.make_node("Transpose", ["image"], ["y"], perm=[0, 3, 1, 2])
    with pytest.raises(ValueError, match="a Transpose reads the picture 'image'"):
        _tidied(node, (picture("image", 4),))


def test_every_port_is_read_and_every_output_computed() -> None:
    """ONNX Runtime has no port for an input that nothing reads."""
    x, spare = numbers("x", (1, 3, 4, 4)), numbers("spare", (1, 2))
    with pytest.raises(ValueError, match="nothing reads the input 'spare'"):
        _tidied(helper.make_node("Relu", ["x"], ["y"]), (x, spare))
    with pytest.raises(ValueError, match="'z' is read and nothing gives it"):
        _tidied(helper.make_node("Add", ["x", "z"], ["y"]), (x,))


def test_outputs_of_another_shape_are_told_before_exporting() -> None:
    """The plan and its module have to agree."""
    plan = dataclasses.replace(graph(), outputs=(numbers("made", (1, 8, SIDE, SIDE + 1)),))
    with pytest.raises(BundleError, match=r"its module gives \[\(1, 8, 16, 16\)\], expected"):
        write_graph(plan)


@pytest.mark.parametrize("affine", [True, False])
def test_a_centred_norm_is_an_instance_norm(affine: bool) -> None:
    """The same numbers as torch's, where those are well conditioned."""
    torch.manual_seed(0)
    norm = nn.InstanceNorm2d(5, affine=affine).double()
    if affine:
        with torch.no_grad():
            norm.weight.normal_()
            norm.bias.normal_()
    x = torch.randn(2, 5, 7, 7, dtype=torch.float64) * 3 + 100
    torch.testing.assert_close(CentredNorm(norm)(x), norm(x), rtol=1e-9, atol=1e-9)


def test_a_norm_with_running_statistics_keeps_them() -> None:
    """In eval mode it is a batch norm of the same statistics, which every exporter writes right."""
    torch.manual_seed(0)
    norm = nn.Sequential(nn.InstanceNorm2d(4, affine=True, track_running_stats=True))
    with torch.no_grad():
        norm(torch.randn(8, 4, 6, 6) * 2 + 1)
        norm[0].weight.normal_()
    norm.eval()
    x = torch.randn(3, 4, 6, 6)
    made = portable(norm)
    assert isinstance(made[0], nn.BatchNorm2d)
    torch.testing.assert_close(made(x), norm(x), rtol=1e-5, atol=1e-6)


@pytest.mark.full
@pytest.mark.parametrize("backend", BACKENDS)
def test_a_norm_is_right_where_the_mean_is_large(backend: str) -> None:
    """A channel's mean may be two hundred times its deviation; torch in float64 says what is right."""
    torch.manual_seed(0)
    module = nn.InstanceNorm2d(3, affine=True).eval()
    plan = GraphPlan("n", module, (numbers("x", (1, 3, 96, 96)),), (numbers("y", (1, 3, 96, 96)),))
    opened = open_graph(Path("n.onnx"), backend, data=write_graph(plan))
    x = torch.rand(1, 3, 96, 96) * 0.02 + 1.0
    expected = module.double()(x.double()).detach().numpy()
    assert np.abs(opened.run({"x": x.numpy()})["y"] - expected).max() < GATE
    opened.close()
