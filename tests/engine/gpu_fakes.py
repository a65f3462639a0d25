"""A GPU that is none: the driver, cuda-python and TensorRT, behaving as their documentation says where it matters here.

The calls have the real names, orders of arguments and answers (cuda-bindings 13.5, TensorRT 10.16 and 11.4). Work on a
stream is done when somebody waits for it, and not before; memory of the device is not the host's; what was not freed is
found by `Gpu.left`. A "plan" is an ONNX file with its profiles, and ONNX Runtime computes it.
"""

from __future__ import annotations

import ctypes
import itertools
import json
import math
from collections.abc import Callable, Sequence
from enum import IntEnum
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import onnxruntime
import pytest

from engine.backends import driver as drivers

MAGIC = b"fake plan\n"
DTYPES = {
    "tensor(float)": ("FLOAT", np.float32),
    "tensor(float16)": ("HALF", np.float16),
    "tensor(uint8)": ("UINT8", np.uint8),
    "tensor(int64)": ("INT64", np.int64),
    "tensor(double)": ("FP4", np.float64),
}


class CudaError(IntEnum):
    """As cudaError_t."""

    cudaSuccess = 0  # noqa: N815
    cudaErrorInvalidValue = 1  # noqa: N815
    cudaErrorMemoryAllocation = 2  # noqa: N815
    cudaErrorIllegalAddress = 700  # noqa: N815
    cudaErrorStreamCaptureUnsupported = 900  # noqa: N815
    cudaErrorStreamCaptureInvalidated = 901  # noqa: N815


class Handle:
    """As cudaStream_t: a number underneath."""

    numbers = itertools.count(0x1000)

    def __init__(self) -> None:
        self.number = next(self.numbers)

    def __int__(self) -> int:
        return self.number


class Stream(Handle):
    def __init__(self) -> None:
        super().__init__()
        self.waiting: list[Callable[[], None]] = []
        self.recording: list[Callable[[], None]] | None = None
        self.spoilt = False

    def put(self, work: Callable[[], None]) -> None:
        (self.waiting if self.recording is None else self.recording).append(work)


