"""ONNX Runtime: on the CPU the portable backend, and what its providers on a GPU share."""

from __future__ import annotations

import logging
import weakref
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from engine.backends.carried import Carried, Kept, state_ports
from engine.backends.graph import Arrays, Port, check_arrays, lasting, pick_outputs
from engine.errors import BackendError

_DTYPES: Final = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(double)": np.float64,
    "tensor(uint8)": np.uint8,
    "tensor(int8)": np.int8,
    "tensor(int32)": np.int32,
    "tensor(int64)": np.int64,
    "tensor(bool)": np.bool_,
}
_ERRORS_ONLY: Final = 3
_MOST_BOUND: Final = 8
"""Most sets of input shapes whose memory on a device is kept at once."""

_MOST_RESIDENT: Final = 256
"""Most arrays that nobody can write to, of all sources together, that stay on a device."""

_log = logging.getLogger("marotte.onnxruntime")

Provider = tuple[str, Mapping[str, str]]
Shapes = tuple[tuple[int, ...], ...]


def module() -> Any:
    """The runtime itself, for what only some of its builds can do."""
    return onnxruntime


def _options(threads: int) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = _ERRORS_ONLY
    # Threads that spin while they wait would eat the cores of the other sessions.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return options


def _port(port: Any) -> Port:
    shape = tuple(size if isinstance(size, int) else None for size in port.shape)
    if port.type not in _DTYPES:
        known = ", ".join(_DTYPES)
        raise BackendError(f"port {port.name!r} has the type {port.type}; expected one of {known}")
    return Port(port.name, shape, np.dtype(_DTYPES[port.type]))


