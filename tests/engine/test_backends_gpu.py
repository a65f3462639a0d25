"""The driver's probe, the choice of a backend, and ONNX Runtime's ways to a GPU, as far as they run without one."""

from __future__ import annotations

import inspect
import logging
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

from engine import backends
from engine.backends import Choice, choose, driver, onnxruntime_cuda, open_graph, tensorrt_rtx, trial
from engine.backends import onnxruntime as shared
from engine.backends.driver import Device, Driver, probe
from engine.backends.onnxruntime import DeviceGraph, Place, device_session
from engine.errors import BackendError, PortError
from engine.plans import policy
from engine.plans.policy import PlanPolicy
from tests.engine.test_backends_tensorrt import WEIGHTS, model, picture

H100 = Driver("580.95.05", (13, 0), (Device(0, "NVIDIA H100", (9, 0), 80 << 30),))
RTX = Driver("580.95.05", (13, 0), (Device(0, "NVIDIA GeForce RTX 4090", (8, 9), 24 << 30),))


class Library:
    """libcuda and NVML in one, filling in what they are given the addresses of, as C does."""

    def __init__(self, init: int = 0, count: int = 1, nvml: int = 0) -> None:
        self.init, self.count, self.nvml = init, count, nvml

    def cuInit(self, flags: Any) -> int:
        assert flags.value == 0
        return self.init

    def cuDriverGetVersion(self, at: Any) -> int:
        return self._put(at, 13020)

    def cuDeviceGetCount(self, at: Any) -> int:
        return self._put(at, self.count)

    def cuDeviceGet(self, at: Any, number: Any) -> int:
        return self._put(at, number.value + 7)  # a handle is not a number

    def cuDeviceGetName(self, name: Any, size: Any, handle: Any) -> int:
        name.value = f"NVIDIA Card {handle.value - 7}".encode()
        return 0

    def cuDeviceTotalMem_v2(self, at: Any, handle: Any) -> int:
        return self._put(at, 24 << 30)

    def cuDeviceGetAttribute(self, at: Any, attribute: Any, handle: Any) -> int:
        return self._put(at, {75: 8, 76: 9}[attribute.value])

    def cuGetErrorName(self, code: Any, at: Any) -> int:
        at._obj.value = b"CUDA_ERROR_OF_SOME_KIND"
        return 0

    def nvmlInit_v2(self) -> int:
        return self.nvml

    def nvmlShutdown(self) -> int:
        return 0

    def nvmlSystemGetDriverVersion(self, text: Any, size: Any) -> int:
        text.value = b"580.95.05"
        return 0

    def _put(self, at: Any, value: int) -> int:
        at._obj.value = value
        return 0


def load(library: Any, nvml: bool = True) -> Any:
    def loaded(name: str) -> Any:
        if not nvml and "ml" in name:
            raise OSError(name)
        return library

    return loaded


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    """What was asked once in a process is asked anew; the process's own policy comes back."""
    before = policy.current()
    asked = (driver.driver, onnxruntime_cuda.check, tensorrt_rtx.check, tensorrt_rtx._devices)
    for one in asked:
        one.cache_clear()
    yield
    for one in asked:
        one.cache_clear()
    policy.use(before)


def test_the_driver_says_what_there_is() -> None:
    """Release, newest CUDA, and every device with its name, capability and memory."""
    found = probe(load(Library(count=2)))
    assert (found.release, found.cuda) == ("580.95.05", (13, 2))
    assert found.devices[1] == Device(1, "NVIDIA Card 1", (8, 9), 24 << 30)
    assert str(found) == "NVIDIA Card 0 with driver 580.95.05"


@pytest.mark.parametrize(("library", "nvml"), [(Library(nvml=1), True), (Library(), False)])
def test_a_driver_without_nvml_is_known_by_its_cuda(library: Library, nvml: bool) -> None:
    """A container may hide it; the key of a plan still changes with the driver's CUDA."""
    assert probe(load(library, nvml)).release == "for CUDA 13.2"