class Gpu:
    """What cuda.bindings.runtime offers, as a module's names. fail: calls that answer an error, by name. copies:
    that were done, up to the device, down from it, and on it."""

    cudaError_t = CudaError  # noqa: N815
    cudaStreamNonBlocking = 1  # noqa: N815
    cudaHostAllocDefault = 0  # noqa: N815
    cudaMemcpyKind = SimpleNamespace(  # noqa: N815
        cudaMemcpyHostToDevice=1, cudaMemcpyDeviceToHost=2, cudaMemcpyDeviceToDevice=3
    )
    cudaStreamCaptureMode = SimpleNamespace(  # noqa: N815
        cudaStreamCaptureModeGlobal=0, cudaStreamCaptureModeThreadLocal=1
    )

    def __init__(self) -> None:
        self.device: dict[int, Any] = {}
        self.host: dict[int, Any] = {}
        self.streams: dict[int, Stream] = {}
        self.graphs: set[Handle] = set()
        self.ready: dict[int, list[Callable[[], None]]] = {}
        self.events: dict[int, float] = {}
        self.calls: list[str] = []
        self.copies = {"up": 0, "down": 0, "beside": 0}
        self.fail: dict[str, CudaError] = {}
        self.memory = 1 << 30

    def __getattribute__(self, name: str) -> Any:
        found = object.__getattribute__(self, name)
        if not (name.startswith("cuda") and callable(found)) or name == "cudaError_t":
            return found

        def counted(*arguments: Any) -> Any:
            self.calls.append(name)
            if name in self.fail:
                return (self.fail[name], None)
            return found(*arguments)

        return counted

    def left(self) -> list[str]:
        """What was not given back."""
        kinds = ("device", "host", "streams", "graphs", "ready", "events")
        return [kind for kind in kinds if getattr(self, kind)]

    def cudaMalloc(self, size: int) -> tuple[CudaError, int]:
        self._spoil()
        if sum(map(len, self.device.values())) + size > self.memory:
            return CudaError.cudaErrorMemoryAllocation, 0
        block = (ctypes.c_ubyte * size)()
        self.device[ctypes.addressof(block)] = block
        return CudaError.cudaSuccess, ctypes.addressof(block)

    def cudaFree(self, address: int) -> tuple[CudaError]:
        del self.device[address]
        return (CudaError.cudaSuccess,)

    def cudaHostAlloc(self, size: int, flags: int) -> tuple[CudaError, int]:
        assert flags == 0
        self._spoil()
        block = (ctypes.c_ubyte * size)(*([255] * min(size, 64)))  # whatever stood there before
        self.host[ctypes.addressof(block)] = block
        return CudaError.cudaSuccess, ctypes.addressof(block)

    def cudaFreeHost(self, address: int) -> tuple[CudaError]:
        del self.host[address]
        return (CudaError.cudaSuccess,)

    def cudaMemGetInfo(self) -> tuple[CudaError, int, int]:
        return CudaError.cudaSuccess, self.memory - sum(map(len, self.device.values())), self.memory

    def cudaStreamCreateWithFlags(self, flags: int) -> tuple[CudaError, Stream]:
        assert flags == self.cudaStreamNonBlocking
        stream = Stream()
        self.streams[int(stream)] = stream
        return CudaError.cudaSuccess, stream

    def cudaStreamDestroy(self, stream: Stream) -> tuple[CudaError]:
        del self.streams[int(stream)]
        return (CudaError.cudaSuccess,)

    def cudaStreamSynchronize(self, stream: Stream) -> tuple[CudaError]:
        if stream.recording is not None:
            stream.spoilt = True
            return (CudaError.cudaErrorStreamCaptureUnsupported,)
        waiting, stream.waiting = stream.waiting, []
        for work in waiting:
            work()
        return (CudaError.cudaSuccess,)

    def cudaMemcpyAsync(
        self, target: int, source: int, size: int, kind: int, stream: Stream
    ) -> tuple[CudaError]:
        sides = {1: (self.device, self.host), 2: (self.host, self.device), 3: (self.device, self.device)}[
            kind
        ]
        if not all(_holds(side, at, size) for side, at in zip(sides, (target, source), strict=True)):
            return (CudaError.cudaErrorInvalidValue,)

        def copy() -> None:
            ctypes.memmove(target, source, size)
            self.copies[("up", "down", "beside")[kind - 1]] += 1

        stream.put(copy)
        return (CudaError.cudaSuccess,)

    def cudaStreamBeginCapture(self, stream: Stream, mode: int) -> tuple[CudaError]:
        assert mode == 1, "another thread's allocations would spoil a global capture"
        stream.recording, stream.spoilt = [], False
        return (CudaError.cudaSuccess,)

    def cudaStreamEndCapture(self, stream: Stream) -> tuple[CudaError, Any]:
        recorded, stream.recording = stream.recording, None
        if stream.spoilt:
            return CudaError.cudaErrorStreamCaptureInvalidated, None
        graph = Handle()
        graph.recorded = recorded  # type: ignore[attr-defined]
        self.graphs.add(graph)
        return CudaError.cudaSuccess, graph

    def cudaGraphInstantiate(self, graph: Any, flags: int) -> tuple[CudaError, Handle]:
        assert flags == 0
        ready = Handle()
        self.ready[int(ready)] = graph.recorded
        return CudaError.cudaSuccess, ready

    def cudaGraphLaunch(self, ready: Handle, stream: Stream) -> tuple[CudaError]:
        for work in self.ready[int(ready)]:
            stream.put(work)
        return (CudaError.cudaSuccess,)

    def cudaGraphDestroy(self, graph: Handle) -> tuple[CudaError]:
        self.graphs.discard(graph)
        return (CudaError.cudaSuccess,)

    def cudaGraphExecDestroy(self, ready: Handle) -> tuple[CudaError]:
        del self.ready[int(ready)]
        return (CudaError.cudaSuccess,)

    def cudaGetLastError(self) -> tuple[CudaError]:
        return (CudaError.cudaSuccess,)

    def cudaGetErrorName(self, code: CudaError) -> tuple[CudaError, bytes]:
        return CudaError.cudaSuccess, code.name.encode()

    def cudaGetErrorString(self, code: CudaError) -> tuple[CudaError, bytes]:
        return CudaError.cudaSuccess, b"in words"

    def cudaEventCreate(self) -> tuple[CudaError, Handle]:
        event = Handle()
        self.events[int(event)] = math.nan
        return CudaError.cudaSuccess, event

    def cudaEventRecord(self, event: Handle, stream: Stream) -> tuple[CudaError]:
        moment = float(len(self.calls))
        stream.put(lambda: self.events.__setitem__(int(event), moment))
        return (CudaError.cudaSuccess,)

    def cudaEventSynchronize(self, event: Handle) -> tuple[CudaError]:
        assert not math.isnan(self.events[int(event)]), "its stream was not waited for"
        return (CudaError.cudaSuccess,)

    def cudaEventElapsedTime(self, first: Handle, second: Handle) -> tuple[CudaError, float]:
        return CudaError.cudaSuccess, self.events[int(second)] - self.events[int(first)]

    def cudaEventDestroy(self, event: Handle) -> tuple[CudaError]:
        del self.events[int(event)]
        return (CudaError.cudaSuccess,)

    def _spoil(self) -> None:
        for stream in self.streams.values():
            stream.spoilt = True


