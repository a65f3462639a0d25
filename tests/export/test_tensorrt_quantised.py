"""int8 and fp8 of the exported systems: calibrated with what their graphs are given, compiled, and looked at."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import onnx
import pytest

from engine.bundle import open_bundle
from engine.bundles import SHIPPED, names
from engine.free_batch import settled
from export.checkpoints import load
from export.onnx import write_graph
from export.precision import lower
from export.rounding import rounded
from export.systems import EXPORTERS, plan_of
from tests.conftest import PROJECT
from tests.export.graphs import narrow
from tests.export.pictures import SHOWN, Array, drawn, psnr, recorded, runner
from tests.export.precision_figures import crops
from tests.export.tensorrt_graphs import compiled, needs_compiler
from tests.export.test_tensorrt_graphs import PUBLISHED

EIGHT_BITS = ("int8", "fp8")
LEAST = {"int8": 40.0, "fp8": 36.0}  # dB
CASES = 16


@pytest.fixture(autouse=True)
def _compiler() -> None:
    needs_compiler()


def _given(rule: str, size: int, count: int) -> list[Array]:
    """Real faces where they are, drawn crops otherwise."""
    faces = Path(os.environ.get("MAROTTE_FACES", PROJECT.parent / "shared" / "faces")) / "portraits"
    return crops(faces if faces.is_dir() else None, rule, size, count)


def _size(models: Any) -> int:
    return int(next(iter(models.values())).graph.input[0].type.tensor_type.shape.dim[2].dim_value)


def _compile(models: Any, precision: Any, calibration: Any) -> dict[str, onnx.ModelProto]:
    lowered = {name: lower(model, precision, calibration=calibration[name]) for name, model in models.items()}
    for name, model in lowered.items():
        assert len(compiled(model.SerializeToString(deterministic=True), name, precision).plan) > 1000
    return lowered


@pytest.mark.parametrize("system", sorted(EXPORTERS))
def test_a_narrow_system_compiles_in_int8(system: str, request: pytest.FixtureRequest) -> None:
    """Each of its graphs that has a layer between its ends."""
    models = narrow(system, request)
    _compile(models, "int8", recorded(system, models, [drawn(_size(models), seed) for seed in range(2)]))


@pytest.mark.full
@pytest.mark.parametrize("precision", EIGHT_BITS)
@pytest.mark.parametrize("system", sorted(EXPORTERS))
@pytest.mark.usefixtures("models")
def test_a_system_compiles_at_its_published_size(
    system: str, precision: Any, request: pytest.FixtureRequest
) -> None:
    """As wide as they were published."""
    plan = plan_of(load(request.getfixturevalue(system)(**PUBLISHED[system])))
    models = {graph.name: onnx.load_from_string(settled(write_graph(graph), 1)) for graph in plan.graphs}
    given = _given(plan.parameters.crop.rule, _size(models), 4)
    _compile(models, precision, recorded(system, models, given))


@pytest.mark.full
@pytest.mark.parametrize("precision", EIGHT_BITS)
@pytest.mark.parametrize("name", names())
@pytest.mark.usefixtures("models")
def test_the_picture_of_a_shipped_bundle(name: str, precision: Any) -> None:
    """Trained weights: calibrated on some faces, looked at on others."""
    bundle = open_bundle(SHIPPED / name)
    system, crop = bundle.manifest.system, bundle.manifest.parameters.crop
    models = {
        graph: onnx.load_from_string(settled(bundle.data(graph), 1)) for graph in bundle.manifest.graphs
    }
    given = _given(crop.rule, crop.size, CASES + 4)
    lowered = _compile(models, precision, recorded(system, models, given[:CASES]))
    exact, made = runner(models), runner({graph: rounded(model) for graph, model in lowered.items()})
    for seed, image in enumerate(given[CASES:], 100):
        expected, got = (SHOWN[system](run, image, given[CASES], seed) for run in (exact, made))
        for picture, array in expected.items():
            assert psnr(array, got[picture]) >= LEAST[precision], picture
