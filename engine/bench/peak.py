"""What this device can do at most, measured by products of matrices and by copies: what a floor is told from.

The products are a graph, so that a backend computes them as it computes everything else: the best rate that any backend
reaches counts for all. A convolution by Winograd's way takes less arithmetic than is counted, and may come above it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from engine.backends import GPU_BACKENDS, choose, open_graph
from engine.bench.clocks import cpu_clock, timed_run
from engine.bench.cost import count

CPU_SIDE: Final = 512
DEVICE_SIDE: Final = 4096
PRODUCTS: Final = 4
COPY_BYTES: Final = 64 << 20
"""Far above any cache of a core; a device copies eight times as much."""
_OPSET, _IR = 18, 9
_FLOAT32, _FLOAT16 = 1, 10


@dataclass(frozen=True, slots=True)
class Peak:
    """flop_per_s by `backend`, bytes_per_s of a copy, both ways counted. clock: as of
    clocks.timed_run."""

    flop_per_s: float
    bytes_per_s: float
    backend: str
    clock: str

    def content(self) -> dict[str, Any]:
        return {
            "gflop_per_s": self.flop_per_s / 1e9,
            "gbyte_per_s": self.bytes_per_s / 1e9,
            "backend": self.backend,
            "clock": self.clock,
        }


def measure(backends: Sequence[str], *, times: int = 8, width: int = 4) -> Peak:
    """Of the device that these backends compute on. times: runs of each, the fastest counts. width: bytes of a number
    on a GPU, 4 or 2; a CPU computes in 4. Raises BackendError."""
    rates = [(*_products(backend, times, width), backend) for backend in backends]
    rate, clock, best = max(rates)
    copied = _copy(times) if clock == "cpu" else _device_copy(times)
    return Peak(rate, copied, best, clock)


def _products(backend: str, times: int, width: int) -> tuple[float, str]:
    """Operations per second, and by whose clock."""
    on_gpu = choose(backend).name in GPU_BACKENDS
    data = products_graph(DEVICE_SIDE, width) if on_gpu else products_graph(CPU_SIDE)
    graph = open_graph(Path("products.onnx"), backend, 1, data=data)
    given = {"shift": np.zeros((1, 1), np.float32)}
    try:
        graph.run(given)
        runs = [timed_run(graph, given) for _ in range(times)]
    finally:
        graph.close()
    return count(data).flop / max(min(spent for spent, _, _ in runs), 1e-9), runs[-1][2]


def _copy(times: int) -> float:
    source = np.ones(COPY_BYTES, np.uint8)
    target = np.zeros_like(source)
    seconds = []
    for _ in range(times):
        started = cpu_clock()
        np.copyto(target, source)
        seconds.append(cpu_clock() - started)
    return 2 * COPY_BYTES / max(min(seconds), 1e-9)


def _device_copy(times: int) -> float:
    """From one place of the device's memory to another."""
    from engine.backends.cuda import Cuda, Memory, Stream, open_runtime

    cuda, size = Cuda(open_runtime()), 8 * COPY_BYTES
    kind = cuda.constant("cudaMemcpyKind", "cudaMemcpyDeviceToDevice")
    source, target, stream = Memory(cuda, size), Memory(cuda, size), Stream(cuda)
    milliseconds = []
    try:
        for _ in range(times + 1):
            begun = stream.event()
            cuda.call("cudaMemcpyAsync", target.device, source.device, size, kind, stream.handle)
            ended = stream.event()
            milliseconds.append(begun.ms_until(ended))
            begun.close()
            ended.close()
    finally:
        stream.close()
        source.close()
        target.close()
    return 2 * size / max(min(milliseconds[1:]) / 1000, 1e-9)


# --- an ONNX file, written without the onnx package ---------------------------------------------------------


def products_graph(side: int, width: int = 4) -> bytes:
    """An ONNX file: "shift" float32 [1, 1] is added to a square matrix, which is multiplied PRODUCTS times by another
    one; "mean" float32 [1, 1] is the mean of the result. Nothing of it can be computed beforehand, and next to nothing
    is copied. width: bytes of a number inside, 4 or 2."""
    rng = np.random.default_rng(side)
    dtype, code = (np.float32, _FLOAT32) if width == 4 else (np.float16, _FLOAT16)
    first = rng.standard_normal((side, side), np.float32).astype(dtype)
    factor = (rng.standard_normal((side, side), np.float32) / np.sqrt(side)).astype(dtype)
    nodes = [_node("Cast", ["shift"], "shift_0", _attribute("to", code))]
    nodes.append(_node("Add", ["first", "shift_0"], "x_0"))
    nodes += [_node("MatMul", [f"x_{step}", "factor"], f"x_{step + 1}") for step in range(PRODUCTS)]
    nodes.append(_node("ReduceMean", [f"x_{PRODUCTS}"], "mean_0"))
    nodes.append(_node("Cast", ["mean_0"], "mean", _attribute("to", _FLOAT32)))
    graph = b"".join(_message(1, node) for node in nodes) + _message(2, b"products")
    for name, array in (("first", first), ("factor", factor)):
        dims = b"".join(_whole(1, size) for size in array.shape)
        graph += _message(
            5, dims + _whole(2, code) + _message(8, name.encode()) + _message(9, array.tobytes())
        )
    graph += _message(11, _port("shift")) + _message(12, _port("mean"))
    opset = _message(1, b"") + _whole(2, _OPSET)
    return _whole(1, _IR) + _message(7, graph) + _message(8, opset)


def _port(name: str) -> bytes:
    shape = b"".join(_message(1, _whole(1, 1)) for _ in range(2))
    kind = _message(1, _whole(1, _FLOAT32) + _message(2, shape))
    return _message(1, name.encode()) + _message(2, kind)


def _node(kind: str, inputs: Sequence[str], output: str, *attributes: bytes) -> bytes:
    fields = [_message(1, name.encode()) for name in inputs]
    fields += [_message(2, output.encode()), _message(3, output.encode()), _message(4, kind.encode())]
    return b"".join([*fields, *attributes])


def _attribute(name: str, value: int) -> bytes:
    return _message(5, _message(1, name.encode()) + _whole(3, value) + _whole(20, 2))


def _varint(value: int) -> bytes:
    found = bytearray()
    while value >= 0x80:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    found.append(value)
    return bytes(found)


def _whole(number: int, value: int) -> bytes:
    return _varint(number << 3) + _varint(value)


def _message(number: int, data: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(data)) + data