def test_no_driver_names_what_mends_it() -> None:
    """On the machine and in a container it is another command."""

    def nothing(name: str) -> Any:
        raise OSError(name)

    with pytest.raises(BackendError, match=r"no NVIDIA driver here .*--gpus all"):
        probe(nothing, inside=True)
    with pytest.raises(BackendError, match=r"no NVIDIA driver here .*"):
        probe(nothing, inside=False)


@pytest.mark.parametrize(
    ("code", "words"),
    [(100, "sees no GPU"), (803, "sudo reboot"), (802, "fabricmanager"), (999, "nvidia-smi")],
)
def test_a_driver_that_fails_says_how_and_what_to_run(code: int, words: str) -> None:
    """cuInit's answer by its name, and one command."""
    with pytest.raises(BackendError, match=rf"CUDA_ERROR_OF_SOME_KIND: .*{words}"):
        probe(load(Library(init=code)))


def test_a_driver_without_devices_and_a_library_that_is_none() -> None:
    """CUDA_VISIBLE_DEVICES may hide all; a stub may lack what is asked for."""
    with pytest.raises(BackendError, match="sees no GPU"):
        probe(load(Library(count=0)))
    with pytest.raises(BackendError, match="is not NVIDIA's"):
        probe(load(SimpleNamespace(cuInit=lambda flags: 0)))


def test_the_real_probe_answers_here() -> None:
    """With a driver or without: by a value or by one line, and never by a crash."""
    told = backends.unusable("tensorrt") or str(probe())
    assert told
    assert "\n" not in told


def with_gpu(monkeypatch: pytest.MonkeyPatch, faults: dict[str, str], found: Driver = H100) -> None:
    """A driver, every package, and what each GPU backend's own check says."""
    monkeypatch.setattr(backends, "present_driver", lambda: found)
    monkeypatch.setattr(backends, "find_spec", lambda name: True)
    monkeypatch.setattr(backends, "_has_cuda_provider", lambda: True)

    def check(name: str) -> None:
        if name in faults:
            raise BackendError(faults[name])

    def module(name: str) -> Any:
        return SimpleNamespace(check=lambda: check(name.rpartition(".")[2]))

    monkeypatch.setattr(backends.importlib, "import_module", module)


def test_auto_takes_a_gpu_backend_where_one_really_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """In order of speed; each that does not run is passed over, and the CPU's choice says why it is not the GPU."""
    with_gpu(monkeypatch, {})
    assert choose() == Choice("tensorrt", "it runs on NVIDIA H100 with driver 580.95.05")
    with_gpu(monkeypatch, {"tensorrt": "x"})
    assert choose().name == "tensorrt_rtx"
    with_gpu(monkeypatch, {"tensorrt": "x", "tensorrt_rtx": "x"})
    assert choose().name == "onnxruntime_cuda"
    with_gpu(monkeypatch, dict.fromkeys(backends.GPU_BACKENDS, "it broke; run: this"))
    found = choose()
    assert found.name == "openvino"
    assert "fastest on a CPU; backend tensorrt: it broke; run: this" in found.reason


