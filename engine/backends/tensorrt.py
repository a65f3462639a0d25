"""TensorRT: a plan run on the GPU that it was built for. The only file of the engine that imports it."""

from __future__ import annotations

import logging
import math
from collections import OrderedDict, deque
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from functools import cache
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from engine.backends.cuda import Captured, Cuda, Memory, Stream, allocating, open_runtime
from engine.backends.driver import driver
from engine.backends.graph import Arrays, Port, check_arrays, lasting, pick_outputs
from engine.errors import BackendError, PlanError, PortError

if TYPE_CHECKING:
    import tensorrt

INSTALL: Final = "python -m pip install 'marotte[tensorrt]'"

_DTYPES: Final = {
    "FLOAT": np.float32,
    "HALF": np.float16,
    "UINT8": np.uint8,
    "INT8": np.int8,
    "INT32": np.int32,
    "INT64": np.int64,
    "BOOL": np.bool_,
}
_MOST_BOUND: Final = 8
"""Most sets of input shapes that are kept ready at once; each has memory and captured work of its own."""
_MOST_LINES: Final = 64
_SHOWN: Final = 3

_log = logging.getLogger("marotte.tensorrt")

Shapes = tuple[tuple[int, ...], ...]
"""Of all inputs, in the order of the ports."""


def version() -> str:
    """Of the library that is installed. Raises BackendError where it cannot be used; see engine.backends.driver."""
    driver()
    try:
        import tensorrt as trt
    except (ImportError, OSError) as error:
        raise BackendError(f"TensorRT cannot be used ({error}); run: {INSTALL}") from error
    return str(trt.__version__)


@cache
def check() -> None:
    """Raises BackendError, with the one command that mends it, unless TensorRT and CUDA work here together."""
    found = version()
    import tensorrt as trt

    logger, lines = _logger()
    try:
        trt.Runtime(logger)
    except TypeError as error:  # how the bindings say that the library gave nothing
        raise BackendError(f"TensorRT {found} makes no runtime: {lines.taken()}; run: {INSTALL}") from error
    Memory(Cuda(open_runtime()), 1).close()


class _Lines:
    """TensorRT's own complaints, the newest ones."""

    def __init__(self) -> None:
        self._lines: deque[str] = deque(maxlen=_MOST_LINES)

    def add(self, line: str) -> None:
        self._lines.append(" ".join(line.split()))

    def taken(self) -> str:
        """The last of them, which are then forgotten."""
        shown = list(self._lines)[-_SHOWN:]
        self._lines.clear()
        return "; ".join(shown) or "it gives no reason"


@cache
def _logger() -> tuple[tensorrt.ILogger, _Lines]:
    """One per process: TensorRT takes the first logger that it is given for everything."""
    import tensorrt as trt

    lines = _Lines()

    class Collector(trt.ILogger):
        def __init__(self) -> None:
            trt.ILogger.__init__(self)  # the binding's own: super() does not reach it

        def log(self, severity: trt.ILogger.Severity, msg: str) -> None:
            if severity in (trt.ILogger.ERROR, trt.ILogger.INTERNAL_ERROR):
                lines.add(msg)
            elif severity == trt.ILogger.WARNING:
                _log.debug("%s", msg)

    return Collector(), lines


