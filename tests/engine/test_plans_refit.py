"""Another bundle of the same graph: its plan is the one that is there, with its weights, once it answered rightly."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from engine.backends import driver, open_graph, tensorrt
from engine.backends.driver import Device, Driver
from engine.backends.tensorrt import TensorRtGraph
from engine.errors import PlanError, WorkerError
from engine.models import cache_folder
from engine.plans import apart, making, policy
from engine.plans.background import Stage, SwapGraph
from engine.plans.cache import PlanCache
from engine.plans.key import key_of
from engine.plans.opening import open_planned, target
from engine.plans.policy import PlanPolicy
from engine.plans.probe import make_probe, stored
from engine.plans.refit import no_refit
from engine.plans.request import Built, PlanRequest
from engine.plans.structure import structure
from engine.worker.interface import State, WorkerConfig
from engine.worker.supervisor import ProcessWorker
from tests.engine import gpu_fakes
from tests.engine.test_backends_tensorrt import WEIGHTS, model, picture

VERSION = "11.4.0.106"
LONG_S = 60.0


def of_weight(value: float, change: Callable[[onnx.ModelProto], None] = lambda model: None) -> bytes:
    """bright = picture * weights; dark = bright - value."""
    made = onnx.load_from_string(model())
    made.graph.initializer[0].CopyFrom(numpy_helper.from_array(np.array([value], np.float32), "one"))
    change(made)
    data: bytes = made.SerializeToString()
    return data


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[gpu_fakes.TensorRt]:
    """The stand-in of the GPU; builders work in this process, which starts quicker."""

    def build_here(builder: str, request: PlanRequest, **options: Any) -> Built:
        return apart._builder(builder)(request, **options)

    monkeypatch.setattr(making, "build_apart", build_here)
    yield gpu_fakes.install(monkeypatch)[1]
    driver.driver.cache_clear()
    tensorrt._logger.cache_clear()
    tensorrt.check.cache_clear()


@pytest.fixture
def notes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[str]]:
    """What the builder was asked for so far."""
    file = tmp_path / "builds"
    monkeypatch.setenv("MAROTTE_TEST_BUILDS", str(file))
    return lambda: file.read_text().split("\n")[:-1] if file.exists() else []


def planned(folder: Path, value: float, **options: Any) -> Any:
    graph = of_weight(value)
    version, builder = options.pop("version", VERSION), options.pop("builder", "refits")
    given = {
        "builder": builder and f"tests.engine.plan_builders:{builder}",
        "folder": folder / "plans",
        "wait": True,
    }
    return open_planned(
        graph,
        "render",
        load=lambda plan: TensorRtGraph(plan, "render"),
        serve=lambda: open_graph(Path("render.onnx"), "onnxruntime", data=graph),
        version=version,
        precision=options.pop("precision", "fp16"),
        refit=options.pop("may_refit", True),
        policy=PlanPolicy(**{**given, **options}),
    )


def shows(graph: Any, value: float) -> None:
    """Runs and closes it: its numbers are those of that weight."""
    found = graph.run({"picture": picture(9), "weights": WEIGHTS})
    np.testing.assert_array_equal(found["dark"], picture(9) * WEIGHTS - np.float32(value))
    assert graph.backend == "tensorrt"
    graph.close()


# --- one graph, or another ------------------------------------------------------------------------------


def _retype(model: onnx.ModelProto) -> None:
    model.graph.node[1].op_type = "Add"


def _rename(model: onnx.ModelProto) -> None:
    model.graph.initializer[0].name = model.graph.node[2].input[1] = "two"


def _widen(model: onnx.ModelProto) -> None:
    model.graph.initializer[0].CopyFrom(numpy_helper.from_array(np.ones((1, 1), np.float32), "one"))


def _halve(model: onnx.ModelProto) -> None:
    model.graph.initializer[0].CopyFrom(numpy_helper.from_array(np.ones(1, np.float16), "one"))


def _enlarge(model: onnx.ModelProto) -> None:
    for port in (model.graph.input[0], *model.graph.output):
        port.type.tensor_type.shape.dim[1].dim_value = 3


def _constant(value: Any) -> Callable[[onnx.ModelProto], None]:
    def change(model: onnx.ModelProto) -> None:
        model.graph.initializer.append(numpy_helper.from_array(np.asarray(value), "further"))

    return change


def _scaled(by: float) -> Callable[[onnx.ModelProto], None]:
    def change(model: onnx.ModelProto) -> None:
        model.graph.initializer.append(numpy_helper.from_array(np.array([1, 1, by], np.float32), "scales"))
        model.graph.node.append(helper.make_node("Resize", ["bright", "", "scales"], ["larger"]))

    return change


@pytest.mark.parametrize("change", [_retype, _rename, _widen, _halve, _enlarge])
def test_another_graph_has_another_structure(change: Callable[[onnx.ModelProto], None]) -> None:
    """An operator, a weight's name, shape or type, a port's size."""
    assert structure(of_weight(1.0, change)) != structure(of_weight(1.0))


def test_weights_are_no_part_of_the_structure_and_sizes_are() -> None:
    """Floats may be exchanged; whole numbers, and floats that a picture is enlarged by, make another graph."""
    assert structure(of_weight(1.0)) == structure(of_weight(2.5))
    floats = [structure(of_weight(1.0, _constant(np.float32(value)))) for value in (1, 2)]
    whole = [structure(of_weight(1.0, _constant(np.int64(value)))) for value in (1, 2)]
    scales = [structure(of_weight(1.0, _scaled(value))) for value in (2.0, 3.0)]
    assert floats[0] == floats[1]
    assert whole[0] != whole[1]
    assert scales[0] != scales[1]


def test_who_exported_a_file_is_no_part_of_its_structure() -> None:
    """The same network by another version of torch, with words for people, is the same graph."""

    def sign(model: onnx.ModelProto) -> None:
        model.producer_name, model.producer_version, model.doc_string = "torch", "9", "made on a Monday"
        model.graph.name = model.graph.node[0].doc_string = "elsewhere"
        model.metadata_props.add(key="seed", value="3")

    assert structure(of_weight(1.0, sign)) == structure(of_weight(1.0))


@pytest.mark.parametrize("data", [b"no graph", b"\x3a\xff"])
def test_what_is_no_graph_has_no_structure(data: bytes) -> None:
    """Cut or rubbish: an error, and no key."""
    with pytest.raises(ValueError, match="message"):
        structure(data)


# --- the live path --------------------------------------------------------------------------------------


def test_a_new_bundle_of_the_same_graph_goes_live_without_a_build(
    gpu: Any, tmp_path: Path, notes: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """The plan that is there is given its weights, answers as the ONNX file does, is kept, and found the next time."""
    shows(planned(tmp_path, 1.0), 1.0)
    with caplog.at_level("INFO"):
        shows(planned(tmp_path, 300.0), 300.0)
    assert notes() == ["built True", "refitted"]
    assert "render goes live by a plan that was there, with its own weights" in caplog.text
    shows(planned(tmp_path, 300.0, builder=None), 300.0)
    shows(planned(tmp_path, 1.0, builder=None), 1.0)
    shows(planned(tmp_path, 7000.0), 7000.0)
    assert notes()[2:] == ["refitted"]


def test_a_base_goes_to_the_builders_process_and_what_came_of_it_back(notes: Any) -> None:
    """All that a request and an answer hold crosses whole."""
    request = PlanRequest(
        of_weight(2.0), "render", "fp16", refit=True, base=b"a plan", base_structure="as it was compiled"
    )
    built = apart.build_apart("tests.engine.plan_builders:refits", request)
    assert built.plan == gpu_fakes.fake_plan(of_weight(2.0), request.batches)
    assert (built.structure, built.refitted, built.probe) == ("as it was compiled", True, b"")
    assert notes() == ["refitted"]


def test_it_takes_over_from_the_backend_that_serves(gpu: Any, tmp_path: Path, notes: Any) -> None:
    """Between two frames, after three served ones: no picture of the other bundle is ever seen."""
    shows(planned(tmp_path, 1.0), 1.0)
    graph = planned(tmp_path, 40.0, wait=False)
    assert isinstance(graph, SwapGraph)
    assert graph.backend == "onnxruntime"
    value = 0
    while graph.status.stage is not Stage.SERVING:
        value = value % 250 + 1
        found = graph.run({"picture": picture(value), "weights": WEIGHTS})
        np.testing.assert_array_equal(found["dark"], picture(value) * WEIGHTS - np.float32(40))
        assert graph.status.stage is not Stage.FAILED, graph.status
        threading.Event().wait(0.02)
    shows(graph, 40.0)
    assert notes() == ["built True", "refitted"]


@pytest.mark.parametrize(
    ("builder", "said"),
    [
        ("keeps_old_weights", "dark differs from the ONNX file by .* it does not go live"),
        ("cannot_refit", "TensorRT refused the weights: another count"),
    ],
)
def test_a_wrong_refit_is_thrown_away_and_one_is_built(
    gpu: Any, tmp_path: Path, notes: Any, caplog: pytest.LogCaptureFixture, builder: str, said: str
) -> None:
    """The probe finds old weights under a new name; nothing of it is kept, the log names it, a whole build follows."""
    shows(planned(tmp_path, 1.0), 1.0)
    shows(planned(tmp_path, 300.0, builder=builder), 300.0)
    assert notes() == ["built True", "refitted", "built True"]
    (line,) = [record.getMessage() for record in caplog.records if "thrown away" in record.getMessage()]
    assert line.startswith("render: a refitted plan is thrown away, and one is built in full:")
    assert re.search(said, line)
    shows(planned(tmp_path, 300.0, builder=None), 300.0)


def test_a_plan_for_another_driver_is_no_base(
    gpu: Any, tmp_path: Path, notes: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Everything but the weights has to be the same."""
    shows(planned(tmp_path, 1.0), 1.0)
    other = Driver("590.1", (13, 0), (Device(0, "NVIDIA H100", (9, 0), 80 << 30),))
    monkeypatch.setattr(driver, "probe", lambda: other)
    driver.driver.cache_clear()
    shows(planned(tmp_path, 300.0), 300.0)
    assert notes() == ["built True", "built True"]
    assert len(list((tmp_path / "plans").glob("*.plan"))) == 2


