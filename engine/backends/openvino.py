"""OpenVINO on the CPU: the fastest way to run the small networks of the tracker."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.backends.graph import Arrays, Port, check_arrays, pick_outputs
from engine.errors import BackendError

# OpenVINO tells its maker of every import, from a thread that stays; without this package it does without.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]

import openvino  # noqa: E402
from openvino.frontend import FrontEndManager  # noqa: E402


@cache
def _core() -> Any:
    """One per process: it holds the plugins."""
    return openvino.Core()


def _read_onnx(path: Path, data: bytes | None) -> Any:
    """Through the ONNX reader by name: guessing would also open formats whose reading is nobody's promise."""
    reader = FrontEndManager().load_by_framework("onnx")
    return reader.convert(reader.load(str(path) if data is None else io.BytesIO(data)))


def _guarded(path: Path, step: Callable[[], Any]) -> Any:
    try:
        return step()
    except Exception as error:  # its exceptions share no public base class
        reason = f"OpenVINO refused {path.name}: {_line(error)}"
        raise BackendError(f"{reason}; try --backend onnxruntime") from error


def _settings(threads: int) -> dict[str, Any]:
    return {
        "INFERENCE_NUM_THREADS": threads,
        "NUM_STREAMS": 1,
        "PERFORMANCE_HINT": "LATENCY",
        # Where the CPU has bfloat16 it would be taken by default, and landmarks would be a pixel off.
        "INFERENCE_PRECISION_HINT": "f32",
        # Pinned threads of two sessions would share one core while the others idle.
        "ENABLE_CPU_PINNING": False,
    }


def _port(port: Any) -> Port:
    shape = tuple(None if size.is_dynamic else size.get_length() for size in port.partial_shape)
    return Port(port.any_name, shape, np.dtype(port.element_type.to_dtype()))


class OpenVinoGraph:
    """A compiled graph with one inference request, which is used again and again."""

    backend = "openvino"

    def __init__(
        self, path: Path, threads: int, wanted: tuple[str, ...] | None, data: bytes | None = None
    ) -> None:
        model = _guarded(path, lambda: _read_onnx(path, data))
        names = pick_outputs(tuple(port.any_name for port in model.outputs), wanted)
        # What only the unwanted outputs need is left out of the compiled graph.
        results = [model.output(name).get_node() for name in names]
        model = openvino.Model(results, model.get_parameters(), path.stem)

        def compiled() -> Any:
            return _core().compile_model(model, "CPU", _settings(threads)).create_infer_request()

        self._compile = compiled
        self._request: Any = _guarded(path, self._compile)
        self._spoilt = False
        self.inputs = tuple(_port(port) for port in model.inputs)
        self.outputs = tuple(_port(port) for port in model.outputs)
        self._buffers = self._fixed_buffers()

    def _fixed_buffers(self) -> dict[str, NDArray[Any]]:
        """The request's own input memory, for ports of a fixed shape."""
        fixed = [port.name for port in self.inputs if None not in port.shape]
        return {name: self._request.get_tensor(name).data for name in fixed}

    def run(self, arrays: Arrays) -> dict[str, NDArray[Any]]:
        """See Graph.run."""
        check_arrays(self.inputs, arrays)
        if self._request is None:
            raise BackendError("the graph was closed; open it again before running it")
        try:
            if self._spoilt:
                self._request, self._spoilt = self._compile(), False
            for name, array in arrays.items():
                buffer = self._buffers.get(name)
                if buffer is None:
                    self._request.set_tensor(name, openvino.Tensor(np.ascontiguousarray(array)))
                else:
                    np.copyto(buffer, array)
            found = self._answers()
        except Exception as error:  # its exceptions share no public base class
            self._spoilt = self._free
            raise BackendError(f"OpenVINO failed while running: {_line(error)}") from error
        return {port.name: array for port, array in zip(self.outputs, found, strict=True)}

    @property
    def _free(self) -> bool:
        """Whether sizes are free, so that a run may find some that do not go together. Such a run leaves the graph
        where it stopped, and sizes that are right fail after it: it is compiled anew."""
        return len(self._buffers) < len(self.inputs)

    def _answers(self) -> tuple[NDArray[Any], ...]:
        """One run. On one thread OpenVINO 2026.4 swallows what goes wrong in `infer`, and gives the answer of the run
        before, somebody else's perhaps; by `start_async` it raises. Where all sizes are fixed the way through another
        thread is spared."""
        if not self._free:
            found: tuple[NDArray[Any], ...] = self._request.infer(share_outputs=True).to_tuple()
            return found
        self._request.start_async(share_inputs=True)
        self._request.wait()
        return tuple(tensor.data for tensor in self._request.output_tensors)

    def close(self) -> None:
        """See Graph.close."""
        self._buffers = {}
        self._request = None


def _line(error: Exception) -> str:
    """The last line of OpenVINO's multi-line messages says what is wrong."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else "no reason given"
