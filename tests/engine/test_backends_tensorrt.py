"""The TensorRT backend against a stand-in that behaves as the documentation says; on a GPU it has not run here."""

from __future__ import annotations

import gc
import inspect
import logging
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from engine.backends import driver, tensorrt
from engine.backends.cuda import Cuda, Memory, Stream
from engine.backends.tensorrt import TensorRtGraph
from engine.errors import BackendError, PlanError, PortError
from tests.engine import gpu_fakes
from tests.engine.gpu_fakes import CudaError, Gpu, TensorRt, fake_plan


def model(batch: Any = 1) -> bytes:
    """picture uint8 (batch, 2, 3), weights float32 (1, 3): bright = picture * weights, dark = bright - 1."""
    nodes = [
        helper.make_node("Cast", ["picture"], ["real"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["real", "weights"], ["bright"]),
        helper.make_node("Sub", ["bright", "one"], ["dark"]),
    ]
    info = helper.make_tensor_value_info
    ports = [
        info("picture", TensorProto.UINT8, [batch, 2, 3]),
        info("weights", TensorProto.FLOAT, [1, 3]),
        info("bright", TensorProto.FLOAT, [batch, 2, 3]),
        info("dark", TensorProto.FLOAT, [batch, 2, 3]),
    ]
    one = helper.make_tensor("one", TensorProto.FLOAT, [1], [1.0])
    graph = helper.make_graph(nodes, "bright", ports[:2], ports[2:], [one])
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    made.ir_version = 8
    onnx.checker.check_model(made)
    return bytes(made.SerializeToString())


WEIGHTS = np.array([[1.0, 2.0, 3.0]], np.float32)


def picture(value: int, batch: int = 1) -> Any:
    return np.full((batch, 2, 3), value, np.uint8)


@pytest.fixture
def fakes(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Gpu, TensorRt]]:
    """The stand-ins; everything that was taken of the GPU has to be given back at the end."""
    gpu, trt = gpu_fakes.install(monkeypatch)
    yield gpu, trt
    if gpu.left():
        gc.collect()
    assert not gpu.left()
    tensorrt._logger.cache_clear()
    driver.driver.cache_clear()


def test_ports_are_bound_by_name_and_numbers_come_back(fakes: tuple[Gpu, TensorRt]) -> None:
    """TensorRT promises no order of its tensors; the frame that goes in is the one that comes out."""
    graph = TensorRtGraph(fake_plan(model()), "render")
    assert {port.name: (port.shape, port.dtype.name) for port in graph.inputs} == {
        "picture": ((1, 2, 3), "uint8"),
        "weights": ((1, 3), "float32"),
    }
    assert {port.name for port in graph.outputs} == {"bright", "dark"}
    assert graph.backend == "tensorrt"
    for value in (1, 7, 200):
        found = graph.run({"weights": WEIGHTS, "picture": picture(value)})
        np.testing.assert_array_equal(found["bright"], picture(value) * WEIGHTS)
        np.testing.assert_array_equal(found["dark"], picture(value) * WEIGHTS - 1)
    graph.close()


def test_a_frame_is_one_launch(fakes: tuple[Gpu, TensorRt]) -> None:
    """Recorded once before the first frame; then an upload, one launch and one wait, with nothing allocated."""
    gpu, _ = fakes
    graph = TensorRtGraph(fake_plan(model()), "render")
    assert graph.captured
    gpu.calls.clear()
    graph.run({"picture": picture(3), "weights": WEIGHTS})
    assert gpu.calls == ["cudaMemcpyAsync", "cudaMemcpyAsync", "cudaGraphLaunch", "cudaStreamSynchronize"]
    graph.close()


