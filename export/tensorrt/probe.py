"""A stored question and its answer: what a plan has to give back before anybody sees it.

The answer comes from the ONNX file itself, on a CPU runtime.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from engine.backends import Port, open_graph
from engine.errors import PlanError
from engine.plans.request import Precision

Arrays = Mapping[str, NDArray[Any]]
Run = Callable[[Arrays], Arrays]

LIMITS: Final[Mapping[str, float]] = {"fp32": 1e-3, "fp16": 1e-2, "bf16": 4e-2}
"""Largest error of a plan, as a share of the answer's own spread (both as root of the mean square), by precision."""

_LEAST_SPREAD: Final = 1e-3
_SEED: Final = 20260101


@dataclass(frozen=True, slots=True, eq=False)
class Probe:
    """inputs, expected: one array per port. precision: that of the plan that is asked."""

    inputs: Arrays
    expected: Arrays
    precision: Precision

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
            error = _error(got, expected)
            if not error <= limit:  # a NaN is no error that is small enough
                raise PlanError(
                    f"plan {name}: {port} differs from the ONNX file by {error:.3g} of its spread, expected "
                    f"{limit:g} at most; it does not go live: build it anew"
                )

    def store(self) -> bytes:
        """As bytes for a file."""
        arrays = {f"in.{name}": array for name, array in self.inputs.items()}
        arrays |= {f"out.{name}": array for name, array in self.expected.items()}
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
    inputs, expected = (
        {key.removeprefix(mark): array for key, array in arrays.items() if key.startswith(mark)}
        for mark in ("in.", "out.")
    )
    if precision not in LIMITS or not inputs or not expected:
        raise PlanError(f"{name} is no probe of a plan; build the plan anew")
    return Probe(inputs, expected, precision)  # type: ignore[arg-type]  # it is one of LIMITS


def make_probe(
    graph: bytes, name: str, precision: Precision, ranges: Mapping[str, tuple[float, float]]
) -> Probe:
    """Noise for every port, and what the ONNX file makes of it.

    graph: with fixed sizes, in float32, whatever the plan's precision. ranges: of ports that have one. Raises PlanError
    for int8 and fp8, which are not refitted, and for free sizes; BackendError where ONNX Runtime refuses the graph.
    """
    if precision not in LIMITS:
        raise PlanError(f"plan {name}: there is no probe in {precision}, expected one of {', '.join(LIMITS)}")
    opened = open_graph(Path(name), "onnxruntime", data=graph)
    try:
        inputs = _drawn(opened.inputs, ranges, name)
        expected = {port: np.array(array) for port, array in opened.run(inputs).items()}
    finally:
        opened.close()
    return Probe(inputs, expected, precision)


def go_live(probe: Probe, run: Run, name: str) -> None:
    """Asks a plan the stored question. Raises PlanError, so that it stays away, when its answer is another."""
    probe.check(run(probe.inputs), name)


def _drawn(
    ports: Sequence[Port], ranges: Mapping[str, tuple[float, float]], name: str
) -> dict[str, NDArray[Any]]:
    rng = np.random.default_rng(_SEED)
    drawn: dict[str, NDArray[Any]] = {}
    for port in ports:
        sizes = [size for size in port.shape if size is not None]
        if len(sizes) < len(port.shape):
            raise PlanError(f"plan {name}: port {port.name!r} has a free size; give the graph of batch 1")
        low, high = ranges.get(port.name, (-1.0, 1.0))
        if np.issubdtype(port.dtype, np.integer):
            low, high = ranges.get(port.name, (0.0, 255.0 if port.dtype == np.uint8 else 18.0))
            drawn[port.name] = rng.integers(int(low), int(high), sizes, endpoint=True).astype(port.dtype)
        else:
            drawn[port.name] = rng.uniform(low, high, sizes).astype(port.dtype)
    return drawn


def _error(got: NDArray[Any], expected: NDArray[Any]) -> float:
    want = expected.astype(np.float64)
    spread = max(float(want.std()), _LEAST_SPREAD)
    return float(np.sqrt(np.mean((got.astype(np.float64) - want) ** 2))) / spread