def test_a_spoilt_base_is_deleted_and_one_is_built(
    gpu: Any, tmp_path: Path, notes: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Its HMAC is looked at before anything else of it is, here as well."""
    shows(planned(tmp_path, 1.0), 1.0)
    (file,) = (tmp_path / "plans").glob("*.plan")
    file.write_bytes(file.read_bytes()[:-1] + b"?")
    shows(planned(tmp_path, 300.0), 300.0)
    assert notes() == ["built True", "built True"]
    assert "HMAC" in caplog.text
    assert not file.exists()


@pytest.mark.parametrize(
    "options", [{"version": "11.3.0.99"}, {"refit": False}, {"may_refit": False}, {"precision": "int8"}]
)
def test_where_nothing_is_to_be_refitted_plans_are_built_without(
    gpu: Any, tmp_path: Path, notes: Any, caplog: pytest.LogCaptureFixture, options: dict[str, Any]
) -> None:
    """A version that does it wrongly is refused by name; a policy, a network without kin, a calibrated precision."""
    shows(planned(tmp_path, 1.0, **options), 1.0)
    shows(planned(tmp_path, 300.0, **options), 300.0)
    assert notes() == ["built False", "built False"]
    named = "TensorRT 11.3.0.99 is not trusted to refit render: a plan built for refit loses the bias"
    assert (named in caplog.text) is ("version" in options)


def test_versions_known_to_refit_wrongly() -> None:
    """By their first numbers; what is not known is trusted, for the probe stands behind it."""
    assert "bias" in no_refit("11.3.0.99")
    assert [no_refit(version) for version in ("11.30.1", "11.4.0.106", "10.3.0", "")] == [""] * 4


# --- a plan of the cache is asked, too ------------------------------------------------------------------


def _kept_wrong(folder: Path, value: float, *, probe: bool = True) -> Path:
    """A plan that computes something else, under the right key and HMAC."""
    request = PlanRequest(of_weight(value), "render", "fp16", (1,), refit=True)
    question = make_probe(of_weight(value), "render", "fp16")
    cache, key = PlanCache(folder / "plans"), key_of(request, target(VERSION))
    plan = gpu_fakes.fake_plan(of_weight(-900.0))
    cache.store(key, Built(plan, {}, (), "as it was compiled", probe=question.store() if probe else b""))
    return cache.folder / f"{key.name()}.plan"


def test_a_kept_plan_that_computes_something_else_is_built_again(
    gpu: Any, tmp_path: Path, notes: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """It is asked what it was asked when it was built, named, and deleted."""
    file = _kept_wrong(tmp_path, 1.0)
    with pytest.raises(PlanError, match="has no plan"):
        planned(tmp_path, 1.0, builder=None)
    assert "computes 'dark' wrongly" in caplog.text
    assert not file.exists()
    shows(planned(tmp_path, 1.0), 1.0)
    assert notes() == ["built True"]


def test_a_kept_plan_is_asked_once_in_a_process(
    gpu: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second session of a server waits for nothing; one that was just built was asked already."""
    asked: list[Any] = []
    ask = making._ask

    def counted(*given: Any) -> None:
        asked.append(given)
        ask(*given)

    monkeypatch.setattr(making, "_ask", counted)
    shows(planned(tmp_path, 1.0), 1.0)
    shows(planned(tmp_path, 1.0, builder=None), 1.0)
    assert len(asked) == 1
    making._asked.clear()  # as in the next process
    for _ in range(3):
        shows(planned(tmp_path, 1.0, builder=None), 1.0)
    assert len(asked) == 2


def test_a_probe_has_sizes_where_a_frame_has_none() -> None:
    """A frame graph takes any picture; its square is put where it is seen."""
    info, kind = helper.make_tensor_value_info, TensorProto.FLOAT
    nodes = [
        helper.make_node("ReduceSum", ["matrix"], ["sum"], keepdims=0),
        helper.make_node("Add", ["frame", "sum"], ["frame_out"]),
    ]
    sides = [1, "height", "width", 3]
    graph = helper.make_graph(
        nodes,
        "frame",
        [info("frame", kind, sides), info("matrix", kind, [1, 2, 3])],
        [info("frame_out", kind, sides)],
    )
    data = helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)])
    probe = stored(make_probe(data.SerializeToString(), "frame", "fp16").store())
    assert probe.expected["frame_out"].shape == (1, 96, 96, 3)
    np.testing.assert_array_equal(probe.inputs["matrix"], np.eye(2, 3, dtype=np.float32)[None])