def test_what_nobody_can_change_is_uploaded_once(fakes: tuple[Gpu, TensorRt]) -> None:
    """A source's constants stay on the device; a changed array, another one, or one that can change goes up again."""
    gpu, _ = fakes
    graph = TensorRtGraph(fake_plan(model()), "render")
    kept = WEIGHTS.copy()
    kept.flags.writeable = False
    hidden = WEIGHTS.copy()
    view = hidden[:]
    view.flags.writeable = False

    def uploads(weights: Any) -> int:
        before = gpu.copies["up"]
        found = graph.run({"picture": picture(2), "weights": weights})
        np.testing.assert_array_equal(found["bright"], picture(2) * weights)
        return gpu.copies["up"] - before - 1  # the picture's own

    assert [uploads(kept) for _ in range(3)] == [1, 0, 0]
    other = kept * 2
    other.flags.writeable = False
    assert [uploads(other), uploads(kept), uploads(other), uploads(kept)] == [1, 0, 0, 0]
    assert uploads(view) == 1
    hidden *= 3  # the view says it cannot be written to, and changes all the same
    assert uploads(view) == 1
    assert [uploads(WEIGHTS), uploads(WEIGHTS)] == [1, 1]
    graph.close()


def test_batches_run_by_their_own_profile(fakes: tuple[Gpu, TensorRt]) -> None:
    """Sizes that no profile was made for are refused by name; going to and fro keeps every size right."""
    plan = fake_plan(model("n"), (1, 2, 4))
    graph = TensorRtGraph(plan, "render")
    assert graph.batches == (1, 2, 4)
    assert {port.name: port.shape for port in graph.inputs}["picture"] == (None, 2, 3)
    for batch in (1, 4, 2, 4, 1):
        given = picture(batch, batch)
        found = graph.run({"picture": given, "weights": WEIGHTS})
        np.testing.assert_array_equal(found["bright"], given * WEIGHTS)
        assert found["bright"].shape == (batch, 2, 3)
    with pytest.raises(PortError, match=r"no profile .* picture \(3, 2, 3\).*expected"):
        graph.run({"picture": picture(1, 3), "weights": WEIGHTS})
    graph.close()


def test_a_profile_that_takes_a_range_is_bound_for_each_size_and_not_for_ever(
    fakes: tuple[Gpu, TensorRt],
) -> None:
    """Sizes between are run too; what is kept ready is bounded."""
    header = fake_plan(b"", (64,)).replace(b'"free"', b'"range": 1, "free"')
    body = header[len(gpu_fakes.MAGIC) + 4 :]
    plan = gpu_fakes.MAGIC + len(body).to_bytes(4, "big") + body + model("n")
    graph = TensorRtGraph(plan, "render")
    for batch in range(1, 20):
        found = graph.run({"picture": picture(5, batch), "weights": WEIGHTS})
        assert found["bright"].shape == (batch, 2, 3)
    assert len(graph._ready) == tensorrt._MOST_BOUND
    graph.close()


def test_a_plan_that_cannot_be_recorded_runs_step_by_step(
    fakes: tuple[Gpu, TensorRt], caplog: pytest.LogCaptureFixture
) -> None:
    """The same numbers, and the reason is told once."""
    gpu, trt = fakes
    trt.capturable = False
    with caplog.at_level(logging.INFO):
        graph = TensorRtGraph(fake_plan(model()), "render")
    assert not graph.captured
    assert "not permitted when stream is capturing" in caplog.text
    for value in (1, 2):
        found = graph.run({"picture": picture(value), "weights": WEIGHTS})
        np.testing.assert_array_equal(found["bright"], picture(value) * WEIGHTS)
    assert "cudaGraphLaunch" not in gpu.calls
    graph.close()


def test_only_wanted_outputs_come_back(fakes: tuple[Gpu, TensorRt]) -> None:
    """The others are computed and stay on the device; an unknown one is refused with the nearest."""
    graph = TensorRtGraph(fake_plan(model()), "render", ("dark",))
    assert set(graph.run({"picture": picture(1), "weights": WEIGHTS})) == {"dark"}
    graph.close()
    with pytest.raises(PortError, match="did you mean 'bright'"):
        TensorRtGraph(fake_plan(model()), "render", ("brigth",))