def test_auto_does_not_take_tensorrt_without_a_builder(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its plans would never come."""
    with_gpu(monkeypatch, {})
    policy.use(PlanPolicy(builder=None))
    assert choose().name == "tensorrt_rtx"


def test_auto_tells_of_a_gpu_that_nothing_uses(monkeypatch: pytest.MonkeyPatch) -> None:
    """A driver without a runtime: one command away from being fast."""
    with_gpu(monkeypatch, {})
    monkeypatch.setattr(backends, "find_spec", lambda name: name in backends.BACKENDS or None)
    monkeypatch.setattr(backends, "_has_cuda_provider", lambda: False)
    assert "marotte[gpu]" in choose().reason
    assert choose().name == "openvino"


def test_without_a_driver_auto_looks_at_no_gpu_runtime(monkeypatch: pytest.MonkeyPatch) -> None:
    """The CPU's start stays as quick as it was."""

    def none() -> Driver:
        raise BackendError("no driver; run: this")

    monkeypatch.setattr(backends, "present_driver", none)
    monkeypatch.setattr(backends, "_worth", lambda name: pytest.fail(name))
    assert choose().name == "openvino"
    assert choose().reason == "OpenVINO is installed, and is the fastest on a CPU"
    for name in backends.GPU_BACKENDS:
        with pytest.raises(BackendError, match=rf"^backend {name}: no driver; run: this$"):
            choose(name)


def test_a_gpu_backend_asked_for_by_name_is_taken_or_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Never replaced, and a slip of the pen is told the nearest name."""
    with_gpu(monkeypatch, {"tensorrt_rtx": "it broke; run: this"})
    assert choose("onnxruntime_cuda") == Choice("onnxruntime_cuda", "asked for by name")
    with pytest.raises(BackendError, match="backend tensorrt_rtx: it broke; run: this"):
        choose("tensorrt_rtx")
    with pytest.raises(BackendError, match="did you mean tensorrt_rtx"):
        choose("tensorrt-rtx")


def test_what_serves_beside_tensorrt(monkeypatch: pytest.MonkeyPatch) -> None:
    """The other GPU backend where it runs, else the CPU's."""
    with_gpu(monkeypatch, {})
    assert backends.beside("tensorrt") == "onnxruntime_cuda"
    with_gpu(monkeypatch, {"onnxruntime_cuda": "x"})
    assert backends.beside("tensorrt") == "openvino"


def test_the_trial_is_a_network_and_tells_right_from_wrong() -> None:
    """A convolution of ones: nine, on any backend that computes."""
    onnx.checker.check_model(onnx.load_from_string(trial.TRIAL))
    graph = open_graph(Path("trial.onnx"), "onnxruntime", data=trial.TRIAL)
    found = graph.run({trial.INPUT: np.ones((1, 1, 3, 3), np.float32)})
    trial.check_trial(found, "onnxruntime")
    with pytest.raises(BackendError, match="where 9 is right"):
        trial.check_trial({trial.OUTPUT: found[trial.OUTPUT] * 2}, "onnxruntime")


def bound(data: bytes, wanted: tuple[str, ...] | None = None) -> DeviceGraph:
    """ONNX Runtime's real binding of inputs and outputs, with the CPU's memory in the device's place."""

    def add(options: Any, capture: bool) -> Any:
        return [("CPUExecutionProvider", {})]

    session, captured = device_session(Path("render.onnx"), data, 1, "cpu", add, "CPUExecutionProvider")
    return DeviceGraph("cpu", session, Place("cpu"), wanted, captured=captured)


def test_bound_ports_give_the_same_numbers() -> None:
    """By name, whatever the order; wanted outputs only; closed graphs say so."""
    graph = bound(model(), ("dark",))
    for value in (1, 9, 200):
        found = graph.run({"weights": WEIGHTS, "picture": picture(value)})
        assert set(found) == {"dark"}
        np.testing.assert_array_equal(found["dark"], picture(value) * WEIGHTS - 1)
    with pytest.raises(PortError, match="expected"):
        graph.run({"weights": WEIGHTS, "picture": picture(1, 2)})
    graph.close()
    graph.close()
    with pytest.raises(BackendError, match="closed"):
        graph.run({"weights": WEIGHTS, "picture": picture(1)})


def test_bound_ports_may_have_free_sizes() -> None:
    """Memory for each set of shapes, not for ever; a size that is computed is learnt after the run."""
    graph = bound(model("n"))
    for batch in (*range(1, 12), 1, 3):
        given = picture(batch, batch)
        found = graph.run({"weights": WEIGHTS, "picture": given})
        np.testing.assert_array_equal(found["bright"], given * WEIGHTS)
        np.testing.assert_array_equal(found["dark"], given * WEIGHTS - 1)
    assert len(graph._bound) == shared._MOST_BOUND
    graph.close()


def test_bound_constants_are_uploaded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """What nobody can change stays on the device; anything else goes up each time."""
    graph = bound(model())
    uploads: list[Any] = []
    update = onnxruntime.OrtValue.update_inplace

    def counted(value: Any, array: Any) -> None:
        uploads.append(array)
        update(value, array)

    monkeypatch.setattr(onnxruntime.OrtValue, "update_inplace", counted)
    kept = WEIGHTS * 3
    kept.flags.writeable = False
    for value in (1, 2, 3):
        found = graph.run({"weights": kept, "picture": picture(value)})
        np.testing.assert_array_equal(found["bright"], picture(value) * kept)
    assert len(uploads) == 4
    for _ in range(2):
        graph.run({"weights": WEIGHTS, "picture": picture(1)})
    assert len(uploads) == 8


def test_a_provider_that_was_left_away_is_an_error(caplog: pytest.LogCaptureFixture) -> None:
    """ONNX Runtime warns, and opens the session on the CPU; that is not what was asked for."""

    def add(options: Any, capture: bool) -> Any:
        return []

    with pytest.raises(
        BackendError, match=r"came about without CUDAExecutionProvider: got .*CPUExecutionProvider"
    ):
        device_session(Path("x.onnx"), model(), 1, "onnxruntime_cuda", add, "CUDAExecutionProvider")


class FakeSession:
    """A session of a GPU build: options and providers as they were given."""

    made: list[FakeSession]

    def __init__(self, source: Any, options: Any, **named: Any) -> None:
        self.named, self.options, self.source = named, options, source
        self.strict = options.get_session_config_entry("session.disable_cpu_ep_fallback") == "1"
        self.inner = onnxruntime.InferenceSession(source, providers=["CPUExecutionProvider"])
        if self.strict and self.refuse:
            raise RuntimeError("This session contains graph nodes that are assigned to the default CPU EP")
        type(self).made.append(self)

    refuse = False
    parts: tuple[Any, ...] = ()

    def get_providers(self) -> list[str]:
        return ["CUDAExecutionProvider", "CPUExecutionProvider"]

    def get_provider_graph_assignment_info(self) -> Any:
        return self.parts

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)


