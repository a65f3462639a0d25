"""A plan made ready on the device for one set of input shapes: its memory, what lies there, and one run of it.

Nothing here imports TensorRT: the execution context is given by engine/backends/tensorrt.py.
"""

from __future__ import annotations

import logging
import math
import weakref
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from engine.backends.carried import Carried, Kept
from engine.backends.cuda import Captured, Cuda, Memory
from engine.backends.graph import Arrays, lasting
from engine.errors import BackendError

if TYPE_CHECKING:
    from engine.backends.tensorrt import TensorRtGraph

_MOST_LINES: Final = 64
_SHOWN: Final = 3

_log = logging.getLogger("marotte.tensorrt")

Shapes = tuple[tuple[int, ...], ...]
"""Of all inputs, in the order of the ports."""


class Context(Protocol):
    """What is called of TensorRT's execution context, by its own names."""

    def set_optimization_profile_async(self, profile_index: int, stream_handle: int) -> bool: ...
    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool: ...
    def infer_shapes(self) -> list[str]: ...
    def get_tensor_shape(self, name: str) -> Any: ...
    def set_tensor_address(self, name: str, memory: int) -> bool: ...
    def execute_async_v3(self, stream_handle: int) -> bool: ...


class Lines:
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


class Room(Kept):
    """Two places on the device for what a face carries."""

    def __init__(self, graph: TensorRtGraph, array: Carried) -> None:
        super().__init__(graph, array)
        self._stream, self._size = graph.stream, array.nbytes
        both = [Memory(graph.cuda, array.nbytes)]
        weakref.finalize(self, _close_all, both).atexit = False
        both.append(Memory(graph.cuda, array.nbytes, pinned=False))
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


WHOLE: Final = -1
"""In place of a row's number: the arrays of all rows."""


class Bound:
    """A plan made ready for one set of input shapes: context, memory and captured work."""

    def __init__(self, graph: TensorRtGraph, context: Context | None, profile: int, shapes: Shapes) -> None:
        self._graph, self._stream, self._lines = graph, graph.stream, graph.lines
        wanted = {port.name for port in graph.outputs}
        leaving = set(graph.states.values())
        # What may stay on the device comes back only when it does not.
        self._wanted, self._states = (
            wanted - leaving,
            {name: out for name, out in graph.states.items() if out in wanted},
        )
        self._captured: Captured | None = None
        self._lying: dict[tuple[str, int], NDArray[Any]] = {}
        with ExitStack() as stack:
            if context is None:
                raise BackendError(f"TensorRT made no execution context: {self._lines.taken()}")
            self._context: Context | None = context
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
            for name, dtype in graph.dtypes.items():
                self._take_memory(graph.cuda, context, name, dtype, stack)
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

    def _bring(self, row: int, arrays: Arrays) -> list[tuple[str, Room]]:
        """Everything to its place, and what is carried."""
        carried = []
        for name, array in arrays.items():
            if isinstance(array, Carried) and name in self._states:
                kept = array.kept_by(self._graph, self._graph.keep)
                assert isinstance(kept, Room)
                self._lying.pop((name, row), None)
                address, size = self._at(name, row)
                self._stream.move(address, kept.goes_in(), size)
                carried.append((name, kept))
            else:
                self._upload(name, row, array)
        return carried

    def _leave(self, carried: Sequence[tuple[int, str, Room]]) -> dict[str, NDArray[Any]]:
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
            key for key in self._lying if key[0] == name and (row == WHOLE or key[1] in (row, WHOLE))
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
        np.copyto(room if row == WHOLE else room[row : row + 1], array)
        address, size = self._at(name, row)
        self._stream.upload(self._memory[name], size, address - self._memory[name].device)

    def _at(self, name: str, row: int) -> tuple[int, int]:
        """Address and bytes of a row."""
        whole, device = self._arrays[name].nbytes, self._memory[name].device
        if row == WHOLE:
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
        context: Context,
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
