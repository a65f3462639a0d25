"""CUDA through cuda-python: memory, one stream, captured work. The only file that imports it.

Every object here frees what it holds in `close`, in the order that CUDA wants, and closing twice is harmless. Sizes are
in bytes, addresses plain integers.
"""

from __future__ import annotations

import ctypes
import math
import threading
import weakref
from collections.abc import Callable
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from engine.backends.driver import driver
from engine.errors import BackendError

INSTALL: Final = "python -m pip install 'cuda-bindings>=13,<14'"

allocating: Final = threading.RLock()
"""Held while a graph is opened: what one thread allocates would spoil what another captures at that moment."""


def open_runtime() -> Any:
    """cuda-python's runtime module, once the driver is known to be there. Raises BackendError."""
    driver()
    try:
        from cuda.bindings import runtime
    except (ImportError, OSError, RuntimeError) as error:
        raise BackendError(f"cuda-python cannot be used ({error}); run: {INSTALL}") from error
    return runtime


class Cuda:
    """The calls that are used of CUDA, checked. runtime: cuda.bindings.runtime, or what stands for it.

    Raises BackendError with CUDA's own name and words for what went wrong.
    """

    def __init__(self, runtime: Any) -> None:
        self._runtime = runtime

    def call(self, name: str, *arguments: Any) -> Any:
        """What a call of cuda-python gives beside its error: nothing, one value, or a tuple."""
        code, *values = getattr(self._runtime, name)(*arguments)
        if int(code) != 0:
            raise BackendError(f"CUDA failed: {name} gives {self._words(code)}")
        return values[0] if len(values) == 1 else tuple(values)

    def quietly(self, name: str, *arguments: Any) -> None:
        """The same for what is given back: there is nobody left who could do anything about an error."""
        getattr(self._runtime, name)(*arguments)

    def constant(self, kind: str, name: str = "") -> Any:
        """A value of the module, or of one of its enums."""
        value = getattr(self._runtime, kind)
        return getattr(value, name) if name else value

    def free_bytes(self) -> tuple[int, int]:
        """Free and whole memory of the device."""
        free, whole = self.call("cudaMemGetInfo")
        return int(free), int(whole)

    def _words(self, code: Any) -> str:
        _, name = self._runtime.cudaGetErrorName(code)
        _, words = self._runtime.cudaGetErrorString(code)
        return f"{_text(name)} ({_text(words)})"


class Stream:
    """Work that is done one after the other, beside that of other streams."""

    def __init__(self, cuda: Cuda) -> None:
        self._cuda = cuda
        self._stream: Any = cuda.call("cudaStreamCreateWithFlags", cuda.constant("cudaStreamNonBlocking"))

    @property
    def handle(self) -> int:
        """As TensorRT takes it."""
        return int(self._stream)

    def upload(self, memory: Memory, size: int, at: int = 0) -> None:
        """So many bytes of the host's half, from the byte `at` on, to the device's; begun, not done."""
        self._copy(memory.device + at, memory.host + at, size, "cudaMemcpyHostToDevice")

    def download(self, memory: Memory, size: int) -> None:
        """The first bytes the other way round."""
        self._copy(memory.host, memory.device, size, "cudaMemcpyDeviceToHost")

    def move(self, target: int, source: int, size: int) -> None:
        """From one place of the device to another; begun, not done."""
        self._copy(target, source, size, "cudaMemcpyDeviceToDevice")

    def wait(self) -> None:
        """Until everything is done. Raises BackendError where any of it failed."""
        self._cuda.call("cudaStreamSynchronize", self._stream)

    def wait_quietly(self) -> None:
        """The same before something is freed, whatever became of the work."""
        if self._stream is not None:
            self._cuda.quietly("cudaStreamSynchronize", self._stream)

    def capture(self, work: Callable[[], None]) -> Captured:
        """Records what `work` puts on this stream, which is not done then. Raises BackendError where it cannot be
        recorded, or what `work` raises; the stream can be used on either way."""
        mode = self._cuda.constant("cudaStreamCaptureMode", "cudaStreamCaptureModeThreadLocal")
        self._cuda.call("cudaStreamBeginCapture", self._stream, mode)
        try:
            work()
        except BaseException:
            # A spoilt recording has to be ended as well, and leaves an error behind that is not the next one's.
            self._cuda.quietly("cudaStreamEndCapture", self._stream)
            self._cuda.quietly("cudaGetLastError")
            raise
        return Captured(self._cuda, self._stream, self._ended())

    def event(self) -> Event:
        """A mark after all that was put on the stream so far."""
        return Event(self._cuda, self._stream)

    def close(self) -> None:
        if self._stream is not None:
            self.wait_quietly()
            self._cuda.quietly("cudaStreamDestroy", self._stream)
            self._stream = None

    def _ended(self) -> Any:
        try:
            return self._cuda.call("cudaStreamEndCapture", self._stream)
        except BackendError:
            self._cuda.quietly("cudaGetLastError")
            raise

    def _copy(self, target: int, source: int, size: int, kind: str) -> None:
        direction = self._cuda.constant("cudaMemcpyKind", kind)
        self._cuda.call("cudaMemcpyAsync", target, source, size, direction, self._stream)


