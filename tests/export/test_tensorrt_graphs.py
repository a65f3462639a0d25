"""Every graph that is exported, parsed and compiled by TensorRT's own code, through the project's builder.

A system joins by standing in export/systems.py, with a fixture of its name in conftest.py and its published size here.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnx
import pytest
from onnx import helper

from engine import models as registry
from engine.bundle import open_bundle, read_manifest
from engine.bundles import SHIPPED, names
from engine.errors import PlanError
from engine.plans.request import BATCHES, PRECISIONS
from export.checkpoints import load
from export.frame.writers import WRITERS
from export.onnx import write_graph
from export.pack import pack
from export.precision import lower
from export.systems import EXPORTERS, plan_of
from export.tensorrt.plans import Wanted, make_plans, prepared
from tests.engine.bundle_files import ganimation_graph
from tests.export.framed import framed_bundle, framed_plan
from tests.export.graphs import exported
from tests.export.tensorrt_graphs import compiled, needs_compiler
from tests.export.tiny_plan import LABEL

PUBLISHED: dict[str, dict[str, Any]] = {
    "ganimation": {"conv_dim": 64, "repeat_num": 6},
    "geogan": {"size": 128, "width": 16, "downsamples": 3, "blocks": 3},
    "liquid_warping": {
        "size": 512,
        "widths": [64, 128, 256],
        "residual_blocks": 6,
        "background_widths": [64, 128, 128, 256],
        "background_blocks": 6,
    },
    "maskgan": {
        "size": 512,
        "width": 64,
        "downsamples": 4,
        "blocks": 4,
        "companions": {"mask_vae": {"width": 32, "latent": 1024, "size": 512}, "parser": {"width": 16}},
    },
    "stit": {
        "widths": [512, 512, 512, 512, 512, 256, 128, 64, 32],
        "z_dim": 512,
        "w_dim": 512,
        "mapping_layers": 8,
        "companions": {
            "encoder": {"size": 256, "widths": [64, 128, 256, 512], "blocks": [3, 4, 14, 3]},
            "parser": {"width": 64},
        },
    },
}
"""Arguments of a system's fixture that make its networks as wide and deep as they were published."""

FLOATING = tuple(precision for precision in PRECISIONS if precision not in ("int8", "fp8"))


@pytest.fixture(autouse=True)
def _compiler() -> None:
    needs_compiler()


def test_every_system_is_compiled_at_its_published_size() -> None:
    """Nobody is left out of the tests below."""
    assert PUBLISHED.keys() == EXPORTERS.keys()


@pytest.mark.parametrize("system", sorted(EXPORTERS))
def test_a_system_compiles_with_profiles_in_float16(system: str, request: pytest.FixtureRequest) -> None:
    """Each graph of a narrow network: exported, batched, lowered, parsed, compiled."""
    for name, data in exported(system, request).items():
        lowered = prepared(data, name, "fp16", (1, 2))
        assert len(compiled(lowered, name, "fp16", (1, 2)).plan) > 1000