def _holds(side: dict[int, Any], at: int, size: int) -> bool:
    """Whether so many bytes from an address on are of one block."""
    return any(start <= at and at + size <= start + len(block) for start, block in side.items())


def fake_plan(onnx_file: bytes, batches: Sequence[int] = (1,), free: Sequence[str] = ()) -> bytes:
    """A plan with one profile for each batch; free: inputs whose first size is free."""
    header = json.dumps({"batches": list(batches), "free": list(free)}).encode()
    return MAGIC + len(header).to_bytes(4, "big") + header + onnx_file


class Severity(IntEnum):
    """As ILogger.Severity."""

    INTERNAL_ERROR = 0
    ERROR = 1
    WARNING = 2
    INFO = 3
    VERBOSE = 4


class Logger:
    """As ILogger: to be derived from, and initialised by its own name."""

    Severity = Severity
    INTERNAL_ERROR, ERROR, WARNING, INFO, VERBOSE = Severity

    def __init__(self) -> None:
        self.initialised = True


class TensorRt(ModuleType):
    """The module. gpu: what it runs on. faults: calls that fail, by name, with TensorRT's line. capturable: False
    stands for a plan with an operator that cannot be recorded."""

    __version__ = "11.4.0.106"
    TensorIOMode = SimpleNamespace(NONE=0, INPUT=1, OUTPUT=2)
    TensorLocation = SimpleNamespace(DEVICE=0, HOST=1)
    ILogger = Logger

    def __init__(self, gpu: Gpu) -> None:
        super().__init__("tensorrt")
        self.gpu, self.faults, self.capturable = gpu, {}, True  # type: ignore[var-annotated]
        self.on_host: set[str] = set()

    def fault(self, name: str) -> bool:
        if name in self.faults:
            self.logger.log(Severity.ERROR, self.faults[name])
            return True
        return False

    def Runtime(self, logger: Any) -> Any:
        assert logger.initialised, "ILogger.__init__ was not called"
        self.logger = logger
        return SimpleNamespace(deserialize_cuda_engine=self._deserialize)

    def _deserialize(self, plan: bytes) -> Engine | None:
        if self.fault("deserialize_cuda_engine"):
            return None
        if not plan.startswith(MAGIC):
            self.logger.log(
                Severity.ERROR,
                "IRuntime::deserializeCudaEngine: Error Code 1:\n the magic tag does not match",
            )
            return None
        start = len(MAGIC) + 4
        length = int.from_bytes(plan[len(MAGIC) : start], "big")
        return Engine(self, json.loads(plan[start : start + length]), plan[start + length :])


