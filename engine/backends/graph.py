"""What every backend offers: a graph with named ports, run on the CPU or elsewhere."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from engine.errors import PortError

Arrays = Mapping[str, NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Port:
    """One input or output. shape: None stands for a size that is free. dtype: a NumPy dtype."""

    name: str
    shape: tuple[int | None, ...]
    dtype: np.dtype[Any]

    def accepts(self, array: NDArray[Any]) -> bool:
        """Whether an array has this port's dtype and shape."""
        return (
            array.dtype == self.dtype
            and array.ndim == len(self.shape)
            and all(want is None or want == got for want, got in zip(self.shape, array.shape, strict=True))
        )


class Graph(Protocol):
    """An opened graph. One thread at a time may use it; several graphs may run in several threads.

    What one of a device may state of itself beside: `carries`, that numbers stay there which go from one run into the
    next (engine/backends/carried.py), and `run_rows`, which lays entries beside each other there (TensorRtGraph).
    """

    @property
    def backend(self) -> str:
        """Name of the backend that runs it."""
        ...

    @property
    def inputs(self) -> tuple[Port, ...]: ...

    @property
    def outputs(self) -> tuple[Port, ...]: ...

    def run(self, arrays: Arrays) -> dict[str, NDArray[Any]]:
        """Computes every output, by name.

        arrays: one C-contiguous array per input. They are only read. The arrays given back
        belong to the graph: the next run may overwrite them, so copy what has to last. One that nobody can write to
        (flags.writeable is False, its base's too) may be kept on a GPU: the very same array costs no second way there.
        Raises PortError when a name, shape or dtype does not fit, BackendError when the runtime fails.
        """
        ...

    def close(self) -> None:
        """Frees the runtime's memory. The graph cannot be run afterwards; closing twice is harmless."""
        ...


def check_arrays(inputs: tuple[Port, ...], arrays: Arrays) -> None:
    """Raises PortError unless there is exactly one fitting array per input."""
    for port in inputs:
        array = arrays.get(port.name)
        if array is None:
            raise PortError(f"port {port.name!r}: no array was given; {_nearest(port.name, arrays)}")
        if not port.accepts(array):
            raise PortError(f"port {port.name!r}: expected {_kind(port)}, got {array.shape} {array.dtype}")
    if len(arrays) > len(inputs):
        names = [port.name for port in inputs]
        extra = next(name for name in arrays if name not in names)
        raise PortError(f"port {extra!r} is not one of the graph's inputs; {_nearest(extra, names)}")


def lasting(array: NDArray[Any]) -> bool:
    """Whether nobody can write to an array, nor to what it is a part of: what was made of it once stays right."""
    part: Any = array
    while isinstance(part, np.ndarray):
        if part.flags.writeable:
            return False
        part = part.base
    return part is None or isinstance(part, bytes)


def pick_outputs(outputs: tuple[str, ...], wanted: tuple[str, ...] | None) -> tuple[str, ...]:
    """The outputs to compute: all, or those asked for. Raises PortError for one that is not there."""
    for name in wanted or ():
        if name not in outputs:
            raise PortError(f"port {name!r} is not one of the graph's outputs; {_nearest(name, outputs)}")
    return outputs if wanted is None else wanted


def _kind(port: Port) -> str:
    sizes = ", ".join("any" if size is None else str(size) for size in port.shape)
    return f"({sizes}{',' if len(port.shape) == 1 else ''}) {port.dtype}"


def _nearest(name: str, known: Mapping[str, Any] | tuple[str, ...] | list[str]) -> str:
    near = difflib.get_close_matches(name, known, 1)
    return f"did you mean {near[0]!r}?" if near else f"known are {', '.join(known) or 'none'}"
