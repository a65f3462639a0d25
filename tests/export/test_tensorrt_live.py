"""Two exported generators of one graph on the engine's way to a plan, and `marotte plan`, which fills its cache."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import marotte
from engine import backends, bundles
from engine.backends import driver, open_graph, tensorrt
from engine.bundle import Bundle, open_bundle
from engine.errors import BackendError, PlanError
from engine.free_batch import settled
from engine.generators import open_generator
from engine.plans import apart, making, policy
from engine.plans.background import decibels
from engine.plans.cache import plans_folder
from engine.plans.policy import PlanPolicy
from engine.plans.probe import go_live, make_probe
from engine.plans.request import Built, PlanRequest
from engine.plans.structure import structure
from export.checkpoints import load
from export.pack import pack
from export.rounding import rounded
from export.systems import plan_of
from export.tensorrt import from_bundle, plans
from export.tensorrt.api import Toolkit
from export.tensorrt.from_bundle import build_from_bundle
from export.tensorrt.plans import prepared
from export.tensorrt.refit import refit_graph
from export.tensorrt.weights import with_weights
from tests.engine import gpu_fakes
from tests.engine.bundle_files import write_ganimation
from tests.export.framed import framed_bundle
from tests.export.tensorrt_graphs import tiny
from tests.export.tiny_plan import LABEL

GRAPH = "generator"


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[list[str]]:
    """The stand-in of a GPU, with a builder of this process and a cache of its own: what was asked of the builder."""
    asked: list[str] = []

    def build_here(builder: str, request: PlanRequest, **options: Any) -> Built:
        asked.append(f"{request.name} {'refitted' if request.base else 'built'} {request.batches}")
        return apart._builder(builder)(request, **options)

    monkeypatch.setattr(making, "build_apart", build_here)
    before = policy.current()
    policy.use(PlanPolicy(builder="tests.engine.plan_builders:refits", folder=tmp_path / "plans", wait=True))
    gpu_fakes.install(monkeypatch)
    tensorrt.check.cache_clear()
    yield asked
    policy.use(before)
    driver.driver.cache_clear()
    tensorrt._logger.cache_clear()
    tensorrt.check.cache_clear()


@pytest.fixture
def two(ganimation: Callable[..., Path], tmp_path: Path) -> tuple[Bundle, Bundle]:
    """Bundles of two checkpoints of one small GANimation, exported and compared as any."""
    import torch

    from trainers import checkpoint
    from trainers.ganimation.networks import Generator

    first = ganimation()
    torch.manual_seed(8)
    about = checkpoint.read(first)
    other = Generator(**about.arguments["generator"]).state_dict()
    checkpoint.write(tmp_path / "other", about, {"generator": other})
    folders = [tmp_path / "one", tmp_path / "two"]
    for folder, place in zip((first, tmp_path / "other"), folders, strict=True):
        pack(plan_of(load(folder)), LABEL, place)
    return open_bundle(folders[0]), open_bundle(folders[1])


def _run(graph: bytes, arrays: Any) -> dict[str, Any]:
    opened = open_graph(Path("graph.onnx"), "onnxruntime", data=graph)
    return {name: np.array(array) for name, array in opened.run(arrays).items()}


def _face(bundle: Bundle) -> dict[str, Any]:
    rng = np.random.default_rng(4)
    image, units = bundle.info(GRAPH).inputs
    return {
        image.name: rng.integers(0, 256, image.shape, np.uint8),
        units.name: rng.uniform(0, 1, units.shape).astype(np.float32),
    }


@pytest.mark.full
def test_two_exported_generators_are_one_graph_and_exchange_their_weights(
    two: tuple[Bundle, Bundle], gpu: list[str]
) -> None:
    """By a CPU runtime with swapped initialisers, in each precision that one has; and live: the second goes live by the
    first one's plan, with its own picture."""
    one, other = (bundle.data(GRAPH) for bundle in two)
    assert one != other
    assert structure(one) == structure(other)
    face = _face(two[0])
    for precision in ("fp32", "fp16"):
        lowered = [prepared(data, GRAPH, precision, (1,)) for data in (one, other)]
        assert structure(lowered[0]) == structure(lowered[1])
        swapped, own, before = (
            _run(data, face) for data in (refit_graph(lowered[0], lowered[1], GRAPH), *reversed(lowered))
        )
        for port in own:
            np.testing.assert_array_equal(swapped[port], own[port])
        assert decibels(own["colour"], before["colour"]) < 30
        probe = make_probe(other, GRAPH, precision)
        go_live(probe, lambda arrays, graph=lowered[1]: _run(graph, arrays), GRAPH)
        with pytest.raises(PlanError, match="does not go live"):
            go_live(probe, lambda arrays, graph=lowered[0]: _run(graph, arrays), GRAPH)
    for bundle in two:
        graph = bundle.graph(GRAPH, "tensorrt")
        assert graph.backend == "tensorrt"
        np.testing.assert_allclose(
            graph.run(face)["colour"], _run(bundle.data(GRAPH), face)["colour"], atol=1e-5
        )
        graph.close()
    assert gpu == ["generator.onnx built (1,)", "generator.onnx refitted (1,)"]