def test_outputs_outlive_a_closed_graph(fakes: tuple[Gpu, TensorRt]) -> None:
    """Pinned memory is given back when the last array of it is gone, not under somebody's hands."""
    gpu, _ = fakes
    graph = TensorRtGraph(fake_plan(model()), "render")
    found = graph.run({"picture": picture(9), "weights": WEIGHTS})["bright"]
    graph.close()
    graph.close()
    del graph
    assert gpu.host
    np.testing.assert_array_equal(found, picture(9) * WEIGHTS)
    del found
    if gpu.host:
        gc.collect()
    assert not gpu.host


def test_a_closed_graph_says_so_and_wrong_arrays_are_refused(fakes: tuple[Gpu, TensorRt]) -> None:
    """As every backend does."""
    graph = TensorRtGraph(fake_plan(model()), "render")
    with pytest.raises(PortError, match="expected"):
        graph.run({"picture": picture(1).astype(np.float32), "weights": WEIGHTS})
    with pytest.raises(PortError, match="no array"):
        graph.run({"picture": picture(1)})
    graph.close()
    with pytest.raises(BackendError, match="closed"):
        graph.run({"picture": picture(1), "weights": WEIGHTS})


def test_a_refused_plan_is_told_in_tensorrts_own_words(fakes: tuple[Gpu, TensorRt]) -> None:
    """Damaged plans are one line, with the reason that stands in its log."""
    with pytest.raises(
        PlanError, match=r"refused the plan of render: .*the magic tag does not match"
    ) as caught:
        TensorRtGraph(b"no plan", "render")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "call", ["create_execution_context", "profile", "set_input_shape", "execute_async_v3"]
)
def test_whatever_fails_while_opening_gives_everything_back(fakes: tuple[Gpu, TensorRt], call: str) -> None:
    """The reason is TensorRT's; the fixture sees that no memory is left."""
    fakes[1].faults[call] = "Error Code 2: the reason"
    with pytest.raises(BackendError, match="the reason"):
        TensorRtGraph(fake_plan(model()), "render")


@pytest.mark.parametrize(
    "call",
    ["cudaMalloc", "cudaHostAlloc", "cudaStreamCreateWithFlags", "cudaMemcpyAsync", "cudaStreamSynchronize"],
)
def test_cudas_errors_have_their_name_and_leave_nothing(fakes: tuple[Gpu, TensorRt], call: str) -> None:
    """Out of memory says how much was asked for and what is left."""
    fakes[0].fail[call] = CudaError.cudaErrorMemoryAllocation
    with pytest.raises(BackendError, match=rf"{call} gives cudaErrorMemoryAllocation \(in words\)") as caught:
        TensorRtGraph(fake_plan(model()), "render")
    if call in ("cudaMalloc", "cudaHostAlloc"):
        assert "bytes were asked for" in str(caught.value)
        assert "MB are free" in str(caught.value)
    fakes[0].fail.clear()


def test_a_run_that_fails_says_why_and_the_next_one_is_right(fakes: tuple[Gpu, TensorRt]) -> None:
    """One bad frame is held; no constant counts as uploaded that was not."""
    gpu, trt = fakes
    trt.capturable = False
    graph = TensorRtGraph(fake_plan(model()), "render")
    kept = WEIGHTS.copy()
    kept.flags.writeable = False
    trt.faults["execute_async_v3"] = "Error Code 1: illegal memory access"
    with pytest.raises(BackendError, match=r"failed while running: .*illegal memory access"):
        graph.run({"picture": picture(1), "weights": kept})
    trt.faults.clear()
    np.testing.assert_array_equal(
        graph.run({"picture": picture(4), "weights": kept})["bright"], picture(4) * kept
    )
    gpu.fail["cudaStreamSynchronize"] = CudaError.cudaErrorIllegalAddress
    with pytest.raises(BackendError, match="cudaErrorIllegalAddress"):
        graph.run({"picture": picture(1), "weights": kept})
    gpu.fail.clear()
    graph.close()


