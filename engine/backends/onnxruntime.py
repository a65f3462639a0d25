"""ONNX Runtime on the CPU: the portable backend."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from engine.backends.graph import Arrays, Port, check_arrays, pick_outputs
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
