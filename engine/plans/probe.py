"""A stored question and its answer: what a plan has to give back before anybody sees it.

The answer comes from the ONNX file itself, on a CPU runtime. It is kept with the plan, under the same HMAC.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from engine.backends.graph import Graph, Port
from engine.errors import BackendError, PlanError
from engine.plans.background import LEAST_DB, check_outputs
from engine.plans.request import Precision
from engine.plans.structure import without_kernels

Arrays = Mapping[str, NDArray[Any]]
Run = Callable[[Arrays], Arrays]

LIMITS: Final[Mapping[str, float]] = {"fp32": 1e-3, "fp16": 1e-2, "bf16": 4e-2}
"""Largest error of a plan, as a share of what the network adds to the answer (both as root of the mean square), by
precision."""

_LEAST_SCALE: Final = 1e-3
_SIDE: Final = 96
"""Of a frame, where its size is free: small, and within what plans are made for."""
_MATRIX: Final = "matrix"
"""The port of a frame graph that places its square (docs/frame_graph.md)."""
_SEED: Final = 20260101


@dataclass(frozen=True, slots=True, eq=False)
class Probe:
    """inputs, expected: one array per port. precision: that of the plan that is asked. scales: per port what an error
    is a share of; where none is given, the answer's own spread."""

    inputs: Arrays
    expected: Arrays
    precision: Precision
    scales: Mapping[str, float] = field(default_factory=dict)

    def check(self, found: Arrays, name: str) -> None:
        """Raises PlanError unless every output is there, finite and near the answer."""
        limit = LIMITS[self.precision]
        for port, expected in self.expected.items():
            got = found.get(port)
            if got is None or got.shape != expected.shape:
                shown = "nothing" if got is None else f"the shape {got.shape}"
                raise PlanError(
                    f"plan {name}: {port} gives {shown}, expected {expected.shape}; build it anew"
                )
            error = _rms(got, expected) / self.scales.get(port, _spread(expected))
            if not error <= limit:  # a NaN is no error that is small enough
                raise PlanError(
                    f"plan {name}: {port} differs from the ONNX file by {error:.3g} of its scale, expected "
                    f"{limit:g} at most; it does not go live: build it anew"
                )

    def check_kept(self, found: Arrays) -> None:
        """Of a plan that was right when it was built: raises PlanError where it is not any more. As wide as what is
        asked of a plan beside another backend, for noise is harder on lower precision than pictures are."""
        check_outputs(self.expected, found, LEAST_DB)

    def store(self) -> bytes:
        """As bytes for a file."""
        arrays = {f"in.{name}": array for name, array in self.inputs.items()}
        arrays |= {f"out.{name}": array for name, array in self.expected.items()}
        arrays |= {f"scale.{name}": np.array(scale) for name, scale in self.scales.items()}
        file = io.BytesIO()
        np.savez_compressed(file, allow_pickle=False, precision=np.array(self.precision), **arrays)
        return file.getvalue()


def stored(data: bytes, name: str = "probe") -> Probe:
    """What `Probe.store` gave. Raises PlanError for bytes that are something else; nothing of them is run."""
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as file:
            arrays = {key: file[key] for key in file.files}
    except (ValueError, OSError, EOFError, KeyError, zipfile.BadZipFile) as error:
        raise PlanError(f"{name} is no probe ({type(error).__name__}); build the plan anew") from error
    precision = str(arrays.pop("precision", ""))
    inputs, expected, scales = (
        {key.removeprefix(mark): array for key, array in arrays.items() if key.startswith(mark)}
        for mark in ("in.", "out.", "scale.")
    )
    if precision not in LIMITS or not inputs or not expected or any(one.size != 1 for one in scales.values()):
        raise PlanError(f"{name} is no probe of a plan; build the plan anew")
    sizes = {port: float(one) for port, one in scales.items()}
    return Probe(inputs, expected, precision, sizes)  # type: ignore[arg-type]  # it is one of LIMITS