class Engine:
    """As ICudaEngine."""

    def __init__(self, trt: TensorRt, header: dict[str, Any], onnx_file: bytes) -> None:
        self.trt, self.header = trt, header
        self.session = onnxruntime.InferenceSession(onnx_file, providers=["CPUExecutionProvider"])
        self.given = {port.name: port for port in self.session.get_inputs()}
        self.found = {port.name: port for port in self.session.get_outputs()}
        self.num_optimization_profiles = len(header["batches"])
        self.num_io_tensors = len(self.given) + len(self.found)

    def get_tensor_name(self, at: int) -> str:
        return [*self.found, *self.given][at]  # in no order that anybody was promised

    def get_tensor_mode(self, name: str) -> int:
        return 1 if name in self.given else 2

    def get_tensor_location(self, name: str) -> int:
        return 1 if name in self.trt.on_host else 0

    def get_tensor_dtype(self, name: str) -> Any:
        return SimpleNamespace(name=DTYPES[({**self.given, **self.found})[name].type][0])

    def get_tensor_shape(self, name: str) -> list[int]:
        shape = ({**self.given, **self.found})[name].shape
        return [size if isinstance(size, int) else -1 for size in shape]

    def get_tensor_profile_shape(self, name: str, at: int) -> list[tuple[int, ...]]:
        batch = self.header["batches"][at]
        shape = [batch if size < 0 else size for size in self.get_tensor_shape(name)]
        low = [1 if size < 0 else size for size in self.get_tensor_shape(name)]
        return [tuple(low if self.header.get("range") else shape), tuple(shape), tuple(shape)]

    def create_execution_context(self) -> Context | None:
        return None if self.trt.fault("create_execution_context") else Context(self)


class Context:
    """As IExecutionContext."""

    def __init__(self, engine: Engine) -> None:
        self.engine, self.shapes, self.addresses = engine, {}, {}  # type: ignore[var-annotated]
        self.prepared = False

    def set_optimization_profile_async(self, at: int, handle: int) -> bool:
        self.shapes.clear()
        return handle in self.engine.trt.gpu.streams and not self.engine.trt.fault("profile")

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        self.shapes[name], self.prepared = shape, False
        return not self.engine.trt.fault("set_input_shape")

    def infer_shapes(self) -> list[str]:
        return [name for name in self.engine.given if name not in self.shapes]

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        if name in self.shapes:
            return self.shapes[name]
        return self._computed(
            {given: np.zeros(shape, self._dtype(given)) for given, shape in self.shapes.items()}
        )[name].shape

    def set_tensor_address(self, name: str, address: int) -> bool:
        assert address in self.engine.trt.gpu.device, "memory of the device was expected"
        self.addresses[name] = address
        return True

    def execute_async_v3(self, handle: int) -> bool:
        trt, stream = self.engine.trt, self.engine.trt.gpu.streams[handle]
        if trt.fault("execute_async_v3"):
            return False
        if stream.recording is not None and not (self.prepared and trt.capturable):
            trt.logger.log(Severity.ERROR, "Error Code 1: operation not permitted when stream is capturing")
            stream.spoilt = True
            return False
        self.prepared = True
        assert set(self.addresses) == {*self.engine.given, *self.engine.found}
        stream.put(self._execute)
        return True

    def _execute(self) -> None:
        found = self._computed(
            {name: self._memory(name, shape, self._dtype(name)) for name, shape in self.shapes.items()}
        )
        for name, array in found.items():
            self._memory(name, array.shape, array.dtype)[...] = array

    def _computed(self, arrays: dict[str, Any]) -> dict[str, Any]:
        names = list(self.engine.found)
        return dict(zip(names, self.engine.session.run(names, arrays), strict=True))

    def _dtype(self, name: str) -> Any:
        return DTYPES[self.engine.given[name].type][1]

    def _memory(self, name: str, shape: tuple[int, ...], dtype: Any) -> Any:
        block = self.engine.trt.gpu.device[self.addresses[name]]
        return np.frombuffer(block, dtype, math.prod(shape)).reshape(shape)


def install(monkeypatch: pytest.MonkeyPatch, *, gpu: bool = True) -> tuple[Gpu, TensorRt]:
    """Puts all of it in place of the real ones; gpu: whether a driver answers."""
    device = Gpu()
    trt = TensorRt(device)
    cuda, bindings = ModuleType("cuda"), ModuleType("cuda.bindings")
    bindings.runtime = device  # type: ignore[attr-defined]
    cuda.bindings = bindings  # type: ignore[attr-defined]
    for name, module in {
        "cuda": cuda, "cuda.bindings": bindings, "cuda.bindings.runtime": device, "tensorrt": trt,
    }.items():  # fmt: skip
        monkeypatch.setitem(__import__("sys").modules, name, module)
    from engine.backends import tensorrt

    tensorrt._logger.cache_clear()
    drivers.driver.cache_clear()
    if gpu:
        found = drivers.Driver("580.95.05", (13, 0), (drivers.Device(0, "NVIDIA H100", (9, 0), 80 << 30),))
        monkeypatch.setattr(drivers, "probe", lambda: found)
    return device, trt