class Captured:
    """Recorded work, done by one launch."""

    def __init__(self, cuda: Cuda, stream: Any, graph: Any) -> None:
        self._cuda, self._stream = cuda, stream
        try:
            self._ready: Any = cuda.call("cudaGraphInstantiate", graph, 0)
        finally:
            cuda.quietly("cudaGraphDestroy", graph)

    def launch(self) -> None:
        """Begun, not done."""
        self._cuda.call("cudaGraphLaunch", self._ready, self._stream)

    def close(self) -> None:
        if self._ready is not None:
            self._cuda.quietly("cudaGraphExecDestroy", self._ready)
            self._ready = None


class Memory:
    """So many bytes on the device, and as many on the host, pinned, so that copies between them need no third place.

    The host's half outlasts `close` as long as an array of it is in somebody's hands. pinned: False for the device's
    alone.
    """

    def __init__(self, cuda: Cuda, size: int, *, pinned: bool = True) -> None:
        self._cuda, self.size = cuda, size
        self.device, self.host = 0, 0
        self._bytes: Any = None
        try:
            self.device = int(cuda.call("cudaMalloc", size))
            if not pinned:
                return
            self.host = int(cuda.call("cudaHostAlloc", size, cuda.constant("cudaHostAllocDefault")))
        except BackendError as error:
            self.close()
            if "MemoryAllocation" not in str(error):
                raise
            wish = f"{size} bytes were asked for{_left(cuda)}"
            raise BackendError(f"{error}; {wish}; close other GPU programs") from error
        self._bytes = (ctypes.c_ubyte * size).from_address(self.host)
        weakref.finalize(self._bytes, cuda.quietly, "cudaFreeHost", self.host).atexit = False

    def array(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
        """The first bytes of the host's half as an array."""
        count = math.prod(shape)
        found: NDArray[Any] = np.frombuffer(self._bytes, dtype, count).reshape(shape)
        return found

    def close(self) -> None:
        if self.device:
            self._cuda.quietly("cudaFree", self.device)
        self.device = self.host = 0
        self._bytes = None


class Event:
    """A moment on a stream, for times that the device itself measures."""

    def __init__(self, cuda: Cuda, stream: Any) -> None:
        self._cuda = cuda
        self._event: Any = cuda.call("cudaEventCreate")
        cuda.call("cudaEventRecord", self._event, stream)

    def ms_until(self, later: Event) -> float:
        """Milliseconds to a later event, once that has come."""
        self._cuda.call("cudaEventSynchronize", later._event)
        return float(self._cuda.call("cudaEventElapsedTime", self._event, later._event))

    def close(self) -> None:
        if self._event is not None:
            self._cuda.quietly("cudaEventDestroy", self._event)
            self._event = None


def _left(cuda: Cuda) -> str:
    try:
        free, whole = cuda.free_bytes()
    except BackendError:
        return ""
    return f", {free >> 20} of {whole >> 20} MB are free"


def _text(value: Any) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)