@pytest.mark.full
@pytest.mark.parametrize("name", bundles.names())
def test_what_is_right_passes_the_probe_in_lower_precision_and_a_lost_kernel_does_not(name: str) -> None:
    """Every graph of the shipped bundles and its frame graphs: a right refit is never thrown away for its precision,
    and the kernel in the middle of the network is missed where it is zero."""
    bundle = open_bundle(bundles.find(name))
    files = {graph: settled(bundle.data(graph), 1) for graph in bundle.manifest.graphs}
    for graph, data in (files | dict(framed_bundle(bundle))).items():
        for precision in ("fp16", "bf16"):
            probe = make_probe(data, graph, precision)
            lowered = rounded(onnx.load_from_string(prepared(data, graph, precision, (1,))))
            go_live(probe, lambda arrays, lowered=lowered: _run(lowered.SerializeToString(), arrays), graph)
        if not _kernels(onnx.load_from_string(data)):
            continue  # it mixes codes, and has no network
        probe = make_probe(data, graph, "fp16")
        with pytest.raises(PlanError, match="does not go live"):
            go_live(probe, lambda arrays, data=data: _run(_without_kernel(data), arrays), graph)


def _kernels(model: onnx.ModelProto) -> list[str]:
    return [node.input[1] for node in model.graph.node if node.op_type.startswith("Conv")]


