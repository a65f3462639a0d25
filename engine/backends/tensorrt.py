"""TensorRT: a plan run on the GPU that it was built for. The only file of the engine that imports it."""

from __future__ import annotations

import logging
import weakref
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from functools import cache
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from engine.backends.carried import Carried, state_ports
from engine.backends.cuda import Cuda, Memory, Stream, allocating, open_runtime
from engine.backends.driver import driver
from engine.backends.graph import Arrays, Port, check_arrays, pick_outputs
from engine.backends.tensorrt_rows import WHOLE, Bound, Lines, Room, Shapes
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
_MOST_RESIDENT: Final = 256
"""Most arrays that nobody can write to, of all sources together, that stay on the device."""

_log = logging.getLogger("marotte.tensorrt")


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


@cache
def _logger() -> tuple[tensorrt.ILogger, Lines]:
    """One per process: TensorRT takes the first logger that it is given for everything."""
    import tensorrt as trt

    lines = Lines()

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

    An input that nobody can write to any more is uploaded once, and stays on the device; so do a Carried one and what
    becomes of it. Raises BackendError where there is no driver or runtime, PlanError where TensorRT refuses the plan.
    """

    backend = "tensorrt"

    def __init__(self, plan: bytes, name: str, wanted: tuple[str, ...] | None = None) -> None:
        version()
        import tensorrt as trt

        logger, self.lines = _logger()
        self.timed = False
        self.device_ms: float | None = None
        self._closing = ExitStack()
        with ExitStack() as stack, allocating:
            # The plan's reader has to outlast what it reads, and a stream what runs on it.
            self._runtime: tensorrt.Runtime | None = trt.Runtime(logger)
            engine = self._runtime.deserialize_cuda_engine(plan)
            if engine is None:
                raise PlanError(
                    f"TensorRT {trt.__version__} refused the plan of {name}: {self.lines.taken()}"
                )
            self._engine: tensorrt.ICudaEngine | None = engine
            self.cuda = Cuda(open_runtime())
            self.stream = Stream(self.cuda)
            stack.callback(self.stream.close)
            ports = [_port(engine, engine.get_tensor_name(at)) for at in range(engine.num_io_tensors)]
            given = [engine.get_tensor_mode(port.name) == trt.TensorIOMode.INPUT for port in ports]
            self.inputs = tuple(port for port, input_ in zip(ports, given, strict=True) if input_)
            outputs = {port.name: port for port, input_ in zip(ports, given, strict=True) if not input_}
            self.outputs = tuple(outputs[one] for one in pick_outputs(tuple(outputs), wanted))
            self.dtypes = {port.name: port.dtype for port in (*self.inputs, *outputs.values())}
            self.states = state_ports(self.inputs, tuple(outputs.values()))
            self.carries = bool(self.states)
            self._carrying: weakref.WeakSet[Room] = weakref.WeakSet()
            self._residents: OrderedDict[int, tuple[weakref.ref[NDArray[Any]], Memory]] = OrderedDict()
            stack.callback(self._close_residents)
            self._profiles = {
                at: _profile(engine, self.inputs, at) for at in range(engine.num_optimization_profiles)
            }
            self._ready: OrderedDict[Shapes, Bound] = OrderedDict()
            stack.callback(self._close_ready)
            self._make_ready(name)
            self.batches = tuple(
                sorted({best[0][0] for _, best, _ in self._profiles.values() if best and best[0]})
            )
            self._closing = stack.pop_all()

    def run(self, arrays: Arrays) -> dict[str, NDArray[Any]]:
        """See Graph.run."""
        check_arrays(self.inputs, arrays)
        bound = self._bound(tuple(arrays[port.name].shape for port in self.inputs))
        found = self._ran(bound, {WHOLE: arrays})
        return {port.name: found[port.name] for port in self.outputs if port.name in found}

    def run_rows(self, entries: Sequence[Arrays], size: int) -> list[dict[str, NDArray[Any]]]:
        """Entries of one, all of the same shapes, as a batch of `size`; an answer each, as of `run`.

        Each goes into a row of its own, where what stays with its source may lie from the last time.
        """
        shapes = {tuple(entry[port.name].shape for port in self.inputs) for entry in entries}
        for entry in entries:
            check_arrays(self.inputs, entry)
        if len(shapes) != 1 or not 1 <= len(entries) <= size:
            raise PortError(
                f"{len(entries)} entries of {len(shapes)} shapes, expected up to {size} of one shape"
            )
        bound = self._bound(tuple((size, *shape[1:]) for shape in shapes.pop()))
        rows = bound.rows_for(entries, size)
        found = self._ran(bound, dict(zip(rows, entries, strict=True)))
        names = [port.name for port in self.outputs if port.name in found]
        return [{name: found[name][row : row + 1] for name in names} for row in rows]

    @property
    def captured(self) -> bool:
        """Whether every set of shapes that is ready runs by one launch."""
        return all(bound.captured for bound in self._ready.values())

    def close(self) -> None:
        """See Graph.close."""
        for kept in list(self._carrying):
            with suppress(BackendError):  # its face goes on with what it had when it came here
                kept.hand_back()
        self._closing.close()
        self._engine = None
        self._runtime = None

    def keep(self, array: Carried) -> Room:
        """Room for what a face carries, and its numbers in it."""
        with allocating:
            kept = Room(self, array)
        self._carrying.add(kept)
        return kept

    def resident(self, array: NDArray[Any], fill: Callable[[int], None]) -> int | None:
        """Where on the device an array lies that nobody can write to; None where `fill` had to bring it there just now,
        to the address that it is told."""
        found = self._residents.get(id(array))
        if found is not None and found[0]() is array:
            self._residents.move_to_end(id(array))
            return found[1].device
        for key, (of, memory) in list(self._residents.items()):
            if of() is None or len(self._residents) >= _MOST_RESIDENT:
                self._residents.pop(key)
                memory.close()
        with allocating:
            memory = Memory(self.cuda, max(1, array.nbytes), pinned=False)
        try:
            fill(memory.device)
        except BackendError:
            memory.close()
            raise
        self._residents[id(array)] = weakref.ref(array), memory
        return None

    def _ran(self, bound: Bound, rows: Mapping[int, Arrays]) -> Mapping[str, NDArray[Any]]:
        try:
            found, self.device_ms = bound.run(rows, timed=self.timed)
        except BackendError as error:
            bound.forget()  # nothing counts as brought that may not have come
            self._close_residents()
            raise BackendError(f"TensorRT failed while running: {error}") from error
        return found

    def _close_residents(self) -> None:
        for _, memory in self._residents.values():
            memory.close()
        self._residents.clear()

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

    def _bound(self, shapes: Shapes) -> Bound:
        found = self._ready.get(shapes)
        if found is None:
            if self._engine is None:
                raise BackendError("the graph was closed; open it again before running it")
            profile = self._profile_of(shapes)
            while len(self._ready) >= _MOST_BOUND:
                self._ready.popitem(last=False)[1].close()
            with allocating:
                found = Bound(self, self._engine.create_execution_context(), profile, shapes)
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