def make_probe(
    graph: bytes, name: str, precision: Precision, ranges: Mapping[str, tuple[float, float]] | None = None
) -> Probe:
    """Noise for every port, and what the ONNX file makes of it on the CPU.

    graph: of one entry, in float32, whatever the plan's precision; a frame's free sides are small. ranges: of ports
    that have one. Raises PlanError for int8 and fp8, which are not refitted; BackendError where no CPU runtime takes
    the graph.
    """
    if precision not in LIMITS:
        raise PlanError(f"plan {name}: there is no probe in {precision}, expected one of {', '.join(LIMITS)}")
    opened = _reference(graph, name)
    try:
        inputs = _drawn(opened.inputs, ranges or {})
        expected = {port: np.array(array) for port, array in opened.run(inputs).items()}
    finally:
        opened.close()
    blank = _answer(without_kernels(graph), inputs, name)
    scales = {port: _scale(answer, blank[port]) for port, answer in expected.items()}
    return Probe(inputs, expected, precision, scales)


def _answer(graph: bytes, inputs: Arrays, name: str) -> Arrays:
    opened = _reference(graph, name)
    try:
        return {port: np.array(array) for port, array in opened.run(inputs).items()}
    finally:
        opened.close()


def _scale(answer: NDArray[Any], blank: NDArray[Any]) -> float:
    """What the network adds to what it would answer without having learnt anything, where that is less than the
    answer's spread: a picture with a small change is judged by the change. blank: that other answer. Whole numbers are
    judged by their spread, for they are rounded."""
    added, spread = _rms(answer, blank), _spread(answer)
    if np.issubdtype(answer.dtype, np.integer) or not added > _LEAST_SCALE:
        return spread
    return added if answer.size == 1 else min(added, spread)


def _reference(graph: bytes, name: str) -> Graph:
    """Of ONNX Runtime, which computes as the file says; of OpenVINO where that is not installed."""
    from engine.backends import open_graph

    try:
        return open_graph(Path(name), "onnxruntime", data=graph)
    except BackendError:
        return open_graph(Path(name), "openvino", data=graph)


def go_live(probe: Probe, run: Run, name: str) -> None:
    """Asks a plan the stored question. Raises PlanError, so that it stays away, when its answer is another."""
    probe.check(run(probe.inputs), name)


def _drawn(ports: Sequence[Port], ranges: Mapping[str, tuple[float, float]]) -> dict[str, NDArray[Any]]:
    rng = np.random.default_rng(_SEED)
    drawn: dict[str, NDArray[Any]] = {}
    for port in ports:
        sizes = [(1 if at == 0 else _SIDE) if size is None else size for at, size in enumerate(port.shape)]
        low, high = ranges.get(port.name, (-1.0, 1.0))
        if port.name == _MATRIX and sizes[-2:] == [2, 3]:
            # noise would place the square where nobody sees it
            drawn[port.name] = np.broadcast_to(np.eye(2, 3, dtype=port.dtype), sizes).copy()
        elif np.issubdtype(port.dtype, np.integer):
            low, high = ranges.get(port.name, (0.0, 255.0 if port.dtype == np.uint8 else 18.0))
            drawn[port.name] = rng.integers(int(low), int(high), sizes, endpoint=True).astype(port.dtype)
        else:
            drawn[port.name] = rng.uniform(low, high, sizes).astype(port.dtype)
    return drawn


def _rms(one: NDArray[Any], other: NDArray[Any]) -> float:
    """Root of the mean squared difference."""
    return float(np.sqrt(np.mean((one.astype(np.float64) - other.astype(np.float64)) ** 2)))


def _spread(answer: NDArray[Any]) -> float:
    """One number has none: its own size stands for it."""
    found = answer.astype(np.float64)
    return max(float(found.std() if found.size > 1 else np.abs(found).max(initial=0.0)), _LEAST_SCALE)