class Options(dict[str, str]):
    """As SessionOptions, where it matters."""

    devices: Any = None

    def get_session_config_entry(self, name: str) -> str:
        return self.get(name, "0")

    def add_session_config_entry(self, name: str, value: str) -> None:
        self[name] = value

    def add_provider_for_devices(self, devices: Any, options: dict[str, str]) -> None:
        self.devices = devices, options


def part(provider: str, count: int) -> Any:
    return SimpleNamespace(ep_name=provider, get_nodes=lambda: [None] * count)


class Compiler:
    """As ModelCompiler: what it gives is the graph itself, marked by its producer."""

    asked: list[dict[str, Any]]
    fails = ""

    def __init__(self, options: Any, graph: bytes, **given: Any) -> None:
        type(self).asked.append({"devices": options.devices[0], **given})
        self.graph = graph

    def compile_to_bytes(self) -> bytes:
        if self.fails:
            raise RuntimeError(self.fails)
        compiled = onnx.load_from_string(self.graph)
        compiled.producer_name = "compiled"
        return bytes(compiled.SerializeToString())


@pytest.fixture
def gpu_build(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """An ONNX Runtime with the CUDA provider, whose memory is the CPU's."""
    policy.use(PlanPolicy(folder=tmp_path / "plans"))
    Compiler.asked, Compiler.fails = [], ""
    FakeSession.made, FakeSession.refuse, FakeSession.parts = [], False, (part("CUDAExecutionProvider", 3),)
    fake = SimpleNamespace(
        __version__="1.31.1",
        InferenceSession=FakeSession,
        SessionOptions=Options,
        ModelCompiler=Compiler,
        OrtCompileApiFlags=onnxruntime.OrtCompileApiFlags,
        OrtValue=SimpleNamespace(
            ortvalue_from_shape_and_type=lambda shape, dtype, *_: (
                onnxruntime.OrtValue.ortvalue_from_shape_and_type(shape, dtype, "cpu")
            )
        ),
        disable_telemetry_events=lambda: None,
        get_available_providers=lambda: ["CUDAExecutionProvider", "CPUExecutionProvider"],
        preload_dlls=lambda directory: None,
    )
    monkeypatch.setattr(shared, "onnxruntime", fake)
    monkeypatch.setattr(driver, "probe", lambda: H100)
    return fake


def test_cuda_records_where_it_can(gpu_build: Any) -> None:
    """Fixed sizes and no operator elsewhere: one launch per frame. Float32 stays float32 unless less was asked for."""
    graph = onnxruntime_cuda.OnnxRuntimeCudaGraph(Path("x.onnx"), 2, None, model())
    assert (graph.backend, graph.captured) == ("onnxruntime_cuda", True)
    (name, options), *others = FakeSession.made[-1].named["providers"]
    assert (name, others) == ("CUDAExecutionProvider", [])
    assert (options["enable_cuda_graph"], options["use_tf32"]) == ("1", "0")
    assert FakeSession.made[-1].named["enable_fallback"] == 0
    np.testing.assert_array_equal(
        graph.run({"weights": WEIGHTS, "picture": picture(4)})["bright"], picture(4) * WEIGHTS
    )
    onnxruntime_cuda.OnnxRuntimeCudaGraph(Path("x.onnx"), 2, None, model(), exact=False)
    assert FakeSession.made[-1].named["providers"][0][1]["use_tf32"] == "1"


@pytest.mark.parametrize("why", ["free", "refused"])
def test_cuda_runs_without_recording_where_it_has_to(
    gpu_build: Any, caplog: pytest.LogCaptureFixture, why: str
) -> None:
    """A free size, or an operator that only the CPU has: the second is told, for it costs time."""
    FakeSession.refuse = why == "refused"
    onnxruntime_cuda.check.cache_clear()
    FakeSession.parts = (part("CUDAExecutionProvider", 3), part("CPUExecutionProvider", 2))
    with caplog.at_level(logging.INFO):
        graph = onnxruntime_cuda.OnnxRuntimeCudaGraph(
            Path("x.onnx"), 1, None, model("n" if why == "free" else 1), checked=False
        )
    assert not graph.captured
    assert FakeSession.made[-1].named["providers"][0][1]["enable_cuda_graph"] == "0"
    assert "2 of its operators run on the CPU, 3 on onnxruntime_cuda" in caplog.text
    FakeSession.parts = (part("CPUExecutionProvider", 2),)
    FakeSession.refuse = True
    with pytest.raises(BackendError, match=r"no operator of x\.onnx runs on onnxruntime_cuda"):
        onnxruntime_cuda.OnnxRuntimeCudaGraph(Path("x.onnx"), 1, None, model(), checked=False)


def test_a_cpu_build_and_missing_libraries_name_their_command(gpu_build: Any) -> None:
    """The two ways in which most installations fail, each by one line."""
    gpu_build.preload_dlls = lambda directory: print(
        "Failed to load libcublasLt.so.13: cannot open\nFailed to load libcudnn.so.9: no\nPlease follow https://"
    )
    with pytest.raises(
        BackendError, match=r"^libcublasLt\.so\.13, libcudnn\.so\.9 cannot be loaded; run: .*cudnn"
    ):
        onnxruntime_cuda.check()
    gpu_build.get_available_providers = lambda: ["CPUExecutionProvider"]
    with pytest.raises(BackendError, match=r"has no CUDA provider; run: python -m pip install"):
        onnxruntime_cuda.check()


def test_rtx_registers_its_library_once_and_takes_its_first_device(
    gpu_build: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the three calls of the plug-in interface; the provider is asserted here as well."""
    monkeypatch.setattr(driver, "probe", lambda: RTX)
    plugin = ModuleType("onnxruntime_ep_nv_tensorrt_rtx")
    plugin.get_ep_name = lambda: "NvTensorRTRTXExecutionProvider"  # type: ignore[attr-defined]
    plugin.get_library_path = lambda: "/plugin.so"  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, plugin.__name__, plugin)
    registered: list[tuple[str, str]] = []
    cards = [SimpleNamespace(ep_name=name) for name in ("Other", *["NvTensorRTRTXExecutionProvider"] * 2)]
    gpu_build.register_execution_provider_library = lambda *given: registered.append(given)
    gpu_build.get_ep_devices = lambda: cards
    with pytest.raises(BackendError, match="came about without NvTensorRTRTXExecutionProvider"):
        tensorrt_rtx.TensorRtRtxGraph(Path("x.onnx"), 1, None, model())
    monkeypatch.setattr(
        FakeSession, "get_providers", lambda _: ["NvTensorRTRTXExecutionProvider", "CPUExecutionProvider"]
    )
    for _ in range(2):
        graph = tensorrt_rtx.TensorRtRtxGraph(Path("x.onnx"), 1, None, model())
    assert (graph.backend, graph.captured) == ("tensorrt_rtx", True)
    assert registered == [("NvTensorRTRTXExecutionProvider", "/plugin.so")]
    assert FakeSession.made[-1].options.devices == ([cards[1]], {"enable_cuda_graph": "1"})
    assert "providers" not in FakeSession.made[-1].named
    tensorrt_rtx._devices.cache_clear()
    gpu_build.get_ep_devices = lambda: cards[:1]
    with pytest.raises(BackendError, match="offers no device"):
        tensorrt_rtx._devices()


def test_rtx_says_which_cards_and_what_is_missing(gpu_build: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A data-centre card, a missing package, an old ONNX Runtime."""
    with pytest.raises(BackendError, match=r"30 series, got NVIDIA H100 of capability 9\.0"):
        tensorrt_rtx.check()
    assert [tensorrt_rtx.supported(one) for one in ((8, 0), (8, 6), (8, 9), (9, 0), (12, 0), (12, 1), (13, 0))] == [
        False, True, True, False, True, True, True,
    ]  # fmt: skip
    monkeypatch.setattr(driver, "probe", lambda: RTX)
    driver.driver.cache_clear()
    monkeypatch.setitem(sys.modules, "onnxruntime_ep_nv_tensorrt_rtx", None)
    with pytest.raises(BackendError, match=r"not installed .*marotte\[rtx\]"):
        tensorrt_rtx.check()
    gpu_build.__version__ = "1.22.0"
    with pytest.raises(BackendError, match=r"takes no plug-in.*--upgrade onnxruntime"):
        tensorrt_rtx.check()


def test_the_calls_that_are_made_exist_in_the_installed_onnx_runtime() -> None:
    """Names that a stand-in took for granted."""
    for name in ("register_execution_provider_library", "get_ep_devices", "get_available_providers"):
        assert callable(getattr(onnxruntime, name))
    assert callable(onnxruntime.SessionOptions().add_provider_for_devices)
    assert {"embed_compiled_data_into_model", "flags"} <= set(
        inspect.signature(onnxruntime.ModelCompiler).parameters
    )
    for name in ("run_with_iobinding", "io_binding", "get_provider_graph_assignment_info", "get_providers"):
        assert callable(getattr(onnxruntime.InferenceSession, name))
    assert not hasattr(onnxruntime, "preload_dlls") or callable(onnxruntime.preload_dlls)
