"""Serving while a plan is built: the swap between two frames, wrong plans, failures, and the process of the builder."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.backends import open_graph
from engine.backends.graph import Port
from engine.backends.trial import TRIAL
from engine.errors import BackendError, PlanCancelled, PlanError
from engine.plans import background, opening
from engine.plans.apart import build_apart
from engine.plans.background import Stage, SwapGraph, check_outputs, check_ports, decibels
from engine.plans.policy import BUILDER, PlanPolicy
from engine.plans.request import PlanRequest
from tests.engine import gpu_fakes
from tests.engine.test_backends_tensorrt import WEIGHTS, model, picture

F4 = np.dtype(np.float32)
_LONG_S = 60.0


class Twice:
    """A graph: y = factor * x. One thread at a time may be in it, and none when it is closed."""

    def __init__(self, backend: str = "cpu", factor: float = 2.0, **ports: Any) -> None:
        self.backend, self.factor = backend, factor
        self.inputs = (ports.get("given", Port("x", (1, 4), F4)),)
        self.outputs = (ports.get("found", Port("y", (1, 4), F4)),)
        self.closed, self.fails, self._inside = 0, "", threading.Lock()
        self.runs = 0

    def run(self, arrays: Any) -> dict[str, Any]:
        assert self._inside.acquire(blocking=False), "two threads at once"
        try:
            assert not self.closed
            if self.fails:
                raise BackendError(self.fails)
            self.runs += 1
            return {"y": arrays["x"] * np.float32(self.factor)}
        finally:
            self._inside.release()

    def close(self) -> None:
        self.closed += 1


def frame(at: int) -> dict[str, Any]:
    return {"x": np.array([[1, 2, 3, at + 1]], np.float32)}


def run_until(graph: SwapGraph, stage: Stage, wrong: float = 2.0) -> int:
    """Frames until that stage; every one of them is right."""
    for at in range(100_000):
        found = graph.run(frame(at))["y"]
        np.testing.assert_allclose(found, frame(at)["x"] * wrong, rtol=0.01)
        if graph.status.stage is stage:
            return at
        threading.Event().wait(0.0005)
    pytest.fail(f"stays {graph.status}")


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    """Holds a build up until it is set."""
    event = threading.Event()
    yield event
    event.set()


def test_frames_are_served_while_a_plan_is_built_and_by_it_afterwards(gate: threading.Event) -> None:
    """Nobody waits; the plan takes over between two frames, and what served before is closed then."""
    before, plan = Twice(), Twice("tensorrt", 2.001)

    def make(progress: background.Progress, cancel: threading.Event) -> Any:
        progress("timing", 3, 10)
        gate.wait(_LONG_S)
        return plan

    graph = SwapGraph(before, make)
    for at in range(5):
        np.testing.assert_array_equal(graph.run(frame(at))["y"], frame(at)["x"] * 2)
    while not graph.status.phase:
        graph.run(frame(0))
    assert (graph.status.phase, graph.status.step, graph.status.steps) == ("timing", 3, 10)
    assert (graph.target, graph.backend, before.closed) == ("tensorrt", "cpu", 0)
    gate.set()
    run_until(graph, Stage.SERVING)
    assert (graph.backend, before.closed, plan.closed) == ("tensorrt", 1, 0)
    np.testing.assert_allclose(graph.run(frame(7))["y"], frame(7)["x"] * 2.001)
    graph.close()
    graph.close()
    assert (before.closed, plan.closed, graph.status.stage) == (1, 1, Stage.CLOSED)
    with pytest.raises(BackendError, match="closed"):
        graph.run(frame(0))


@pytest.mark.parametrize("factor", [1.9, -2.0, float("nan")])
def test_a_plan_that_computes_something_else_is_never_shown(factor: float) -> None:
    """Other weights, another graph, numbers that are none: the frame that was served proves it wrong."""
    before, plan = Twice(), Twice("tensorrt", factor)
    graph = SwapGraph(before, lambda *_: plan)
    run_until(graph, Stage.FAILED)
    assert "computes 'y' wrongly" in graph.status.reason
    assert (graph.backend, before.closed, plan.closed) == ("cpu", 0, 1)
    np.testing.assert_array_equal(graph.run(frame(3))["y"], frame(3)["x"] * 2)
    graph.close()


@pytest.mark.parametrize(
    "ports",
    [
        {"given": Port("z", (1, 4), F4)},
        {"given": Port("x", (1, 5), F4)},
        {"given": Port("x", (1, 4), np.dtype(np.uint8))},
        {"found": Port("y", (2, 4), F4)},
        {"found": Port("y", (1, 4, 1), F4)},
    ],
)
def test_a_plan_with_other_ports_is_never_run(ports: dict[str, Port]) -> None:
    """Name, dtype and every fixed size have to be those of the graph."""
    plan = Twice("tensorrt", **ports)
    graph = SwapGraph(Twice(), lambda *_: plan)
    assert graph.wait(_LONG_S).stage in (Stage.FAILED, Stage.TRYING)
    run_until(graph, Stage.FAILED)
    assert "the plan's" in graph.status.reason
    assert (plan.runs, plan.closed) == (0, 1)
    graph.close()


def test_sizes_may_be_free_in_a_plan() -> None:
    """One plan for several batches stands for a graph of one."""
    check_ports(Twice(), Twice(given=Port("x", (None, 4), F4), found=Port("y", (None, 4), F4)))  # type: ignore[arg-type]


def test_frames_of_nothing_prove_nothing() -> None:
    """A warm-up on zeros would find any weights right."""
    plan = Twice("tensorrt", 5.0)
    graph = SwapGraph(Twice(), lambda *_: plan)
    graph.wait(_LONG_S)
    for _ in range(50):
        graph.run({"x": np.zeros((1, 4), np.float32)})
        threading.Event().wait(0.001)
    assert graph.status.stage is Stage.TRYING
    assert plan.runs == 0
    run_until(graph, Stage.FAILED)
    graph.close()


@pytest.mark.parametrize(
    "error", [PlanError("no room"), BackendError("no card"), ValueError("a fault"), MemoryError()]
)
def test_a_build_that_fails_is_told_and_changes_nothing(error: Exception) -> None:
    """Whatever the builder raises: those who are served go on."""

    def make(progress: background.Progress, cancel: threading.Event) -> Any:
        raise error

    graph = SwapGraph(Twice(), make)
    status = graph.wait(_LONG_S)
    assert status.stage is Stage.FAILED
    assert str(error) in status.reason
    np.testing.assert_array_equal(graph.run(frame(1))["y"], frame(1)["x"] * 2)
    graph.close()


@pytest.mark.parametrize("comes_back", [True, False])
def test_a_plan_that_fails_later_is_left(comes_back: bool) -> None:
    """Its frames raise, so that the fallback is shown, until another backend serves again; it is never asked again."""
    plan, after, opened = Twice("tensorrt"), Twice("again"), threading.Event()

    def reopen() -> Any:
        opened.set()
        if not comes_back:
            raise BackendError("no memory left")
        return after

    graph = SwapGraph(Twice(), lambda *_: plan, reopen=reopen)
    run_until(graph, Stage.SERVING)
    plan.fails, runs = "illegal address", plan.runs
    with pytest.raises(BackendError, match="illegal address"):
        graph.run(frame(0))
    plan.fails = ""
    assert opened.wait(_LONG_S)
    if comes_back:
        for at in range(100_000):
            with contextlib.suppress(BackendError):
                np.testing.assert_array_equal(graph.run(frame(at))["y"], frame(at)["x"] * 2)
                break
        assert (graph.backend, plan.closed) == ("again", 1)
    else:
        with pytest.raises(BackendError, match="illegal address"):
            graph.run(frame(0))
    assert plan.runs == runs
    assert graph.status.stage is Stage.FAILED
    assert "illegal address" in graph.status.reason
    graph.close()


def test_closing_ends_the_build(gate: threading.Event) -> None:
    """The builder is told, and what it gives afterwards is closed unused."""
    plan, told = Twice("tensorrt"), threading.Event()

    def make(progress: background.Progress, cancel: threading.Event) -> Any:
        cancel.wait(_LONG_S)
        told.set()
        return plan

    before = Twice()
    graph = SwapGraph(before, make)
    graph.close()
    assert told.wait(_LONG_S)
    graph._builder.join(_LONG_S)
    assert (before.closed, plan.closed, plan.runs) == (1, 1, 0)
    assert graph.status.stage is Stage.CLOSED


def test_how_near_is_near_enough() -> None:
    """Half precision passes, other weights do not, and a mask of nearly nothing may differ by nearly nothing."""
    rng = np.random.default_rng(0)
    image = rng.random((1, 8, 8, 3), np.float32)
    check_outputs({"y": image}, {"y": image.astype(np.float16).astype(np.float32)})
    check_outputs({"y": np.zeros(4, np.float32)}, {"y": np.full(4, 1e-4, np.float32)})
    assert decibels(image, image) == float("inf")
    assert np.isnan(decibels(image, image[0]))
    with pytest.raises(PlanError, match="dB"):
        check_outputs({"y": image}, {"y": image[:, ::-1].copy()})
    grey = np.full((1, 4, 4, 3), 128, np.uint8)
    check_outputs({"y": grey}, {"y": grey + 1})
    with pytest.raises(PlanError):
        check_outputs({"y": grey}, {"y": grey + 100})


REQUEST = PlanRequest(b"ONNX", "render", "bf16", (1, 4), 1 << 20, True)


def apart(name: str, **options: Any) -> Any:
    return build_apart(f"tests.engine.plan_builders:{name}", REQUEST, **options)


def test_a_builder_works_in_a_process_of_its_own() -> None:
    """The request arrives whole, progress comes back, and what libraries print does not get between."""
    told: list[tuple[str, int, int]] = []
    built = apart("echoes", progress=lambda *at: told.append(at))
    assert built.plan == b"render bf16 (1, 4) 1048576 TrueONNX"
    assert (built.versions, built.log) == ({"tensorrt": "11"}, ("a warning",))
    assert told == [("building", 1, 2), ("building", 2, 2)]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("refuses", r"^the graph was refused: an operator is unknown$"),
        ("breaks", "ZeroDivisionError: a fault"),
        ("leaves", "its builder ended with status 3"),
        ("is_not_there", "cannot be used"),
        pytest.param(
            "crashes",
            "killed by signal 11",
            marks=pytest.mark.skipif(os.name != "posix", reason="signals are POSIX's"),
        ),
    ],
)
def test_whatever_ends_a_builder_is_one_line_for_those_who_wait(name: str, words: str) -> None:
    """Refusals, faults, and crashes of native code, which take nobody with them."""
    with pytest.raises(PlanError, match=words) as caught:
        apart(name)
    assert not isinstance(caught.value, PlanCancelled)


def test_a_builder_is_ended_by_word() -> None:
    """Cancelling costs no wait for what it would have built."""
    cancel = threading.Event()
    with pytest.raises(PlanCancelled):
        apart("waits", cancel=cancel, progress=lambda *_: cancel.set())


def test_a_builder_whose_parent_is_gone_ends(tmp_path: Path) -> None:
    """kill -9 of the server leaves no process that keeps a GPU busy."""
    code = (
        "import sys, os\n"
        "from engine.plans.apart import build_apart\n"
        "from engine.plans.request import PlanRequest\n"
        "build_apart('tests.engine.plan_builders:waits', PlanRequest(b'x', 'x', 'fp32'),\n"
        "            progress=lambda *_: os._exit(9))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, timeout=_LONG_S, cwd=Path(__file__).parents[2]
    )  # waits for the child too: it holds stderr
    assert done.returncode == 9


@pytest.mark.skipif(find_spec("tensorrt_rtx_bindings") is None, reason="TensorRT for RTX is not installed")
def test_marottes_own_builder_compiles_a_bundles_graph_apart() -> None:
    """For real: batched, lowered and compiled in a process of its own, by TensorRT for RTX, which needs no GPU."""
    told: list[str] = []
    request = PlanRequest(TRIAL, "trial", "fp16", (1,), 1 << 28, flavour="rtx")
    built = build_apart(BUILDER, request, progress=lambda phase, *_: told.append(phase))
    assert len(built.plan) > 1000
    assert built.versions["flavour"] == "rtx"
    assert told


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[gpu_fakes.Gpu, gpu_fakes.TensorRt]]:
    from engine.backends import driver, tensorrt

    yield gpu_fakes.install(monkeypatch)
    driver.driver.cache_clear()
    tensorrt._logger.cache_clear()
    tensorrt.check.cache_clear()


def planned(folder: Path, serve: Callable[[], Any] | None = None, **options: Any) -> Any:
    from engine.backends.tensorrt import TensorRtGraph

    graph = model()
    given = {"builder": "tests.engine.plan_builders:wraps", "folder": folder / "plans", **options}
    return opening.open_planned(
        graph,
        "render",
        load=lambda plan: TensorRtGraph(plan, "render"),
        serve=serve or (lambda: open_graph(Path("render.onnx"), "onnxruntime", data=graph)),
        version="11.4.0.106",
        precision="fp16",
        policy=PlanPolicy(**given),
    )


def served(graph: Any, value: int) -> None:
    found = graph.run({"picture": picture(value), "weights": WEIGHTS})
    np.testing.assert_array_equal(found["bright"], picture(value) * WEIGHTS)


def test_the_whole_way_from_no_plan_to_the_next_start(gpu: Any, tmp_path: Path) -> None:
    """ONNX Runtime serves, a process builds, the plan is kept and takes over; the next start loads it at once."""
    graph = planned(tmp_path)
    assert isinstance(graph, SwapGraph)
    assert graph.backend == "onnxruntime"
    value = 0
    while graph.status.stage is not Stage.SERVING:
        value = value % 250 + 1
        served(graph, value)
        assert graph.status.stage is not Stage.FAILED, graph.status
        threading.Event().wait(0.02)  # the builder wants a core, too
    assert graph.backend == "tensorrt"
    served(graph, 17)
    graph.close()
    again = planned(tmp_path, builder=None)
    assert again.backend == "tensorrt"
    assert not isinstance(again, SwapGraph)
    served(again, 18)
    again.close()


def test_without_plan_and_builder_the_line_says_so(gpu: Any, tmp_path: Path) -> None:
    """Nothing is built behind the back of who said that nothing is to be built."""
    with pytest.raises(PlanError, match="render has no plan for NVIDIA H100"):
        planned(tmp_path, builder=None)


def test_what_is_no_graph_is_refused_by_name(gpu: Any) -> None:
    """Before anything is built or kept."""
    with pytest.raises(PlanError, match="render is no ONNX file"):
        opening.open_planned(
            b"no graph",
            "render",
            load=Twice,
            serve=Twice,
            version="11.4",
            precision="fp32",  # type: ignore[arg-type]
        )


def test_waiting_for_the_plan_is_possible(gpu: Any, tmp_path: Path) -> None:
    """For benches, and for who would not begin before everything is fast."""
    graph = planned(tmp_path, wait=True)
    assert graph.backend == "tensorrt"
    served(graph, 3)
    graph.close()


def test_a_kept_plan_that_tensorrt_refuses_is_built_again(
    gpu: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Right key, right HMAC, and still not for this library: it goes, and a new one comes."""
    planned(tmp_path, wait=True).close()
    gpu[1].faults["deserialize_cuda_engine"] = "Error Code 6: incompatible"
    with caplog.at_level("WARNING"), pytest.raises(PlanError, match="has no plan"):
        planned(tmp_path, builder=None)
    assert "Error Code 6: incompatible" in caplog.text
    gpu[1].faults.clear()
    with pytest.raises(PlanError, match="has no plan"):
        planned(tmp_path, builder=None)
    planned(tmp_path, wait=True).close()


def test_a_folder_that_cannot_be_used_costs_only_the_keeping(gpu: Any, tmp_path: Path) -> None:
    """The plan is built and runs; what is wrong with the folder is in the log."""
    (tmp_path / "plans").write_bytes(b"a file")
    graph = planned(tmp_path, wait=True)
    served(graph, 5)
    graph.close()