@pytest.mark.full
@pytest.mark.parametrize("precision", FLOATING)
@pytest.mark.parametrize("system", sorted(EXPORTERS))
def test_a_bundle_compiles(
    system: str, precision: Any, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """The whole road, by way of a bundle: each graph that lies in it."""
    pack(plan_of(load(request.getfixturevalue(system)())), LABEL, tmp_path / "bundle")
    bundle = open_bundle(tmp_path / "bundle")
    made = list(make_plans(bundle, Wanted(precision, BATCHES, "rtx")))
    assert [one.graph.name for one in made] == list(bundle.manifest.graphs)
    for one in made:
        assert len(one.built.plan) > 1000


@pytest.mark.full
@pytest.mark.parametrize("precision", FLOATING)
@pytest.mark.parametrize("system", sorted(EXPORTERS))
def test_a_bundle_compiles_at_its_published_size(
    system: str, precision: Any, request: pytest.FixtureRequest
) -> None:
    """In each precision, for one item and, in float16, for 1, 2, 4 and 8 at once."""
    checkpoint = request.getfixturevalue(system)(**PUBLISHED[system])
    for graph in plan_of(load(checkpoint)).graphs:
        data = write_graph(graph)
        batches = BATCHES if precision == "fp16" else (1,)
        built = compiled(prepared(data, graph.name, precision, batches), graph.name, precision, batches)
        assert len(built.plan) > 1000


@pytest.mark.full
@pytest.mark.parametrize("published", [False, True])
@pytest.mark.parametrize("precision", FLOATING)
@pytest.mark.parametrize("system", sorted(WRITERS))
def test_the_frame_graphs_compile(
    system: str, precision: Any, published: bool, request: pytest.FixtureRequest
) -> None:
    """With free sides, for one frame and in float16 also for several of one size at once, around narrow networks and
    those of the published size."""
    checkpoint = request.getfixturevalue(system)(**(PUBLISHED[system] if published else {}))
    graphs = framed_plan(plan_of(load(checkpoint)))
    assert "frame" in graphs
    batches = (1, 4) if precision == "fp16" else (1,)
    for name, data in graphs.items():
        plan = compiled(prepared(data, name, precision, batches), name, precision, batches).plan
        assert len(plan) > 1000


@pytest.mark.full
@pytest.mark.parametrize("precision", FLOATING)
@pytest.mark.parametrize(
    "name", [name for name in names() if read_manifest(SHIPPED / name).system in WRITERS]
)
def test_the_frame_graphs_of_a_shipped_bundle_compile(name: str, precision: Any) -> None:
    """With the weights that users have: the compiler fuses by what it finds in them."""
    for graph, data in framed_bundle(open_bundle(SHIPPED / name)).items():
        assert len(compiled(prepared(data, graph, precision, (1,)), graph, precision).plan) > 1000


def test_the_frame_graph_of_a_removal_compiles_in_float16() -> None:
    """Three networks, one behind the other: the compiler ends with an error of its own where the flow between them is
    in float16."""
    data = framed_bundle(open_bundle(SHIPPED / "geogan_small"))["frame_removal"]
    assert len(compiled(prepared(data, "frame_removal", "fp16", (1,)), "frame_removal", "fp16").plan) > 1000


def _tracker() -> list[str]:
    return [entry.name for entry in registry.PULLED]


@pytest.mark.full
@pytest.mark.parametrize("precision", FLOATING)
@pytest.mark.parametrize("name", _tracker())
@pytest.mark.usefixtures("models")
def test_the_trackers_graphs_compile(name: str, precision: Any) -> None:
    """They run on the same device as the generator."""
    data = registry.locate(name).read_bytes()
    lowered = lower(onnx.load_from_string(data), precision).SerializeToString()
    assert compiled(lowered, name, precision).plan


@pytest.mark.usefixtures("models")
def test_a_trackers_graph_compiles() -> None:
    """The smallest of them, in every run."""
    smallest = min((registry.locate(name) for name in _tracker()), key=lambda path: path.stat().st_size)
    assert compiled(smallest.read_bytes(), smallest.stem).plan


def test_an_operator_that_tensorrt_lacks_fails_this_test() -> None:
    """The proof that the tests above can fail: the same road, with one determinant behind an output."""
    model = ganimation_graph(16)
    (colour, _) = model.graph.output
    model.graph.node.append(helper.make_node("Det", [colour.name], ["volume"], name="det_0"))
    model.graph.output.append(helper.make_tensor_value_info("volume", onnx.TensorProto.FLOAT, [1, 3]))
    onnx.checker.check_model(model, full_check=True)
    with pytest.raises(PlanError, match=r"refused graph generator: node 'det_0' \(Det\)"):
        compiled(model.SerializeToString(), "generator")