# --- whose policy ---------------------------------------------------------------------------------------


def tells_policy(config: Any, tools: Any) -> Any:
    """In place of a worker: ends by saying what policy its process has."""
    raise WorkerError(repr(policy.current()))


def test_a_policy_of_the_parent_is_that_of_its_worker() -> None:
    """What was set here holds where the graphs are opened, which is another process."""
    before = policy.current()
    wanted = PlanPolicy(builder=None, precision="bf16", batches=(1, 3), folder=Path("/plans"))
    policy.use(wanted)
    try:
        config = WorkerConfig(spare=False)
    finally:
        policy.use(before)
    worker, failed = ProcessWorker(config, make=tells_policy), threading.Event()
    worker.on_status(lambda status: failed.set() if status.state is State.FAILED else None)
    worker.start()
    try:
        assert failed.wait(LONG_S)
        assert worker.status().detail.endswith(repr(wanted))
    finally:
        worker.close()


def test_plans_lie_beside_the_models_that_are_named(tmp_path: Path) -> None:
    """--cache moves both; a folder that a policy names for its plans stays."""
    assert WorkerConfig(cache=tmp_path).plans.folder == cache_folder(tmp_path) / "plans"
    own = PlanPolicy(folder=tmp_path / "mine")
    assert WorkerConfig(cache=tmp_path, plans=own).plans is own
    assert WorkerConfig().plans == policy.current()
    with policy.plans_in(tmp_path):
        assert policy.current().folder == cache_folder(tmp_path) / "plans"
    assert policy.current().folder is None
