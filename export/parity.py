"""Whether a graph gives what its module gives, on every runtime that is installed here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from engine.backends import BACKENDS, open_graph
from engine.bundle import PortInfo
from engine.errors import BackendError, BundleError
from engine.free_batch import settled
from export.onnx import run
from export.plan import GATE, GraphPlan

Arrays = Mapping[str, NDArray[Any]]
Errors = dict[str, dict[str, dict[str, float]]]
"""By graph and port: {"max": ..., "mean": ...}."""

_SEED: Final = 20180704
_RANDOM: Final = 3
AT_ONCE: Final = 1 << 30
"""Bytes of inputs that are compared at once: eight sources' projections at 512 px are 0.9 GB, and with all cases held
and run together an export would take more memory than a training."""


@dataclass(frozen=True, slots=True)
class Report:
    """What was measured. runtimes: by name the version and the errors. rounding: what float16 weights changed."""

    gate: float
    weights: str
    cases: int
    runtimes: Mapping[str, tuple[str, Errors]]
    rounding: Errors | None

    def table(self) -> dict[str, Any]:
        """As in a manifest."""
        runtimes = {
            name: {"version": number, "errors": errors} for name, (number, errors) in self.runtimes.items()
        }
        return {
            "gate": self.gate,
            "weights": self.weights,
            "torch": torch.__version__,
            "cases": self.cases,
            "runtimes": runtimes,
            "rounding": self.rounding,
        }

    def lines(self) -> Iterator[str]:
        """For people, one line per runtime and graph."""
        for name, (number, errors) in self.runtimes.items():
            for graph, ports in errors.items():
                yield f"{name} {number}, {graph}: {_shown(ports)}"
        for graph, ports in (self.rounding or {}).items():
            yield f"weights as float16, {graph}: {_shown(ports)}"


def measure(
    plans: Sequence[GraphPlan],
    files: Mapping[str, bytes],
    *,
    gate: float = GATE,
    exact: Sequence[GraphPlan] | None = None,
) -> Report:
    """Runs every graph on every runtime present, and compares with torch; one that takes batches also on all cases at
    once, or on as many as AT_ONCE lets through.

    files: the ONNX bytes by graph. exact: the same plans before their weights were rounded to float16; their modules
    are held against their references, and what rounding changed is told. Raises BundleError where a port differs by
    more than the gate or is not finite, BackendError where no runtime is present.
    """
    present = [name for name in BACKENDS if find_spec(name) is not None]
    if not present:
        raise BackendError(f"no runtime to compare with; run: python -m pip install {BACKENDS[0]}")
    runtimes: dict[str, tuple[str, Errors]] = {name: (version(name), {}) for name in present}
    rounding: Errors = {}
    count = 0
    for index, plan in enumerate(plans):
        parts: dict[str, list[dict[str, dict[str, float]]]] = {name: [] for name in present}
        changed = []
        count = 0
        for given in _groups(plan):
            expected = [_torch(plan, case) for case in given]
            count += len(given)
            for name in present:
                parts[name].append(_on(name, plan, files[plan.name], given, expected))
            if exact is not None:
                before = [_torch(exact[index], case) for case in given]
                changed.append(_errors(plan.outputs, before, expected))
                _check_arranged(exact[index], given, before, gate)
        for name in present:
            runtimes[name][1][plan.name] = _joined(parts[name])
        if exact is not None:
            rounding[plan.name] = _joined(changed)
    report = Report(
        gate, "float32" if exact is None else "float16", count, runtimes, rounding if exact else None
    )
    _check_gate(report)
    return report


def _check_arranged(
    plan: GraphPlan, given: Sequence[Mapping[str, Tensor]], expected: Sequence[Arrays], gate: float
) -> None:
    """That a module computes what its reference does."""
    if plan.reference is None:
        return
    alone = replace(plan, reference=None)
    for port, error in _errors(plan.outputs, [_torch(alone, case) for case in given], expected).items():
        if not error["max"] <= gate:
            raise BundleError(
                f"graph {plan.name}, port {port!r}: its arrangement differs from its reference by {error['max']:.3g}, "
                f"expected {gate:g} at most; nothing was packed"
            )


def _check_gate(report: Report) -> None:
    for name, (_, errors) in report.runtimes.items():
        for graph, ports in errors.items():
            for port, error in ports.items():
                if not error["max"] <= report.gate:
                    raise BundleError(
                        f"graph {graph}, port {port!r}: {name} differs from torch by {error['max']:.3g}, expected "
                        f"{report.gate:g} at most; nothing was packed"
                    )


def cases(plan: GraphPlan) -> Iterator[dict[str, Tensor]]:
    """Inputs of a graph: noise, a ramp with a sensor's noise, stripes, and blobs on a ground as a face is one.

    None of them is flat: there an instance norm divides by nearly nothing, and float32 itself is off by 1e-4, in torch
    as anywhere else.
    """
    numbers = np.random.default_rng(_SEED)
    drawings = ["noise"] * _RANDOM + ["ramp", "stripes", "blobs"]
    names = _derived_names(plan)
    for drawing in drawings:
        drawn = {
            port.name: torch.from_numpy(_drawn(drawing, port, numbers))
            for port in plan.inputs
            if port.name not in names
        }
        if plan.derived is not None:
            drawn.update(plan.derived(drawn))
        yield {port.name: drawn[port.name] for port in plan.inputs}


def _groups(plan: GraphPlan) -> Iterator[list[dict[str, Tensor]]]:
    """The cases, as many together as AT_ONCE lets through, but two at least, and the same number each time."""
    rest = cases(plan)
    first = next(rest)
    size = sum(tensor.numel() * tensor.element_size() for tensor in first.values())
    together = next((number for number in (6, 3) if number * size <= AT_ONCE), 2)
    group = [first]
    for case in rest:
        if len(group) == together:
            yield group
            group = []
        group.append(case)
    yield group


def _joined(parts: Sequence[Mapping[str, Mapping[str, float]]]) -> dict[str, dict[str, float]]:
    """The errors of groups of equal size as those of all."""
    return {
        port: {
            "max": max(part[port]["max"] for part in parts),
            "mean": float(np.mean([part[port]["mean"] for part in parts])),
        }
        for port in parts[0]
    }


def _derived_names(plan: GraphPlan) -> set[str]:
    if plan.derived is None:
        return set()
    blank = {port.name: torch.zeros(port.shape, dtype=getattr(torch, port.dtype)) for port in plan.inputs}
    return set(plan.derived(blank))


def _drawn(drawing: str, port: PortInfo, numbers: np.random.Generator) -> NDArray[Any]:
    """One input of a kind, over the port's range."""
    low, high = port.range or (-1.0, 1.0)
    share = _SHARES[drawing](port.shape, numbers)
    value = low + (high - low) * share
    if port.dtype == "float32":
        return value.astype(np.float32)
    return np.clip(np.rint(value), low, high).astype(port.dtype)