def _without_kernel(data: bytes) -> bytes:
    model = onnx.load_from_string(data)
    kernels = _kernels(model)
    held = {weight.name: weight for weight in model.graph.initializer}
    stored = {node.output[0]: node.input[0] for node in model.graph.node if node.op_type == "Cast"}
    kernel = kernels[len(kernels) // 2]
    weight = held[kernel if kernel in held else stored[kernel]]
    values = onnx.numpy_helper.to_array(weight)
    return with_weights(data, {weight.name: np.zeros_like(values)})


# --- Marotte's builder with a base ----------------------------------------------------------------------


@pytest.fixture
def refits(monkeypatch: pytest.MonkeyPatch) -> list[tuple[bytes, bytes]]:
    """What TensorRT was given: the plan, and the graph with the new weights."""
    given: list[tuple[bytes, bytes]] = []

    def refitted(toolkit: Any, plan: bytes, graph: bytes, name: str) -> bytes:
        given.append((plan, graph))
        return b"refitted"

    def built(request: PlanRequest, **options: Any) -> Built:
        assert (request.base, request.base_structure) == (b"", "")
        return Built(b"built", {})

    monkeypatch.setattr(from_bundle, "refitted", refitted)
    monkeypatch.setattr(from_bundle, "build", built)
    monkeypatch.setattr(from_bundle, "load", lambda flavour: Toolkit(None, flavour, "11.4.0", (11, 4, 0)))  # type: ignore[arg-type]
    return given


def test_the_builder_gives_a_base_the_weights_of_the_lowered_graph(refits: Any) -> None:
    """In the plan's precision and for its batches; what fits is told by what was really compiled."""
    first = build_from_bundle(PlanRequest(tiny(1), "tiny", "fp16", (1, 2), refit=True))
    asked = PlanRequest(
        tiny(2), "tiny", "fp16", (1, 2), refit=True, base=first.plan, base_structure=first.structure
    )
    second = build_from_bundle(asked)
    assert (second.plan, second.refitted, second.structure) == (b"refitted", True, first.structure)
    assert refits == [(b"built", prepared(tiny(2), "tiny", "fp16", (1, 2)))]
    assert build_from_bundle(PlanRequest(tiny(1), "tiny", "fp16", (1,))).structure == ""
    with pytest.raises(PlanError, match="in fp16 its graph is another than that of the plan"):
        build_from_bundle(replace(asked, base_structure="another"))


def test_weights_that_are_no_numbers_are_not_given(refits: Any) -> None:
    """A generator that came apart in training is found before a plan is spoilt."""
    spoilt = onnx.load_from_string(tiny(2))
    bias = next(weight for weight in spoilt.graph.initializer if weight.name == "first.bias")
    bias.CopyFrom(onnx.numpy_helper.from_array(np.full(4, np.nan, np.float32), "first.bias"))
    first = build_from_bundle(PlanRequest(tiny(1), "tiny", "fp32", (1,), refit=True))
    asked = PlanRequest(
        spoilt.SerializeToString(), "tiny", "fp32", (1,), refit=True, base=b"plan", base_structure=first.structure
    )  # fmt: skip
    with pytest.raises(PlanError, match=r"weight 'first\.bias' is not finite"):
        build_from_bundle(asked)
    assert not refits


# --- marotte plan, without --out ------------------------------------------------------------------------


def _plan(*words: object) -> int:
    return marotte.main(["plan", *map(str, words)])


def test_the_next_start_finds_what_marotte_plan_made(
    gpu: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The very keys, the folder and the HMAC are the engine's: it is the engine that opens the bundle."""
    monkeypatch.chdir(tmp_path)
    policy.use(PlanPolicy(builder="tests.engine.plan_builders:refits"))
    bundle, cache = write_ganimation(tmp_path / "bundle"), tmp_path / "cache"
    assert _plan(bundle, "--cache", cache) == 0
    told = capsys.readouterr().out
    assert "generator.onnx: its plan is made" in told
    assert (
        f"{plans_folder(cache)} has the plans of a closed form for tests for NVIDIA H100 with driver" in told
    )
    assert told.rstrip().endswith("1 made now")
    assert {path.name for path in tmp_path.iterdir()} == {"bundle", "cache"}
    assert policy.current() == PlanPolicy(builder="tests.engine.plan_builders:refits")
    policy.use(PlanPolicy(builder=None))
    with policy.plans_in(cache):
        _, runner = open_generator(bundle, backend="tensorrt", batches=(1, 2, 4, 8))
    runner.close()
    policy.use(PlanPolicy(builder="tests.engine.plan_builders:refits"))
    assert _plan(bundle, "--cache", cache) == 0
    assert capsys.readouterr().out.rstrip().endswith("all were there")
    assert gpu == ["generator.onnx built (1,)"]


def test_plans_that_a_start_does_not_ask_for_are_told(
    gpu: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Another precision than the policy's is another key."""
    policy.use(PlanPolicy(builder="tests.engine.plan_builders:refits"))
    bundle = write_ganimation(tmp_path / "bundle")
    assert _plan(bundle, "--cache", tmp_path / "cache", "--precision", "fp32") == 0
    assert "serve asks for fp16, 1, 2, 4, 8 at once" in capsys.readouterr().err


def _no_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    def none() -> Any:
        raise BackendError("there is no NVIDIA driver here; run: this")

    monkeypatch.setattr(backends, "present_driver", none)


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["--flavour", "rtx"], "backend tensorrt_rtx: there is no NVIDIA driver here; run: this"),
        (["--flavour", "rtx", "--strip"], "the engine keeps no plan without weights"),
        (["--graph", "generator"], "the engine opens a bundle as a whole"),
        (["--precision", "int8", "--calibration", "cases"], "the engine asks for no plan in int8"),
    ],
)
def test_a_folder_is_written_where_no_key_is(
    words: list[str],
    why: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Without a driver for the key, or for what no start asks for: it is said, and what was done instead."""
    _no_driver(monkeypatch)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(
        plans, "build", lambda request, **options: Built(b"plan", {"flavour": "f", "tensorrt": "1"})
    )
    monkeypatch.setattr(plans, "load", lambda flavour: Toolkit(None, flavour, "11.4.0", (11, 4, 0)))  # type: ignore[arg-type]
    monkeypatch.setattr(plans, "prepared", lambda *given: tiny())
    (tmp_path / "cases" / "generator").mkdir(parents=True)
    (tmp_path / "cases" / "generator" / "a.npz").write_bytes(b"")
    assert _plan(write_ganimation(tmp_path / "bundle"), "--cache", tmp_path / "cache", *words) == 0
    assert f"marotte: {why}" in (told := capsys.readouterr().err)
    assert "bundle.plans is written instead, where serve does not look" in told
    assert (tmp_path / "bundle.plans" / "plans.json").exists()


def test_without_a_driver_nothing_is_built_for_this_gpu(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One line that names what would go."""
    _no_driver(monkeypatch)
    monkeypatch.chdir(tmp_path)
    assert _plan(write_ganimation(tmp_path / "bundle"), "--cache", tmp_path / "cache") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "no plan was built: backend tensorrt: there is no NVIDIA driver here" in line
    assert "--flavour rtx --out FOLDER" in line
    assert {path.name for path in tmp_path.iterdir()} == {"bundle"}