class OnnxRuntimeGraph:
    """One session. It computes the whole graph whatever outputs are asked for."""

    backend = "onnxruntime"

    def __init__(
        self, path: Path, threads: int, wanted: tuple[str, ...] | None, data: bytes | None = None
    ) -> None:
        onnxruntime.disable_telemetry_events()
        try:
            session = onnxruntime.InferenceSession(
                str(path) if data is None else data, _options(threads), providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # its exceptions share no public base class
            reason = f"ONNX Runtime refused {path.name}: {_line(error)}"
            raise BackendError(f"{reason}; try --backend openvino") from error
        ports = {port.name: port for port in session.get_outputs()}
        names = pick_outputs(tuple(ports), wanted)
        self.inputs = tuple(_port(port) for port in session.get_inputs())
        self.outputs = tuple(_port(ports[name]) for name in names)
        self._names = list(names)
        self._session: Any = session

    def run(self, arrays: Arrays) -> dict[str, NDArray[Any]]:
        """See Graph.run."""
        check_arrays(self.inputs, arrays)
        if self._session is None:
            raise BackendError("the graph was closed; open it again before running it")
        try:
            found = self._session.run(self._names, dict(arrays))
        except Exception as error:  # its exceptions share no public base class
            raise BackendError(f"ONNX Runtime failed while running: {_line(error)}") from error
        return dict(zip(self._names, found, strict=True))

    def close(self) -> None:
        """See Graph.close."""
        self._session = None


def _line(error: Exception) -> str:
    lines = str(error).splitlines()
    return lines[0] if lines else "no reason given"


@dataclass(frozen=True, slots=True)
class Place:
    """Memory as ONNX Runtime names it. kind: "cuda", "gpu" or "cpu". vendor: PCI number of a "gpu"'s maker, else -1."""

    kind: str
    number: int = 0
    vendor: int = -1

    def empty(self, shape: Sequence[int], dtype: np.dtype[Any]) -> Any:
        """Memory there, of that size."""
        made = onnxruntime.OrtValue.ortvalue_from_shape_and_type
        return made(list(shape), dtype.type, self.kind, self.number, self.vendor)


class DeviceGraph:
    """A session whose inputs and outputs lie in a device's memory and stay there.

    session: every operator of it that can be runs on `place`. captured: the provider records the first run and launches
    it from then on, so that addresses and shapes must not change: only where every size is fixed. An input that nobody
    can write to is uploaded once; of several by turns each is, where nothing is recorded. carries: whether a Carried
    one stays, with what becomes of it: where nothing is recorded and its size is fixed.
    """

    def __init__(
        self, backend: str, session: Any, place: Place, wanted: tuple[str, ...] | None, *, captured: bool
    ) -> None:
        ports = {port.name: port for port in session.get_outputs()}
        self.backend, self.captured, self._place = backend, captured, place
        self.inputs = tuple(_port(port) for port in session.get_inputs())
        self.outputs = tuple(_port(ports[name]) for name in pick_outputs(tuple(ports), wanted))
        self._all = tuple(_port(port) for port in ports.values())
        self.states = {
            name: out
            for name, out in state_ports(self.inputs, self._all).items()
            if not captured and None not in next(port.shape for port in self.inputs if port.name == name)
        }
        self.carries = bool(self.states)
        self._session: Any = session
        self._bound: OrderedDict[Shapes, _Binding] = OrderedDict()
        self._carrying: weakref.WeakSet[_Kept] = weakref.WeakSet()
        self._residents: OrderedDict[int, tuple[weakref.ref[NDArray[Any]], Any]] = OrderedDict()
        if all(None not in port.shape for port in self.inputs):  # before the first frame, not in it
            nothing = {
                port.name: np.zeros([size or 1 for size in port.shape], port.dtype) for port in self.inputs
            }
            self.run(nothing)

    def run(self, arrays: Arrays) -> dict[str, NDArray[Any]]:
        """See Graph.run."""
        check_arrays(self.inputs, arrays)
        if self._session is None:
            raise BackendError("the graph was closed; open it again before running it")
        try:
            return self._binding(tuple(arrays[port.name].shape for port in self.inputs)).run(arrays)
        except BackendError:
            raise
        except Exception as error:  # its exceptions share no public base class
            raise BackendError(
                f"ONNX Runtime failed while running on {self.backend}: {_line(error)}"
            ) from error

    def close(self) -> None:
        """See Graph.close."""
        for kept in list(self._carrying):
            kept.hand_back()
        self._bound.clear()  # their memory is the session's
        self._residents.clear()
        self._session = None

    def keep(self, array: Carried) -> _Kept:
        """Room for what a face carries, and its numbers in it."""
        kept = _Kept(self, array, self._place)
        self._carrying.add(kept)
        return kept

    def resident(self, array: NDArray[Any]) -> Any:
        """An array that nobody can write to, on the device."""
        found = self._residents.get(id(array))
        if found is None or found[0]() is not array:
            for key, (of, _) in list(self._residents.items()):
                if of() is None or len(self._residents) >= _MOST_RESIDENT:
                    del self._residents[key]
            value = self._place.empty(array.shape, array.dtype)
            value.update_inplace(np.ascontiguousarray(array))
            found = self._residents[id(array)] = weakref.ref(array), value
        self._residents.move_to_end(id(array))
        return found[1]

    def _binding(self, shapes: Shapes) -> _Binding:
        found = self._bound.get(shapes)
        if found is None:
            while len(self._bound) >= _MOST_BOUND:
                self._bound.popitem(last=False)
            given = {port.name: shape for port, shape in zip(self.inputs, shapes, strict=True)}
            wanted = tuple(port.name for port in self.outputs)
            found = _Binding(self, self._session, self._place, self.inputs, self._all, given, wanted)
            self._bound[shapes] = found
        self._bound.move_to_end(shapes)
        return found


class _Kept(Kept):
    """Two places on the device for what a face carries."""

    def __init__(self, graph: DeviceGraph, array: Carried, place: Place) -> None:
        super().__init__(graph, array)
        self.both = [place.empty(array.shape, array.dtype) for _ in range(2)]
        self.both[0].update_inplace(np.asarray(array))

    def fetch(self, into: Carried) -> None:
        """See Kept."""
        np.copyto(into, self.both[self.at].numpy())


class _Binding:
    """A session's ports bound to memory for one set of input shapes."""

    def __init__(
        self,
        graph: DeviceGraph,
        session: Any,
        place: Place,
        inputs: Sequence[Port],
        outputs: Sequence[Port],
        shapes: Mapping[str, tuple[int, ...]],
        wanted: tuple[str, ...],
    ) -> None:
        self._graph, self._session, self._binding = graph, session, session.io_binding()
        self._names, self._wanted = [port.name for port in outputs], wanted
        self._states = graph.states
        self._place, self._kinds = place, {port.name: port.dtype for port in inputs}
        self._shapes = shapes
        self._given: dict[str, Any] = {}
        self._bound: dict[str, Any] = {}
        self._uploaded: dict[str, NDArray[Any]] = {}
        self._found: dict[str, Any] = {}
        for name in shapes:
            self._bind(name, self._own(name))
        for port in outputs:
            if None in port.shape:  # its size is known when it was computed
                self._binding.bind_output(port.name, "cpu")
            else:
                value = place.empty([size or 0 for size in port.shape], port.dtype)
                self._found[port.name] = value
                self._binding.bind_ortvalue_output(port.name, value)

    def run(self, arrays: Arrays) -> dict[str, NDArray[Any]]:
        carried = self._bring(arrays)
        for name, out in self._states.items():
            kept = carried.get(name)
            self._binding.bind_ortvalue_output(
                out, self._found[out] if kept is None else kept.both[1 - kept.at]
            )
        self._session.run_with_iobinding(self._binding)
        for kept in carried.values():
            kept.came()
        values = self._found
        if len(values) < len(self._names):
            values = dict(zip(self._names, self._binding.get_outputs(), strict=True))
        stay = {self._states[name] for name in carried}
        return {name: values[name].numpy() for name in self._wanted if name not in stay}

    def _bring(self, arrays: Arrays) -> dict[str, _Kept]:
        """Everything to its place, and what is carried."""
        carried = {}
        for name, array in arrays.items():
            if isinstance(array, Carried) and name in self._states:
                kept = array.kept_by(self._graph, self._graph.keep)
                assert isinstance(kept, _Kept)
                self._bind(name, kept.both[kept.at])
                carried[name] = kept
            elif lasting(array) and not self._graph.captured:
                self._bind(name, self._graph.resident(array))
            else:
                self._upload(name, array)
        return carried

    def _upload(self, name: str, array: NDArray[Any]) -> None:
        own = self._own(name)
        self._bind(name, own)
        if self._uploaded.get(name) is array:
            return
        self._uploaded.pop(name, None)
        own.update_inplace(np.ascontiguousarray(array))
        if lasting(array):
            self._uploaded[name] = array

    def _own(self, name: str) -> Any:
        """Memory for what is uploaded with every run."""
        if name not in self._given:
            self._given[name] = self._place.empty(self._shapes[name], self._kinds[name])
        return self._given[name]

    def _bind(self, name: str, value: Any) -> None:
        if self._bound.get(name) is not value:
            self._binding.bind_ortvalue_input(name, value)
            self._bound[name] = value


def device_session(
    path: Path,
    data: bytes | None,
    threads: int,
    backend: str,
    add: Callable[[Any, bool], Sequence[Provider]],
    provider: str,
) -> tuple[Any, bool]:
    """A session on `provider`, and whether it records what it runs.

    add: readies session options for the provider, with or without recording, and gives what is to be named beside them.
    Recorded is where every operator runs there and every size is fixed; elsewhere some may run on the CPU, which is
    told in the log. Raises BackendError where the provider is not the first of the session that came about: ONNX
    Runtime leaves away, without an error, what it cannot load.
    """
    onnxruntime.disable_telemetry_events()
    source: Any = str(path) if data is None else data
    try:
        options = _options(threads)
        options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
        session = _session(source, options, add(options, True))
        _check_provider(session, provider, backend)
        if _fixed(session):
            return session, True
        reason = "a size is free"
    except BackendError:
        raise
    except Exception as error:  # its exceptions share no public base class
        reason = _line(error)
    _log.info("%s runs on %s without a recorded launch: %s", path.name, backend, reason)
    try:
        options = _options(threads)
        options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
        session = _session(source, options, add(options, False))
    except Exception as error:  # its exceptions share no public base class
        raise BackendError(f"ONNX Runtime refused {path.name} on {backend}: {_line(error)}") from error
    _check_provider(session, provider, backend)
    _tell_elsewhere(session, path.name, provider, backend)
    return session, False


def _session(source: Any, options: Any, providers: Sequence[Provider]) -> Any:
    named: dict[str, Any] = (
        {"providers": [(name, dict(given)) for name, given in providers]} if providers else {}
    )
    return onnxruntime.InferenceSession(source, options, enable_fallback=0, **named)


def _check_provider(session: Any, provider: str, backend: str) -> None:
    found = list(session.get_providers())
    if not found or found[0] != provider:
        raise BackendError(
            f"backend {backend} came about without {provider}: got {', '.join(found) or 'none'}"
        )


def _fixed(session: Any) -> bool:
    ports = [*session.get_inputs(), *session.get_outputs()]
    return all(isinstance(size, int) for port in ports for size in port.shape)


def _tell_elsewhere(session: Any, name: str, provider: str, backend: str) -> None:
    """Raises BackendError where nothing at all runs on the device."""
    parts = session.get_provider_graph_assignment_info()
    counts = {True: 0, False: 0}
    for part in parts:
        counts[part.ep_name == provider] += len(part.get_nodes())
    if not counts[True]:
        raise BackendError(f"no operator of {name} runs on {backend}; take another --backend")
    if counts[False]:
        _log.warning(
            "%s: %d of its operators run on the CPU, %d on %s", name, counts[False], counts[True], backend
        )