def _noise(shape: tuple[int, ...], numbers: np.random.Generator) -> NDArray[Any]:
    return numbers.random(shape)


def _ramp(shape: tuple[int, ...], numbers: np.random.Generator) -> NDArray[Any]:
    ramp = np.linspace(0.0, 1.0, int(np.prod(shape))).reshape(shape)
    return np.asarray(0.98 * ramp + 0.02 * numbers.random(shape))


def _stripes(shape: tuple[int, ...], numbers: np.random.Generator) -> NDArray[Any]:
    return np.asarray(np.indices(shape).sum(0) // 4 % 2, np.float64)


def _blobs(shape: tuple[int, ...], numbers: np.random.Generator) -> NDArray[Any]:
    """Spots on a dark ground, where the port is a picture; else one entry high and the others low."""
    sides = [axis for axis, size in enumerate(shape) if size > 4]
    if len(sides) < 2:
        flat = np.zeros(int(np.prod(shape)))
        flat[numbers.integers(flat.size)] = 1.0
        return flat.reshape(shape)
    grid = np.indices(shape).astype(np.float64)
    value = np.full(shape, 0.1)
    for _ in range(6):
        away = sum(
            ((grid[axis] - numbers.uniform(0, shape[axis])) / (0.15 * shape[axis])) ** 2
            for axis in sides[-3:]
        )
        value = np.maximum(value, numbers.uniform(0.4, 1.0) * np.exp(-away))
    return np.asarray(0.98 * value + 0.02 * numbers.random(shape))


_SHARES: Final = {
    "noise": _noise,
    "ramp": _ramp,
    "stripes": _stripes,
    "blobs": _blobs,
}


def _torch(plan: GraphPlan, case: Mapping[str, Tensor]) -> dict[str, NDArray[Any]]:
    found = run(plan.reference or plan.module, [case[port.name] for port in plan.inputs])
    return {port.name: tensor.numpy() for port, tensor in zip(plan.outputs, found)}


def _on(
    backend: str,
    plan: GraphPlan,
    data: bytes,
    given: Sequence[Mapping[str, Tensor]],
    expected: Sequence[Arrays],
) -> dict[str, dict[str, float]]:
    arrays = [{name: np.ascontiguousarray(tensor.numpy()) for name, tensor in case.items()} for case in given]
    found = _ran(backend, plan, settled(data, 1), arrays)
    if plan.batched:
        together = {name: np.concatenate([case[name] for case in arrays]) for name in arrays[0]}
        (batch,) = _ran(backend, plan, settled(data, len(arrays)), [together])
        found += [{name: array[k : k + 1] for name, array in batch.items()} for k in range(len(arrays))]
        expected = [*expected, *expected]
    return _errors(plan.outputs, found, expected)


def _ran(backend: str, plan: GraphPlan, data: bytes, given: Sequence[Arrays]) -> list[Arrays]:
    graph = open_graph(Path(f"{plan.name}.onnx"), backend, data=data)
    try:
        return [{name: array.copy() for name, array in graph.run(case).items()} for case in given]
    finally:
        graph.close()


def _errors(
    ports: Sequence[PortInfo], found: Sequence[Arrays], expected: Sequence[Arrays]
) -> dict[str, dict[str, float]]:
    errors = {}
    for port in ports:
        apart = [np.abs(a[port.name].astype(np.float64) - b[port.name]) for a, b in zip(found, expected)]
        errors[port.name] = {
            "max": float(max(part.max() for part in apart)),
            "mean": float(np.mean([part.mean() for part in apart])),
        }
    return errors


def _shown(ports: Mapping[str, Mapping[str, float]]) -> str:
    port = max(ports, key=lambda name: ports[name]["max"])
    worst = f"{port} {ports[port]['max']:.2g} (mean {ports[port]['mean']:.1g})"
    return worst if len(ports) == 1 else f"worst of {len(ports)} ports {worst}"
