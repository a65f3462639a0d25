"""What a generator runs, held against what a bundle's graph takes and gives: told when it is opened, not per frame."""

from __future__ import annotations

from collections.abc import Mapping

from engine.bundle import Bundle
from engine.errors import ManifestError

Shapes = Mapping[str, tuple[int, ...]]


def check_ports(bundle: Bundle, graph: str, pictures: Shapes, numbers: Shapes, outputs: Shapes) -> None:
    """Raises ManifestError unless a graph takes `pictures`, which are uint8, and `numbers`, float32, and gives
    `outputs`, float32, by name and shape. An input that nobody feeds is refused too.
    """
    info = bundle.info(graph)
    inputs = {name: (shape, "uint8") for name, shape in pictures.items()}
    inputs |= {name: (shape, "float32") for name, shape in numbers.items()}
    found = [(info.input(name), kind) for name, kind in inputs.items()]
    found += [(info.output(name), (shape, "float32")) for name, shape in outputs.items()]
    for port, (shape, dtype) in found:
        if (port.shape, port.dtype) != (shape, dtype):
            raise ManifestError(
                f"bundle {bundle.name}: port {port.name!r} is {port.shape} {port.dtype}, expected {shape} {dtype}; "
                "export it again"
            )
    for port in info.inputs:
        if port.name not in inputs:
            raise ManifestError(
                f"bundle {bundle.name}: graph {graph!r} takes {port.name!r}, expected only {', '.join(inputs)}; "
                "export it again"
            )