class TensorRtGraph:
    """A plan with its stream. One thread at a time may run it.

    plan: as TensorRT's builder gave it; of this user's own cache, for it is native code. name: for messages. batches:
    the sizes of the first dimension that a profile was made for. timed: measure what the device itself takes.
    device_ms: the same of the last run, None where it was not measured.

    An input that nobody can write to any more is uploaded once, and stays on the device as long as the very same array
    is given. Raises BackendError where there is no driver or runtime, PlanError where TensorRT refuses the plan.
    """

    backend = "tensorrt"

    def __init__(self, plan: bytes, name: str, wanted: tuple[str, ...] | None = None) -> None:
        version()
        import tensorrt as trt

        logger, self._lines = _logger()
        self.timed = False
        self.device_ms: float | None = None
        self._closing = ExitStack()
        with ExitStack() as stack, allocating:
            # The plan's reader has to outlast what it reads, and a stream what runs on it.
            self._runtime: tensorrt.Runtime | None = trt.Runtime(logger)
            engine = self._runtime.deserialize_cuda_engine(plan)
            if engine is None:
                raise PlanError(
                    f"TensorRT {trt.__version__} refused the plan of {name}: {self._lines.taken()}"
                )
            self._engine: tensorrt.ICudaEngine | None = engine
            self._cuda = Cuda(open_runtime())
            self._stream = Stream(self._cuda)
            stack.callback(self._stream.close)
            ports = [_port(engine, engine.get_tensor_name(at)) for at in range(engine.num_io_tensors)]
            given = [engine.get_tensor_mode(port.name) == trt.TensorIOMode.INPUT for port in ports]
            self.inputs = tuple(port for port, input_ in zip(ports, given, strict=True) if input_)
            outputs = {port.name: port for port, input_ in zip(ports, given, strict=True) if not input_}
            self._all = tuple(outputs)
            self.outputs = tuple(outputs[one] for one in pick_outputs(self._all, wanted))
            self._profiles = {
                at: _profile(engine, self.inputs, at) for at in range(engine.num_optimization_profiles)
            }
            self._ready: OrderedDict[Shapes, _Bound] = OrderedDict()
            stack.callback(self._close_ready)
            self._make_ready(name)
            self.batches = tuple(
                sorted({best[0][0] for _, best, _ in self._profiles.values() if best and best[0]})
            )
            self._closing = stack.pop_all()

    def run(self, arrays: Arrays) -> dict[str, NDArray[Any]]:
        """See Graph.run."""
        check_arrays(self.inputs, arrays)
        if self._engine is None:
            raise BackendError("the graph was closed; open it again before running it")
        bound = self._bound(tuple(arrays[port.name].shape for port in self.inputs))
        try:
            found, self.device_ms = bound.run(arrays, timed=self.timed)
        except BackendError as error:
            raise BackendError(f"TensorRT failed while running: {error}") from error
        return {port.name: found[port.name] for port in self.outputs}

    @property
    def captured(self) -> bool:
        """Whether every set of shapes that is ready runs by one launch."""
        return all(bound.captured for bound in self._ready.values())

    def close(self) -> None:
        """See Graph.close."""
        self._closing.close()
        self._engine = None
        self._runtime = None

    def _make_ready(self, name: str) -> None:
        """Every profile at its best shapes, before the first frame and not in it. One that does not fit into the GPU's
        memory beside the others is left out, unless it is the only one."""
        for at, (_, best, _) in list(self._profiles.items()):
            try:
                self._bound(best)
            except BackendError as error:
                if len(self._profiles) == 1:
                    raise
                _log.warning("%s: the profile for %s is left out: %s", name, best[:1], str(error))
                del self._profiles[at]

    def _bound(self, shapes: Shapes) -> _Bound:
        found = self._ready.get(shapes)
        if found is None:
            if self._engine is None:
                raise BackendError("the graph was closed; open it again before running it")
            profile = self._profile_of(shapes)
            while len(self._ready) >= _MOST_BOUND:
                self._ready.popitem(last=False)[1].close()
            with allocating:
                found = _Bound(self, self._engine, profile, shapes)
            self._ready[shapes] = found
        self._ready.move_to_end(shapes)
        return found

    def _profile_of(self, shapes: Shapes) -> int:
        """The profile that was made for these shapes, else the first that takes them."""
        fitting = [at for at, (low, _, high) in self._profiles.items() if _between(low, shapes, high)]
        if not fitting:
            got = ", ".join(f"{port.name} {shape}" for port, shape in zip(self.inputs, shapes, strict=True))
            expected = " or ".join(str(best[0]) for _, best, _ in self._profiles.values())
            raise PortError(
                f"no profile of the plan takes {got}; expected {self.inputs[0].name} of {expected}"
            )
        return next((at for at in fitting if self._profiles[at][1] == shapes), fitting[0])

    def _close_ready(self) -> None:
        for bound in self._ready.values():
            bound.close()
        self._ready.clear()


