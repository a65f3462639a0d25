"""ONNX Runtime's providers on a GPU: times that the device tells, and what one of them compiles and the cache keeps."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

from engine.backends import driver, onnxruntime_cuda, tensorrt_rtx
from engine.backends.trial import TRIAL
from engine.bench.clocks import DeviceClock, timed_run
from engine.errors import PlanError
from engine.plans import policy
from tests.engine import gpu_fakes
from tests.engine.test_backends_gpu import RTX, Compiler, FakeSession, fresh, gpu_build  # noqa: F401
from tests.engine.test_backends_tensorrt import WEIGHTS, model, picture

EP = "NvTensorRTRTXExecutionProvider"


def given(value: int = 4) -> dict[str, Any]:
    return {"weights": WEIGHTS, "picture": picture(value)}


@pytest.fixture
def gpu(gpu_build: Any, monkeypatch: pytest.MonkeyPatch) -> gpu_fakes.Gpu:  # noqa: F811
    """The stand-in of CUDA beside that of ONNX Runtime."""
    return gpu_fakes.install(monkeypatch, gpu=False)[0]


@pytest.fixture
def rtx(gpu: gpu_fakes.Gpu, gpu_build: Any, monkeypatch: pytest.MonkeyPatch) -> Any:  # noqa: F811
    """An RTX card with the plug-in."""
    monkeypatch.setattr(driver, "probe", lambda: RTX)
    plugin = ModuleType("onnxruntime_ep_nv_tensorrt_rtx")
    plugin.get_ep_name = lambda: EP  # type: ignore[attr-defined]
    plugin.get_library_path = lambda: "/plugin.so"  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, plugin.__name__, plugin)
    gpu_build.register_execution_provider_library = lambda *given: None
    gpu_build.get_ep_devices = lambda: [SimpleNamespace(ep_name=EP)]
    monkeypatch.setattr(FakeSession, "get_providers", lambda _: [EP, "CPUExecutionProvider"])
    return gpu_build


def opened(value: int = 4) -> str:
    """Runs a graph on the plug-in, and says who produced the file that was opened."""
    graph = tensorrt_rtx.TensorRtRtxGraph(Path("x.onnx"), 1, None, model())
    np.testing.assert_array_equal(graph.run(given(value))["bright"], picture(value) * WEIGHTS)
    graph.close()
    return str(onnx.load_from_string(FakeSession.made[-1].source).producer_name)


def test_the_device_tells_what_it_took(gpu: gpu_fakes.Gpu) -> None:
    """Events on the session's own stream, around the run alone, and only where it is asked; all is given back."""
    graph = onnxruntime_cuda.OnnxRuntimeCudaGraph(Path("x.onnx"), 1, None, model())
    (name, options), *_ = FakeSession.made[-1].named["providers"]
    assert int(options["user_compute_stream"]) in gpu.streams
    assert (name, options["has_user_compute_stream"]) == ("CUDAExecutionProvider", "1")
    graph.run(given())
    assert graph.device_ms is None
    assert "cudaEventCreate" not in gpu.calls
    clock = DeviceClock({"one": graph})
    assert clock
    graph.run(given())
    assert graph.device_ms is not None
    assert clock.seconds() == graph.device_ms / 1000 > 0
    assert timed_run(graph, given())[2] == "device"
    graph.timed = False
    graph.run(given())
    assert graph.device_ms is None
    graph.close()
    graph.close()
    assert not gpu.left()


def test_without_cuda_python_it_runs_and_tells_no_times(
    gpu_build: Any,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What only the bench needs is no condition for a picture."""
    for name in ("cuda", "cuda.bindings"):
        monkeypatch.setitem(sys.modules, name, None)
    graph = onnxruntime_cuda.OnnxRuntimeCudaGraph(Path("x.onnx"), 1, None, model())
    assert "user_compute_stream" not in FakeSession.made[-1].named["providers"][0][1]
    assert timed_run(graph, given())[2] == "wall"
    graph.close()


def test_what_rtx_compiled_is_opened_at_the_next_start(rtx: Any) -> None:
    """Compiled once, kept under the HMAC as any plan, and for the card, driver and versions that are here."""
    assert opened() == "compiled"
    assert opened() == "compiled"
    (asked,) = Compiler.asked
    assert asked["embed_compiled_data_into_model"] is True
    assert asked["flags"] == onnxruntime.OrtCompileApiFlags.ERROR_IF_NO_NODES_COMPILED
    folder = policy.current().folder
    assert folder is not None
    (kept,) = folder.glob("*.plan")
    rtx.__version__ = "1.32.0"
    assert opened() == "compiled"
    assert len(Compiler.asked) == 2
    kept.write_bytes(kept.read_bytes()[:-1] + b"?")
    rtx.__version__ = "1.31.1"
    assert opened() == "compiled"
    assert len(Compiler.asked) == 3


def test_a_kept_plan_that_rtx_refuses_is_compiled_again(
    rtx: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Named, deleted and replaced; and where every one is refused, the graph itself is opened."""
    opened()
    session, refused = rtx.InferenceSession, [True] * 2  # with and without recording

    def refusing(source: Any, *given: Any, **named: Any) -> Any:
        if b"compiled" in source and refused:
            refused.pop()
            raise RuntimeError("Engine incompatible with this system")
        return session(source, *given, **named)

    monkeypatch.setattr(rtx, "InferenceSession", refusing)
    assert opened() == "compiled"
    assert "Engine incompatible with this system" in caplog.text
    assert len(Compiler.asked) == 2
    refused[:] = [True] * 4
    assert opened() == ""
    assert len(Compiler.asked) == 3


def test_a_graph_that_rtx_does_not_compile_beforehand_is_opened_as_it_is(
    rtx: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """It costs time at every start, which is told, and nothing else."""
    Compiler.fails = "no node was compiled"
    assert opened() == ""
    assert "x.onnx is compiled at every start: tensorrt_rtx gives no plan to keep (no node was" in caplog.text


def test_a_folder_that_cannot_be_used_costs_time_only(rtx: Any) -> None:
    """As with all plans."""
    folder = policy.current().folder
    assert folder is not None
    folder.write_bytes(b"a file")
    assert opened() == ""


def test_the_real_compiler_takes_these_arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    """ONNX Runtime's own, for the CPU, which compiles no node ahead: that very error comes back as one line."""

    class CpuOptions(onnxruntime.SessionOptions):  # type: ignore[misc]
        def add_provider_for_devices(self, devices: Any, given: dict[str, str]) -> None:
            assert (devices, given) == (["the card"], {})

    stand_in = SimpleNamespace(
        SessionOptions=CpuOptions,
        ModelCompiler=onnxruntime.ModelCompiler,
        OrtCompileApiFlags=onnxruntime.OrtCompileApiFlags,
    )
    monkeypatch.setattr(tensorrt_rtx, "module", lambda: stand_in)
    monkeypatch.setattr(tensorrt_rtx, "_devices", lambda: (EP, ["the card"]))
    with pytest.raises(PlanError, match="tensorrt_rtx gives no plan to keep") as caught:
        tensorrt_rtx._compiled(TRIAL)
    assert "compile" in str(caught.value).lower()
    assert "\n" not in str(caught.value)
