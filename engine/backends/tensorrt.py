"""TensorRT: a plan run on the GPU that it was built for. The only file of the engine that imports it."""

from __future__ import annotations

import logging
import math
import weakref
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from functools import cache
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from engine.backends.carried import Carried, Kept, state_ports
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
_MOST_RESIDENT: Final = 256
"""Most arrays that nobody can write to, of all sources together, that stay on the device."""
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

    An input that nobody can write to any more is uploaded once, and stays on the device; so do a Carried one and what
    becomes of it. Raises BackendError where there is no driver or runtime, PlanError where TensorRT refuses the plan.
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
            self._states = state_ports(self.inputs, tuple(outputs.values()))
            self.carries = bool(self._states)
            self._carrying: weakref.WeakSet[_Kept] = weakref.WeakSet()
            self._residents: OrderedDict[int, tuple[weakref.ref[NDArray[Any]], Memory]] = OrderedDict()
            stack.callback(self._close_residents)
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
        bound = self._bound(tuple(arrays[port.name].shape for port in self.inputs))
        found = self._ran(bound, {_WHOLE: arrays})
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

    def keep(self, array: Carried) -> _Kept:
        """Room for what a face carries, and its numbers in it."""
        with allocating:
            kept = _Kept(self, array)
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
            memory = Memory(self._cuda, max(1, array.nbytes), pinned=False)
        try:
            fill(memory.device)
        except BackendError:
            memory.close()
            raise
        self._residents[id(array)] = weakref.ref(array), memory
        return None

    def _ran(self, bound: _Bound, rows: Mapping[int, Arrays]) -> Mapping[str, NDArray[Any]]:
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


class _Kept(Kept):
    """Two places on the device for what a face carries."""

    def __init__(self, graph: TensorRtGraph, array: Carried) -> None:
        super().__init__(graph, array)
        self._stream, self._size = graph._stream, array.nbytes
        both = [Memory(graph._cuda, array.nbytes)]
        weakref.finalize(self, _close_all, both).atexit = False
        both.append(Memory(graph._cuda, array.nbytes, pinned=False))
        self._first, self._both = both[0], both
        np.copyto(self._first.array(array.shape, array.dtype), array)
        self._stream.upload(self._first, self._size)

    def goes_in(self) -> int:
        return self._both[self.at].device

    def comes_out(self) -> int:
        return self._both[1 - self.at].device

    def fetch(self, into: Carried) -> None:
        """See Kept."""
        if self.at:
            self._stream.move(self._first.device, self.goes_in(), self._size)
        self._stream.download(self._first, self._size)
        self._stream.wait()
        np.copyto(into, self._first.array(into.shape, into.dtype))


def _close_all(memories: Sequence[Memory]) -> None:
    for memory in memories:
        memory.close()


_WHOLE: Final = -1
"""In place of a row's number: the arrays of all rows."""


class _Bound:
    """A plan made ready for one set of input shapes: context, memory and captured work."""

    def __init__(
        self, graph: TensorRtGraph, engine: tensorrt.ICudaEngine, profile: int, shapes: Shapes
    ) -> None:
        self._graph, self._stream, self._lines = graph, graph._stream, graph._lines
        wanted = {port.name for port in graph.outputs}
        leaving = set(graph._states.values())
        # What may stay on the device comes back only when it does not.
        self._wanted, self._states = (
            wanted - leaving,
            {name: out for name, out in graph._states.items() if out in wanted},
        )
        self._captured: Captured | None = None
        self._lying: dict[tuple[str, int], NDArray[Any]] = {}
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

    def rows_for(self, entries: Sequence[Arrays], size: int) -> list[int]:
        """A row for each entry: the one where its own constants lie, as far as there is one."""
        free, rows = list(range(size)), dict[int, int]()
        for number, entry in enumerate(entries):
            lie = [row for row in free if any(self._lying.get((name, row)) is entry[name] for name in entry)]
            if lie:
                rows[number] = lie[0]
                free.remove(lie[0])
        return [rows[number] if number in rows else free.pop(0) for number in range(len(entries))]

    def run(self, rows: Mapping[int, Arrays], *, timed: bool) -> tuple[dict[str, NDArray[Any]], float | None]:
        carried = [
            (row, name, kept) for row, arrays in rows.items() for name, kept in self._bring(row, arrays)
        ]
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
            found = {name: self._arrays[name] for name in self._wanted} | self._leave(carried)
            self._stream.wait()
            for _, _, kept in carried:
                kept.came()
            return found, events[0].ms_until(events[1]) if timed else None

    def forget(self) -> None:
        """No constant lies here."""
        self._stream.wait_quietly()
        self._lying.clear()

    def close(self) -> None:
        self._stream.wait_quietly()
        self._closing.close()
        self._context = None

    def _bring(self, row: int, arrays: Arrays) -> list[tuple[str, _Kept]]:
        """Everything to its place, and what is carried."""
        carried = []
        for name, array in arrays.items():
            if isinstance(array, Carried) and name in self._states:
                kept = array.kept_by(self._graph, self._graph.keep)
                assert isinstance(kept, _Kept)
                self._lying.pop((name, row), None)
                address, size = self._at(name, row)
                self._stream.move(address, kept.goes_in(), size)
                carried.append((name, kept))
            else:
                self._upload(name, row, array)
        return carried

    def _leave(self, carried: Sequence[tuple[int, str, _Kept]]) -> dict[str, NDArray[Any]]:
        """Where each face's numbers go, and those that are answered as any output."""
        for row, name, kept in carried:
            address, size = self._at(self._states[name], row)
            self._stream.move(kept.comes_out(), address, size)
        kept_here = {name for _, name, _ in carried}
        answered = [out for name, out in self._states.items() if name not in kept_here]
        for name in answered:
            self._stream.download(self._memory[name], self._arrays[name].nbytes)
        return {name: self._arrays[name] for name in answered}

    def _upload(self, name: str, row: int, array: NDArray[Any]) -> None:
        if self._lying.get((name, row)) is array:
            return
        for key in [
            key for key in self._lying if key[0] == name and (row == _WHOLE or key[1] in (row, _WHOLE))
        ]:
            del self._lying[key]
        address, size = self._at(name, row)
        if not lasting(array):
            self._fill(name, row, array)
            return

        def fill(target: int) -> None:
            self._fill(name, row, array)
            self._stream.move(target, address, size)

        lies_at = self._graph.resident(array, fill)
        if lies_at is not None:
            self._stream.move(address, lies_at, size)
        self._lying[name, row] = array

    def _fill(self, name: str, row: int, array: NDArray[Any]) -> None:
        room = self._arrays[name]
        np.copyto(room if row == _WHOLE else room[row : row + 1], array)
        address, size = self._at(name, row)
        self._stream.upload(self._memory[name], size, address - self._memory[name].device)

    def _at(self, name: str, row: int) -> tuple[int, int]:
        """Address and bytes of a row."""
        whole, device = self._arrays[name].nbytes, self._memory[name].device
        if row == _WHOLE:
            return device, whole
        size = whole // len(self._arrays[name])
        return device + row * size, size

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