class _Bound:
    """A plan made ready for one set of input shapes: context, memory and captured work."""

    def __init__(
        self, graph: TensorRtGraph, engine: tensorrt.ICudaEngine, profile: int, shapes: Shapes
    ) -> None:
        self._stream, self._lines = graph._stream, graph._lines
        self._wanted = {port.name for port in graph.outputs}
        self._captured: Captured | None = None
        self._uploaded: dict[str, NDArray[Any]] = {}
        with ExitStack() as stack:
            context = engine.create_execution_context()
            if context is None:
                raise BackendError(f"TensorRT made no execution context: {self._lines.taken()}")
            self._context: tensorrt.IExecutionContext | None = context
            self._must(
                context.set_optimization_profile_async(profile, self._stream.handle), f"profile {profile}"
            )
            self._stream.wait()
            for port, shape in zip(graph.inputs, shapes, strict=True):
                self._must(context.set_input_shape(port.name, shape), f"port {port.name!r} of {shape}")
            if missing := context.infer_shapes():
                raise BackendError(f"TensorRT does not know the shape of {', '.join(missing)}")
            self._memory: dict[str, Memory] = {}
            self._arrays: dict[str, NDArray[Any]] = {}
            for name in (*(port.name for port in graph.inputs), *graph._all):
                self._take_memory(graph._cuda, context, name, _dtype(engine, name), stack)
            self._warm_up([port.name for port in graph.inputs])
            if self._captured is not None:
                stack.callback(self._captured.close)
            self._closing = stack.pop_all()

    @property
    def captured(self) -> bool:
        return self._captured is not None

    def run(self, arrays: Arrays, *, timed: bool) -> tuple[Mapping[str, NDArray[Any]], float | None]:
        for name, array in arrays.items():
            self._upload(name, array)
        with ExitStack() as stack:
            events = []
            if timed:
                events.append(self._stream.event())
                stack.callback(events[0].close)
            if self._captured is None:
                self._work()
            else:
                self._captured.launch()
            if timed:
                events.append(self._stream.event())
                stack.callback(events[1].close)
            self._stream.wait()
            return self._arrays, events[0].ms_until(events[1]) if timed else None

    def close(self) -> None:
        self._stream.wait_quietly()
        self._closing.close()
        self._context = None

    def _upload(self, name: str, array: NDArray[Any]) -> None:
        if self._uploaded.get(name) is array:
            return
        self._uploaded.pop(name, None)
        np.copyto(self._arrays[name], array)
        self._stream.upload(self._memory[name], self._arrays[name].nbytes)
        if lasting(array):
            self._uploaded[name] = array

    def _work(self) -> None:
        """One run and the way back of what is wanted: begun, not done."""
        if self._context is None or not self._context.execute_async_v3(self._stream.handle):
            raise BackendError(self._lines.taken())
        for name in self._wanted:
            self._stream.download(self._memory[name], self._arrays[name].nbytes)

    def _warm_up(self, inputs: Sequence[str]) -> None:
        """Runs once as it is, for TensorRT prepares itself in a context's first run, and then records it."""
        for name in inputs:
            self._arrays[name][...] = 0
            self._stream.upload(self._memory[name], self._arrays[name].nbytes)
        self._work()
        self._stream.wait()
        try:
            self._captured = self._stream.capture(self._work)
        except BackendError as error:
            _log.info("runs without a CUDA graph: %s", str(error))

    def _take_memory(
        self,
        cuda: Cuda,
        context: tensorrt.IExecutionContext,
        name: str,
        dtype: np.dtype[Any],
        stack: ExitStack,
    ) -> None:
        shape = tuple(context.get_tensor_shape(name))
        if any(size < 0 for size in shape):
            raise BackendError(f"port {name!r} has the shape {shape}, which depends on what is computed")
        memory = Memory(cuda, max(1, math.prod(shape) * dtype.itemsize))
        stack.callback(memory.close)
        self._memory[name], self._arrays[name] = memory, memory.array(shape, dtype)
        self._must(context.set_tensor_address(name, memory.device), f"the memory of port {name!r}")

    def _must(self, done: bool, what: str) -> None:
        if not done:
            raise BackendError(f"TensorRT refused {what}: {self._lines.taken()}")


def _dtype(engine: tensorrt.ICudaEngine, name: str) -> np.dtype[Any]:
    kind = engine.get_tensor_dtype(name).name
    if kind not in _DTYPES:
        raise PlanError(f"port {name!r} is of TensorRT's type {kind}; expected one of {', '.join(_DTYPES)}")
    return np.dtype(_DTYPES[kind])


def _port(engine: tensorrt.ICudaEngine, name: str) -> Port:
    import tensorrt as trt

    if engine.get_tensor_location(name) != trt.TensorLocation.DEVICE:
        raise PlanError(f"port {name!r} lies on the host, expected on the device; export the graph again")
    shape = tuple(None if size < 0 else size for size in engine.get_tensor_shape(name))
    return Port(name, shape, _dtype(engine, name))


def _profile(engine: tensorrt.ICudaEngine, inputs: Sequence[Port], at: int) -> tuple[Shapes, Shapes, Shapes]:
    """The smallest, best and largest shapes of a profile."""
    found = [
        [tuple(shape) for shape in engine.get_tensor_profile_shape(port.name, at)]
        if None in port.shape
        else [tuple(size or 0 for size in port.shape)] * 3
        for port in inputs
    ]
    low, best, high = (tuple(shapes[place] for shapes in found) for place in range(3))
    return low, best, high


def _between(low: Shapes, shapes: Shapes, high: Shapes) -> bool:
    return all(
        len(a) == len(b) == len(c) and all(x <= y <= z for x, y, z in zip(a, b, c, strict=True))
        for a, b, c in zip(low, shapes, high, strict=True)
    )