def test_profiles_without_room_are_left_out(
    fakes: tuple[Gpu, TensorRt], caplog: pytest.LogCaptureFixture
) -> None:
    """A small card runs the batches that fit; a plan whose only profile does not fit is refused."""
    gpu, _ = fakes
    gpu.memory = 200
    graph = TensorRtGraph(fake_plan(model("n"), (1, 8)), "render")
    assert graph.batches == (1,)
    assert "is left out" in caplog.text
    with pytest.raises(PortError, match="no profile"):
        graph.run({"picture": picture(1, 8), "weights": WEIGHTS})
    graph.close()
    gpu.memory = 20
    with pytest.raises(BackendError, match="cudaErrorMemoryAllocation"):
        TensorRtGraph(fake_plan(model()), "render")


def test_the_device_measures_its_own_time(fakes: tuple[Gpu, TensorRt]) -> None:
    """For the bench; a session that does not ask pays nothing for it."""
    gpu, _ = fakes
    graph = TensorRtGraph(fake_plan(model()), "render")
    graph.run({"picture": picture(1), "weights": WEIGHTS})
    assert graph.device_ms is None
    assert "cudaEventCreate" not in gpu.calls
    graph.timed = True
    graph.run({"picture": picture(1), "weights": WEIGHTS})
    assert graph.device_ms is not None
    assert graph.device_ms > 0
    graph.close()


def test_ports_that_cannot_be_served_are_refused(fakes: tuple[Gpu, TensorRt]) -> None:
    """A tensor on the host decides on shapes: its memory is another's business."""
    fakes[1].on_host.add("weights")
    with pytest.raises(PlanError, match=r"'weights' lies on the host"):
        TensorRtGraph(fake_plan(model()), "render")


def test_without_a_driver_tensorrt_is_not_even_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its lean runtime crashes there instead of raising."""
    gpu_fakes.install(monkeypatch, gpu=False)
    monkeypatch.setattr(driver.ctypes, "CDLL", _nothing)

    class Explodes:
        def __getattr__(self, name: str) -> Any:
            pytest.fail(f"tensorrt.{name} was touched")

    monkeypatch.setitem(sys.modules, "tensorrt", Explodes())
    with pytest.raises(BackendError, match="no NVIDIA driver here"):
        TensorRtGraph(fake_plan(model()), "render")
    driver.driver.cache_clear()


@pytest.mark.parametrize(
    ("module", "words"),
    [("tensorrt", r"marotte\[tensorrt\]"), ("cuda.bindings", "pip install 'cuda-bindings")],
)
def test_a_missing_library_names_its_command(
    fakes: tuple[Gpu, TensorRt], monkeypatch: pytest.MonkeyPatch, module: str, words: str
) -> None:
    """One line: what is missing, and what to run."""
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(BackendError, match=words):
        TensorRtGraph(fake_plan(model()), "render")


def test_every_call_of_cuda_is_one_that_cuda_python_has() -> None:
    """Names and number of arguments, held against the real package where it is installed."""
    runtime = pytest.importorskip("cuda.bindings.runtime", reason="cuda-bindings is not installed")
    for name in dir(Gpu):
        if name.startswith("cuda"):
            assert hasattr(runtime, name), name
    for name, count in _arguments().items():
        words = (getattr(runtime, name).__doc__ or "").splitlines()[0]
        inside = words[words.index("(") + 1 : words.rindex(")")]
        assert len([word for word in inside.split(",") if word.strip()]) == count, words


def _arguments() -> dict[str, int]:
    """How many arguments each call of the stand-in takes."""
    found = {}
    for name, call in vars(Gpu).items():
        if name.startswith("cuda") and inspect.isfunction(call):
            found[name] = len(inspect.signature(call).parameters) - 1
    return found


def test_memory_and_stream_close_twice(fakes: tuple[Gpu, TensorRt]) -> None:
    """Clean-up paths overlap; the second time does nothing."""
    cuda = Cuda(fakes[0])
    memory, stream = Memory(cuda, 16), Stream(cuda)
    for _ in range(2):
        memory.close()
        stream.close()


def _nothing(name: str) -> Any:
    raise OSError(f"{name}: cannot open shared object file")
